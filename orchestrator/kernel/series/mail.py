# SPDX-License-Identifier: GPL-2.0-only
"""Mails that carry patches: read what a mail's head and subject say, take its diff out.

Bodies are decoded by ``git mailinfo``, so that quoted-printable, base64, character sets,
attachments and an in-body ``From:`` mean what they mean to ``git am``.
"""

from __future__ import annotations

import email.errors
import email.header
import email.message
import email.parser
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host import process
from orchestrator.kernel.series import diff, mbox, mime, subject
from orchestrator.model.errors import UserError

_COMMIT = re.compile(
    rb"^(?:commit [0-9a-f]{40}\b[^\n]*\n(?:Merge|Author|tree|parent)\b|# HG changeset patch$)",
    re.MULTILINE,
)
_OLD_COLON = re.compile(rb"^([!-9;-~]+)[ \t]+:", re.MULTILINE)
_CODED = re.compile(rb"^content-transfer-encoding:[ \t]*(?:base64|quoted)", re.I | re.MULTILINE)
_FLOWED = re.compile(rb"^content-type:(?:[^\n]|\n[ \t])*format=\"?flowed", re.I | re.MULTILINE)


@dataclass(frozen=True)
class Mail:
    """One mail, or one bare diff.

    ``name`` tells where it was read.  ``version``, ``n``, ``total`` and ``told`` are as in
    :class:`~orchestrator.kernel.series.subject.Marks`; ``id`` and ``parent`` are its Message-ID and
    that of the mail it was sent in reply to.  ``text`` is all but the headers; ``diff``
    is empty where the mail has none, and is not looked for in a reply, of which ``aside`` tells
    whether it seems to hold one.  ``flaw`` is why a change in it cannot be read, ``notes`` what is
    to be told of it.
    """

    name: str
    subject: str
    author: str = ""
    date: str = ""
    reply: bool = False
    version: tuple[int, ...] = (1,)
    n: int | None = None
    total: int | None = None
    text: bytes = b""
    diff: bytes = b""
    told: bool = False
    id: str = ""
    parent: str = ""
    aside: bool = False
    flaw: str = ""
    notes: tuple[str, ...] = ()


def read(raw: bytes, name: str, *, reply_too: bool = False) -> list[Mail]:
    """Read one mail, or the mails that it forwards or has attached; or a bare diff.

    With ``reply_too`` a reply's diff is taken out as well.

    :raises UserError: when the mail cannot be decoded.
    """
    if not mbox.is_mail(raw):
        return [read_bare(raw, name)]
    end = mbox.head_end(raw)
    while b"\r\n" in raw[: end + 2]:
        raw = raw.replace(b"\r\n", b"\n")  # a mail client's export; git am drops them too
        end = mbox.head_end(raw)
    if b" :" in raw[:end] or b"\t:" in raw[:end]:
        head = _OLD_COLON.sub(rb"\1:", raw[:end])  # which neither git nor Python's parser reads
        raw, end = head + raw[end:], len(head)
    mail = _read_head(raw[:end], name)
    if mail.reply and not reply_too:
        return [replace(mail, aside=_may_hold_change(raw))]
    parts = raw if mbox.has_parts(raw[:end]) else raw[:end]
    if parts is raw and (forwarded := _all_of(mime.inner_mails(raw), name)):
        return forwarded
    if not _may_hold_change(raw) and not _CODED.search(parts):
        return [replace(mail, text=raw[end:].lstrip(b"\n"), flaw=_flaw(raw))]
    mail = _read_body(mime.without_html(raw) if parts is raw else raw, mail, raw[:end])
    cuts = mbox.heads(mail.text) if b"\nFrom: " in mail.text else []
    if len(cuts) > 1:
        # Files of git format-patch, attached to one mail or pasted into it.
        attached = [mail.text[a:b] for a, b in zip(cuts, [*cuts[1:], None], strict=True)]
        if mbox.is_mail(attached[0]):
            return _all_of(attached, name)
        first = replace(mail, text=attached[0], diff=diff.rooted(diff.extract(attached[0])))
        return [first, *_all_of(attached[1:], name)]
    return [mail]


def read_bare(data: bytes, name: str) -> Mail:
    """Read a diff that is no mail; what stands above it may name an author and a subject.

    Known are the heads of DEP-3, ``git show``, StGit and Mercurial.
    """
    patch = diff.rooted(diff.extract(data))
    above = data.partition(patch.partition(b"\n")[0])[0].decode(errors="replace") if patch else ""
    author = re.search(r"^(?:Author|From|# User):?[ \t]+(.+)$", above, re.MULTILINE)
    title = re.search(r"^(?:Subject|Description):[ \t]*(\S.*)$", above, re.MULTILINE)
    if not title and re.match(r"commit [0-9a-f]{40}\b", above):
        title = re.search(r"\n\n {4}(\S.*)$", above, re.MULTILINE)
    elif not title and above.startswith("# HG changeset patch"):
        title = re.search(r"^(?!#)(\S.*)$", above, re.MULTILINE)
    elif not title:
        title = re.match(r"(\S.*)\n\r?\n(?:From|Author|Date): ", above)
    flaw = _flaw(data)
    if len(_COMMIT.findall(data)) > 1:
        flaw = "it holds several commits that are not told apart, as `git log -p` shows them"
    return Mail(
        name,
        clean(title[1]) if title else Path(name).name,
        clean(author[1]) if author else "",
        text=data,
        diff=patch,
        flaw=flaw,
    )


def clean(text: str) -> str:
    """Make one printable line of a header's text."""
    text = " ".join(text.split())
    if text.isprintable():
        return text[:500]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[:500]


def _all_of(raws: list[bytes], name: str) -> list[Mail]:
    """Read mails found inside of another; none where they hold no change."""
    mails = [
        mail
        for number, raw in enumerate(raws, 1)
        for mail in read(raw, f"{name}, attached mail {number}")
    ]
    return mails if any(mail.diff for mail in mails) else []


def _may_hold_change(raw: bytes) -> bool:
    return b"\n@@ -" in raw or b"\ndiff --git " in raw


def _flaw(text: bytes) -> str:
    kind = diff.foreign(text)
    return f"it holds {kind}, which git cannot apply" if kind else ""


def _read_head(head: bytes, name: str) -> Mail:
    headers = email.parser.BytesHeaderParser().parsebytes(head)
    line = clean(_decoded(headers.get("Subject", "")))
    answers = "In-Reply-To" in headers or "References" in headers
    marks = subject.read(line, answers=answers)
    strange = f"what {marks.unknown!r} means in its subject is not known: {line}"
    return Mail(
        name, marks.title or "(no subject)", clean(_decoded(headers.get("From", ""))),
        clean(str(headers.get("Date", ""))), marks.reply, marks.version, marks.n, marks.total,
        told=marks.told, id=_id(headers.get("Message-ID", "")),
        parent=_id(headers.get("In-Reply-To", "") or headers.get("References", "")),
        flaw="it is HTML, without the plain text" if mime.only_html(head) else "",
        notes=(strange,) if marks.unknown else (),
    )  # fmt: skip


def _id(value: object) -> str:
    """Give the last message identifier of a header."""
    found: list[str] = re.findall(r"<[^<>\s]{1,998}>", str(value))
    return found[-1] if found else ""


def _decoded(value: object) -> str:
    """Decode the encoded words of a header (RFC 2047), as far as they are sound."""
    try:
        return str(email.header.make_header(email.header.decode_header(str(value))))
    except (LookupError, ValueError, email.errors.MessageError):
        return str(value)


def _read_body(raw: bytes, mail: Mail, head: bytes) -> Mail:
    options = ["--scissors"] if mail.reply else []  # who answers with a patch sets it off so
    with tempfile.TemporaryDirectory(prefix="mail-", dir=process.temp_folder()) as folder:
        message, patch = Path(folder, "message"), Path(folder, "patch")
        for recode in ("-u", "-n"):  # -n: as it is, for a character set that nobody knows
            done = process.run(
                ["git", "mailinfo", recode, *options, message, patch],
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
        text = message.read_bytes() + b"\n" + mime.as_utf8(patch.read_bytes(), head)
    text = mime.unframed(text)
    lines = (line.partition(": ") for line in done.text.split("\n"))
    told = {name: value for name, _, value in lines}  # Author, Email, Subject, Date
    author = " ".join(
        filter(None, [told.get("Author", ""), f"<{told['Email']}>" if told.get("Email") else ""])
    )
    found = b"" if mail.flaw else diff.extract(text)
    whole = diff.rooted(found)
    notes = mail.notes
    if whole != found:
        notes += (f"{mail.name} was made with --no-prefix: its names are taken as they stand",)
    if found and _FLOWED.search(head):
        notes += (f"{mail.name} was sent as format=flowed, which may lose blanks at ends of lines",)
    return replace(
        mail,
        subject=clean(told.get("Subject", "")) or mail.subject,
        author=clean(author) or mail.author,
        date=clean(told.get("Date", "")) or mail.date,
        text=text,
        diff=whole,
        flaw=mail.flaw or _flaw(text),
        notes=notes,
    )
