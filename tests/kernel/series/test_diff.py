# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel.series import diff

SIMPLE = b"""\
diff --git a/mm/a.c b/mm/a.c
index 1111111..2222222 100644
--- a/mm/a.c
+++ b/mm/a.c
@@ -1,3 +1,4 @@ int f(void)
 one
-two
+TWO
+2
 three
"""


def test_mail_text_and_signature_are_cut_off():
    text = b"Hello\n---\n mm/a.c | 2 +-\n\n" + SIMPLE + b"-- \n2.39.5\n\nbase-commit: abc\n"
    assert diff.extract(text) == SIMPLE


def test_no_diff_gives_nothing():
    assert diff.extract(b"") == b""
    assert diff.extract(b"--- a\n+++ b\nmarkdown, no hunk\n") == b""


def test_carriage_returns_of_the_transport_go_and_those_of_the_file_stay():
    assert diff.extract(SIMPLE.replace(b"\n", b"\r\n")) == SIMPLE
    dos_file = SIMPLE.replace(b"two\n", b"two\r\n")
    assert diff.extract(dos_file) == dos_file


def test_a_cut_hunk_keeps_its_damage_for_git_to_see():
    cut = SIMPLE.replace(b" three\n", b"") + b"-- \n2.39\n"
    assert b"-- \n" in diff.extract(cut)


def test_a_number_too_long_to_be_one_is_no_hunk():
    (file,) = diff.parse(SIMPLE.replace(b"-1,3", b"-1," + b"3" * 5000))
    assert file.hunks == ()


def test_parts_of_a_file():
    (file,) = diff.parse(SIMPLE)
    assert (file.old, file.new, file.old_blob) == ("mm/a.c", "mm/a.c", "1111111")
    (hunk,) = file.hunks
    assert (hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines) == (1, 3, 1, 4)
    assert hunk.preimage == (b"one", b"two", b"three")


def test_new_deleted_renamed_and_quoted_names():
    text = (
        b"diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n"
        b"diff --git a/d b/d\ndeleted file mode 100644\n--- a/d\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        b"diff --git a/r1 b/r2\nsimilarity index 100%\nrename from r1\nrename to r2\n"
        b'diff --git "a/\\303\\244 b" "b/\\303\\244 b"\n'
        b'--- "a/\\303\\244 b"\n+++ "b/\\303\\244 b"\n'
        b"@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+y\n\\ No newline at end of file\n"
    )
    assert diff.extract(text) == text
    names = [(f.old, f.new) for f in diff.parse(text)]
    assert names == [(None, "n"), ("d", None), ("r1", "r2"), ("ä b", "ä b")]


def test_a_diff_without_git_headers():
    text = b"--- linux.orig/mm/a.c\t2023-01-01\n+++ linux/mm/a.c\t2023-01-02\n@@ -1 +1 @@\n-a\n+b\n"
    assert diff.extract(b"some prose\n" + text + b"more\n") == text
    assert [(f.old, f.new) for f in diff.parse(text)] == [("mm/a.c", "mm/a.c")]


@given(
    st.lists(st.one_of(st.sampled_from(SIMPLE.splitlines()), st.binary(max_size=20)), max_size=30)
)
def test_any_mixture_of_lines_is_survived(lines):
    text = b"\n".join(lines)
    found = diff.extract(text)
    diff.parse(text)
    assert diff.extract(found) == found


def test_prose_that_looks_like_a_header_is_no_part_of_a_diff():
    before = (
        b"--- old behaviour\n+++ new behaviour\n\ndiff --git a/mm/a.c b/mm/a.c\n\n"
        b"    diff --git a/x b/x\n    --- a/x\n    +++ b/x\n    @@ -1 +1 @@\n    -a\n    +b\n\n"
        b"> @@ -1 +1 @@\n--- a\n---\n"
    )
    after = (
        b"-- \n2.39\n\nindex of changes\nnew mode of thinking\nrename from a to b\nBinary files x\n"
    )
    assert diff.extract(before + SIMPLE + after) == SIMPLE
    assert diff.extract(before + after) == b""


def test_a_hunk_away_from_its_file_is_left_for_git_to_see():
    torn = SIMPLE + b"\ncut by a mailer\n\n@@ -9 +10 @@\n-x\n+y\n"
    assert diff.extract(torn) == torn
    bad = SIMPLE.replace(b"@@ -1,3 +1,4 @@", b"@@ -1,3 +1 4 @@")
    assert b"@@ -1,3 +1 4 @@" in diff.extract(bad)


@pytest.mark.parametrize(
    "text",
    [
        b"diff --git a/a b/a\nold mode 100644\nnew mode 100755\n",
        b"diff --git a/e b/e\nnew file mode 100644\nindex 0000000..e69de29\n",
        b"diff --git a/o b/n\nsimilarity index 100%\nrename old o\nrename new n\n",
        b"diff --git a/b b/b\nindex 1111111..2222222 100644\nGIT binary patch\n"
        b"literal 3\nKcmZ?w\n\nliteral 0\nHcmV?d00001\n\n",
        b"diff --git a/b b/b\nindex 1111111..2222222 100644\nBinary files a/b and b/b differ\n",
        b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n@@ -9,2 +9,2 @@\n \n-\n+a\n",
        b"--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n",  # blanks at line ends stripped
        b"--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- a/y\n-@@ -1 +1 @@\n+++ b/y\n+-- \n",
        b"diff --git i/x w/x\n--- i/x\n+++ w/x\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n"
        b"+b\n",
    ],
)
def test_forms_of_a_diff_are_kept_whole(text):
    assert diff.extract(b"Text.\n---\n\n" + text + b"-- \n2.39\n") == text
    assert diff.rooted(text) == text
    assert len(diff.parse(text)) == 1


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b'"a/mm/x y.c"\t2023-01-01 10:00:00 +0100', "mm/x y.c"),
        (b'"a/mm/\\303\\244\\"q\\t.c"\t2023-01-01', 'mm/ä"q\t.c'),
        (b"a/mm/x y.c\t2023-01-01 10:00:00.000000000 +0100", "mm/x y.c"),
        (b"a/mm/x y.c 2023-01-01 10:00:00.000000000 +0100", "mm/x y.c"),
        (b"a/mm/x y.c  2023-01-01 10:00", "mm/x y.c"),
        (b"a/mm/2023-01-01 x.c", "mm/2023-01-01 x.c"),
        (b"./a/b.c\r", "a/b.c"),
    ],
)
def test_a_name_is_read_without_its_time(line, name):
    text = b"--- " + line + b"\n+++ " + line + b"\n@@ -1 +1 @@\n-a\n+b\n"
    assert [(f.old, f.new) for f in diff.parse(text)] == [(name, name)]


def test_names_without_prefixes_get_them():
    bare = (
        b"diff --git mm/a b.c mm/a b.c\nindex 1..2\n--- mm/a b.c\t\n+++ mm/a b.c\t\n"
        b"@@ -1 +1 @@\n-a\n+b\n"
        b"diff --git mm/n mm/n\nnew file mode 100644\n--- /dev/null\n+++ mm/n\n@@ -0,0 +1 @@\n+x\n"
        b"diff --git mm/o mm/p\nsimilarity index 100%\nrename from mm/o\nrename to mm/p\n"
        b'diff --git "mm/\\303\\244" "mm/\\303\\244"\nold mode 100644\nnew mode 100755\n'
        b"diff --git Makefile Makefile\ndeleted file mode 100644\n--- Makefile\n+++ /dev/null\n"
        b"@@ -1 +0,0 @@\n-x\n"
    )
    rooted = diff.rooted(bare)
    assert b"diff --git a/mm/a b.c b/mm/a b.c\n" in rooted
    assert b'diff --git "a/mm/\\303\\244" "b/mm/\\303\\244"\n' in rooted
    names = [(f.old, f.new) for f in diff.parse(rooted)]
    assert names == [
        ("mm/a b.c", "mm/a b.c"), (None, "mm/n"), ("mm/o", "mm/p"), ("mm/ä", "mm/ä"),
        ("Makefile", None),
    ]  # fmt: skip
    assert diff.rooted(rooted) == rooted
    mixed = bare.replace(b"mm/o mm/p", b"x/mm/o y/mm/p")
    assert diff.rooted(mixed) == mixed  # --src-prefix=x/: git takes it off


@pytest.mark.parametrize(
    "unit",
    [
        b"diff --cc a\n", b"--- a\n", b"--- a\n+++ b\n", b"@@ -1 +1 @@\n", b"\t" * 1000, b'"\\',
        b"diff --git a/x b/x\n", b"*** a\n--- b\n***************\n", b"GIT binary patch\nliteral 9",
    ],
)  # fmt: skip
def test_the_time_grows_with_the_size_alone(unit):
    def seconds(size: int) -> float:
        text = b"diff --git a/x b/x\nindex 1..2\n--- " + unit * (size // len(unit))
        start = time.process_time()
        diff.parse(diff.rooted(diff.extract(text), always=True))
        diff.foreign(text)
        return time.process_time() - start

    small, large = seconds(20_000), seconds(240_000)
    assert large < 0.1 + 40 * small  # 12 times the size; 144 times the time were it quadratic
