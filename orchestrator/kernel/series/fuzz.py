# SPDX-License-Identifier: GPL-2.0-only
"""Hunks whose context has changed a little: where patch(1) would put them, as an exact diff.  Pure.

A hunk is looked for near where it says it is, with all of its context; else without the outermost
line of it at either end, else without two (patch(1) ``--fuzz``, default 2).  What comes out says
what the file really has there, so that ``git apply``, which knows no fuzz, still does the work and
has the last word.  Other than patch(1), a hunk never goes where only blank lines speak for it, and
hunks never meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.kernel.series import diff
from orchestrator.model.kernel import BentHunk

MOST_FUZZ = 2  # lines of context at either end, as patch(1) ignores by default


def bend(
    text: bytes, read: Callable[[str], bytes | None]
) -> tuple[bytes, tuple[BentHunk, ...]] | None:
    """Rewrite a diff so that each of its hunks is exact; None where one fits nowhere.

    Gives the diff, and the hunks that were moved or lost context, in order.

    :param read: gives a file's content as it is now, None where there is none.
    """
    out: list[bytes] = []
    bent: list[BentHunk] = []
    at = 0
    for file in diff.parse(text):
        content = read(file.old) if file.old and file.hunks else None
        if content is None:
            continue  # new, binary, only renamed: nothing to bend
        placed = _place(file, content)
        if placed is None:
            return None
        for hunk, place in zip(file.hunks, placed, strict=True):
            found = text.index(hunk.text, at)
            out += [text[at:found], place.text]
            at = found + len(hunk.text)
            if place.offset or place.fuzz:
                bent.append(BentHunk(file.name, header(hunk), place.offset, place.fuzz))
    return b"".join([*out, text[at:]]), tuple(bent)


def misplaced(text: bytes, read: Callable[[str], bytes | None]) -> tuple[tuple[str, str], ...]:
    """Name (file, header) of the hunks that stand nowhere as they are, with all their context."""
    return tuple(
        (file.name, header(hunk))
        for file in diff.parse(text)
        for content in [(read(file.old) if file.old else None) or b""]
        for lines in [_lines(content)]
        for where in [_index(lines)]
        for hunk in file.hunks
        if _find(_Pattern.of(hunk), lines, where, hunk.old_start, 0, 0, 0) is None
    )


def header(hunk: diff.Hunk) -> str:
    """A hunk's first line, with the function that it names."""
    return hunk.text.partition(b"\n")[0].decode(errors="replace").rstrip("\r")


# ---------------------------------------------------------------- one file


@dataclass(frozen=True)
class _Pattern:
    """A hunk's lines as (sign, text); ``before`` and ``after`` count its outer context lines."""

    lines: tuple[tuple[bytes, bytes], ...]
    before: int
    after: int

    @classmethod
    def of(cls, hunk: diff.Hunk) -> _Pattern:
        raw = hunk.text.split(b"\n")[1:-1]
        lines = tuple((line[:1] or b" ", line[1:]) for line in raw)
        signs = [sign for sign, _ in lines if sign != b"\\"]
        changed = [n for n, sign in enumerate(signs) if sign != b" "]
        if not changed:
            return cls(lines, len(signs), len(signs))
        return cls(lines, changed[0], len(signs) - 1 - changed[-1])

    @property
    def old(self) -> list[bytes]:
        """What the file must have."""
        return [text for sign, text in self.lines if sign in (b" ", b"-")]


@dataclass(frozen=True)
class _Placed:
    text: bytes
    offset: int
    fuzz: int


def _place(file: diff.FileDiff, content: bytes) -> list[_Placed] | None:
    lines = _lines(content)
    where = _index(lines)
    placed: list[_Placed] = []
    moved, free, grown = 0, 0, 0  # the last hunk's offset, the next free line, lines added so far
    for hunk in file.hunks:
        pattern = _Pattern.of(hunk)
        old = pattern.old
        if len(old) != hunk.old_lines:
            return None  # cut or mangled: git tells what is wrong
        context = max(pattern.before, pattern.after)
        for fuzz in range(min(MOST_FUZZ, context) + 1):
            # The longer end goes first: the shorter one stands for an end of the file.
            before, after = (fuzz - context + n for n in (pattern.before, pattern.after))
            guess = hunk.old_start - (0 if old else -1) + moved
            at = _find(pattern, lines, where, guess, before, after, free)
            if at is not None:
                break
        else:
            return None
        first = hunk.old_start if old else hunk.old_start + 1
        moved = at + 1 - first
        free = at + len(old)
        text = _written(pattern, hunk, lines, at, max(0, before), max(0, after), grown)
        grown += sum({b"+": 1, b"-": -1}.get(sign, 0) for sign, _ in pattern.lines)
        placed.append(_Placed(text, moved, fuzz))
    return placed


def _find(
    pattern: _Pattern,
    lines: list[bytes],
    where: Mapping[bytes, list[int]],
    guess: int,
    before: int,
    after: int,
    free: int,
) -> int | None:
    """The place (from 0) nearest to line ``guess`` (from 1) where the hunk stands.

    ``before`` and ``after`` are how many lines of context are ignored; less than none is asked of
    an end that has less context than the other: there it can only be the file's own.
    """
    old = pattern.old
    wanted = old[max(0, before) : len(old) - max(0, after)]
    least = max(free, 0)
    most = len(lines) - (len(old) - max(0, after))
    if not old:
        at = guess - 1
        return at if least <= at <= len(lines) else None
    speaking = [line for line in wanted if line.strip()]
    if not speaking:
        return None
    anchor = min(speaking, key=lambda line: len(where.get(line, ())))
    shift = max(0, before) + wanted.index(anchor)
    starts = (line - shift for line in where.get(anchor, ()))
    skipped = max(0, before)
    # At equal distances patch(1) looks below first.
    for at in sorted(starts, key=lambda at: (abs(at - guess + 1), at < guess - 1)):
        if (
            least <= at <= most
            and (before >= 0 or guess > 1 or at == 0)
            and (after >= 0 or at == most)
            and lines[at + skipped : at + skipped + len(wanted)] == wanted
        ):
            return at
    return None


def _written(
    pattern: _Pattern,
    hunk: diff.Hunk,
    lines: list[bytes],
    at: int,
    before: int,
    after: int,
    grown: int,
) -> bytes:
    """The hunk as it would have been made from this file at this place (from 0)."""
    out: list[bytes] = []
    olds = len(pattern.old)
    seen = gone = 0
    for sign, text in pattern.lines:
        if sign in (b" ", b"-"):
            number = at + seen
            seen += 1
            if seen <= before or seen > olds - after:
                if number >= len(lines):  # context that lay behind the file's end
                    gone += 1
                    continue
                text = lines[number]
        out.append(sign + text)
    if gone and out and out[-1].startswith(b"\\"):
        out.pop()
    old = olds - gone
    new = sum(line[:1] in (b" ", b"+") for line in out)
    start = at + 1 if old else at
    tail = hunk.text.partition(b"\n")[0].split(b"@@", 2)[-1]
    to = at + grown + (1 if new else 0)
    return b"\n".join([b"@@ -%d,%d +%d,%d @@" % (start, old, to, new) + tail, *out, b""])


def _lines(content: bytes) -> list[bytes]:
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _index(lines: list[bytes]) -> dict[bytes, list[int]]:
    where: dict[bytes, list[int]] = {}
    for number, line in enumerate(lines):
        where.setdefault(line, []).append(number)
    return where
