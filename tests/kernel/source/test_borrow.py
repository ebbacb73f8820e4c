# SPDX-License-Identifier: GPL-2.0-only
"""A tree of the user's repository is compared with one of the store's, and brought over."""

from __future__ import annotations

import pytest
from fake_kernel import commit_all, snapshot, user_git

from orchestrator.kernel.source import borrow, store
from orchestrator.model.errors import HostError


def test_what_differs_and_how_it_was(repo, fetch, cache):
    (repo / "mm/new.c").write_text("int fresh;\n")
    (repo / "Kconfig").unlink()
    now = fetch(f"path:{repo}").tree
    before = user_git(repo, "rev-parse", "HEAD^{tree}")
    objects = borrow.objects_of(repo)
    assert objects == repo / ".git/objects"
    found = {e.path: e for e in borrow.differing(before, now, cache, borrowed=objects)}
    assert set(found) == {"Kconfig", "mm/new.c"}
    assert (found["Kconfig"].gone, found["Kconfig"].mode) == (True, "100644")
    assert set(found["mm/new.c"].oid) == {"0"}
    assert borrow.differing(now, now, cache) == ()
    with pytest.raises(HostError):  # nothing of the user's repository is in the store
        borrow.differing(before, now, cache)


def test_a_tree_comes_over_whole_without_its_history(repo, fetch, cache):
    (repo / "mm/new.c").write_text("int fresh;\n")
    (repo / "Kconfig").unlink()
    now = fetch(f"path:{repo}").tree
    wanted = user_git(repo, "rev-parse", "HEAD~2^{tree}")
    before = snapshot(repo)
    assert borrow.bring_tree(wanted, now, repo / ".git/objects", cache)
    assert borrow.bring_tree(wanted, now, repo / ".git/objects", cache)
    assert snapshot(repo) == before
    listed = store.git(cache, "ls-tree", "-r", "--name-only", wanted).text.splitlines()
    assert set(listed) & {"Kconfig", "mm/new.c"} == {"Kconfig"}
    assert store.read_files(wanted, listed, cache).keys() == set(listed)


def test_a_file_in_the_place_of_a_folder(repo, fetch, cache):
    (repo / "mm/move").mkdir()
    (repo / "mm/move/one.c").write_text("int one;\n")
    commit_all(repo, "a folder")
    wanted = user_git(repo, "rev-parse", "HEAD^{tree}")
    (repo / "mm/move/one.c").unlink()
    (repo / "mm/move").rmdir()
    (repo / "mm/move").write_text("a file\n")
    now = fetch(f"path:{repo}").tree
    assert borrow.bring_tree(wanted, now, repo / ".git/objects", cache)
    assert store.read_file(wanted, "mm/move/one.c", cache) == b"int one;\n"


def test_a_linked_work_tree_has_its_objects_elsewhere(repo, tmp_path):
    user_git(repo, "worktree", "add", "-q", str(tmp_path / "linked"), "HEAD~1")
    assert borrow.objects_of(tmp_path / "linked") == repo / ".git/objects"
    odd = tmp_path / "a:b"
    user_git(repo, "clone", "-q", ".", str(odd))
    assert borrow.objects_of(odd) is None  # the environment could not name it


def test_a_submodule_of_the_users_is_no_file_of_it(repo, fetch, cache):
    commit = user_git(repo, "rev-parse", "HEAD~1")
    user_git(repo, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},mm/sub")
    user_git(repo, "commit", "-qm", "with a submodule")
    wanted = user_git(repo, "rev-parse", "HEAD^{tree}")
    now = fetch(f"git:{repo}#{commit}").tree
    assert borrow.bring_tree(wanted, now, repo / ".git/objects", cache)
