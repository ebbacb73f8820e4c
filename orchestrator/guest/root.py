# SPDX-License-Identifier: GPL-2.0-only
"""The guests' root file system: one read-only ext2 image per architecture, cached by content.

mmdebstrap unpacks the packages and runs none of their programs, so a foreign architecture needs
no emulator; it works as root and, in a user namespace, as anybody.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from pathlib import Path

from orchestrator import process
from orchestrator.arch import Arch
from orchestrator.errors import HostError

SUITE = "bookworm"
PACKAGES = (
    "busybox-static",
    "dropbear-bin",
    "libpython3-stdlib",
    "openssh-sftp-server",
    "python3-minimal",
)
DEADLINE = 600.0

# Runs in the unpacked tree.  Python's byte code is made here because the guest's root is
# read-only and compiling it anew for every program would cost seconds under TCG; the hash-based
# form is believed without a look at file times (PEP 552).
_HOOK = """set -e
cd "$1"
mkdir -p proc sys run root dev/pts dev/shm var/tmp
rm -rf usr/lib/python3*/test usr/share/doc usr/share/man usr/share/locale usr/share/info
rm -rf var/lib/apt var/cache usr/lib/*/perl-base usr/lib/*/gconv
if [ -d "usr/lib/python$3" ]; then
  "$2" -m compileall -q --invalidation-mode unchecked-hash -s "$1" "usr/lib/python$3" || true
fi
install -m 755 "$4" sbin/lab-init
echo 'root:*:0:0:root:/root:/bin/sh' > etc/passwd
echo 'root:x:0:' > etc/group
echo /bin/sh > etc/shells
[ -e bin/sh ] || ln -s busybox bin/sh
"""


def ensure_root(arch: Arch, cache: Path) -> Path:
    """Give the root image for an architecture, making it when there is none.

    :raises HostError: when mmdebstrap is missing or cannot reach its packages.
    """
    init = Path(__file__).with_name("init.sh")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    recipe = "\0".join((SUITE, *PACKAGES, arch.debian, _HOOK, python, init.read_text()))
    name = hashlib.sha256(recipe.encode()).hexdigest()[:24]
    roots = cache / "roots"
    roots.mkdir(parents=True, exist_ok=True)
    image = roots / f"{arch.name}-{name}.ext2"
    with (roots / f"{arch.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            _make(arch, roots, image, python, init)
        image.touch()  # under the lock, so that trimming sees it
    return image


def _make(arch: Arch, roots: Path, image: Path, python: str, init: Path) -> None:
    hook = roots / f"{image.stem}.hook"
    hook.write_text(_HOOK)
    # mmdebstrap chooses the format by the name's ending and writes the owners right without root.
    new = roots / f"{image.stem}.new.ext2"
    new.unlink(missing_ok=True)
    words = f'sh {hook} "$1" {shutil.which("python3") or sys.executable} {python} {init}'
    try:
        process.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=extract",
                f"--architectures={arch.debian}",
                f"--include={','.join(PACKAGES)}",
                f"--extract-hook={words}",
                SUITE,
                new,
            ],
            deadline=DEADLINE,
        )
    except process.CommandFailed as failed:
        new.unlink(missing_ok=True)
        text = failed.completed.stderr.decode(errors="replace").strip().splitlines()
        reason = next((line for line in text if line.startswith("E:")), text[-1] if text else "")
        raise HostError(
            f"cannot make the {arch.name} guest root: {reason}",
            "check that the Debian mirror answers: `lab doctor`",
        ) from failed
    finally:
        hook.unlink(missing_ok=True)
    new.rename(image)
