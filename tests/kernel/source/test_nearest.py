# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel's sources are, and how they differ from the nearest known kernel."""

from __future__ import annotations

import shutil

import pytest
from fake_kernel import MAKEFILE, commit_all, make_tar, user_git, write_kernel

from orchestrator.host.cache.files import save_record
from orchestrator.kernel.lines.excerpts import PatchedSource, Place
from orchestrator.kernel.series.apply import apply_series
from orchestrator.kernel.series.load import load_series
from orchestrator.kernel.source import nearest, store
from orchestrator.kernel.source.fetch import ALL_TAKEN
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import FileChange
from orchestrator.model.spec import KernelSpec

CLI = KernelSpec("cli", "path:x")


@pytest.fixture
def released(tmp_path, fetch):
    """lab.yaml's kernel v6.12 is an archive of the fake kernel, which is in the store."""
    archive = make_tar(tmp_path / "v6.12.tar.xz", write_kernel(tmp_path / "release"), "linux")
    fetch(f"tar:{archive}")
    return KernelSpec("v6.12", f"tar:{archive}")


@pytest.fixture
def beside(fetch, cache):
    """A source set beside the known kernels."""

    def work(source, *known, series=None, base=""):
        spec = KernelSpec("cli", source, base=base)
        found = fetch(source)
        tree = apply_series(found, load_series(series) if series else None, spec, cache)
        return nearest.set_beside(tree, found, known, cache)

    return work


def test_an_edited_tree_is_told_by_what_it_differs_in(kernel, beside, released, cache):
    file = kernel / "mm/userfaultfd.c"
    file.write_text(file.read_text().replace("\treturn 3;\n", "\tint x = 3;\n\treturn x;\n"))
    (kernel / "README").write_text("mine\n")
    (kernel / "logo.png").write_bytes(b"\0\1\2")
    (kernel / "Kconfig").chmod(0o755)
    (kernel / "empty").write_bytes(b"")
    tree = beside(f"path:{kernel}", released)
    found = tree.tested.difference
    assert (found.base, found.source, found.count) == ("v6.12", released.source, 5)
    assert found.files == (  # code first
        FileChange("mm/userfaultfd.c", 2, 1),
        FileChange("Kconfig", 0, 0, mode=True),
        FileChange("README", 1, 0),
        FileChange("empty", 0, 0),
        FileChange("logo.png", None, None),
    )
    assert tree.tested.what == "your tree"
    # What a series gives: marks in traces, and files that are looked at.
    assert (tree.base_tree, len(tree.touched_files)) == (found.tree, 5)
    marks = PatchedSource(tree, cache)
    touched = [marks.describe(Place("f", "mm/userfaultfd.c", n)).touched for n in (13, 15, 18)]
    assert touched == ["line", "function", ""]


def test_the_same_content_is_the_same_kernel_wherever_it_lies(kernel, beside, released):
    tree = beside(f"path:{kernel}", released)
    assert (tree.tested.difference.count, tree.tested.difference.files) == (0, ())
    assert tree.touched_files == ()
    archive = kernel.parent / "other.tar.xz"
    shutil.copy(released.source.removeprefix("tar:"), archive)
    tree = beside(f"tar:{archive}", released)
    assert (tree.tested.what, tree.tested.difference.count) == ("other.tar.xz", 0)


def test_the_nearest_of_several_and_never_one_with_a_series(kernel, beside, released, tmp_path):
    older = write_kernel(tmp_path / "older")
    (older / "mm/old.c").write_text("int old;\n")
    archive = make_tar(tmp_path / "old.tar", older, "linux", "w")
    known = KernelSpec("old", f"tar:{archive}")
    beside(known.source)
    assert beside(f"path:{kernel}", known).tested.difference.base == "old"
    assert beside(f"path:{kernel}", known, released).tested.difference.base == "v6.12"
    patched = KernelSpec("patched", released.source, series="x")
    missing = KernelSpec("gone", "tar:/no/such/file")
    assert beside(f"path:{kernel}", patched, missing).tested.difference is None


def test_packages_in_the_store_by_version(kernel, beside, fetch, cache):
    tree = fetch(f"path:{kernel}").tree
    known = KernelSpec("v6.12", "debian:6.12")
    assert beside(f"path:{kernel}", known).tested.difference is None  # was never fetched
    save_record(cache, "sources", "debian:6.12=6.12.1-1", {"tree": tree})
    save_record(cache, "sources", "debian:6.1=6.1.1-1", {"tree": "0" * 40})
    found = beside(f"path:{kernel}", known).tested.difference
    assert (found.base, found.source) == ("v6.12", "debian:6.12=6.12.1-1")
    save_record(cache, "sources", "debian:6.12=6.12.2-1", {"tree": "f" * 40})
    assert beside(f"path:{kernel}", known).tested.difference.base == "v6.12 as of 6.12.1-1"


def test_a_far_kernel_is_no_base(kernel, beside, released, monkeypatch):
    monkeypatch.setattr(nearest, "NEAR", 2)
    for name in "abc":
        (kernel / f"mm/{name}.c").write_text("int x;\n")
    tree = beside(f"path:{kernel}", released)
    found = tree.tested.difference
    assert (found.base, found.count, found.near, found.files) == ("v6.12", 3, False, ())
    assert (tree.base_tree, tree.touched_files) == (tree.tree, ())


def test_a_git_tree_is_told_by_the_tag_it_is_based_on(repo, beside, cache):
    user_git(repo, "tag", "v6.12-rc1", "HEAD~1")
    (repo / "mm/new.c").write_text("int fresh;\n")
    tree = beside(f"path:{repo}")
    found = tree.tested.difference
    assert (found.base, found.count) == ("v6.12-rc1", 2)
    assert found.source == f"git:{repo}#{user_git(repo, 'rev-parse', 'HEAD~1')}"
    assert (tree.tested.commit, tree.tested.changed) == (user_git(repo, "rev-parse", "HEAD"), True)
    # Only what differs came over, and it is a whole tree: it can be built.
    assert store.read_file(found.tree, "Makefile", cache) == MAKEFILE.encode()
    assert beside(f"git:{repo}#HEAD~1").tested.difference.count == 0


def test_without_a_near_tag_the_edits_of_a_git_tree_are_told(repo, beside):
    clean = beside(f"path:{repo}").tested
    assert (clean.difference, clean.changed) == (None, False)
    (repo / "mm/new.c").write_text("int fresh;\n")
    found = beside(f"path:{repo}").tested.difference
    assert (found.base, found.files) == ("HEAD", (FileChange("mm/new.c", 1, 0),))


def test_a_base_that_was_asked_for_is_taken_however_far(repo, beside, monkeypatch):
    monkeypatch.setattr(nearest, "NEAR", 0)
    tree = beside(f"path:{repo}", base=f"git:{repo}#main~2")
    found = tree.tested.difference
    assert (found.base, found.count, found.near) == ("main~2", 1, True)
    assert tree.touched_files == ("mm/userfaultfd.c",)
    monkeypatch.setattr(nearest, "MARKED", 0)
    tree = beside(f"path:{repo}", base=f"git:{repo}#main~2")
    assert (tree.touched_files, tree.tested.difference.count) == ((), 1)
    with pytest.raises(UserError, match="has no commit"):
        beside(f"path:{repo}", base=f"git:{repo}#nowhere")


def test_under_a_series_the_tree_is_told_and_the_series_is_marked(repo, beside, released):
    (repo / "mm/new.c").write_text("int fresh;\n")
    user_git(repo, "add", "-A")
    commit_all(repo, "mm: something new")
    user_git(repo, "checkout", "-q", "main~1")
    series = f"git:{repo}#main~1..main"
    tree = beside(f"path:{repo}", released, series=series)
    assert tree.touched_files == ("mm/new.c",)
    found = tree.tested.difference
    assert (found.base, found.patched) == ("v6.12", False)
    assert [file.file for file in found.files] == ["mm/userfaultfd.c"]
    whole = beside(f"path:{repo}", series=series, base=f"git:{repo}#main~2")
    assert whole.tested.difference.patched
    assert whole.touched_files == ("mm/new.c", "mm/userfaultfd.c")


def test_a_release_as_it_is_is_not_set_beside_another(base, cache, released):
    found = nearest.describe(
        type(base)("debian:6.12=6.12.1-1", base.tree), base.tree, CLI, [released], cache
    )
    assert (found.what, found.difference) == ("", None)


def test_that_all_files_were_taken_is_told_only_where_nothing_tells_which(kernel, beside, released):
    (kernel / ".gitignore").write_text("/*\n")
    assert ALL_TAKEN in beside(f"path:{kernel}").notes
    assert ALL_TAKEN not in beside(f"path:{kernel}", released).notes


def test_a_tag_that_cannot_be_taken_over_leaves_the_next_nearest(repo, beside, released):
    (repo / "mm/new.c").write_text("int fresh;\n")
    commit_all(repo, "more")
    user_git(repo, "tag", "v6.12.118")
    (repo / "mm/new.c").write_text("int stale;\n")
    gone = user_git(repo, "rev-parse", "HEAD:mm/new.c")
    (repo / ".git/objects" / gone[:2] / gone[2:]).unlink()  # as in a partial clone
    found = beside(f"path:{repo}", released).tested.difference
    assert (found.base, found.count) == ("v6.12", 2)
