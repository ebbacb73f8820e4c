# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources from a repository, which is never written to nor obeyed."""

# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest
from fake_kernel import snapshot, user_git

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source import git, store
from orchestrator.model.errors import HostError, UserError


def names(tree: str, cache: Cache) -> set[str]:
    return set(store.git(cache, "ls-tree", "-r", "--name-only", tree).text.splitlines())


def test_a_commit_of_a_repository(repo, fetch, cache):
    before = snapshot(repo)
    base = fetch(f"git:{repo}#main~1")
    assert base.commit == user_git(repo, "rev-parse", "main~1")
    assert base.tree == user_git(repo, "rev-parse", "main~1^{tree}")
    assert base.source == f"git:{repo}#{base.commit}"
    assert fetch(f"git:{repo}#main~1") == base
    newer = fetch(f"git:{repo}")
    assert newer.commit == user_git(repo, "rev-parse", "HEAD")
    assert newer.slot == base.slot
    assert {*snapshot(repo)} == {*before}
    assert store.touched_files(base.tree, newer.tree, cache) == ("mm/userfaultfd.c",)


def test_without_ref_the_base_commit_is_taken_if_there(repo, fetch):
    older = user_git(repo, "rev-parse", "HEAD~2")
    assert fetch(f"git:{repo}", base_commit=older).commit == older
    assert fetch(f"git:{repo}#main", base_commit=older).commit != older
    base = fetch(f"git:{repo}", base_commit="f" * 40)
    assert base.commit == user_git(repo, "rev-parse", "HEAD")
    assert "HEAD taken" in base.notes[0]


def test_a_bare_repository_and_a_file_url(repo, tmp_path, fetch):
    user_git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    user_git(tmp_path / "bare.git", "tag", "-a", "-m", "x", "v6.12.117", "main~1")
    commit = user_git(repo, "rev-parse", "main~1")
    assert fetch(f"git:{tmp_path}/bare.git#v6.12.117").commit == commit
    assert fetch(f"git:file://{tmp_path}/bare.git#v6.12.117").commit == commit


@pytest.mark.parametrize("ref", ["nowhere", "--upload-pack=x", "-x", "HEAD:mm", "main main"])
def test_a_ref_that_is_none(repo, fetch, ref):
    with pytest.raises(UserError, match="has no commit"):
        fetch(f"git:{repo}#{ref}")


def test_a_server_tells_its_refs(repo, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    user_git(repo, "tag", "-a", "-m", "x", "v6.12", "main~2")
    user_git(repo, "branch", "x/main", "main~1")
    url = f"file://{repo}"
    assert git.remote_commit(cache, url, "main", 30) == user_git(repo, "rev-parse", "main")
    tagged = user_git(repo, "rev-parse", "main~2")
    assert git.remote_commit(cache, url, "v6.12", 30) == tagged
    assert git.remote_commit(cache, url, "a" * 40, 30) == "a" * 40
    with pytest.raises(UserError, match="has no branch or tag 'nope'"):
        git.remote_commit(cache, url, "nope", 30)
    with pytest.raises(HostError):
        git.remote_commit(cache, f"file://{tmp_path}/none", "main", 30)
    with pytest.raises(UserError):
        git.fetch_commit(cache, url, "a" * 40, print, 30)


@pytest.mark.parametrize("url", ["ext::sh -c 'touch ran'", "-x", "--upload-pack=touch ran:x"])
def test_a_url_is_no_command(url, fetch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, HostError)):
        fetch(f"git:{url}#main")
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.parametrize(
    ("where", "local"),
    [
        ("/a/b", True), ("a/b", True), ("file:///a", True), ("https://x/y.git", False),
        ("git@x:y.git", False), ("./a:b", True),
    ],
)  # fmt: skip
def test_folder_or_url(where, local):
    assert git.is_local(where) is local
