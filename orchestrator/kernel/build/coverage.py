# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that counts what of it ran: which C files, make's words, the compiler's notes.

With CONFIG_GCOV_KERNEL a file is compiled to count where Kbuild's ``GCOV_PROFILE`` is not n for it
(scripts/Makefile.lib, v6.12).  Names alone would not do there: ``GCOV_PROFILE_memory.o`` is also
that of arch/x86/boot/memory.c, which runs before there is anything to count with.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator.host.archive import reproducible
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source import store
from orchestrator.model.arch import Arch
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import ConfigSpec

#: How a file that counts is compiled, whichever kernel it is of.  Early inlining would take small
#: functions apart before they are given counts, and drop what their callers make dead.  Two CPUs
#: that lose a count of each other make lines run that never did, since gcc counts some branches
#: only and works out the others (gcc 12, -fprofile-update; as Makefile has it since v6.17).
FLAGS = (
    "-fprofile-arcs", "-ftest-coverage", "-fno-tree-loop-im", "-fprofile-update=prefer-atomic",
    "-fno-early-inlining",
)  # fmt: skip

#: The archive, beside the image in a kept build: a note (.gcno) for each file that is counted.
ARCHIVE = "coverage.tar.xz"


def counted(config: ConfigSpec, tree: KernelTree, cache: Cache) -> tuple[str, ...]:
    """The C files that are compiled to count: the config's, and those that the series touches.

    Empty for a config without ``coverage``; sorted.
    """
    if not config.coverage:
        return ()
    names = [name for name in store.file_names(tree.tree, cache) if name.endswith(".c")]
    chosen = {name for name in names if fits(name, config.coverage)}
    # A tree that is set beside a far one touches thousands; a series touches what it is about.
    chosen.update(set(tree.touched_files) & set(names) if tree.patches else ())
    return tuple(sorted(chosen))


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file is one of those; a star stands within one folder, as in a shell."""
    return any(
        fnmatchcase(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns
    )


def make_words(files: Iterable[str], arch: Arch) -> tuple[str, ...]:
    """What make is told so that these files and no others count, by :data:`FLAGS` and the arch's.

    Nothing without any.  ``$@`` is the object that is just compiled.
    """
    objects = " ".join(f"{name.removesuffix('.c')}.o" for name in files)
    if not objects:
        return ()
    chosen = f"GCOV_PROFILE=$(if $(filter {objects},$@),y,n)"
    return (chosen, f"CFLAGS_GCOV={' '.join((*FLAGS, *arch.gcov_flags))}")


def problem(config: ConfigSpec, dotconfig: Mapping[str, str], files: Collection[str]) -> str:
    """Why a kernel that came out so counts nothing though it was asked to; empty: it does.

    :param files: what :func:`counted` gave.
    """
    if config.coverage and not files:
        return (
            f"not compiled: no file of this tree fits the `coverage` of config {config.name}, "
            f"{', '.join(config.coverage)}"
        )
    if not config.coverage or dotconfig.get("GCOV_KERNEL") == "y":
        return ""
    return (
        f"not compiled: config {config.name} has `coverage`, and CONFIG_GCOV_KERNEL came out n; "
        "add the fragment coverage, or leave `coverage` out"
    )


def pack(objects: Path, files: Iterable[str], work: Path) -> None:
    """Pack the notes of what was compiled as :data:`ARCHIVE` in ``work``.

    A file that the config leaves out has none.

    :param objects: the build folder.
    """
    with tarfile.open(work / ARCHIVE, "w:xz", preset=1) as archive:
        for name in files:
            note = objects / f"{name.removesuffix('.c')}.gcno"
            if note.is_file():
                archive.add(note, str(note.relative_to(objects)), filter=reproducible)
