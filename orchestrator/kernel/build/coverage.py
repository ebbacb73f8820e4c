# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that counts what of it ran: which C files, make's words, the compiler's notes.

With CONFIG_GCOV_KERNEL a file is compiled to count where Kbuild's ``GCOV_PROFILE`` is not n for it
(scripts/Makefile.lib, v6.12).  Names alone would not do there: ``GCOV_PROFILE_memory.o`` is also
that of arch/x86/boot/memory.c, which runs before there is anything to count with.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from orchestrator.host.archive import reproducible
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import chosen
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
    names = chosen.c_files(tree, cache)
    found = chosen.fitting(names, config.coverage)
    # A tree that is set beside a far one touches thousands; a series touches what it is about.
    found.update(set(tree.touched_files) & set(names) if tree.patches else ())
    return tuple(sorted(found))


def make_words(files: Iterable[str], arch: Arch) -> tuple[str, ...]:
    """What make is told so that these files and no others count, by :data:`FLAGS` and the arch's.

    Nothing without any.
    """
    counts = chosen.where_compiled(files, "y", "n")
    if not counts:
        return ()
    return (f"GCOV_PROFILE={counts}", f"CFLAGS_GCOV={' '.join((*FLAGS, *arch.gcov_flags))}")


def problem(config: ConfigSpec, dotconfig: Mapping[str, str], files: Collection[str]) -> str:
    """Why a kernel that came out so counts nothing though it was asked to; empty: it does.

    :param files: what :func:`counted` gave.
    """
    return chosen.problem(config.name, "coverage", config.coverage, "GCOV_KERNEL", dotconfig, files)


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
