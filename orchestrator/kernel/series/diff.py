# SPDX-License-Identifier: GPL-2.0-only
"""Unified diffs: find one in a text, and take it apart into files and hunks.

Pure and lenient: git decides what applies; this only has to point at the right place afterwards.
Format: git-diff(1) "Generating patch text with -p", diffutils "Detailed Unified".
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_EXTENDED = re.compile(
    rb"(?:old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename from"
    rb"|rename to|similarity index|dissimilarity index|index) "
)
_INDEX = re.compile(rb"index ([0-9a-f]{7,64})\.\.([0-9a-f]{7,64})")
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
        return tuple(
            line[1:].rstrip(b"\r")
            for line in self.text.split(b"\n")[1:-1]
            if not line or line[:1] in (b" ", b"-")
        )


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
    if re.search(rb"^(?:diff --git|\+\+\+) [^\n]*\r\n", text, re.MULTILINE):
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


def _spans(lines: list[bytes]) -> list[tuple[str, int, int]]:
    """Give (kind, start, end) of every stretch of lines that belongs to a diff, in order."""
    spans: list[tuple[str, int, int]] = []
    at, header = 0, False
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if line.startswith(b"diff --git "):
            kind, header = "git", True
        elif header and _EXTENDED.match(line):
            kind = "extended"
        elif header and line.startswith((b"GIT binary patch", b"Binary files ")):
            kind = "binary"
            if line.startswith(b"GIT"):
                end = _binary_end(lines, end)
        elif line.startswith(b"--- ") and lines[end : end + 1] and lines[end][:4] == b"+++ ":
            kind, end, header = "names", at + 2, True
        elif header and _HUNK.match(line):
            kind, end = "hunk", _hunk_end(lines, at)
        else:
            at += 1
            continue
        spans.append((kind, at, end))
        at = end
    # "--- x" over "+++ y" in prose is no diff unless a hunk follows.
    return spans if any(kind != "names" for kind, _, _ in spans) else []


def _hunk_end(lines: list[bytes], at: int) -> int:
    match = _HUNK.match(lines[at])
    assert match
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
    text = _unquote(name if name.startswith(b'"') else name.split(b"\t")[0])
    if text == "/dev/null":
        return None
    return text.partition("/")[2] or text


def _git_names(line: bytes) -> tuple[str | None, str | None]:
    """Read both names of ``diff --git a/x b/x``: certain only where the two are equal."""
    rest = line[len(b"diff --git ") :].rstrip(b"\r")
    if rest.startswith(b'"') or rest.endswith(b'"'):
        parts = re.findall(rb'"(?:[^"\\]|\\.)*"|\S+', rest)
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
