# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest
from fake_mails import change, mbox, message, save, subjects

from orchestrator.kernel.series import files
from orchestrator.kernel.series.load import load_series
from orchestrator.model.errors import UserError

TWO = mbox(*(message(f"[PATCH {n}/2] {n}", "", change(f"{n}")) for n in (2, 1)))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_a_packed_mailbox_is_read_by_its_first_bytes(tmp_path, pack):
    assert subjects(save(tmp_path, pack(TWO), "t.mbox")) == ["1", "2"]
    assert subjects(save(tmp_path, pack(TWO[:900]) + pack(TWO[900:]), "t.mbox.gz")) == ["1", "2"]
    (tmp_path / "p").mkdir()
    save(tmp_path, pack(message("[PATCH 2/2] b", "", change("b"))), "p/0002-b.patch.xz")
    save(tmp_path, message("[PATCH 1/2] a", "", change("a")), "p/0001-a.patch")
    assert subjects(str(tmp_path / "p")) == ["a", "b"]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_a_packed_file_that_is_cut_or_too_large(tmp_path, pack, monkeypatch):
    with pytest.raises(UserError, match=r"t.gz ends in the middle of its (gzip|xz|bzip2) data"):
        load_series(save(tmp_path, pack(TWO)[:-20], "t.gz"))
    monkeypatch.setattr(files, "LARGEST", 3 << 20)
    with pytest.raises(UserError, match="larger than 3 MiB"):
        load_series(save(tmp_path, pack(b"x" * (5 << 20)), "bomb.gz"))
    with pytest.raises(UserError, match="larger than 3 MiB"):
        load_series(save(tmp_path, b"x" * (5 << 20), "plain"))


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be"])
def test_what_powershell_writes(tmp_path, codec):
    mark = b"" if codec == "utf-16" else b"\xfe\xff"
    data = mark + TWO.replace(b"\n", b"\r\n").decode().encode(codec)
    assert subjects(save(tmp_path, data)) == ["1", "2"]


def archive(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as zipped:
            zipped.writestr("a.patch", TWO)
    else:
        with tarfile.open(fileobj=out, mode=kind) as tar:
            tar.addfile(tarfile.TarInfo("a.patch"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said", "todo"),
    [
        (b"<!DOCTYPE html>\n<html><pre>" + TWO, "is a web page, no mail", "mbox.gz"),
        (b"\n <HTML>\n" + TWO, "is a web page, no mail", "raw"),
        (gzip.compress(b"<html>" + TWO), "is a web page, no mail", "raw"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 90, "zstd file, which this Python cannot read", "zstd -d"),
        (archive("zip"), "is a zip archive", "unpack"),
        (archive("w:"), "is a tar archive", "unpack"),
        (archive("w:gz"), "is a tar archive", "unpack"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, "is a file of Outlook", ".eml"),
        (b"# v2 git bundle\n", "is a git bundle", "git:DIR#A..B"),
        (b"", "holds no diff: it is empty", "git:DIR#A..B"),
        (b"\n \n", "holds no diff: it is empty", "git:DIR#A..B"),
        (b"\x7fELF\0\0" * 50, "holds no diff: it is no text", "git:DIR#A..B"),
        (b"Just prose.\n", "holds no diff", "git:DIR#A..B"),
        (b"commit " + b"0" * 40 + b"\nAuthor: a\n\n    x\n\n" + change("a").encode()
         + b"commit " + b"1" * 40 + b"\nAuthor: a\n\n    y\n\n" + change("b").encode(),
         "several commits", "format-patch"),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_no_series_is_told_in_one_sentence(tmp_path, data, said, todo):
    with pytest.raises(UserError, match=said) as caught:
        load_series(save(tmp_path, data, "x.patch"))
    assert "x.patch" in str(caught.value)
    assert todo in caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_folder_of_something_else_says_what_to_give(tmp_path):
    for make, said in (
        ("t/.git", "git:"),
        ("u/sub/a.patch", "did you mean"),
        ("v/a.txt", "git:DIR"),
    ):
        save(tmp_path, change("a").encode(), make)
        with pytest.raises(UserError, match=r"holds no \*.patch file") as caught:
            load_series(str(tmp_path / make[0]))
        assert said in caught.value.hint
