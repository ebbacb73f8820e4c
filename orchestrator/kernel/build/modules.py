# SPDX-License-Identifier: GPL-2.0-only
"""A kernel's modules, where its config asks for them: built, installed, packed for a guest."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.archive import reproducible
from orchestrator.host.walls import Around
from orchestrator.model.errors import HostError
from orchestrator.model.spec import ConfigSpec

#: What Kbuild calls the target (Makefile of the kernel, v6.12).
TARGET = "modules"
#: The archive, beside the image in a kept build: files below /lib/modules.
ARCHIVE = "modules.tar.xz"
DEADLINE = 600.0
# Kbuild links the two to the folders of this host (Makefile, modules_install).
_LINKS = ("build", "source")


def targets(config: ConfigSpec) -> tuple[str, ...]:
    """What make is asked for besides the image."""
    return (TARGET,) if config.modules else ()


def problem(config: ConfigSpec, dotconfig: Mapping[str, str]) -> str:
    """Why a kernel that came out so has no modules though they were asked for; empty: it has."""
    if not config.modules or dotconfig.get("MODULES") == "y":
        return ""
    return (
        f"not compiled: config {config.name} has `modules: true`, and CONFIG_MODULES came out n; "
        "put CONFIG_MODULES=y into a fragment, or leave `modules` out"
    )


def pack(command: Sequence[str], work: Path, log: Path, walls_of: Callable[[Path], Around]) -> None:
    """Install the built modules into ``work`` and pack them as :data:`ARCHIVE` there.

    They are stripped of debug information, which no guest needs; their list of dependencies is made
    in the guest, so that this host needs no depmod.

    :param command: make with all but its target.
    :param walls_of: gives the walls of a command that writes to this folder.
    :raises HostError: when make does not install them, or the disk is full.
    """
    root = work / "modules"
    root.mkdir()
    around = walls_of(root)
    words = (f"INSTALL_MOD_PATH={root}", "INSTALL_MOD_STRIP=1", "DEPMOD=true")
    done = process.run(
        [*command, *words, "modules_install"], deadline=DEADLINE, log=log, check=False,
        env=around.env, around=around.words,
    )  # fmt: skip
    if done.status != 0:
        raise HostError("make modules_install failed", f"see {log}")
    top = root / "lib/modules"
    with tarfile.open(work / ARCHIVE, "w:xz", preset=1) as archive:
        for path in sorted(top.rglob("*")):
            inside = path.relative_to(top)
            if path.is_dir() or (len(inside.parts) == 2 and inside.name in _LINKS):
                continue
            archive.add(path, str(inside), filter=reproducible)
