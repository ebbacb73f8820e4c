# SPDX-License-Identifier: GPL-2.0-only
"""Objects that would find a header which was not there when they were made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from build_folders import built

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build.folders import note_tree
from orchestrator.kernel.build.shadow import forget
from orchestrator.kernel.source import store
from orchestrator.kernel.source.fetch import BaseSource

OBJECTS = {
    "mm/a.o": ["mm/a.c", "include/uapi/linux/move.h"],
    "mm/b.o": ["mm/b.c", "include/linux/internal.h"],
    "fs/c.o": ["fs/c.c", "include/linux/internal.h"],
    "fs/d.o": ["fs/d.c"],
}


@pytest.fixture
def after(
    kernel: Path, fetch: Callable[..., BaseSource], cache: Cache
) -> Callable[..., tuple[int, set[str]]]:
    """Add files to the tree that all objects are of; give what was removed, and what stays."""

    def work(*names: str, unknown: bool = False) -> tuple[int, set[str]]:
        objects = built(cache, "s", OBJECTS)
        if not unknown:
            note_tree(objects, fetch(f"path:{kernel}").tree, whole=True)
        for name in names:
            path = kernel / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("/* new */\n")
        gone = forget(objects, fetch(f"path:{kernel}").tree, "s", cache)
        return gone, {path.stem for path in objects.rglob("*.o")}

    return work


def test_nothing_new_removes_nothing(after):
    assert after() == (0, {"a", "b", "c", "d"})


def test_a_header_that_comes_first_on_the_path(after):
    assert after("include/linux/move.h") == (1, {"b", "c", "d"})


def test_one_of_an_architecture_too(after):
    assert after("arch/x86/include/uapi/linux/move.h") == (1, {"b", "c", "d"})


def test_one_of_another_name_or_folder_misleads_nobody(after):
    assert after("include/linux/remove.h", "include/net/move.h") == (0, {"a", "b", "c", "d"})


def test_a_header_beside_the_file_that_includes_it(after):
    assert after("mm/internal.h") == (1, {"a", "c", "d"})


def test_a_header_far_below_the_file_that_includes_it(cache, kernel, fetch):
    """A program's "dc/inc/hw/move.h", found by -I until now, may come to lie below the program."""
    objects = built(cache, "s", {
        "mm/a.o": ["mm/a.c", "lib/dc/inc/hw/move.h"],
        "mm/b.o": ["mm/b.c", "lib/other/hw/move.h"],
        "fs/c.o": ["fs/c.c", "lib/dc/inc/hw/move.h"],
    })  # fmt: skip
    note_tree(objects, fetch(f"path:{kernel}").tree, whole=True)
    path = kernel / "mm/dc/inc/hw/move.h"
    path.parent.mkdir(parents=True)
    path.write_text("/* new */\n")
    assert forget(objects, fetch(f"path:{kernel}").tree, "s", cache) == 1
    assert {path.stem for path in objects.rglob("*.o")} == {"b", "c"}


def test_git_is_asked_once_a_tree(after, monkeypatch):
    asked = []
    git = store.git
    monkeypatch.setattr(store, "git", lambda cache, *words, **more: (
        asked.append(words[0]), git(cache, *words, **more))[1])  # fmt: skip
    after("include/linux/move.h")
    assert asked.count("diff-tree") == 1


def test_what_nothing_includes(after):
    assert after("Documentation/move.h.rst", "mm/Kconfig.move") == (0, {"a", "b", "c", "d"})


def test_of_objects_from_before_this_was_noted_nothing_is_known(after):
    assert after("include/linux/move.h", unknown=True) == (0, {"a", "b", "c", "d"})


def test_every_tree_since_the_last_whole_build_counts(cache, kernel, fetch):
    (kernel / "include/linux/move.h").write_text("/* old */\n")
    objects = built(cache, "s", OBJECTS)
    with_header = fetch(f"path:{kernel}").tree
    note_tree(objects, with_header, whole=True)
    (kernel / "include/linux/move.h").unlink()
    note_tree(objects, fetch(f"path:{kernel}").tree, whole=False)  # did not build to its end
    assert forget(objects, with_header, "s", cache) == 1
    assert not (objects / "mm/a.o").exists()


def test_what_an_earlier_build_removed_and_did_not_make_again_counts(cache, kernel, fetch):
    """ccache would give it as it was."""
    objects = built(cache, "s", OBJECTS)
    before = fetch(f"path:{kernel}").tree
    note_tree(objects, before, whole=True)
    (kernel / "include/linux/move.h").write_text("/* new */\n")
    tree = fetch(f"path:{kernel}").tree
    assert forget(objects, tree, "s", cache) == 1
    note_tree(objects, tree, whole=False)  # an error in another file
    assert forget(objects, tree, "s", cache) == 1


def test_what_is_compiled_for_its_text_alone(cache, kernel, fetch):
    """Structure offsets for assembly, and the linker's script, see headers as objects do."""
    made = {"arch/x86/kernel/asm-offsets.s": ["mm/a.c", "include/uapi/linux/move.h"]}
    objects = built(cache, "s", made)
    note_tree(objects, fetch(f"path:{kernel}").tree, whole=True)
    (kernel / "include/linux/move.h").write_text("/* new */\n")
    assert forget(objects, fetch(f"path:{kernel}").tree, "s", cache) == 1
    assert not (objects / "arch/x86/kernel/asm-offsets.s").exists()


def test_what_found_a_header_first_that_is_gone_again(cache, kernel, fetch):
    """Kbuild itself makes nothing anew for a file that is missing."""
    header = kernel / "include/linux/move.h"
    header.write_text("/* for a while */\n")
    objects = built(cache, "s", {**OBJECTS, "mm/a.o": ["mm/a.c", "include/linux/move.h"]})
    note_tree(objects, fetch(f"path:{kernel}").tree, whole=True)
    header.unlink()
    assert forget(objects, fetch(f"path:{kernel}").tree, "s", cache) == 1
    assert not (objects / "mm/a.o").exists()
    assert (objects / "mm/b.o").exists()
