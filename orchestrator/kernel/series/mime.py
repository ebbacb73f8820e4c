# SPDX-License-Identifier: GPL-2.0-only
"""What is wrapped around a patch in a mail: other mails, HTML beside the text, an OpenPGP frame.

``git mailinfo`` decodes text; these it leaves as they are, and mail clients and lists add them.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import email.message
import email.parser
import re

from orchestrator.model.errors import UserError

_TYPE = rb"^content-type[ \t]*:[ \t]*(?:\r?\n[ \t]+)?"
_FLAGS = re.IGNORECASE | re.MULTILINE
_WRAPS = re.compile(_TYPE + rb"(?:message/rfc822|multipart/digest)", _FLAGS)
_HTML = re.compile(_TYPE + rb"text/html", _FLAGS)
_OTHER_TEXT = re.compile(_TYPE + rb"text/(?!html)", _FLAGS)
_BOUNDARY = re.compile(rb"boundary[ \t]*=[ \t]*(?:\"([^\"\r\n]{1,200})\"|([^\s;\"]{1,200}))", re.I)
_SIGNED = re.compile(
    rb"^-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\n(?:[A-Za-z-]+: [^\n]*\n)*[ \t]*\n", re.MULTILINE
)
_SIGNATURE = b"\n-----BEGIN PGP SIGNATURE-----"
_CR = b"\x1aCR\x1a"
# Codecs of Python that are no character sets of mails; some are not linear.
_NO_CHARSETS = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}


def inner_mails(raw: bytes) -> list[bytes]:
    """Give the mails that a mail forwards as attachments, or that a digest is made of.

    :raises UserError: for an attached one that is damaged: to pass over it could lose a patch.
    """
    if not _WRAPS.search(raw):
        return []
    found: list[bytes] = []
    # Python's parser takes the ends of lines for its own; a file's CRs are its content.
    for part in email.message_from_bytes(raw.replace(b"\r", _CR)).walk():
        if part.get_content_type() != "message/rfc822" or not part.is_multipart():
            continue
        inner = part.get_payload(0)
        if not isinstance(inner, email.message.Message):
            continue
        try:
            text = inner.as_bytes().replace(_CR, b"\r")
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise UserError(
                f"a mail that another one forwards is damaged: {type(error).__name__}",
                "save that mail by itself, or take the series from its archive (b4:MESSAGE-ID)",
            ) from error
        if str(part.get("Content-Transfer-Encoding", "")).strip().lower() == "base64":
            try:  # RFC 2046 5.2.1 forbids it, and it is sent
                text = base64.b64decode(text)
            except (binascii.Error, ValueError):
                continue
        found.append(text)
    return found


def without_html(raw: bytes) -> bytes:
    """Leave out the HTML of a mail that has plain text too: it says the same once more."""
    if not _HTML.search(raw) or not _OTHER_TEXT.search(raw):
        return raw
    borders = {b"--" + (m[1] or m[2]) for m in _BOUNDARY.finditer(raw)}
    borders |= {border + b"--" for border in borders}
    kept: list[bytes] = []
    part: list[bytes] = []
    for line in raw.splitlines(keepends=True):
        if line.startswith(b"--") and line.rstrip() in borders:
            if not _is_html(part):
                kept += part
            part = []
        part.append(line)
    return b"".join(kept + ([] if _is_html(part) else part))


def _is_html(part: list[bytes]) -> bool:
    """Tell whether the head of a part, behind its border, says HTML."""
    head: list[bytes] = []
    for line in part[1:]:
        if not line.strip():
            break
        head.append(line)
    return part[:1] != [] and part[0].startswith(b"--") and bool(_HTML.search(b"".join(head)))


def only_html(raw_head: bytes) -> bool:
    """Tell by its head whether a mail is HTML and nothing else."""
    return bool(_HTML.search(raw_head))


def unframed(text: bytes) -> bytes:
    """Take a text out of its OpenPGP frame, with its dash escapes undone (RFC 4880, 7.1)."""
    frame = _SIGNED.search(text)
    if not frame:
        return text
    end = text.find(_SIGNATURE, frame.end())
    end = end if end >= 0 else len(text)
    signed = re.sub(rb"^- ", b"", text[frame.end() : end + 1], flags=re.MULTILINE)
    return text[: frame.start()] + signed + text[end + 1 :]


def as_utf8(text: bytes, head: bytes) -> bytes:
    """Undo a mail client's re-coding of a text, by what the mail's head declares.

    Kernel sources are UTF-8, so bytes that already are stay whatever the head says, but for the
    escapes of ISO-2022, which are ASCII on the way.  A character set that cannot be read leaves
    the text as it is.
    """
    try:
        text.decode()
        if b"\x1b$" not in text:
            return text
    except UnicodeDecodeError:
        pass
    try:
        charset = email.parser.BytesHeaderParser().parsebytes(head).get_content_charset("ascii")
        name = codecs.lookup(charset).name.replace("-", "_")
        stays = text.isascii() and not name.startswith("iso2022")
        return text if stays or name in _NO_CHARSETS else text.decode(charset).encode()
    except (LookupError, ValueError, TypeError):
        return text
