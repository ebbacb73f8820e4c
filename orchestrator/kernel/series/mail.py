# SPDX-License-Identifier: GPL-2.0-only
"""Mails that carry patches: split an mbox, read what a mail's subject says, take its diff out.

Bodies are decoded by ``git mailinfo``, so that quoted-printable, base64, character sets,
format=flowed, attachments and an in-body ``From:`` mean what they mean to ``git am``.
"""

from __future__ import annotations

import contextlib
import email.errors
import email.header
import email.parser
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host import process
from orchestrator.kernel.series import diff
from orchestrator.model.errors import UserError

# As git-mailsplit(1) tells a separator from prose: a time and a year stand in it.
_FROM_LINE = re.compile(
    rb"^From [^\n]*\d{1,2}:\d\d(?::\d\d)?[^\n]*\b(?:19|20)\d\d\b[^\n]*\n", re.MULTILINE
)
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:")
_REPLY = re.compile(r"(?:re|aw|sv|vs|antw|fw|fwd)(?:\[\d+\])?\s*:", re.IGNORECASE)
_TAGS = re.compile(r"\s*\[([^\]]*)\]")


@dataclass(frozen=True)
class Mail:
    """One mail, or one bare diff.

    ``name`` tells where it was read.  ``n`` and ``total`` are of ``[PATCH vN n/total]`` (None where
    not told, ``n`` 0 for a cover letter).  ``text`` is all but the headers; ``diff`` is empty where
    the mail has none, and is not looked for in a reply.
    """

    name: str
    subject: str
    author: str = ""
    date: str = ""
    reply: bool = False
    version: int = 1
    n: int | None = None
    total: int | None = None
    text: bytes = b""
    diff: bytes = b""


def split(data: bytes) -> list[bytes] | None:
    """Split a file's bytes into mails; None where it is neither an mbox nor a mail."""
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    starts = [match.start() for match in _FROM_LINE.finditer(data)]
    if starts and starts[0] == 0:
        parts = zip(starts, [*starts[1:], len(data)], strict=True)
        return [data[start:end].partition(b"\n")[2] for start, end in parts]
    head = re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0]
    if _HEADER.match(head) and re.search(rb"^(?:From|Subject):", head, re.MULTILINE):
        return [data]
    return None


def read(raw: bytes, name: str, *, reply_too: bool = False) -> Mail:
    """Read one mail; with ``reply_too`` a reply's diff is taken out as well.

    :raises UserError: when the mail cannot be decoded.
    """
    head = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    if b"\r\n" in head or head.endswith(b"\r"):
        raw = raw.replace(b"\r\n", b"\n")  # a mail client's export; git am drops them too
    mail = _read_headers(raw, name)
    if mail.reply and not reply_too:
        return mail
    return _read_body(raw, mail)


def read_bare(data: bytes, name: str) -> Mail:
    """Read a diff that is no mail; what stands above it may name an author and a subject."""
    patch = diff.extract(data)
    above = data.partition(patch.partition(b"\n")[0])[0].decode(errors="replace") if patch else ""
    author = re.search(r"^(?:Author|From):[ \t]*(.+)$", above, re.MULTILINE)
    subject = re.search(r"^(?:Subject|Description):[ \t]*(.+)$", above, re.MULTILINE)
    return Mail(
        name,
        clean(subject[1]) if subject else Path(name).name,
        clean(author[1]) if author else "",
        text=data,
        diff=patch,
    )


def clean(text: str) -> str:
    """Make one printable line of a header's text."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:500]


def _read_headers(raw: bytes, name: str) -> Mail:
    headers = email.parser.BytesHeaderParser().parsebytes(raw)
    subject = clean(_decoded(headers.get("Subject", "")))
    reply = bool(_REPLY.match(subject))
    rest, version = subject, 1
    n = total = None
    while match := _TAGS.match(rest):
        tag, rest = match[1], rest[match.end() :]
        if numbers := re.search(r"(?<![\w./])(\d{1,4})/(\d{1,4})(?![\w./])", tag):
            n, total = int(numbers[1]), int(numbers[2])
        if revision := re.search(r"(?:^|[\s,]|PATCH|RFC)v(\d{1,3})(?![\w.])", tag, re.IGNORECASE):
            version = int(revision[1])
    return Mail(
        name, rest.strip() or subject or "(no subject)", clean(_decoded(headers.get("From", ""))),
        clean(str(headers.get("Date", ""))), reply, version, n, total,
    )  # fmt: skip


def _decoded(value: object) -> str:
    """Decode the encoded words of a header (RFC 2047), as far as they are sound."""
    try:
        return str(email.header.make_header(email.header.decode_header(str(value))))
    except (LookupError, ValueError, email.errors.MessageError):
        return str(value)


def _read_body(raw: bytes, mail: Mail) -> Mail:
    with tempfile.TemporaryDirectory(prefix="mail-", dir=process.temp_folder()) as folder:
        message, patch = Path(folder, "message"), Path(folder, "patch")
        for recode in ("-u", "-n"):  # -n: as it is, for a character set that nobody knows
            done = process.run(
                ["git", "mailinfo", recode, message, patch],
                deadline=60, input=raw, cwd=Path(folder), check=False,
                env={"GIT_DIR": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
                     "GIT_CONFIG_GLOBAL": "/dev/null"},
            )  # fmt: skip
            if done.status == 0:
                break
        else:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise UserError(
                f"{mail.name}: the mail cannot be decoded: {said[-1] if said else 'git mailinfo'}",
                "save it again as raw text, or give the patch as `git format-patch` writes it",
            )
        text = message.read_bytes() + b"\n" + _utf8(patch.read_bytes(), raw)
    lines = (line.partition(": ") for line in done.text.split("\n"))
    told = {name: value for name, _, value in lines}  # Author, Email, Subject, Date
    author = " ".join(
        filter(None, [told.get("Author", ""), f"<{told['Email']}>" if told.get("Email") else ""])
    )
    return replace(
        mail,
        subject=clean(told.get("Subject", "")) or mail.subject,
        author=clean(author) or mail.author,
        date=clean(told.get("Date", "")) or mail.date,
        text=text,
        diff=diff.extract(text),
    )


def _utf8(patch: bytes, raw: bytes) -> bytes:
    """Undo a mail client's re-coding: git mailinfo converts the message but not the patch.

    Kernel sources are UTF-8, so bytes that already are stay whatever the mail declares.
    """
    try:
        patch.decode()
    except UnicodeDecodeError:
        headers = email.parser.BytesHeaderParser().parsebytes(raw)
        with contextlib.suppress(LookupError, UnicodeError):
            return patch.decode(headers.get_content_charset("ascii")).encode()
    return patch
