# SPDX-License-Identifier: GPL-2.0-only
"""A fake kernel, a repository of it and a cache for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_kernel import commit_all, write_kernel

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source.fetch import BaseSource, fetch_base
from orchestrator.model.spec import KernelSpec


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    return write_kernel(tmp_path / "linux")


@pytest.fixture
def fetch(cache: Cache) -> Callable[..., BaseSource]:
    def work(source: str, base_commit: str = "") -> BaseSource:
        spec = KernelSpec("k", source, where="lab.yaml:3")
        return fetch_base(spec, cache, lambda _: None, 60, base_commit)

    return work


@pytest.fixture
def base(fetch: Callable[..., BaseSource], kernel: Path) -> BaseSource:
    return fetch(f"path:{kernel}")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with three commits, the last two of which change mm/userfaultfd.c."""
    folder = write_kernel(tmp_path / "repo")
    commit_all(folder, "first")
    source = folder / "mm/userfaultfd.c"
    for n in (3, 9):
        source.write_text(source.read_text().replace(f"return {n};", f"return {n} * 10;"))
        commit_all(folder, f"mm: step {n} ten times\n\nReally.")
    return folder
