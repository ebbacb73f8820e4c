# SPDX-License-Identifier: GPL-2.0-only
"""Damage to a file of the cache is found, whatever its size and its times say."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache
from orchestrator.model.errors import HostError


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed file, as the next process finds it."""
    monkeypatch.setattr(seals, "_sound", set())
    path = tmp_path / "roots" / "a.ext2"
    path.parent.mkdir()
    path.write_bytes(b"what was made")
    seals.seal(Cache(tmp_path), path)
    return path


def test_what_is_as_it_was_made_is_sound(made: Path, tmp_path: Path) -> None:
    assert seals.sound(Cache(tmp_path), made)
    os.utime(made)  # each use does that
    assert seals.sound(Cache(tmp_path), made)


def test_a_single_bit_is_seen_though_size_and_times_are_the_same(
    made: Path, tmp_path: Path
) -> None:
    at = made.stat()
    made.write_bytes(b"what was mada")
    os.utime(made, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert not seals.sound(Cache(tmp_path), made)


def test_cut_empty_or_away_is_not_sound(made: Path, tmp_path: Path) -> None:
    made.write_bytes(b"what")
    assert not seals.sound(Cache(tmp_path), made)
    made.write_bytes(b"")
    assert not seals.sound(Cache(tmp_path), made)
    made.unlink()
    assert not seals.sound(Cache(tmp_path), made)


def test_it_is_sealed_by_its_place_before_it_is_there(tmp_path: Path) -> None:
    new, path = tmp_path / "x.new", tmp_path / "x"
    new.write_bytes(b"1")
    seals.seal(Cache(tmp_path), path, new)
    new.write_bytes(b"2")
    new.rename(path)
    assert not seals.sound(Cache(tmp_path), path)


def test_what_an_older_lab_made_is_believed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")
    assert seals.sound(Cache(tmp_path), path)
    monkeypatch.setattr(seals, "_sound", set())
    path.write_bytes(b"2")
    assert not seals.sound(Cache(tmp_path), path)


def test_a_process_that_outlives_its_runs_looks_again(made: Path, tmp_path: Path) -> None:
    assert seals.sound(Cache(tmp_path), made)
    with made.open("r+b") as file:  # the same file, as a disk changes it
        file.write(b"W")
    assert seals.sound(Cache(tmp_path), made)
    seals.forget()
    assert not seals.sound(Cache(tmp_path), made)


def test_what_is_known_from_elsewhere_need_not_be_read(tmp_path: Path) -> None:
    seals.seal(Cache(tmp_path), tmp_path / "x", sha256=hashlib.sha256(b"1").hexdigest())
    (tmp_path / "x").write_bytes(b"1")
    assert seals.sound(Cache(tmp_path), tmp_path / "x")
    (tmp_path / "x").write_bytes(b"22")
    assert not seals.sound(Cache(tmp_path), tmp_path / "x")


def test_what_cannot_be_read_is_the_hosts_trouble(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot read"):
        seals.seal(Cache(tmp_path), tmp_path / "nowhere")
