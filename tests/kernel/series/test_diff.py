# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

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
