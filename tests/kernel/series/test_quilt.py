# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest
from fake_mails import change, message, save, subjects

from orchestrator.kernel.series.load import load_series
from orchestrator.model.errors import UserError


def test_quilt_series_file_orders(tmp_path):
    save(tmp_path, change("a").encode(), "p/z.patch")
    save(tmp_path, change("b").encode(), "p/sub/a.patch")
    save(tmp_path, change("c").encode(), "p/unused.patch")
    save(tmp_path, b"# ours\nz.patch -p1 # first\n\nsub/a.patch\n", "p/series")
    assert subjects(str(tmp_path / "p")) == ["z.patch", "a.patch"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("../x.patch", "not in this folder"),
        ("a.patch -R", "only -p1"),
        ("a.patch -p2", "only -p1"),
        ("a.patch\na.patch", "twice"),
        ("# nothing", "names no patch"),
        (".", "is no file"),
        ("a\0.patch", "no name of a file"),
        ("a" * 5000, "is no file"),
        ("a/" * 5000, "is no file"),
        ("b.patch", "cannot be"),
    ],
)
def test_bad_quilt_series_names_the_line(tmp_path, line, said):
    save(tmp_path, change("a").encode(), "x.patch")
    save(tmp_path, change("a").encode(), "p/a.patch")
    save(tmp_path, f"\n{line}\n".encode(), "p/series")
    with pytest.raises(UserError, match=said):
        load_series(str(tmp_path / "p"))


def test_comments_line_ends_and_options(tmp_path):
    save(tmp_path, change("a").encode(), "p/a#1.patch")
    save(tmp_path, change("b").encode(), "p/b.patch")
    save(
        tmp_path,
        b"\xef\xbb\xbf#x\r\n  a#1.patch -pab\t# y\r\n\r\n\tb.patch -p 1 #z\r\n",
        "p/series",
    )
    assert subjects(str(tmp_path / "p")) == ["a#1.patch", "b.patch"]
    assert subjects(str(tmp_path / "p" / "series")) == ["a#1.patch", "b.patch"]


@pytest.mark.parametrize("option", ["-p0", "-p 0"])
def test_a_patch_without_prefixes(tmp_path, option):
    plain = "--- mm/a.c.orig\t2023-01-01\n+++ mm/a.c\t2023-01-02\n@@ -1 +1 @@\n-a\n+b\n"
    new = "--- /dev/null\n+++ mm/new.c\n@@ -0,0 +1 @@\n+b\n"
    save(tmp_path, (plain + new).encode(), "p/a.patch")
    save(tmp_path, f"a.patch {option}\n".encode(), "p/series")
    (patch,) = load_series(str(tmp_path / "p")).patches
    assert patch.diff.decode() == plain.replace("--- mm", "--- a/mm").replace(
        "+++ mm", "+++ b/mm"
    ) + new.replace("+++ mm", "+++ b/mm")


def test_a_patch_named_by_the_file_is_one_whatever_its_subject(tmp_path):
    for n, subject in enumerate(("fw: mend it", "Re: [PATCH 7/9] it", "[PATCH 0/2] it", "[v2] it")):
        save(tmp_path, message(subject, "", change(f"{n}")), f"p/{n}.patch")
    save(tmp_path, b"0.patch\n1.patch\n2.patch\n3.patch\n", "p/series")
    assert len(load_series(str(tmp_path / "p")).patches) == 4


def test_the_base_that_stgit_names(tmp_path):
    save(tmp_path, change("a").encode(), "p/a")
    save(tmp_path, b"# This series applies on GIT commit " + b"ab" * 20 + b"\na\n", "p/series")
    assert load_series(str(tmp_path / "p")).base_commit == "ab" * 20
