# SPDX-License-Identifier: GPL-2.0-only
"""Why a kernel that was built anew is another image than the one of an earlier run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from orchestrator.model.formats import parse_dotconfig, unequal_symbols
from orchestrator.model.kernel import BuildResult
from orchestrator.model.results import BuildRecord

_DIGITS = 12
#: So many symbols are named.
_SYMBOLS = 5


def what_differs(then: BuildRecord, folder: Path, sources: str, now: BuildResult, tree: str) -> str:
    """What a kernel is made of, as far as the two differ, and what of it cannot be known any more.

    With a fixed user, host, time and path names the same sources, symbols and programs make the
    same image (Documentation/kbuild/reproducible-builds.rst at v6.12).

    :param folder: the earlier run's, which has its ``.config``.
    :param sources: the git tree of its sources; empty where it was not kept.
    :param tree: that of the sources by now.
    """
    found = [*_sources(sources, tree), *_compiler(then, now), *_symbols(then, folder, now)]
    return ", ".join(found) or (
        "sources, compiler and .config are as they were, so assembler, linker or other programs "
        "of the host are not"
    )


def _sources(then: str, now: str) -> Iterator[str]:
    if then and now and then != now:
        yield f"sources (tree {then[:_DIGITS]} then, {now[:_DIGITS]} now)"
    elif not (then and now):
        yield "perhaps sources (of one of the two nothing is known)"


def _compiler(then: BuildRecord, now: BuildResult) -> Iterator[str]:
    if then.compiler and now.compiler and then.compiler != now.compiler:
        yield f"compiler ({then.compiler} then, {now.compiler} now)"


def _symbols(then: BuildRecord, folder: Path, now: BuildResult) -> Iterator[str]:
    before = _read(folder / then.kernel_config if then.kernel_config else None)
    after = _read(now.kernel_config)
    if before is None or after is None:
        yield "perhaps .config (of one of the two there is none any more)"
        return
    names = [name for name, _ in unequal_symbols((before, after))]
    if names:
        told = ", ".join(islice(names, _SYMBOLS))
        more = f" and {len(names) - _SYMBOLS} more" if len(names) > _SYMBOLS else ""
        yield f".config ({told}{more})"


def _read(path: Path | None) -> dict[str, str] | None:
    try:
        return None if path is None else parse_dotconfig(path.read_text(errors="replace"))
    except OSError:
        return None
