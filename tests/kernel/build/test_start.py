# SPDX-License-Identifier: GPL-2.0-only
"""Which work tree a build begins in, on small trees and build folders as Kbuild leaves them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from build_folders import built

from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import locked
from orchestrator.kernel.build import start as module
from orchestrator.kernel.build.folders import BUILDING, note_tree
from orchestrator.kernel.build.log import STEPS
from orchestrator.kernel.build.request import BuildRequest, build_request
from orchestrator.kernel.build.start import Start, choose
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.kernel.source.worktree import checkout
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec

# 40 objects see mm.h, one sees userfaultfd.c, one the .c file that another tree changes.
OBJECTS = {f"mm/o{n}.o": [f"mm/o{n}.c", "include/linux/mm.h"] for n in range(40)} | {
    "mm/userfaultfd.o": ["mm/userfaultfd.c"],
    **{f"lib/l{n}.o": [f"lib/l{n}.c"] for n in range(60)},
}


@pytest.fixture
def edit(kernel: Path, fetch: Callable[..., BaseSource]) -> Callable[..., str]:
    """Write a file of the tree anew, and give the tree id that it has then."""

    def work(name: str = "", text: str = "") -> str:
        if name:
            path = kernel / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return fetch(f"path:{kernel}").tree

    return work


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., BuildRequest]:
    fragment = tmp_path / "base.config"
    fragment.write_text("CONFIG_A=y\n")

    def work(tree: str, slot: str = "own", config: str = "default", version: str = "6.12.117"):
        spec = KernelSpec("k", "path:linux")
        made = KernelTree(spec, version, tree, tree)
        wanted = Build(f"k/{config}/x86_64", spec, ConfigSpec(config, (fragment,)), "x86_64")
        return build_request(wanted, made, slot, ARCHES["x86_64"], fragment)

    return work


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)


def hold(cache: Cache, slot: str, tree: str) -> None:
    with checkout(tree, slot, cache):
        pass


def silent(_text: str) -> None:
    """Told nothing."""


def test_with_nothing_built_it_is_the_sources_own(cache, edit, ask):
    assert choose(ask(edit()), cache, silent) == Start("own")


def test_a_users_tree_begins_where_nearly_the_same_was_built(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    assert choose(ask(tree), cache, silent) == Start("debian-6.12", 1, len(OBJECTS))


def test_a_header_that_most_objects_see_is_far(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    near = {name: files for name, files in OBJECTS.items() if not name.startswith("lib")}
    built(cache, "debian-6.12", near)
    assert choose(ask(edit("include/linux/mm.h", "#define MM 2\n")), cache, silent) == Start("own")


def test_objtool_makes_every_object_anew(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    assert choose(ask(edit("tools/objtool/check.c", "int x;\n")), cache, silent) == Start("own")


def test_another_release_is_far(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    assert choose(ask(edit(), version="6.1.170"), cache, silent) == Start("own")


def test_too_many_files_are_far(cache, edit, ask, monkeypatch):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    monkeypatch.setattr(module, "_MOST_FILES", 0)
    assert choose(ask(edit("mm/userfaultfd.c", "int y;\n")), cache, silent) == Start("own")


def test_the_nearest_of_several(cache, edit, ask):
    first = edit()
    hold(cache, "a", first)
    built(cache, "a", OBJECTS)
    second = edit("include/linux/mm.h", "#define MM 2\n")
    hold(cache, "b", second)
    built(cache, "b", OBJECTS)
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    assert choose(ask(tree), cache, silent) == Start("b", 1, len(OBJECTS))


def test_its_own_is_kept_for_a_few_objects_more(cache, edit, ask):
    first = edit()
    hold(cache, "own", first)
    built(cache, "own", OBJECTS)
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    hold(cache, "debian-6.12", tree)
    built(cache, "debian-6.12", OBJECTS)
    assert choose(ask(tree), cache, silent) == Start("own", 1, len(OBJECTS))


def test_what_was_rewritten_since_the_folders_own_build_counts(cache, edit, ask):
    first = edit()
    hold(cache, "debian-6.12", first)
    objects = built(cache, "debian-6.12", OBJECTS)
    note_tree(objects, first, whole=True)
    hold(cache, "debian-6.12", edit("include/linux/mm.h", "#define MM 2\n"))
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    assert choose(ask(tree), cache, silent) == Start("debian-6.12", 41, len(OBJECTS))


def test_another_configs_objects_only_where_there_is_no_better(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS, config="lockdep")
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    assert choose(ask(tree), cache, silent) == Start("debian-6.12", 1, len(OBJECTS), sibling=True)
    assert choose(ask(tree, config="lockdep"), cache, silent).sibling is False


def test_after_a_build_that_was_cut_short_what_is_older_counts(cache, edit, ask):
    """Ctrl-C must not cost the next build a work tree of its own."""
    tree = edit()
    hold(cache, "debian-6.12", tree)
    objects = built(cache, "debian-6.12", OBJECTS)
    for path in objects.rglob(".*.cmd"):
        os.utime(path, (1e9, 1e9))
    note_tree(objects, tree, whole=True)
    (objects / STEPS).write_text("1662")
    (objects / BUILDING).touch()
    (objects / "vmlinux").unlink()
    (objects / "lib/.l7.o.cmd").touch()  # may be half an object
    (objects / "lib/.l8.o.cmd").unlink()  # was never made again
    tree = edit("mm/userfaultfd.c", "int y;\n")
    assert choose(ask(tree), cache, silent) == Start("debian-6.12", 3, len(OBJECTS))


def test_a_folder_in_which_nothing_was_ever_made_to_its_end_is_none(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    objects = built(cache, "debian-6.12", OBJECTS)
    (objects / "vmlinux").unlink()
    assert choose(ask(edit("mm/userfaultfd.c", "int y;\n")), cache, silent) == Start("own")


def test_another_architecture_is_none(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS, arch="arm64")
    assert choose(ask(edit()), cache, silent) == Start("own")


def test_a_tree_that_is_no_longer_in_the_store_is_none(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    cache.slot("debian-6.12").stamp.write_text("0123456789" * 4)
    assert choose(ask(edit()), cache, silent) == Start("own")


def test_one_in_use_is_left_to_its_user(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    hold(cache, "spare", edit())
    told: list[str] = []
    with locked(cache.slot("debian-6.12").lock, deadline=1, shared=True):
        assert choose(ask(tree), cache, told.append) == Start("own")
        built(cache, "spare", OBJECTS)
        assert choose(ask(tree), cache, silent).slot == "spare"


def test_one_that_is_less_near_serves_only_in_the_end(cache, edit, ask, monkeypatch):
    far = edit("include/linux/mm.h", "#define MM 2\n")
    hold(cache, "far", far)
    built(cache, "far", OBJECTS)
    hold(cache, "near", edit("include/linux/mm.h", "#define MM 1\n"))
    built(cache, "near", OBJECTS)
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    monkeypatch.setattr(module, "_PATIENCE", 0.5)
    told: list[str] = []
    with locked(cache.slot("near").lock, deadline=1, shared=True):
        assert choose(ask(tree), cache, told.append) == Start("far", 41, len(OBJECTS))
    assert told == ["waiting for the source tree near: another lab is using it"]


def test_one_that_is_just_being_switched_is_waited_for(cache, edit, ask, monkeypatch):
    first = edit()
    hold(cache, "debian-6.12", first)
    built(cache, "debian-6.12", OBJECTS)
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    place = cache.slot("debian-6.12")
    place.stamp.unlink()
    lock = locked(place.lock, deadline=1)
    lock.__enter__()

    def wait(_text: str) -> None:
        place.stamp.write_text(first)
        lock.__exit__(None, None, None)

    assert choose(ask(tree), cache, wait) == Start("debian-6.12", 1, len(OBJECTS))


def test_one_that_a_killed_lab_left_half_switched_is_none(cache, edit, ask, monkeypatch):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    cache.slot("debian-6.12").stamp.unlink()
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    assert choose(ask(edit()), cache, silent) == Start("own")


def test_who_builds_the_same_tree_shares_it(cache, edit, ask):
    tree = edit()
    hold(cache, "debian-6.12", tree)
    built(cache, "debian-6.12", OBJECTS)
    with locked(cache.slot("debian-6.12").lock, deadline=1, shared=True):
        assert choose(ask(tree), cache, silent).slot == "debian-6.12"


def test_one_in_use_is_waited_for_and_told_of(cache, edit, ask, monkeypatch):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    tree = edit("mm/userfaultfd.c", "int moved;\n")
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    told: list[str] = []
    lock = locked(cache.slot("debian-6.12").lock, deadline=1, shared=True)
    lock.__enter__()

    def wait(text: str) -> None:
        told.append(text)
        lock.__exit__(None, None, None)

    assert choose(ask(tree), cache, wait).slot == "debian-6.12"
    assert told == ["waiting for the source tree debian-6.12: another lab is using it"]


def test_names_that_git_quotes_and_names_with_line_ends(cache, edit, ask):
    hold(cache, "debian-6.12", edit())
    built(cache, "debian-6.12", OBJECTS)
    edit("mm/ä b.c", "int x;\n")
    assert choose(ask(edit("mm/a\nb.c", "int x;\n")), cache, silent).stale == 0
