# SPDX-License-Identifier: GPL-2.0-only
"""Where the cache can be: its path, and its file system."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.host.cache import place
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import using
from orchestrator.host.cache.place import check_place, place_problem
from orchestrator.model.errors import HostError, UserError
from orchestrator.runner.context import cache_folder


def test_a_good_place_is_made_and_left_as_it_was(tmp_path: Path) -> None:
    check_place(tmp_path / "a" / "cache")
    assert list((tmp_path / "a" / "cache").iterdir()) == []
    assert place_problem(tmp_path / "a" / "cache") is None


@pytest.mark.parametrize(("name", "sign"), [("a b", "a blank"), ("a:b", "a colon")])
def test_paths_that_kbuild_refuses(
    name: str, sign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / name, tmp_path / name / "lab"):
        with pytest.raises(UserError, match=f"has {sign} in its path"):
            check_place(folder)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError), using(Cache(tmp_path / name)):
        pass
    # The way out is no path of that kind.
    monkeypatch.setenv("HOME", str(tmp_path))
    problem = place_problem(tmp_path / name)
    assert problem is not None
    assert problem.hint == "export LAB_CACHE=$HOME/lab-cache"
    home = tmp_path / name
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    problem = place_problem(home / ".cache" / "lab")
    assert problem is not None
    assert problem.hint == f"export LAB_CACHE=/var/tmp/lab-cache-{os.getuid()}"


@pytest.mark.parametrize("below", ["", "lab"])
def test_a_file_is_no_folder(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"file is no folder"):
        check_place(tmp_path / "file" / below)


def test_it_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(place.tempfile, "TemporaryDirectory", refuse)
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    with pytest.raises(HostError, match=r"as LAB_CACHE has it, cannot be written: Permission"):
        check_place(tmp_path)


def test_what_a_file_system_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patch:
        patch.setattr(place.os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
        with pytest.raises(HostError, match="where no program runs"):
            check_place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", refuse)
        with pytest.raises(HostError, match="without symbolic links"):
            check_place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(place.fcntl, "flock", refuse)
        with pytest.raises(HostError, match="without file locks"):
            check_place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda _self: True)
        with pytest.raises(HostError, match="does not tell capital letters"):
            check_place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", refuse)
        with pytest.raises(HostError, match="without symbolic links"):
            check_place(tmp_path / "new" / "cache")  # is not made in vain
    assert list(tmp_path.iterdir()) == []


def test_how_the_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("LAB_CACHE", raising=False)
    assert cache_folder().folder == tmp_path / "home" / ".cache" / "lab"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder().folder == tmp_path / "xdg" / "lab"
    for given, meant in (("~/c", "home/c"), ("rel/c", "rel/c"), (str(tmp_path / "c"), "c")):
        monkeypatch.setenv("LAB_CACHE", given)
        assert cache_folder().folder == tmp_path / meant
    monkeypatch.setenv("LAB_CACHE", "~nobody-of-that-name/c")
    with pytest.raises(UserError, match="the cache ~nobody-of-that-name/c, as LAB_CACHE has it: "):
        cache_folder()
