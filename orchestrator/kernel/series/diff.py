# SPDX-License-Identifier: GPL-2.0-only
"""Unified diffs: find one in a text, and take it apart into files and hunks.

Pure and lenient: git decides what applies; this only has to point at the right place afterwards.
Format: git-diff(1) "Generating patch text with -p", diffutils "Detailed Unified".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Python reads no number of over 4,300 digits, and no file has as many lines.
_HUNK = re.compile(rb"@@ -(\d{1,18})(?:,(\d{1,18}))? \+(\d{1,18})(?:,(\d{1,18}))? @@")
_EXTENDED = re.compile(
    rb"(?:old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename from"
    rb"|rename to|rename old|rename new|similarity index|dissimilarity index|index) "
)
_INDEX = re.compile(rb"index ([0-9a-f]{7,64})\.\.([0-9a-f]{7,64})")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
# GNU diff separates a time stamp by a tab; mailers make blanks of tabs.
_TIME = re.compile(rb"(?<=\S)\s{1,80}\d{4}-\d\d-\d\d[ T]\d\d:\d\d[\d:.]*(?: ?[+-]\d{4}| ?Z)?$")
# The prefixes that git gives, and those of diff.mnemonicPrefix.
_PREFIXED = re.compile(rb'^diff --git "?[abiwco]/', re.MULTILINE)
_MERGED = re.compile(rb"^diff --(?:cc|combined) [^\n]*\n(?:[^\n]+\n){0,12}?@@@", re.MULTILINE)
_STARS = re.compile(rb"^\*\*\* [^\n]+\n--- [^\n]+\n\*{15}", re.MULTILINE)
_ESCAPES = {
    "a": b"\a", "b": b"\b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v",
    '"': b'"', "\\": b"\\",
}  # fmt: skip


@dataclass(frozen=True)
class Hunk:
    """One hunk: its ranges as the header states them, and its text, header line included."""

    old_start: int
    old_lines: int
    new_start: int
    new_lines: int
    text: bytes

    @property
    def preimage(self) -> tuple[bytes, ...]:
        """The lines that the file must have: context and removed ones, without line ends."""
        return tuple(line.text.rstrip(b"\r") for line in self.lines() if line.sign in (b" ", b"-"))

    def lines(self) -> Iterator[HunkLine]:
        """Its lines with their numbers, as its header has them; an empty one is context."""
        old, new = self.old_start, self.new_start
        for line in self.text.split(b"\n")[1:-1]:
            sign = line[:1] or b" "
            yield HunkLine(sign, old, new, line[1:])
            old += sign in b" -"
            new += sign in b" +"


@dataclass(frozen=True)
class HunkLine:
    """A line of a hunk: its ``sign``, and its ``text`` without that.

    The sign is a blank, ``-``, ``+``, or the backslash of the remark that a line end is missing.

    ``old`` and ``new`` count the file's lines before and after: of the side that has not got the
    line it is the next one's number.
    """

    sign: bytes
    old: int
    new: int
    text: bytes


@dataclass(frozen=True)
class FileDiff:
    """One file's part: names without the ``a/``, ``b/`` part; None stands for ``/dev/null``.

    ``old_blob`` is the abbreviated id of the content the diff was made from ("" where not told).
    """

    old: str | None
    new: str | None
    old_blob: str
    hunks: tuple[Hunk, ...]

    @property
    def name(self) -> str:
        """The file's name: the new one unless the file is deleted."""
        return self.new or self.old or ""


def extract(text: bytes) -> bytes:
    """Cut the diff out of a text: from its first header to its last line; empty where none is.

    Line ends are CRLF in the result only where the diff's own headers are not: a header line that
    ends with CR shows that the transport put them everywhere.
    """
    if b"\r\n" in text and re.search(rb"^(?:diff --git|\+\+\+) [^\n]*\r\n", text, re.MULTILINE):
        text = text.replace(b"\r\n", b"\n")
    lines = text.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    spans = list(_spans(lines))
    if not spans:
        return b""
    return b"\n".join(lines[spans[0][1] : spans[-1][2]]) + b"\n"


def parse(text: bytes) -> tuple[FileDiff, ...]:
    """Take a diff apart; what is no part of one is skipped."""
    lines = text.split(b"\n")
    files: list[FileDiff] = []
    old: str | None = None
    new: str | None = None
    blob, open_file = "", False
    hunks: list[Hunk] = []

    def close() -> None:
        if open_file:
            files.append(FileDiff(old, new, blob, tuple(hunks)))
        hunks.clear()

    for kind, start, end in _spans(lines):
        line = lines[start]
        if kind == "git":
            close()
            old, new = _git_names(line)
            blob, open_file = "", True
        elif kind == "extended":
            match = _INDEX.match(line)
            if match:
                blob = match[1].decode()
            elif line.startswith(b"new file mode"):
                old = None
            elif line.startswith(b"deleted file mode"):
                new = None
            elif line.startswith((b"rename from ", b"copy from ")):
                old = _unquote(line.split(b" from ", 1)[1])
            elif line.startswith((b"rename to ", b"copy to ")):
                new = _unquote(line.split(b" to ", 1)[1])
        elif kind == "names":
            if hunks or not open_file:
                close()
                blob, open_file = "", True
            old, new = _side(line), _side(lines[start + 1])
        elif kind == "hunk":
            match = _HUNK.match(line)
            if match:
                a, b, c, d = (int(value or 1) for value in match.groups())
                hunks.append(Hunk(a, b, c, d, b"\n".join(lines[start:end]) + b"\n"))
    close()
    return tuple(files)


def foreign(text: bytes) -> str:
    """Name the kind of diff in a text that ``git apply`` passes over in silence; "" for none."""
    if b"@@@" in text and _MERGED.search(text):
        return "a combined diff of a merge (diff --cc)"
    if b"\n***************" in text and _STARS.search(text):
        return "a context diff"
    return ""


def rooted(patch: bytes, *, always: bool = False) -> bytes:
    """Give the names of a diff made with ``--no-prefix`` the ``a/`` and ``b/`` of others.

    Only a header of git tells: ``diff --git mm/x.c mm/x.c``.  With ``always`` (quilt's ``-p0``) it
    is done whatever stands there.  ``git apply`` would take off the first folder instead.
    """
    if not always and (_PREFIXED.search(patch) or not patch.startswith(b"diff --git ")):
        return patch
    lines = patch.split(b"\n")
    spans = list(_spans(lines))
    for number, (kind, at, _) in enumerate(spans):
        if kind == "names":
            lines[at] = _with_prefix(lines[at], 4, b"a/")
            lines[at + 1] = _with_prefix(lines[at + 1], 4, b"b/")
        elif kind == "git":
            names = _full_names(lines, at, spans[number + 1 :])
            if names is None:
                return patch
            lines[at] = b"diff --git " + b" ".join(
                _with_prefix(name, 0, prefix)
                for name, prefix in zip(names, (b"a/", b"b/"), strict=True)
            )
    return b"\n".join(lines)


def _full_names(
    lines: list[bytes], at: int, behind: Sequence[tuple[str, int, int]]
) -> tuple[bytes, bytes] | None:
    """Give both names of a git header where they have no prefix; None where they may have one."""
    rest = lines[at][len(b"diff --git ") :]
    half = (len(rest) - 1) // 2
    if rest[:half] == rest[half + 1 :]:
        return rest[:half], rest[half + 1 :]
    told: dict[bytes, bytes] = {}
    for kind, start, _ in behind:
        if kind != "extended":
            break
        if match := re.match(rb"(?:rename|copy) (from|to) (.+)", lines[start]):
            told[match[1]] = match[2]
    old, new = told.get(b"from", b""), told.get(b"to", b"")
    return (old, new) if rest == old + b" " + new else None


def _with_prefix(line: bytes, at: int, prefix: bytes) -> bytes:
    if line[at:].split(b"\t")[0].rstrip() == b"/dev/null":
        return line
    at += line[at : at + 1] == b'"'
    return line[:at] + prefix + line[at:]


def _spans(lines: list[bytes]) -> list[tuple[str, int, int]]:
    """Give (kind, start, end) of every stretch of lines that belongs to a diff, in order.

    What begins one is what ``git apply`` takes for its beginning: names with a hunk below them, or
    git's header with a line below it that belongs to it.  Prose has neither.
    """
    spans: list[tuple[str, int, int]] = []
    at, header, seen = 0, False, False
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if line.startswith(b"diff --git ") and _git_goes_on(lines, end):
            kind, header, seen = "git", True, True
        elif header and _EXTENDED.match(line):
            kind = "extended"
        elif header and line.startswith((b"GIT binary patch", b"Binary files ")):
            kind = "binary"
            if line.startswith(b"GIT"):
                end = _binary_end(lines, end)
        elif _are_names(lines, at, header):
            kind, end, header, seen = "names", at + 2, False, True
        elif seen and line.startswith(b"@@ -"):
            # Wherever it stands: git tells what is wrong around it.
            kind, end, header = "hunk", _hunk_end(lines, at), False
        else:
            at += 1
            header = False
            continue
        spans.append((kind, at, end))
        at = end
    return spans


def _git_goes_on(lines: list[bytes], at: int) -> bool:
    return at < len(lines) and (
        bool(_EXTENDED.match(lines[at]))
        or lines[at].startswith((b"GIT binary patch", b"Binary files ", b"@@ -"))
        or _are_names(lines, at, True)
    )


def _are_names(lines: list[bytes], at: int, in_header: bool) -> bool:
    return (
        lines[at].startswith(b"--- ")
        and lines[at + 1 : at + 2] != []
        and lines[at + 1].startswith(b"+++ ")
        and (in_header or (lines[at + 2 : at + 3] != [] and lines[at + 2].startswith(b"@@ -")))
    )


def _hunk_end(lines: list[bytes], at: int) -> int:
    match = _HUNK.match(lines[at])
    if not match:
        return at + 1
    old, new = int(match[2] or 1), int(match[4] or 1)
    at += 1
    while at < len(lines) and (old > 0 or new > 0):
        sign = lines[at][:1]
        if sign in (b" ", b"", b"-"):
            old -= 1
        if sign in (b" ", b"", b"+"):
            new -= 1
        if sign not in (b" ", b"", b"-", b"+", b"\\"):
            # Cut or mangled: keep the line, so that git sees (and reports) the damage too.
            return at + 1
        at += 1
    while at < len(lines) and lines[at][:2] == b"\\ ":
        at += 1
    return at


def _binary_end(lines: list[bytes], at: int) -> int:
    while at < len(lines) and re.match(rb"(?:literal|delta) \d+$", lines[at]):
        at += 1
        while at < len(lines) and lines[at]:
            at += 1
        at += 1
    return min(at, len(lines))


def _side(line: bytes) -> str | None:
    """Read a name from a ``---`` or ``+++`` line: no timestamp, first component stripped."""
    name = line[4:].rstrip(b"\r")
    quoted = _QUOTED.match(name)
    text = _unquote(quoted[0] if quoted else _TIME.sub(b"", name.split(b"\t")[0]))
    if text == "/dev/null":
        return None
    return text.partition("/")[2] or text


def _git_names(line: bytes) -> tuple[str | None, str | None]:
    """Read both names of ``diff --git a/x b/x``: certain only where the two are equal."""
    rest = line[len(b"diff --git ") :].rstrip(b"\r")
    if rest.startswith(b'"') or rest.endswith(b'"'):
        parts = re.findall(_QUOTED.pattern + rb"|\S+", rest)
        if len(parts) != 2:
            return None, None
        first, second = (_unquote(part).partition("/")[2] for part in parts)
        return first, second
    half = (len(rest) - 1) // 2
    first, second = (
        os.fsdecode(part).partition("/")[2] for part in (rest[:half], rest[half + 1 :])
    )
    if first == second:
        return first, second
    parts = rest.split(b" ")
    return os.fsdecode(parts[0]).partition("/")[2], os.fsdecode(parts[-1]).partition("/")[2]


def _unquote(name: bytes) -> str:
    """Undo git's C-style quoting of unusual names."""
    if not (name.startswith(b'"') and name.endswith(b'"') and len(name) > 1):
        return os.fsdecode(name)

    def decode(match: re.Match[bytes]) -> bytes:
        code = match[1].decode("latin-1")
        return _ESCAPES.get(code) or bytes([int(code, 8) & 0xFF])

    return os.fsdecode(re.sub(rb'\\([abfnrtv"\\]|[0-7]{1,3})', decode, name[1:-1]))
