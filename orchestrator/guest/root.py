# SPDX-License-Identifier: GPL-2.0-only
"""The guests' root file system: one read-only ext2 image per architecture, cached by content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import sys
from pathlib import Path

from orchestrator.guest.mmdebstrap import DEADLINE, SUITE, unpack
from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import Notice, locked, looking
from orchestrator.model.arch import Arch

PACKAGES = (
    "bash",
    "busybox-static",
    "dropbear-bin",
    "libpython3-stdlib",
    "openssh-sftp-server",
    "procps",  # pgrep, which a selftest asks for
    "psmisc",  # killall --wait, another's
    "python3-minimal",
)
# Another lab may be making the same image.
LOCK_DEADLINE = DEADLINE * 1.5

# Runs in the unpacked tree, for a plain user as another user who may read nothing of ours: all it
# needs is in its own text (mmdebstrap(1), "unshare" mode).  Python's byte code is made here because
# the guest's root is read-only and compiling it anew for every program would cost seconds under
# TCG; the hash-based form is believed without a look at file times (PEP 552).
_HOOK = """set -e
cd "$1"
mkdir -p proc sys run root mnt dev/pts dev/shm var/tmp lib/modules
rm -rf usr/lib/python3*/test usr/share/doc usr/share/man usr/share/locale usr/share/info
rm -rf var/lib/apt var/cache usr/lib/*/perl-base usr/lib/*/gconv
for python in /usr/bin/python3 {python}; do
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || continue
  library=usr/lib/python$version
  if [ -d "$library" ]; then
    "$python" -m compileall -q --invalidation-mode unchecked-hash -s "$1" "$library" || true
    break
  fi
done
echo 'root:*:0:0:root:/root:/bin/sh' > etc/passwd
echo 'root:x:0:' > etc/group
echo /bin/sh > etc/shells
[ -e bin/sh ] || ln -s busybox bin/sh
cat > sbin/lab-init <<'LAB_INIT_ENDS'
{init}
LAB_INIT_ENDS
chmod 755 sbin/lab-init
"""


def root_image(arch: Arch, cache: Cache) -> Path:
    """Where the root image for an architecture is, or would be: its name says how it is made."""
    return cache.roots / f"{arch.name}-{_recipe(arch)[1]}.ext2"


def _recipe(arch: Arch) -> tuple[str, str]:
    """The hook that makes the root out of packages, and a digest of all that decides on it."""
    python = shutil.which("python3") or sys.executable
    init = Path(__file__).with_name("init.sh").read_text()
    hook = _HOOK.replace("{python}", shlex.quote(python)).replace("{init}", init.strip())
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    recipe = "\0".join((SUITE, *PACKAGES, arch.debian, _HOOK, init, version))
    return hook, hashlib.sha256(recipe.encode()).hexdigest()[:24]


def ensure_root(arch: Arch, cache: Cache, on_wait: Notice | None = None) -> Path:
    """Give the root image for an architecture, making it when there is none, or a damaged one.

    :param on_wait: told once when another lab is making an image for this architecture.
    :raises HostError: when mmdebstrap is missing or cannot reach its packages.
    """
    image = root_image(arch, cache)
    if _use(image, cache):  # whoever makes another one meanwhile is no reason to wait
        return image
    what = f"the {arch.name} guest root"
    lock = cache.root_lock(arch.name)
    with locked(lock, deadline=LOCK_DEADLINE, on_wait=on_wait, what=what):
        if not _use(image, cache):
            for left in cache.roots.glob(f"{arch.name}-*.new.ext2"):  # by a lab that was killed
                left.unlink(missing_ok=True)
            _make(arch, image, _recipe(arch)[0], cache)
    return image


def _use(image: Path, cache: Cache) -> bool:
    """Mark an image as used, so that trimming sees it; False where none is whole."""
    with looking(cache), contextlib.suppress(FileNotFoundError):
        os.utime(image)
        return seals.sound(cache, image)
    return False


def _make(arch: Arch, image: Path, hook: str, cache: Cache) -> None:
    # mmdebstrap chooses the format by the name's ending and writes the owners right without root.
    new = image.with_name(f"{image.stem}.new.ext2")
    new.unlink(missing_ok=True)
    unpack(
        PACKAGES, arch, new, f"--extract-hook={hook}",
        failed=f"cannot make the {arch.name} guest root",
        hint="check that the Debian mirror answers: `lab doctor`",
    )  # fmt: skip
    seals.seal(cache, image, new)
    new.rename(image)  # guests that run have the one that was there
