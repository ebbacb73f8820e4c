# SPDX-License-Identifier: GPL-2.0-only
"""The mutants of a kernel: all of some functions, or all in the lines that a series brought."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.mutants.ctree import Body, Node, functions
from orchestrator.kernel.mutants.operators import edits
from orchestrator.kernel.source import store
from orchestrator.model.coverage import as_text
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.mutants import LeftOut, Mutant

_GREP_DEADLINE = 300.0
# Where a function is looked for first: what the lab is about.
_NEAR = ("mm", "fs/userfaultfd.c", "include/linux")
_CODE = (".c", ".h")
_NAME = re.compile(r"([^:]+):([0-9]{1,7}):[0-9]{1,7}:[a-z0-9+-]+")
NOT_UNDERSTOOD = "the parser does not understand this: a macro makes something else of it"
NO_FUNCTION = "in no function that the parser knows: declarations, or what a macro defines"


@dataclass(frozen=True)
class Found:
    """Mutants, in the order of the files and of their text, and what was left out."""

    mutants: tuple[Mutant, ...]
    left_out: tuple[LeftOut, ...] = ()


# ---------------------------------------------------------------- in a kernel


def of_functions(names: Sequence[str], tree: KernelTree, cache: Cache) -> Found:
    """All mutants of some functions.

    :param names: each ``NAME`` or ``FILE:NAME``.
    :raises UserError: for one that no file of the kernel defines, or several do.
    """
    wanted: dict[str, list[str]] = {}
    texts: dict[str, bytes] = {}
    for asked in dict.fromkeys(names):
        file, _, name = asked.rpartition(":")
        places = _places(name, os.path.normpath(file) if file else "", tree.tree, cache)
        if not places:
            where = f"{file} of " if file else ""
            raise UserError(
                f"no function {name} is defined in {where}{tree.spec.name} ({tree.version})",
                "name it as in its source, or FILE:NAME",
            )
        if len(places) > 1:
            raise UserError(
                f"{name} is defined in {len(places)} files: {', '.join(sorted(places))}",
                f"say which: {min(places)}:{name}",
            )
        texts.update(places)
        wanted.setdefault(next(iter(places)), []).append(name)
    found = [in_functions(file, texts[file], own) for file, own in sorted(wanted.items())]
    return _joined(found)


def of_series(tree: KernelTree, cache: Cache) -> Found:
    """All mutants in the lines that the series adds or changes."""
    lines: dict[str, dict[int, int]] = {}
    for line in tree.added:
        if line.file.endswith(_CODE):
            lines.setdefault(line.file, {})[line.line] = line.patch
    texts = store.read_files(tree.tree, lines, cache)
    found = [in_lines(file, texts[file], own) for file, own in sorted(lines.items())]
    return _joined(found)


def of_names(names: Sequence[str], tree: KernelTree, cache: Cache) -> Found:
    """Mutants by their names, as a campaign tells them.

    :raises UserError: for one that there is not; the line's others are told.
    """
    lines: dict[str, dict[int, int]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            raise UserError(
                f"{name!r} is no name of a mutant",
                "FILE:LINE:COLUMN:OPERATOR, as `lab mutate --dry-run` lists",
            )
        lines.setdefault(match[1], {})[int(match[2])] = 0
    texts = store.read_files(tree.tree, lines, cache)
    for file in lines:
        if file not in texts:
            raise UserError(f"{tree.spec.name} ({tree.version}) has no file {file}",
                            "name it as in the sources, mm/userfaultfd.c")  # fmt: skip
        last = texts[file].count(b"\n")
        lines[file] = {line: 0 for line in lines[file] if 0 < line <= last}
    there = _joined(in_lines(file, texts[file], own) for file, own in sorted(lines.items()))
    for name in names:
        if all(one.name != name for one in there.mutants):
            place = name.rsplit(":", 2)[0]
            others = [one.name for one in there.mutants if one.name.startswith(f"{place}:")]
            raise UserError(f"there is no mutant {name}",
                            f"on that line: {', '.join(others) or 'none'}")  # fmt: skip
    return Found(tuple(one for one in there.mutants if one.name in names))


def _places(name: str, file: str, tree: str, cache: Cache) -> dict[str, bytes]:
    """The files that define a function, and their text."""
    if not name.isidentifier():
        raise UserError(f"{name!r} is no name of a function", "as in --function move_pages")
    for where in ((file,),) if file else (_NEAR, ()):
        words = ("grep", "-lzw", "-F", "-e", name, tree, "--")
        done = store.git(cache, *words, *(where or ("*.c", "*.h")), deadline=_GREP_DEADLINE,
                         check=False)  # fmt: skip
        paths = [os.fsdecode(one).partition(":")[2] for one in done.stdout.split(b"\0") if one]
        texts = store.read_files(tree, (p for p in paths if p.endswith(_CODE)), cache)
        found = {path: text for path, text in texts.items() if _defines(text, name)}
        if found:
            return found
    return {}


def _defines(text: bytes, name: str) -> bool:
    return any(body.name == name for body in functions(text))


def _joined(found: Iterable[Found]) -> Found:
    parts = tuple(found)
    return Found(
        tuple(one for part in parts for one in part.mutants),
        tuple(one for part in parts for one in part.left_out),
    )


# ---------------------------------------------------------------- in a file


def in_functions(file: str, source: bytes, names: Iterable[str]) -> Found:
    """All mutants of a file's functions of these names."""
    wanted = set(names)
    bodies = [body for body in functions(source) if body.name in wanted]
    mutants = (one for body in bodies for one in _mutants(file, source, body))
    lost = (_lost(file, body, set(range(body.first, body.last + 1))) for body in bodies)
    return Found(tuple(mutants), tuple(one for some in lost for one in some))


def in_lines(file: str, source: bytes, patches: dict[int, int]) -> Found:
    """All mutants in lines of a file.

    :param patches: the number of the patch that brought each line.
    """
    lines, mutants, lost = set(patches), [], []
    bodies = functions(source)
    for body in bodies:
        own = {line for line in lines if body.has(line)}
        if not own:
            continue
        mutants += list(_mutants(file, source, body, patches))
        lost += list(_lost(file, body, own))
    text = source.split(b"\n")
    outside = {
        line for line in lines
        if not any(body.has(line) for body in bodies) and _has_code(text[line - 1])
    }  # fmt: skip
    if outside:
        lost.append(LeftOut(file, "", as_text(outside), NO_FUNCTION))
    return Found(tuple(mutants), tuple(lost))


def _has_code(line: bytes) -> bool:
    """Whether a line is more than a brace, a comment or a preprocessor's."""
    text = line.strip()
    return bool(text.strip(b"{};")) and not text.startswith((b"/*", b"*", b"//", b"#"))


def _mutants(
    file: str, source: bytes, body: Body, patches: dict[int, int] | None = None
) -> Iterator[Mutant]:
    for edit in edits(body.block, source):
        node = edit.node
        patch = 0
        if patches is not None:
            brought = [patches[n] for n in range(node.line, node.last_line + 1) if n in patches]
            if not brought:
                continue
            patch = brought[0]
        yield Mutant(
            f"{file}:{node.line}:{node.column}:{edit.operator}", file, body.name, node.line,
            edit.operator, edit.told, node.start, node.end, edit.text, patch,
        )  # fmt: skip


def _lost(file: str, body: Body, lines: set[int]) -> Iterator[LeftOut]:
    """The lines of a function, of these, that an error of the parser lies in."""
    found: set[int] = set()
    for node in _errors(body.block):
        found.update(range(node.line, node.last_line + 1))
    if found & lines:
        yield LeftOut(file, body.name, as_text(found & lines), NOT_UNDERSTOOD)


def _errors(node: Node) -> Iterator[Node]:
    """The innermost nodes that are errors, and statements that lack a token.

    A macro before a block, as ``list_for_each_entry(...)`` is, lacks its semicolon: nothing is
    planted in that statement itself, everything in the block.
    """
    if not node.broken:
        return
    broken = [one for one in node.children if one.broken]
    if node.kind == "ERROR" or not broken or node.kind == "expression_statement":
        yield node
        return
    for one in broken:
        yield from _errors(one)


# ---------------------------------------------------------------- one mutant


def mutated(mutant: Mutant, source: bytes) -> bytes:
    """A file's text with the fault in it."""
    return source[: mutant.start] + mutant.text.encode() + source[mutant.end :]


def diff_of(mutant: Mutant, source: bytes) -> str:
    """The fault as a patch that git applies."""
    before, after = (
        text.decode(errors="surrogateescape").splitlines(keepends=True)
        for text in (source, mutated(mutant, source))
    )
    names = (f"a/{mutant.file}", f"b/{mutant.file}")
    text = "".join(difflib.unified_diff(before, after, *names))
    return text.encode(errors="surrogateescape").decode(errors="replace")
