# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import base64
import quopri
import re

import pytest
from fake_mails import change, mbox, message, save, subjects
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.kernel.series import mime
from orchestrator.kernel.series.load import load_series
from orchestrator.model.errors import UserError


def multipart(kind: str, *parts: bytes, head: str = "Subject: [PATCH] outer\n") -> bytes:
    border = b"--=_q"
    return (
        f'From: a@b\n{head}MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary="=_q"\n\n'
    ).encode() + b"".join(
        [
            b"A mail of several parts.\n",
            *(border + b"\n" + p + b"\n" for p in parts),
            border + b"--\n",
        ]
    )


def attached(text: bytes, name: str, how: str = "", kind: str = "text/x-patch") -> bytes:
    coded = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(how, bytes)
    return (
        f'Content-Type: {kind}; name="{name}"\n'
        f'Content-Disposition: attachment;\n filename="{name}"\n'
        f"Content-Transfer-Encoding: {how or '8bit'}\n\n"
    ).encode() + coded(text)


CORPUS = HOME / "tests/fuzz/corpora/mbox"
NOTE = b"Content-Type: text/plain\n\nSee the patch.\n"
PATCH = change("mm/a.c", "a long line " * 20 + " = ").encode()


@pytest.mark.parametrize("how", ["", "base64", "quoted-printable"])
@pytest.mark.parametrize("kind", ["text/x-patch", "application/octet-stream", "text/plain"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_attached_patch(tmp_path, how, kind, end):
    data = multipart("mixed", NOTE, attached(PATCH, "x.patch", how, kind)).replace(b"\n", end)
    for raw in (data, mbox(data)):
        (patch,) = load_series(save(tmp_path, raw)).patches
        assert (patch.subject, patch.diff) == ("outer", PATCH)


def test_html_beside_the_text_is_not_read(tmp_path):
    html = b"Content-Type: text/html\n\n<pre>\n" + PATCH + b"</pre>\n"
    plain = b"Content-Type: text/plain\n\n" + PATCH
    for parts in ((plain, html), (html, plain)):
        (patch,) = load_series(save(tmp_path, multipart("alternative", *parts))).patches
        assert patch.diff == PATCH
    nested = multipart("alternative", plain, html).replace(b"=_q", b"=_i").partition(b"MIME-Ver")[2]
    data = multipart("mixed", b"MIME-Ver" + nested, b"Content-Type: text/plain\n\nlist footer\n")
    assert load_series(save(tmp_path, data)).patches[0].diff == PATCH


def test_html_alone_is_refused(tmp_path):
    head = b"From: a@b\nSubject: [PATCH 1/1] x\nContent-Type: text/html; charset=utf-8\n\n<pre>\n"
    for data in (head + PATCH, mbox(head + PATCH, message("Lunch?"))):
        with pytest.raises(UserError, match="it is HTML, without the plain text"):
            load_series(save(tmp_path, data))


@pytest.mark.parametrize("how", ["", "base64", "quoted-printable"])
@pytest.mark.parametrize("kind", ["mixed", "digest"])
def test_mails_forwarded_as_attachments_are_the_series(tmp_path, how, kind):
    def inner(n: int) -> bytes:
        coded = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}
        body = f"Text.\n---\n{change(f'mm/{n}.c', 'x = ' * 30)}".encode()
        return (
            f"From: Ann <ann@x>\nSubject: [PATCH {n}/2] p{n}\nContent-Type: text/plain\n"
            f"Content-Transfer-Encoding: {how or '8bit'}\n\n"
        ).encode() + coded.get(how, bytes)(body)

    rfc822 = b"" if kind == "digest" else b"Content-Type: message/rfc822\n"
    parts = [rfc822 + b"\n" + inner(n) for n in (2, 1)]
    data = multipart(kind, *([NOTE] if rfc822 else []), *parts, head="Subject: Fwd: [PATCH] p\n")
    series = load_series(save(tmp_path, data))
    assert [p.subject for p in series.patches] == ["p1", "p2"]
    assert series.patches[0].author == "Ann <ann@x>"
    assert series.patches[0].diff == change("mm/1.c", "x = " * 30).encode()


def test_a_mail_wrapped_in_base64(tmp_path):
    coded = base64.encodebytes(message("[PATCH] inner", "", change("a")))
    part = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + coded
    assert subjects(save(tmp_path, multipart("mixed", NOTE, part))) == ["inner"]


def test_a_forwarded_patch_of_a_file_with_crlf(tmp_path):
    dos = change("a").replace("one\n", "one\r\n").replace("two\n", "two\r\n")
    part = b"Content-Type: message/rfc822\n\n" + message("[PATCH] inner", "", dos)
    (patch,) = load_series(save(tmp_path, multipart("mixed", NOTE, part))).patches
    assert patch.diff == dos.encode()


def test_files_of_format_patch_attached_to_one_mail(tmp_path):
    separator = b"From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"
    parts = [
        attached(separator + message(f"[PATCH {n}/2] p{n}", "", change(f"{n}")), f"{n}.patch", how)
        for n, how in ((1, "base64"), (2, "quoted-printable"))
    ]
    assert subjects(save(tmp_path, multipart("mixed", NOTE, *parts))) == ["p1", "p2"]
    assert subjects(save(tmp_path, multipart("mixed", NOTE, parts[0]))) == ["outer"]  # as git am


@pytest.mark.parametrize("hash_line", ["Hash: SHA256\n", "", "Hash: SHA1\nComment: x\n"])
def test_an_openpgp_frame_is_taken_off(tmp_path, hash_line):
    body = re.sub("^-", "- -", "Text.\n\n" + change("a"), flags=re.MULTILINE)
    framed = (
        f"-----BEGIN PGP SIGNED MESSAGE-----\n{hash_line}\n{body}"
        "-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n"
    )
    data = f"From: a@b\nSubject: [PATCH] x\n\n{framed}".encode()
    assert load_series(save(tmp_path, data)).patches[0].diff == change("a").encode()


@pytest.mark.parametrize(
    "charset", ['"u\0d"', "x-unknown", "punycode", "unicode_escape", "rot13", '""']
)
def test_a_charset_that_is_none_leaves_the_bytes(tmp_path, charset):
    patch = change("a", "J\xf6rg").encode("latin-1")
    head = f"From: a@b\nSubject: [PATCH] x\nContent-Type: text/plain; charset={charset}\n\n---\n"
    assert load_series(save(tmp_path, head.encode() + patch)).patches[0].diff == patch


@pytest.mark.parametrize("charset", ["iso-2022-jp", "koi8-r", "utf-8", "euc-jp", "windows-1252"])
def test_a_charset_of_mails_is_undone(tmp_path, charset):
    word = {"koi8-r": "память", "windows-1252": "“ü”"}.get(charset, "日本")
    head = f"From: a@b\nSubject: [PATCH] x\nContent-Type: text/plain; charset={charset}\n\n---\n"
    data = head.encode() + change("a", word).encode(charset)
    assert load_series(save(tmp_path, data)).patches[0].diff == change("a", word).encode()


def test_format_flowed_is_told(tmp_path):
    extra = "Content-Type: text/plain; charset=utf-8;\n format=flowed\n"
    series = load_series(save(tmp_path, message("[PATCH] a", "", change("a"), extra)))
    assert any("format=flowed" in note for note in series.notes)


@given(st.lists(st.sampled_from([b"--=_q", b"--=_q--", b"Content-Type: text/html", b"", b"text"])))
def test_any_mixture_of_parts_is_survived(lines):
    data = multipart("mixed", *lines, NOTE)
    mime.without_html(data)
    mime.inner_mails(data)
    mime.unframed(data)


def test_an_attached_mail_that_is_damaged_is_not_passed_over():
    """Python's parser makes a multipart of it, and its writer then refuses the text between."""
    data = (CORPUS / "find-damaged-attachment").read_bytes()
    with pytest.raises(UserError, match="another one forwards is damaged"):
        mime.inner_mails(data)
