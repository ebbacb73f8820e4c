# SPDX-License-Identifier: GPL-2.0-only
"""Mailboxes: where each mail of a file begins and ends, and what its ``From `` lines mean.

Pure, and linear in the size of the file.  A mailbox has no grammar that all its writers keep to
(RFC 4155, appendix A), so a line that begins with "From " separates two mails only where what
stands around it says so too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# git-mailsplit(1) tells a separator from prose by a year right behind a time; a zone may stand
# between them (Google Takeout, MMDF).
_DATED = re.compile(rb"\d:\d\d(?::\d\d)?(?: (?:[A-Z]{1,5}|[+-]\d{4})){0,2} (?:19|20)\d\d(?!\d)")
# RFC 5322, 2.2 and 4.5.8: a name of printable characters, and white space before an old colon.
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_BLANK_LINES = re.compile(rb"(?:[ \t\r\f\v]*\n)*")
_END_OF_HEAD = re.compile(rb"\n[ \t\r]*\n")
# Where a block of lines begins that may be the head of a mail.
_BLOCK = re.compile(rb"\n[ \t\r]*\n(?:From [^\n]*\n)?(?=[A-Za-z][A-Za-z0-9-]*:[ \t])")
_CHANGE = re.compile(
    rb"\n(?:@@ -\d|GIT binary patch|(?:old|new|new file|deleted file) mode \d|rename from )"
)
_MAIL_FIELDS = {
    b"from", b"subject", b"date", b"message-id", b"to", b"cc", b"received", b"return-path",
    b"mime-version", b"content-type", b"delivered-to", b"in-reply-to",
}  # fmt: skip
# As mboxrd and mboxo quote it.  git's own separator stays quoted: git mailinfo skips it so.
_QUOTED = re.compile(rb"^>(>*From )(?![0-9a-f]{40,64} Mon Sep 17 )", re.MULTILINE)
_OLD_SEPARATORS = re.compile(rb"\A(?:>From [^\n]*(?:\n|\Z))+")
_PARTS = re.compile(
    rb"^content-type[ \t]*:[ \t]*(?:\r?\n[ \t]+)?(?:message|multipart)/", re.I | re.MULTILINE
)
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Box:
    """A file's mails, cut out one at a time: ``spans`` are their (start, end) in ``data``.

    ``separated`` tells that the file is a mailbox, so that ``From `` lines are quoted in it.
    """

    data: bytes
    spans: tuple[tuple[int, int], ...]
    separated: bool

    def __len__(self) -> int:
        return len(self.spans)

    def __iter__(self) -> Iterator[bytes]:
        for start, end in self.spans:
            part = self.data[start:end]
            if part.startswith(b">From "):  # a separator that some other program quoted
                part = _OLD_SEPARATORS.sub(b"", part, count=1)
            if self.separated and b">From " in part:
                part = _QUOTED.sub(rb"\1", part)
            yield part


def split(data: bytes) -> Box:
    """Tell a file's mails apart; what is neither mailbox nor mail is one part, as a bare diff is.

    In a file that is no mailbox a further mail begins where the head of one stands behind a change,
    and text before the first head that holds no change is dropped.
    """
    start = len(_BOM) if data.startswith(_BOM) else 0
    blank = _BLANK_LINES.match(data, start)
    start = blank.end() if blank else start
    if _opens_mailbox(data, start):
        return _separated(data, start, [])
    if not is_mail(data, start):
        first = next(_separators(data, start), None)
        if first is not None:
            lost = _CHANGE.search(data, max(0, start - 1), first) is None
            return _separated(data, first, [] if lost else [(start, first)])
    # What a mail of several parts holds is told apart when it is decoded.
    head = data[start : start + (1 << 16)]
    cuts = [start] if has_parts(head[: head_end(head)]) else heads(data, start)
    return Box(data, tuple(zip(cuts, [*cuts[1:], len(data)], strict=True)), separated=False)


def _separated(data: bytes, first: int, before: list[tuple[int, int]]) -> Box:
    marks = [first, *_separators(data, first)]
    spans = [
        (_line_end(data, mark), end)
        for mark, end in zip(marks, [*marks[1:], len(data)], strict=True)
    ]
    return Box(data, (*before, *spans), separated=True)


def is_mail(data: bytes, start: int = 0) -> bool:
    """Tell whether a head of a mail begins here: lines of ``Name: value``, one of a mail's names.

    A Debian patch header (DEP-3: Description, Author, ...) is none.
    """
    return _is_field(data, start) and bool(_fields(data, start, sound=False) & _MAIL_FIELDS)


def has_parts(head: bytes) -> bool:
    """Tell by its head whether a mail is made of several parts, or of another mail."""
    return bool(_PARTS.search(head))


def head_end(data: bytes) -> int:
    """Give the length of a mail's head."""
    end = _END_OF_HEAD.search(data)
    return end.start() if end else len(data)


def _opens_mailbox(data: bytes, at: int) -> bool:
    if not data.startswith(b"From ", at):
        return False
    end = _line_end(data, at)
    return bool(_DATED.search(data, at, min(end, at + 1000))) or _is_field(data, end)


def _separators(data: bytes, start: int) -> Iterator[int]:
    """Give the start of each separator behind ``start``."""
    at = data.find(b"\nFrom ", start)
    while at >= 0:
        at += 1
        if _separates(data, at):
            yield at
        at = data.find(b"\nFrom ", at)


def _separates(data: bytes, at: int) -> bool:
    end = _line_end(data, at)
    if not _is_field(data, end):
        return False
    dated = _DATED.search(data, at, min(end, at + 1000)) is not None
    behind_blank = _ends_blank(data, at)
    if dated and behind_blank:
        return True
    # Prose may do one of these by chance, and go on with a line or two like fields.
    fields = _fields(data, end) & _MAIL_FIELDS if dated or behind_blank else set()
    return len(fields) > 2 or {b"from", b"subject"} <= fields


def _ends_blank(data: bytes, at: int) -> bool:
    before = data.rfind(b"\n", 0, at - 1) + 1
    return not data[before : min(at, before + 1000)].strip()


def _line_end(data: bytes, at: int) -> int:
    """Give where the next line begins."""
    end = data.find(b"\n", at)
    return end + 1 if end >= 0 else len(data)


def _is_field(data: bytes, at: int) -> bool:
    return data.startswith((b">From ", b"From:"), at) or _FIELD.match(data, at) is not None


def _fields(data: bytes, at: int, *, sound: bool = True) -> set[bytes]:
    """Give the names of the fields of the head that begins here.

    With ``sound`` none where any line of it is no field's; mails do come with such lines.
    """
    names: set[bytes] = set()
    while at < len(data):
        end = _line_end(data, at)
        if not data[at:end].strip():
            break
        if field := _FIELD.match(data, at):
            names.add(field[1].lower())
        elif sound and not data.startswith((b" ", b"\t") if names else b">From ", at):
            return set()
        at = end
    return names


def heads(data: bytes, start: int = 0) -> list[int]:
    """Give where the mails of a text without separators begin, at least one place.

    The first is ``start``, or the first head where nothing before it is a change.
    """
    cuts = [start] if is_mail(data, start) else []
    change = _next_change(data, start)
    for block in _BLOCK.finditer(data, start):
        at = block.end()
        if (cuts and change > at) or not {b"from", b"subject"} <= _fields(data, at):
            continue
        if not cuts and change < at:
            cuts.append(start)
        cuts.append(at)
        if change < at:
            change = _next_change(data, at)
    return cuts or [start]


def _next_change(data: bytes, at: int) -> int:
    found = _CHANGE.search(data, max(0, at - 1))
    return found.start() if found else len(data)
