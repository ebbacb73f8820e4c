# SPDX-License-Identifier: GPL-2.0-only
"""A kept build is found by its image, and only while it is whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build.kept import digests, find_image
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec

BUILD = Build("k/default/x86_64", KernelSpec("k", "tar:/x"), ConfigSpec("default"), "x86_64")


def keep(cache: Cache, name: str, image: bytes) -> str:
    folder = cache.folder / "builds" / name
    folder.mkdir(parents=True)
    sha = hashlib.sha256(image).hexdigest()
    (folder / "image").write_bytes(image)
    (folder / "config").write_text("CONFIG_MMU=y\n")
    missed = {"symbol": "KASAN", "wanted": "y", "got": "n", "fragment": "kasan", "unmet": ""}
    record = {"image_sha256": sha, "command": "make", "mismatches": [missed], "warnings": []}
    (folder / "build.json").write_text(json.dumps(record))
    return sha


def test_the_image_that_ran_is_found_whatever_the_sources_are_now(tmp_path: Path) -> None:
    keep(Cache(tmp_path), "one", b"first")
    sha = keep(Cache(tmp_path), "two", b"second")
    found = find_image(BUILD, sha, Cache(tmp_path))
    assert found is not None
    assert found.image == tmp_path / "builds/two/image"
    assert found.verdict is Verdict.PASS
    assert found.build is BUILD
    assert [entry.symbol for entry in found.mismatches] == ["KASAN"]


def test_what_is_not_whole_is_not_taken(tmp_path: Path) -> None:
    sha = keep(Cache(tmp_path), "one", b"first")
    assert find_image(BUILD, "", Cache(tmp_path)) is None
    assert find_image(BUILD, "0" * 64, Cache(tmp_path)) is None
    (tmp_path / "builds/bad").mkdir()
    (tmp_path / "builds/bad/build.json").write_text("[]")
    assert find_image(BUILD, sha, Cache(tmp_path)) is not None
    (tmp_path / "builds/one/image").write_bytes(b"firs")
    assert find_image(BUILD, sha, Cache(tmp_path)) is None


@pytest.mark.parametrize("name", ["config", "vmlinux", "modules.tar.xz", "coverage.tar.xz"])
def test_what_lies_beside_the_image_is_known_by_its_checksum_too(tmp_path: Path, name: str) -> None:
    sha = keep(Cache(tmp_path), "one", b"first")
    folder = tmp_path / "builds/one"
    for each in ("vmlinux", "modules.tar.xz", "coverage.tar.xz"):
        (folder / each).write_text(f"what {each} holds")
    record = json.loads((folder / "build.json").read_text())
    record["sha256"] = digests(folder)
    (folder / "build.json").write_text(json.dumps(record))
    assert find_image(BUILD, sha, Cache(tmp_path)) is not None
    text = (folder / name).read_text()
    (folder / name).write_text(text[:-2] + "?" + text[-1])
    assert find_image(BUILD, sha, Cache(tmp_path)) is None


@pytest.mark.parametrize("noted", [3, "config", ["config"], None])
def test_a_record_whose_checksums_are_none_is_not_taken(tmp_path: Path, noted: object) -> None:
    sha = keep(Cache(tmp_path), "one", b"first")
    path = tmp_path / "builds/one/build.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": noted}))
    assert find_image(BUILD, sha, Cache(tmp_path)) is None
