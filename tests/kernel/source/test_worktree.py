# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import os
import shutil
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from fake_kernel import write_kernel

from orchestrator.host.cache.trim import remove_slot
from orchestrator.kernel.source import store
from orchestrator.kernel.source.worktree import checkout, intact
from orchestrator.model.errors import HostError


@pytest.fixture
def trees(fetch, kernel) -> tuple[str, str]:
    """Two trees that differ in mm/userfaultfd.c, a file more and a file less."""
    first = fetch(f"path:{kernel}").tree
    source = kernel / "mm/userfaultfd.c"
    source.write_text(source.read_text().replace("return 3;", "return 33;"))
    (kernel / "mm/new.c").write_text("int x;\n")
    (kernel / "Kconfig").unlink()
    return first, fetch(f"path:{kernel}").tree


def content(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): str(p.readlink()) if p.is_symlink() else p.read_text()
        for p in folder.rglob("*")
        if p.is_symlink() or p.is_file()
    }


def test_a_checkout_is_the_tree(cache, kernel, trees, tmp_path):
    with checkout(trees[0], "s-6.12", cache) as folder:
        assert content(folder) == content(write_kernel(tmp_path / "again"))
        assert (folder / "scripts/run.sh").stat().st_mode & 0o100
        assert not (folder / "mm/Makefile").stat().st_mode & 0o100


def test_a_switch_touches_only_what_differs(cache, trees):
    with checkout(trees[0], "s-6.12", cache) as folder:
        before = {p: p.lstat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    with checkout(trees[1], "s-6.12", cache) as folder:
        assert "return 33;" in (folder / "mm/userfaultfd.c").read_text()
        assert (folder / "mm/new.c").exists()
        assert not (folder / "Kconfig").exists()
        after = {p: p.lstat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    changed = {p.name for p in before if p in after and before[p] != after[p]}
    assert changed == {"userfaultfd.c"}
    assert after[folder / "mm/userfaultfd.c"] > before[folder / "mm/userfaultfd.c"]


def test_what_somebody_else_changed_is_noticed_and_heals(cache, trees):
    with checkout(trees[0], "s", cache) as folder:
        assert intact("s", cache)
    (folder / "Makefile").write_text("tampered")
    (folder / "mm/userfaultfd.c").unlink()
    (folder / "vmlinux").write_text("left by a build in the tree, and ignored")
    (folder / "nested").mkdir()
    (folder / "nested" / ".git").mkdir()
    assert not intact("s", cache)
    with checkout(trees[1], "s", cache) as folder:
        assert intact("s", cache)
        assert "VERSION" in (folder / "Makefile").read_text()
        assert "return 33;" in (folder / "mm/userfaultfd.c").read_text()
        assert not (folder / "vmlinux").exists()
        assert not (folder / "nested").exists()


def test_another_time_is_no_change(cache, trees):
    """A cache that was copied is still itself."""
    with checkout(trees[0], "s", cache) as folder:
        os.utime(folder / "Makefile", (1, 1))
        assert intact("s", cache)


def test_each_kind_of_change_is_noticed(cache, trees):
    for change in (
        lambda folder: (folder / "stray.h").write_text(""),
        lambda folder: (folder / "Makefile").write_text("tampered"),
        lambda folder: (folder / "Makefile").unlink(),
        lambda folder: (
            (folder / "include").mkdir(exist_ok=True) or (folder / "include/x.h").write_text("")
        ),
    ):
        with checkout(trees[0], "s", cache) as folder:
            assert intact("s", cache)
            change(folder)
            assert not intact("s", cache)


def test_a_file_to_change_that_somebody_changed_is_made_anew(cache, trees):
    with checkout(trees[0], "s", cache) as folder:
        (folder / "mm/userfaultfd.c").write_text("not as it was left")
    with checkout(trees[1], "s", cache) as folder:
        assert "return 33;" in (folder / "mm/userfaultfd.c").read_text()
        assert intact("s", cache)


def test_a_switch_that_was_killed_is_done_again(cache, trees):
    with checkout(trees[0], "s", cache) as folder:
        pass
    (cache.folder / "trees" / "s.tree").unlink()
    (cache.folder / "trees" / "s.index.lock").write_text("")
    (folder / "Makefile").unlink()
    with checkout(trees[0], "s", cache) as folder:
        assert (folder / "Makefile").exists()


@pytest.mark.parametrize("damage", [b"", b"garbage" * 100])
def test_a_damaged_index_is_made_anew(cache, trees, damage):
    with checkout(trees[0], "s", cache):
        pass
    (cache.folder / "trees" / "s.index").write_bytes(damage)
    with checkout(trees[1], "s", cache) as folder:
        assert "return 33;" in (folder / "mm/userfaultfd.c").read_text()
        assert not (folder / "Kconfig").exists()


def test_slots_outlive_the_store(cache, trees, fetch, kernel):
    with checkout(trees[0], "s", cache) as folder:
        kept = (folder / "mm/Makefile").stat().st_mtime_ns
    shutil.rmtree(cache.folder / "kernels.git")
    assert fetch(f"path:{kernel}").tree == trees[1]
    with checkout(trees[1], "s", cache) as folder:
        assert "return 33;" in (folder / "mm/userfaultfd.c").read_text()
        assert (folder / "mm/Makefile").stat().st_mtime_ns == kept


def test_the_same_tree_is_shared(cache, trees):
    with checkout(trees[0], "s", cache) as one, checkout(trees[0], "s", cache, deadline=5) as two:
        assert one == two


def test_another_tree_waits_and_says_so(cache, trees):
    told: list[str] = []
    with (
        checkout(trees[0], "s", cache),
        pytest.raises(HostError, match="the source tree s was in use by another lab"),
        checkout(trees[1], "s", cache, deadline=0.3, on_wait=told.append),
    ):
        pass
    assert told == ["waiting for the source tree s: another lab is using it"]
    with checkout(trees[1], "s", cache, deadline=5) as folder:
        assert (folder / "mm/new.c").exists()


def test_many_at_once_each_see_their_own_tree(cache, trees):
    wrong: list[str] = []

    def work(tree: str, there: bool) -> None:
        for _ in range(3):
            with checkout(tree, "s", cache, deadline=60) as folder:
                if (folder / "mm/new.c").exists() is not there:
                    wrong.append(tree)

    threads = [
        threading.Thread(target=work, args=(trees[n % 2], bool(n % 2))) for n in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_hostile_attributes_change_nothing(cache, kernel, fetch):
    (kernel / ".gitattributes").write_text(
        "* text eol=crlf ident filter=evil\n[attr]trap text eol=crlf\n*.h trap\n"
        "*.sh working-tree-encoding=UTF-16\n"
    )
    (kernel / ".gitignore").write_text("")
    (kernel / "mm/id.c").write_text("/* $Id$ */\r\n")
    before = content(kernel)
    with checkout(fetch(f"path:{kernel}").tree, "s", cache) as folder:
        assert content(folder) == before


def test_remove_slot(cache, trees):
    with ExitStack() as stack:
        folder = stack.enter_context(checkout(trees[0], "s", cache))
        assert not remove_slot("s", cache)
        assert (folder / "Makefile").exists()
    assert remove_slot("s", cache)
    assert not folder.exists()
    with checkout(trees[0], "s", cache) as folder:
        assert (folder / "Makefile").exists()


@pytest.mark.parametrize("slot", ["", "../x", "a/b", ".hidden", "-x"])
def test_a_slot_is_one_plain_name(cache, slot):
    with pytest.raises(ValueError, match="not a slot name"), checkout("0" * 40, slot, cache):
        pass


def test_an_unknown_tree_is_the_hosts_error(cache):
    with pytest.raises(HostError), checkout("0" * 40, "s", cache):
        pass
    assert not store.has_object(cache, "0" * 40)
