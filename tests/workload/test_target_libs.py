# SPDX-License-Identifier: GPL-2.0-only
"""Libraries for the selftests: what is taken out of an unpacked system, and what goes wrong."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.workload.target_libs import LIBRARIES, target_libraries

ARM64 = ARCHES["arm64"]
MEMBERS = {
    "./usr/include/numa.h": True,
    "./usr/include/aarch64-linux-gnu/sys/capability.h": True,
    "./usr/include/linux/mman.h": False,  # the kernel's own, of another kernel
    "./usr/lib/aarch64-linux-gnu/libnuma.a": True,
    "./usr/lib/aarch64-linux-gnu/libc.a": False,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    made: list[list[str]] = []

    def run(argv: list[Any], **_: object) -> None:
        made.append([str(word) for word in argv])
        with tarfile.open(argv[-1], "w") as tar:
            for name in MEMBERS:
                entry = tarfile.TarInfo(name)
                entry.size = 1
                tar.addfile(entry, io.BytesIO(b"x"))

    monkeypatch.setattr(process, "run", run)
    return made


def test_fetched_once_and_only_what_is_named(tmp_path: Path, calls: list[list[str]]) -> None:
    cache, told = Cache(tmp_path), list[str]()
    found = target_libraries(ARM64, cache, told.append)
    assert target_libraries(ARM64, cache, told.append) == found
    assert found.include is not None
    assert found.lib is not None
    got = sorted(
        str(path.relative_to(found.lib.parent))
        for path in found.lib.parent.rglob("*")
        if path.is_file()
    )
    assert got == ["include/numa.h", "include/sys/capability.h", "lib/libnuma.a"]
    assert told == ["fetching libraries for arm64"]
    (call,) = calls
    assert call[:4] == ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64"]
    assert call[4] == f"--include={','.join(library.package for library in LIBRARIES)}"


def test_a_mirror_that_does_not_answer_is_told_in_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: list[Any], **_: object) -> None:
        said = b"I: ok\nE: apt-get update failed\n"
        raise process.CommandFailed(process.Completed(("mmdebstrap",), 25, b"", said, 1.0))

    monkeypatch.setattr(process, "run", run)
    found = target_libraries(ARM64, Cache(tmp_path), lambda _: None)
    assert found.lib is None
    assert found.missing.startswith("cannot fetch libcap-dev,")
    assert found.missing.endswith(" for arm64: E: apt-get update failed")
    assert list((tmp_path / "tmp").iterdir()) == []
