# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import replace

import pytest
from fake_kernel import commit_all, snapshot, user_git

from orchestrator.host.cache.files import Cache
from orchestrator.judge.outcome import apply_reason
from orchestrator.kernel.lines import excerpts
from orchestrator.kernel.series.apply import apply_series
from orchestrator.kernel.series.load import load_series, series_digest
from orchestrator.kernel.source import store
from orchestrator.kernel.source.worktree import checkout
from orchestrator.model.kernel import KernelTree, Patch, Series
from orchestrator.model.spec import KernelSpec

SPEC = KernelSpec("k", "path:linux")


def series_of(*diffs: str, base_commit: str = "") -> Series:
    patches = tuple(
        Patch(n, f"mm: patch {n}", "Ann <ann@example.org>", "", text.encode(),
              hashlib.sha256(text.encode()).hexdigest())
        for n, text in enumerate(diffs, 1)
    )  # fmt: skip
    return Series("s", patches, series_digest(patches), base_commit)


def step(n: int, new: str, line: int | None = None, context: str = "") -> str:
    """A patch of step n; its hunk claims to stand at ``line``."""
    at = line or (n - 1) * 5 + 1
    return (
        "diff --git a/mm/userfaultfd.c b/mm/userfaultfd.c\n--- a/mm/userfaultfd.c\n"
        f"+++ b/mm/userfaultfd.c\n@@ -{at},4 +{at},4 @@\n"
        f" {context or f'static int step_{n}(void)'}\n {{\n-\treturn {n};\n+\treturn {new};\n }}\n"
    )


def new_file(name: str, text: str = "x", mode: str = "100644") -> str:
    return (
        f"diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n"
        f"@@ -0,0 +1 @@\n+{text}\n"
    )


def link(name: str, target: str) -> str:
    return new_file(name, target, "120000") + "\\ No newline at end of file\n"


def read(tree: KernelTree, cache: Cache, name: str = "mm/userfaultfd.c") -> str:
    content = store.read_file(tree.tree, name, cache)
    assert content is not None
    return content.decode()


def test_without_a_series_the_base_is_the_tree(base, cache):
    tree = apply_series(base, None, SPEC, cache)
    assert tree.tree == tree.base_tree == base.tree
    assert (tree.version, tree.patches, tree.touched_files) == ("6.12.117", (), ())


def test_a_series_applies_and_is_recorded(base, cache):
    series = series_of(step(3, "33"), step(3, "333").replace("-\treturn 3;", "-\treturn 33;"))
    tree = apply_series(base, series, SPEC, cache)
    assert tree.failure is None
    assert "return 333;" in read(tree, cache)
    assert [(p.n, p.applied, p.subject) for p in tree.patches] == [
        (1, True, "mm: patch 1"),
        (2, True, "mm: patch 2"),
    ]
    assert tree.series_digest == series.digest
    assert tree.touched_files == ("mm/userfaultfd.c",)
    touched = {
        file.new: {n for h in file.hunks for n in range(h.new_start, h.new_start + h.new_lines)}
        for file in excerpts.changes(tree.base_tree, tree.tree, cache)
    }
    assert touched == {"mm/userfaultfd.c": {13}}
    assert apply_series(base, series, SPEC, cache).tree == tree.tree


def test_each_patch_has_the_id_that_git_gives_it(base, cache):
    """However far its hunks have moved, and whatever stands around the diff."""
    one, two = step(1, "11"), step(9, "99")
    states = apply_series(base, series_of(one, two), SPEC, cache).patches
    moved = apply_series(base, series_of(step(9, "99", line=2)), SPEC, cache).patches
    asked = subprocess.run(["git", "patch-id", "--stable"], input=two, capture_output=True,
                           text=True, check=True)  # fmt: skip
    assert states[1].patch_id == asked.stdout.split()[0] == moved[0].patch_id
    assert len({state.patch_id for state in states}) == 2
    assert apply_series(base, series_of("no hunk\n"), SPEC, cache).patches[0].patch_id == ""


def test_a_moved_hunk_applies_but_different_context_does_not(base, cache):
    assert apply_series(base, series_of(step(9, "99", line=2)), SPEC, cache).failure is None
    tree = apply_series(base, series_of(step(9, "99", context="int step_9(void)")), SPEC, cache)
    assert tree.failure is not None


def test_what_fails_is_told_with_the_hunk_and_the_real_text(base, cache):
    bad = step(7, "77", line=20, context="static long step_7(void)")
    tree = apply_series(base, series_of(step(1, "11"), bad, step(2, "22")), SPEC, cache)
    failure = tree.failure
    assert failure is not None
    assert (failure.n, failure.subject, failure.file) == (2, "mm: patch 2", "mm/userfaultfd.c")
    assert failure.line == 31  # where step_7 really is
    assert failure.message == "its hunk, made for line 20, does not fit there"
    assert failure.hunk.startswith("@@ -20,4 +20,4 @@\n static long step_7(void)\n")
    shown = failure.context.splitlines()
    assert "!    31 | static int step_7(void)" in shown
    assert "     33 | \treturn 7;" in shown
    assert shown[0].split("|")[0].strip() == "28"
    # The tree is the last good one, and says so.
    assert [p.applied for p in tree.patches] == [True, False, None]
    assert "return 11;" in read(tree, cache)
    assert tree.touched_files == ("mm/userfaultfd.c",)


def test_the_place_of_what_fails_is_told_once(base, cache):
    near, far = (step(n, f"{n}{n}", context="static int step_0(void)") for n in (1, 7))
    failure = apply_series(base, series_of(near), SPEC, cache).failure
    assert failure is not None
    reason = apply_reason(failure)
    assert reason.startswith("patch 1 (mm: patch 1) does not apply at mm/userfaultfd.c:")
    assert reason.count("mm/userfaultfd.c") == reason.count("does not apply") == 1
    makefile = far.replace("mm/userfaultfd.c", "Makefile")
    failure = apply_series(base, series_of(near + makefile), SPEC, cache).failure
    assert failure is not None
    reason = apply_reason(failure)
    assert re.search(r"does not fit there; nor at (Makefile|mm/userfaultfd\.c):\d+$", reason)
    missing = step(1, "11").replace("mm/userfaultfd.c", "mm/gone.c")
    failure = apply_series(base, series_of(missing), SPEC, cache).failure
    assert failure is not None
    assert apply_reason(failure) == (
        "patch 1 (mm: patch 1) does not apply: mm/gone.c: does not exist in index"
    )


def test_a_hunk_of_which_nothing_is_left(base, cache):
    bad = step(1, "11").partition("@@")[0] + "@@ -900,2 +900,1 @@\n-gone one\n gone two\n"
    failure = apply_series(base, series_of(bad), SPEC, cache).failure
    assert failure is not None
    assert failure.context.startswith("no line of this hunk stands in the file")


def test_a_missing_file_names_its_namesakes(base, cache):
    bad = step(1, "11").replace("mm/userfaultfd.c", "fs/userfaultfd.c")
    failure = apply_series(base, series_of(bad), SPEC, cache).failure
    assert failure is not None
    assert failure.file == "fs/userfaultfd.c"
    assert failure.hunk.startswith("@@ -1,4")
    assert failure.context == (
        "fs/userfaultfd.c does not exist in this tree; files of that name: mm/userfaultfd.c"
    )


def test_already_applied_is_recognised(base, cache):
    tree = apply_series(base, series_of(step(1, "11"), step(1, "11")), SPEC, cache)
    assert tree.failure is not None
    assert "already applied" in tree.failure.message


def test_a_file_that_exists_already(base, cache):
    failure = apply_series(base, series_of(new_file("mm/Makefile")), SPEC, cache).failure
    assert failure is not None
    assert failure.file == "mm/Makefile"
    assert failure.message.startswith("mm/Makefile: ")


@pytest.mark.parametrize("damage", ["@@ -1,4 +1,4 @@", "@@ -1,9 +1,9 @@", "@@ nonsense @@"])
def test_a_mangled_patch_is_a_failure(base, cache, damage):
    text = step(1, "11").replace("@@ -1,4 +1,4 @@", damage)
    if damage == "@@ -1,4 +1,4 @@":
        text = text.replace(" }\n", "")
    failure = apply_series(base, series_of(text), SPEC, cache).failure
    assert failure is not None
    assert failure.message


def test_renames_modes_deletions_and_binaries(base, cache, kernel, fetch, tmp_path):
    commit_all(kernel, "a")
    user_git(kernel, "mv", "mm/userfaultfd.c", "mm/uffd.c")
    user_git(kernel, "rm", "-q", "include/linux/mm.h")
    (kernel / "Kconfig").chmod(0o755)
    (kernel / "mm/blob.bin").write_bytes(bytes(range(256)))
    commit_all(kernel, "b")
    (tmp_path / "p.patch").write_text(
        user_git(kernel, "format-patch", "-1", "-M", "--binary", "--stdout") + "\n"
    )
    tree = apply_series(base, load_series(str(tmp_path / "p.patch")), SPEC, cache)
    assert tree.failure is None
    assert tree.tree == user_git(kernel, "rev-parse", "HEAD^{tree}")


def test_the_version_is_that_of_the_patched_makefile(base, cache):
    bump = (
        "--- a/Makefile\n+++ b/Makefile\n@@ -4,3 +4,3 @@\n SUBLEVEL = 117\n"
        "-EXTRAVERSION =\n+EXTRAVERSION = -mm1\n NAME = Baby Opossum Posse\n"
    )
    assert apply_series(base, series_of(bump), SPEC, cache).version == "6.12.117-mm1"


# ---------------------------------------------------------------- hostile series


@pytest.mark.parametrize(
    "name",
    ["../evil", "mm/../../evil", ".git/hooks/pre-commit", "mm/.GIT/config", "a/.git", "./evil"],
)
def test_names_that_leave_the_tree_are_refused(base, cache, name, tmp_path):
    before = {p for p in tmp_path.rglob("*") if cache.folder not in p.parents}
    tree = apply_series(base, series_of(new_file(name)), SPEC, cache)
    assert tree.failure is not None
    assert tree.tree == base.tree
    assert {p for p in tmp_path.rglob("*") if cache.folder not in p.parents} == before


def test_an_absolute_name_lands_in_the_tree_or_nowhere(base, cache, tmp_path):
    victim = tmp_path / "victim"
    text = f"--- /dev/null\n+++ {victim}\n@@ -0,0 +1 @@\n+x\n"
    apply_series(base, series_of(text), SPEC, cache)
    assert not victim.exists()


def test_writing_through_a_link_of_the_series_is_refused(base, cache, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for diffs in (
        (link("mm/way", str(outside)), new_file("mm/way/evil")),
        (link("mm/way", str(outside)) + new_file("mm/way/evil"),),
        (link("mm/way", "../scripts"), new_file("mm/way/evil")),
    ):
        tree = apply_series(base, series_of(*diffs), SPEC, cache)
        assert tree.failure is not None
        assert "mm/way" in tree.failure.message
    assert not list(outside.iterdir())


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "a/../../../x", "sub/.."])
def test_links_that_leave_the_tree_are_refused(base, cache, target):
    tree = apply_series(base, series_of(step(1, "11"), link("mm/way", target)), SPEC, cache)
    assert tree.failure is not None
    assert (tree.failure.n, tree.failure.file) == (2, "mm/way")
    assert tree.failure.message.startswith("refused: mm/way: symbolic link to")
    assert tree.tree == base.tree


def test_an_existing_link_turned_outside_is_refused(base, cache):
    text = (
        "--- a/scripts/include\n+++ b/scripts/include\n@@ -1 +1 @@\n-../include\n"
        "\\ No newline at end of file\n+/etc\n\\ No newline at end of file\n"
    )
    tree = apply_series(base, series_of(text), SPEC, cache)
    assert tree.failure is not None
    assert tree.failure.message.startswith("refused: scripts/include")


def test_a_link_within_the_tree_is_fine(base, cache):
    tree = apply_series(base, series_of(link("mm/way", "../include/linux")), SPEC, cache)
    assert tree.failure is None
    with checkout(tree, "s", cache) as folder:
        assert (folder / "mm/way/mm.h").read_text() == "#define MM 1\n"


def test_a_submodule_is_refused(base, cache):
    text = new_file("mm/sub", "Subproject commit " + "1" * 40, "160000")
    failure = apply_series(base, series_of(text), SPEC, cache).failure
    assert failure is not None
    assert "submodule" in failure.message


def test_attributes_of_a_series_change_nothing_else(base, cache):
    tree = apply_series(
        base, series_of(new_file(".gitattributes", "* text eol=crlf filter=x ident")), SPEC, cache
    )
    with checkout(tree, "s", cache) as folder:
        assert b"\r" not in (folder / "mm/userfaultfd.c").read_bytes()


def test_shell_words_are_only_words(base, cache, tmp_path):
    name = f"mm/$(touch {tmp_path.name})`id`;x"
    series = replace(series_of(new_file(name)), base_commit="$(touch x)")
    tree = apply_series(base, series, SPEC, cache)
    assert tree.failure is None
    assert tree.touched_files == (name,)


def test_a_name_like_an_error_of_the_host_is_no_error_of_the_host(base, cache):
    bad = step(1, "11").replace("mm/userfaultfd.c", "mm/No space left on device")
    assert apply_series(base, series_of(bad), SPEC, cache).failure is not None


# ---------------------------------------------------------------- the base


def test_base_commit_of_a_git_source(fetch, repo, cache):
    head, older = (user_git(repo, "rev-parse", name) for name in ("HEAD", "HEAD~1"))
    base = fetch(f"git:{repo}#main")
    series = series_of(new_file("mm/x.c"), base_commit=head)
    assert apply_series(base, series, SPEC, cache).notes == (f"applied to its base-commit {head}",)
    (note,) = apply_series(base, replace(series, base_commit=older), SPEC, cache).notes
    assert note.startswith(f"base-commit mismatch: the series names {older}")


def test_base_commit_without_history(base, cache, repo):
    series = load_series(f"git:{repo}#HEAD~2..HEAD")
    (note,) = apply_series(base, series, SPEC, cache).notes
    assert "could not be checked" in note
    assert "1 of the 1 files it changes are the very ones" in note


@pytest.mark.parametrize("name", ["6.12.117-1~deb12u1", "6.12.117", "v6.12.117"])
def test_base_commit_may_be_a_version(base, cache, name):
    debian = replace(base, package_version="6.12.117-1~deb12u1", source="debian:6.12=x")
    series = series_of(step(1, "11"), base_commit=name)
    assert apply_series(debian, series, SPEC, cache).notes == (
        f"applied to its base-commit {name}",
    )
    other = series_of(step(1, "11"), base_commit="6.12.99-1")
    (note,) = apply_series(debian, other, SPEC, cache).notes
    assert note == (
        "base-commit mismatch: the series names 6.12.99-1, it was applied to 6.12.117-1~deb12u1"
    )


def test_the_users_tree_is_not_touched_by_a_series(base, cache, kernel):
    before = snapshot(kernel)
    apply_series(base, series_of(step(1, "11")), SPEC, cache)
    assert snapshot(kernel) == before
