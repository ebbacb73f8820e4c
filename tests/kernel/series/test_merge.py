# SPDX-License-Identifier: GPL-2.0-only
"""Series that do not fit as they stand: by three-way merge, and with fuzz (``apply:``)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_kernel import commit_all, user_git, write_kernel

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.series.apply import apply_series
from orchestrator.kernel.series.load import load_series, series_digest
from orchestrator.kernel.source import store
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.model.kernel import BentHunk, KernelTree, Patch, Series
from orchestrator.model.spec import KernelSpec

FILE = "mm/userfaultfd.c"
Fetch = Callable[..., BaseSource]


def edit(folder: Path, *changes: tuple[str, str], name: str = FILE) -> None:
    path = folder / name
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def apply(base: BaseSource, series: Series, cache: Cache, mode: str) -> KernelTree:
    return apply_series(base, series, KernelSpec("k", "path:x", "s", apply=mode), cache)


def read(tree: KernelTree, cache: Cache) -> str:
    content = store.read_file(tree.tree, FILE, cache)
    assert content is not None
    return content.decode()


@pytest.fixture
def series(tmp_path: Path) -> Series:
    """Two patches on the fake kernel as it is written; the second goes on what the first made."""
    author = write_kernel(tmp_path / "author")
    start = commit_all(author, "base")
    for new in ("3 * 10", "3 * 10 + 1"):
        edit(author, ("return 3;" if new == "3 * 10" else "return 3 * 10;", f"return {new};"))
        commit_all(author, f"mm: {new}")
    text = user_git(author, "format-patch", "--stdout", "--full-index", f"{start}..HEAD")
    (tmp_path / "s.mbox").write_text(text + "\n")
    return load_series(str(tmp_path / "s.mbox"))


@pytest.fixture
def ours(kernel: Path, fetch: Fetch) -> BaseSource:
    """A kernel whose function beside the patched line has another name."""
    edit(kernel, ("static int step_3(void)", "static long step_3(void)"))
    return fetch(f"path:{kernel}")


@pytest.fixture
def original(tmp_path: Path, fetch: Fetch) -> BaseSource:
    """What the series was made from, in the store."""
    return fetch(f"path:{write_kernel(tmp_path / 'original')}")


def test_strict_is_the_default_and_bends_nothing(ours, original, series, cache):
    failed = apply(ours, series, cache, "strict")
    assert failed.failure is not None
    assert failed.patches[0].bent == ()
    assert KernelSpec("k", "x").apply == "strict"


def test_fuzz_takes_what_has_other_words_around_it_and_tells(ours, series, cache):
    done = apply(ours, series, cache, "fuzz")
    assert done.failure is None
    assert "static long step_3(void)\n{\n\treturn 3 * 10 + 1;" in read(done, cache)
    first, second = (patch.bent for patch in done.patches)
    header = "@@ -10,7 +10,7 @@ static int step_2(void)"
    assert first == (BentHunk(FILE, header, 0, 2),)
    assert second == (BentHunk(FILE, header, 0, 2),)


def test_fuzz_is_not_asked_where_all_fits(original, series, cache):
    exact, bent = (apply(original, series, cache, mode) for mode in ("strict", "fuzz"))
    assert exact.tree == bent.tree
    assert [patch.bent for patch in bent.patches] == [(), ()]
    assert apply(original, series, cache, "3way").tree == exact.tree


def test_what_is_there_already_does_not_go_in_twice(fetch, kernel, cache):
    text = (
        f"--- a/{FILE}\n+++ b/{FILE}\n@@ -6,4 +6,5 @@\n static int step_2(void)\n {{\n+\tmark();\n"
        " \treturn 2;\n }\n"
    ).encode()
    patch = Patch(1, "mm: mark", "A", "", text, hashlib.sha256(text).hexdigest())
    twice = Series("s", (patch, patch), series_digest((patch, patch)))
    done = apply(fetch(f"path:{kernel}"), twice, cache, "fuzz")
    assert done.failure is not None
    assert "already applied" in done.failure.message
    assert read(done, cache).count("mark();") == 1


def test_a_hunk_that_no_fuzz_brings_in_is_told_as_ever(fetch, kernel, series, cache):
    edit(kernel, ("return 3;", "return three;"))
    failed = apply(fetch(f"path:{kernel}"), series, cache, "fuzz").failure
    assert failed is not None
    assert failed.file == FILE
    assert "with a fuzz of 2 neither" in failed.message
    assert "\treturn three;" in failed.context


def test_a_merge_takes_both_sides(ours, original, series, cache):
    """The second patch is made from what the first makes of the original, which nobody has."""
    done = apply(ours, series, cache, "3way")
    assert done.failure is None
    assert "static long step_3(void)\n{\n\treturn 3 * 10 + 1;" in read(done, cache)
    assert [[hunk.merged for hunk in patch.bent] for patch in done.patches] == [[True], [True]]
    assert done.patches[0].bent[0].header == "@@ -10,7 +10,7 @@ static int step_2(void)"
    fsck = store.git(cache, "fsck", "--connectivity-only", "--no-dangling", done.tree)
    assert b"missing" not in fsck.stdout


def test_a_merge_follows_patches_that_fit(fetch, kernel, original, tmp_path, cache):
    """What an earlier patch made of the original is known though it was not merged."""
    author = tmp_path / "author"
    write_kernel(author)
    start = commit_all(author, "base")
    edit(author, ("return 9;", "return 90;"))
    commit_all(author, "mm: far away")
    edit(author, ("return 3;", "return 30;"))
    commit_all(author, "mm: here")
    text = user_git(author, "format-patch", "--stdout", f"{start}..HEAD")  # short ids
    (tmp_path / "s.mbox").write_text(text + "\n")
    edit(kernel, ("static int step_3(void)", "static long step_3(void)"))
    done = apply(fetch(f"path:{kernel}"), load_series(str(tmp_path / "s.mbox")), cache, "3way")
    assert done.failure is None
    assert [len(patch.bent) for patch in done.patches] == [0, 1]
    assert "return 30;" in read(done, cache)
    assert "return 90;" in read(done, cache)


def test_a_conflict_is_a_verdict_with_both_sides(fetch, kernel, original, series, cache):
    edit(kernel, ("return 3;", "return three;"))
    done = apply(fetch(f"path:{kernel}"), series, cache, "3way")
    failed = done.failure
    assert failed is not None
    assert failed.message == "the three-way merge has 1 conflict"
    assert (failed.n, failed.file, failed.line) == (1, FILE, 13)
    assert failed.context.splitlines() == [
        "<<<<<<< the source", "\treturn three;", "||||||| what the patch was made from",
        "\treturn 3;", "=======", "\treturn 3 * 10;", ">>>>>>> the patch",
    ]  # fmt: skip
    assert "+\treturn 3 * 10;" in failed.hunk
    assert [patch.applied for patch in done.patches] == [False, None]
    assert done.tree == done.base_tree


def test_what_a_merge_lacks_is_named(ours, series, cache):
    failed = apply(ours, series, cache, "3way").failure
    assert failed is not None
    assert f"{FILE} (" in failed.message
    assert "neither the store nor a repository of the source or series has" in failed.message
    assert failed.context  # the hunk and the file, as ever


def test_a_patch_that_was_changed_by_hand_is_told(ours, original, series, cache):
    text = series.patches[0].diff.replace(b"-\treturn 3;", b"-\treturn four;")
    patch = Patch(1, "mm: x", "A", "", text, hashlib.sha256(text).hexdigest())
    failed = apply(ours, Series("s", (patch,), "d"), cache, "3way").failure
    assert failed is not None
    assert "was it changed by hand?" in failed.message


def test_a_diff_without_index_lines_has_no_original(ours, cache):
    text = (
        f"--- a/{FILE}\n+++ b/{FILE}\n@@ -11,4 +11,4 @@\n static int step_3(void)\n {{\n"
        "-\treturn 3;\n+\treturn 30;\n }\n"
    ).encode()
    patch = Patch(1, "mm: x", "A", "", text, hashlib.sha256(text).hexdigest())
    failed = apply(ours, Series("s", (patch,), "d"), cache, "3way").failure
    assert failed is not None
    assert "its diff has no index line" in failed.message


def test_the_repositories_of_source_and_series_are_asked(fetch, tmp_path, cache):
    """The store has a shallow commit; what the series is made from lies in the history."""
    repo = write_kernel(tmp_path / "repo")
    start = commit_all(repo, "base")
    user_git(repo, "checkout", "-q", "-b", "topic")
    edit(repo, ("return 3;", "return 30;"))
    commit_all(repo, "mm: topic")
    user_git(repo, "checkout", "-q", "main")
    edit(repo, ("static int step_3(void)", "static long step_3(void)"))
    commit_all(repo, "mm: other words")
    base = fetch(f"git:{repo}#main")
    by_range = load_series(f"git:{repo}#{start}..topic")
    assert apply(base, by_range, cache, "strict").failure is not None
    done = apply(base, by_range, cache, "3way")
    assert done.failure is None
    assert "static long step_3(void)\n{\n\treturn 30;" in read(done, cache)
    assert done.patches[0].bent[0].merged


def test_what_the_source_has_already_is_told(original, series, fetch, kernel, cache):
    edit(kernel, ("return 3;", "return 3 * 10;"), ("static int step_4", "static long step_4"))
    done = apply(fetch(f"path:{kernel}"), series, cache, "3way")
    assert done.failure is None
    assert "patch 1 changes nothing: the source has it already" in done.notes
    assert "return 3 * 10 + 1;" in read(done, cache)


def test_hostile_names_stay_out_of_it(original, cache, tmp_path):
    text = b"--- a/../evil\n+++ b/../evil\n@@ -1 +1 @@\n-a\n+b\n"
    patch = Patch(1, "x", "A", "", text, hashlib.sha256(text).hexdigest())
    for mode in ("3way", "fuzz"):
        assert apply(original, Series("s", (patch,), "d"), cache, mode).failure is not None
    assert not (tmp_path / "evil").exists()
