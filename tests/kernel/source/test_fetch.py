# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources of any kind, imported into the lab's own store."""

from __future__ import annotations

import os
import subprocess

import pytest
from fake_kernel import commit_all, snapshot, user_git, write_kernel

from orchestrator.host.cache.files import Cache, need_space
from orchestrator.host.cache.locks import locked
from orchestrator.host.cache.scratch import clean_leftovers, scratch
from orchestrator.kernel.source import store
from orchestrator.kernel.source.fetch import ALL_TAKEN, fetch_base
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import KernelSpec


def names(tree: str, cache: Cache) -> set[str]:
    return set(store.git(cache, "ls-tree", "-r", "--name-only", tree).text.splitlines())


# ---------------------------------------------------------------- path:


def test_a_tree_is_imported_and_never_written_to(kernel, fetch, cache):
    before = snapshot(kernel)
    base = fetch(f"path:{kernel}")
    assert (base.version, base.commit, base.notes) == ("6.12.117", "", ())
    assert base.slot.startswith("path-")
    assert fetch(f"path:{kernel}") == base
    assert snapshot(kernel) == before
    assert store.read_file(base.tree, "Kconfig", cache) == b'mainmenu "Linux"\n'
    assert store.read_file(base.tree, "nowhere", cache) is None
    assert store.read_file(base.tree, "mm", cache) is None


def test_a_users_repository_is_never_written_to(kernel, fetch):
    commit = commit_all(kernel, "all")
    (kernel / ".git/hooks").mkdir(exist_ok=True)
    hook = kernel / ".git/hooks/post-index-change"
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    user_git(kernel, "config", "core.fsmonitor", "touch ran; true")
    os.utime(kernel / "Makefile")  # git would like to refresh its index now
    before = snapshot(kernel)
    base = fetch(f"path:{kernel}")
    assert base.commit == commit
    assert snapshot(kernel) == before


def test_edits_are_seen_and_told(kernel, fetch, cache):
    commit = commit_all(kernel, "all")
    clean = fetch(f"path:{kernel}")
    (kernel / "mm/new.c").write_text("int x;\n")
    (kernel / "Kconfig").unlink()
    edited = fetch(f"path:{kernel}")
    assert edited.slot == clean.slot
    assert edited.commit == ""
    assert edited.notes == (f"the tree differs from its HEAD, {commit[:12]}",)
    assert store.touched_files(clean.tree, edited.tree, cache) == ("Kconfig", "mm/new.c")


def test_build_products_are_left_out_and_tracked_files_are_not(kernel, fetch, cache):
    (kernel / "scripts/firmware.o").write_text("tracked, although *.o is ignored")
    commit_all(kernel, "all")
    user_git(kernel, "add", "-f", "scripts/firmware.o")
    user_git(kernel, "commit", "-q", "-m", "more")
    for product in (".config", "vmlinux", "mm/userfaultfd.o", "mm/.userfaultfd.o.cmd"):
        (kernel / product).write_text("built")
    (kernel / ".git/info/exclude").write_text("/mine\n")
    (kernel / "mine").write_text("private")
    base = fetch(f"path:{kernel}")
    assert base.tree == user_git(kernel, "rev-parse", "HEAD^{tree}")
    assert base.commit
    assert "scripts/firmware.o" in names(base.tree, cache)


def test_a_gitignore_of_everything_is_not_followed(kernel, fetch, cache):
    # As Debian's source packages have it.
    (kernel / ".gitignore").write_text("*.o\n/*\n!/debian/\n")
    base = fetch(f"path:{kernel}")
    assert "mm/userfaultfd.c" in names(base.tree, cache)
    assert base.notes == (ALL_TAKEN,)
    (kernel / ".config").write_text("CONFIG_X=y\n")
    with pytest.raises(UserError, match="was built in"):
        fetch(f"path:{kernel}")


def test_a_linked_work_tree_is_a_tree(repo, tmp_path, fetch):
    user_git(repo, "worktree", "add", "-q", str(tmp_path / "linked"), "HEAD~1")
    base = fetch(f"path:{tmp_path}/linked")
    assert base.commit == user_git(repo, "rev-parse", "HEAD~1")


def test_the_store_may_vanish(kernel, fetch, cache):
    base = fetch(f"path:{kernel}")
    subprocess.run(["rm", "-rf", str(cache.folder / "kernels.git")], check=True)
    assert fetch(f"path:{kernel}").tree == base.tree
    assert store.read_file(base.tree, "mm/userfaultfd.c", cache)


def test_what_is_no_kernel(tmp_path, fetch, kernel):
    with pytest.raises(UserError, match="is no folder"):
        fetch(f"path:{tmp_path}/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no Makefile"):
        fetch(f"path:{tmp_path}/empty")
    (kernel / "Makefile").write_text("all:\n\techo hello\n")
    with pytest.raises(UserError, match=r"lab\.yaml:3: .* is no Linux source"):
        fetch(f"path:{kernel}")


@pytest.mark.parametrize("source", ["", "linux", "path:", "svn:x", ":x", "debian"])
def test_unknown_sources_name_the_known_ones(source, fetch):
    with pytest.raises(UserError, match=r"lab\.yaml:3: .* is no kernel source") as caught:
        fetch(source)
    assert "debian:6.12" in caught.value.hint


# ---------------------------------------------------------------- housekeeping


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (b"VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\nEXTRAVERSION = -rc3\n", "6.12.0-rc3"),
        (b"VERSION=6\nPATCHLEVEL=1\n", "6.1"),
        (b"VERSION = 6\n", None),
        (b"VERSION = x\nPATCHLEVEL = 1\n", None),
        (b"\xff\x00", None),
    ],
)
def test_versions_of_makefiles(text, version):
    assert store.version_of_makefile(text) == version


def test_leftovers_of_a_killed_lab_are_removed_and_live_ones_are_not(cache):
    with scratch(cache) as live:
        dead = cache.folder / "tmp" / "kernel-dead"
        dead.mkdir()
        (dead / "junk").write_text("x")
        (cache.folder / "tmp" / "kernel-dead.lock").write_text("")
        packs = store.open_store(cache) / "objects" / "pack"
        packs.mkdir()
        (packs / "tmp_pack_x").write_text("x")
        with locked(cache.folder / "locks" / "import", deadline=1):
            assert clean_leftovers(cache) == 1
        assert clean_leftovers(cache) == 1
        assert not list(packs.iterdir())
        assert live.is_dir()
        assert not dead.exists()
    assert not list((cache.folder / "tmp").iterdir())


def test_a_lock_waits_for_its_deadline(tmp_path):
    path = tmp_path / "locks" / "x"
    told: list[str] = []
    with (
        locked(path, deadline=1),
        pytest.raises(HostError, match="in use by another lab"),
        locked(path, deadline=0.2, on_wait=told.append),
    ):
        pass
    assert len(told) == 1


def test_a_cache_that_cannot_be_written(tmp_path, kernel):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot use the cache"):
        fetch_base(KernelSpec("k", f"path:{kernel}"), Cache(tmp_path / "file"), print, 30)


def test_a_full_disk_is_said_before_the_work(cache):
    with pytest.raises(HostError, match="MiB are needed") as caught:
        need_space(cache, 1 << 60)
    assert "LAB_CACHE" in caught.value.hint


def test_two_imports_of_one_tree_at_once(tmp_path, cache):
    folder = write_kernel(tmp_path / "l")
    from concurrent.futures import ThreadPoolExecutor

    def work(_: int) -> str:
        return fetch_base(KernelSpec("k", f"path:{folder}"), cache, lambda _: None, 60).tree

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(work, range(4)))) == 1
