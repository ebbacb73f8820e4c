# SPDX-License-Identifier: GPL-2.0-only
"""Debian's kernel source packages (``linux-source-6.12``), fetched without root.

``apt-get download`` writes into the current folder and verifies what it fetched (apt-get(8)).  As
root apt would rather download as the user ``_apt``; where that user cannot write it says so and
does it as root.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache, need_space
from orchestrator.host.cache.locks import Notice
from orchestrator.host.cache.scratch import scratch
from orchestrator.model.errors import HostError, UserError

_SERIES = re.compile(r"\d{1,3}\.\d{1,3}")
# deb-version(7); it begins with a digit, so that it can never be taken for an option.
_VERSION = re.compile(r"\d[A-Za-z0-9.+~:-]{0,80}")


def package(series: str, version: str, where: str = "") -> str:
    """Give the package's name for ``6.12``; both parts are checked.

    :raises UserError: when they are not of the form ``6.12`` and a Debian version.
    """
    if not _SERIES.fullmatch(series) or (version and not _VERSION.fullmatch(version)):
        place = f"{where}: " if where else ""
        text = f"debian:{series}={version}" if version else f"debian:{series}"
        raise UserError(
            f"{place}{text!r} is no Debian kernel source",
            "write debian:6.12 or debian:6.12=6.12.117-1~deb12u1",
        )
    return f"linux-source-{series}"


def candidate(name: str) -> str:
    """Give the version that apt would install.

    :raises UserError: when apt knows no such package.
    :raises HostError: when there is no apt.
    """
    text = _apt_cache("policy", name)
    found = re.search(r"^\s*Candidate: (\d\S*)$", text, re.MULTILINE)
    if found and _VERSION.fullmatch(found[1]):
        return found[1]
    raise _unknown(name)


def check_version(name: str, version: str) -> None:
    """Make sure that apt has a version of a package.

    :raises UserError: when it has not; the message lists those it has.
    """
    table = [line.split("|") for line in _apt_cache("madison", name).splitlines()]
    versions = list(dict.fromkeys(row[1].strip() for row in table if len(row) == 3))
    if not versions:
        raise _unknown(name)
    if version not in versions:
        raise UserError(
            f"apt has no version {version} of {name}; it has {', '.join(versions[:6])}",
            "run `sudo apt-get update`, name one of these, or fetch the old version's tar file"
            " from snapshot.debian.org and use tar:FILE",
        )


@contextlib.contextmanager
def downloaded(
    name: str, version: str, cache: Cache, tell: Notice, deadline: float
) -> Iterator[Path]:
    """Download and unpack a source package; give its tar file for the length of a with block.

    :param deadline: seconds for the download.
    :raises HostError: when the download or the disk fails.
    """
    with scratch(cache) as folder:
        show = _apt_cache("show", "--no-all-versions", f"{name}={version}")
        found = re.search(r"^Size: (\d+)$", show, re.MULTILINE)
        size = int(found[1]) if found else 0
        # The package, the tar file in it, the object store, and the work tree: 14 times for 6.12.
        need_space(cache, 16 * size)
        tell(f"downloading {name} {version}, {size >> 20} MiB")
        done = process.run(
            ["apt-get", "-q", "-o", "Acquire::Retries=3", "download", f"{name}={version}"],
            cwd=folder, deadline=deadline, check=False,
        )  # fmt: skip
        packages = list(folder.glob("*.deb"))
        if done.status != 0 or len(packages) != 1:
            said = (done.stderr or done.stdout).decode(errors="replace")
            errors = [line for line in said.splitlines() if line.startswith(("E:", "Err:"))]
            raise HostError(
                f"apt-get download {name}={version} failed: {(errors or ['no package came'])[0]}",
                "is the network up? where the file is gone, run `sudo apt-get update`",
            )
        tell(f"unpacking {packages[0].name}")
        process.run(["dpkg-deb", "-x", packages[0], folder / "x"], deadline=600)
        packages[0].unlink()
        archives = sorted((folder / "x" / "usr" / "src").glob("linux-source-*.tar*"))
        if not archives:
            raise HostError(f"{name} {version} holds no usr/src/linux-source-*.tar.xz")
        yield archives[0]


def _apt_cache(*arguments: str) -> str:
    try:
        done = process.run(["apt-cache", *arguments], deadline=60, check=False)
    except process.ToolMissing as error:
        raise HostError(
            "debian: sources need apt, which this machine has not",
            "use tar:FILE, git:URL#REF or path:DIR",
        ) from error
    # Of a package that it does not know `policy` and `madison` say nothing, and end with 0.
    if done.status and arguments[0] != "show":
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise HostError(
            f"apt-cache {' '.join(arguments)} failed: {said[0] if said else 'it said nothing'}",
            "look whether there is room in TMPDIR, and what `sudo apt-get update` says",
        )
    return done.text


def _unknown(name: str) -> UserError:
    known = process.run(
        ["apt-cache", "search", "--names-only", r"^linux-source-[0-9]"], deadline=60, check=False
    ).text
    names = [line.split()[0] for line in known.splitlines() if line.strip()]
    having = f"; it knows {', '.join(names)}" if names else ""
    return UserError(
        f"apt knows no package {name}{having}",
        "run `sudo apt-get update`; if it stays so, use tar:FILE, git:URL#REF or path:DIR",
    )
