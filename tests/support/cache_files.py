# SPDX-License-Identifier: GPL-2.0-only
"""A cache of the lab with something of every kind in it."""

import os
import time
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache

DAY = 86400.0


NOW = time.time()


KIB = 1024


def put(path: Path, age: float, size: int = 64 * KIB) -> Path:
    """A file of some size and age (seconds)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    set_age(path, age)
    return path


def set_age(path: Path, age: float) -> None:
    os.utime(path, (NOW - age, NOW - age))


def put_build(cache: Cache, name: str, age: float) -> Path:
    folder = cache.folder / "builds" / name
    put(folder / "image", age)
    put(folder / "build.json", age, 10)
    set_age(folder, age)
    return folder


def put_objects(cache: Cache, name: str, age: float) -> Path:
    folder = cache.folder / "obj" / name
    put(folder / "mm" / "x.o", age)
    put(folder / ".lab-lock", age, 0)
    set_age(folder, age)
    return folder


def put_tree(cache: Cache, slot: str, age: float) -> Path:
    folder = cache.folder / "trees" / slot
    put(folder / "Makefile", age)
    put(cache.folder / "trees" / f"{slot}.tree", age, 40)
    set_age(folder, age)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache with something of every kind, each used some days ago."""
    cache = Cache(tmp_path / "cache")
    put_build(cache, "old", 9 * DAY)
    put_build(cache, "young", DAY)
    put_objects(cache, "debian-6.1-default-x86_64", 8 * DAY)
    put_objects(cache, "debian-6.12-default-x86_64", 2 * DAY)
    put_tree(cache, "debian-6.1", 8 * DAY)
    put_tree(cache, "debian-6.12", 7 * DAY)
    put(cache.folder / "roots" / "arm64-0123.ext2", 3 * DAY)
    put(cache.folder / "workloads" / "x86_64-basic-0123", 4 * DAY)
    put(cache.folder / "workloads" / "x86_64-basic-0123.lock", 4 * DAY, 0)
    put(cache.folder / "kernels.git" / "objects" / "x", 5 * DAY)
    put(cache.folder / "records" / "sources" / "x.json", 5 * DAY, 50)
    (cache.folder / "tmp").mkdir()
    (cache.folder / "locks").mkdir()
    return cache


def names(entries) -> list[str]:
    return [f"{entry.kind}/{entry.name}" for entry in entries]
