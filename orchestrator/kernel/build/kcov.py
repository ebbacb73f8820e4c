# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that tells a task what of it the task runs: which C files do, and make's words.

With CONFIG_KCOV a file is traced where Kbuild's ``KCOV_INSTRUMENT`` says y for it and its
``KCOV_INSTRUMENT_FILE.o`` does not say n (scripts/Makefile.lib, v6.12).  As a word on make's
command line it holds in all folders, so it asks for the object that is just compiled; what a
Makefile says of one file stays: mm/Makefile has n for slub.c, page_alloc.c, memcontrol.c and others
that run for everybody, at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import chosen
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import ConfigSpec


def traced(config: ConfigSpec, tree: KernelTree, cache: Cache) -> tuple[str, ...]:
    """The C files that are compiled to tell what of them runs; empty for a config without ``kcov``.

    Those of a series are not put in besides: code that runs before there is a task, or that KCOV
    itself calls, must not be traced.
    """
    if not config.kcov:
        return ()
    return tuple(sorted(chosen.fitting(chosen.c_files(tree, cache), config.kcov)))


def make_words(files: Iterable[str]) -> tuple[str, ...]:
    """What make is told so that these files and no others tell; nothing without any."""
    tells = chosen.where_compiled(files, "y")
    return (f"KCOV_INSTRUMENT={tells}",) if tells else ()


def problem(config: ConfigSpec, dotconfig: Mapping[str, str], files: Collection[str]) -> str:
    """Why a kernel that came out so tells nothing though it was asked to; empty: it does.

    :param files: what :func:`traced` gave.
    """
    return chosen.problem(config.name, "kcov", config.kcov, "KCOV", dotconfig, files)
