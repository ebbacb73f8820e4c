# SPDX-License-Identifier: GPL-2.0-only
"""Where things are in the cache: an old one is used by a new lab, so that no name may change."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from orchestrator.host.cache.files import Cache, load_record, need_space, save_record
from orchestrator.model.errors import HostError

CACHE = Cache(Path("/c"))
SLOT = CACHE.slot("debian-6.12")


@pytest.mark.parametrize(
    ("place", "where"),
    [
        (CACHE.store, "kernels.git"),
        (CACHE.source_index("path-0123"), "kernels.git/lab-indexes/path-0123"),
        (CACHE.records, "records"),
        (
            CACHE.record("sources", "debian:6.12"),
            "records/sources/a87b327f5f93888d06d8a8958c9436ec.json",
        ),
        (CACHE.trees, "trees"),
        (SLOT.folder, "trees/debian-6.12"),
        (SLOT.lock, "trees/debian-6.12.lock"),
        (SLOT.gate, "trees/debian-6.12.gate"),
        (SLOT.stamp, "trees/debian-6.12.tree"),
        (SLOT.index, "trees/debian-6.12.index"),
        (SLOT.index_lock, "trees/debian-6.12.index.lock"),
        (CACHE.objects, "obj"),
        (CACHE.build_folder("debian-6.12", "thp", "arm64"), "obj/debian-6.12-thp-arm64"),
        (CACHE.build_lock(CACHE.objects / "x"), "obj/x/.lab-lock"),
        (CACHE.builds, "builds"),
        (CACHE.build("0123"), "builds/0123"),
        (CACHE.build_record(CACHE.build("0123")), "builds/0123/build.json"),
        (CACHE.failed_log("0123"), "builds/0123.failed.log"),
        (CACHE.ccache, "ccache"),
        (CACHE.roots, "roots"),
        (CACHE.root_lock("arm64"), "roots/arm64.lock"),
        (CACHE.kvm_probe("arm64"), "kvm-probe-arm64.json"),
        (CACHE.workloads, "workloads"),
        (CACHE.selftests, "selftests"),
        (CACHE.lock_beside(CACHE.workloads / "pack-0123"), "workloads/pack-0123.lock"),
        (CACHE.tmp, "tmp"),
        (CACHE.locks, "locks"),
        (CACHE.source_lock("path-0123"), "locks/path-0123"),
        (CACHE.import_lock, "locks/import"),
        (CACHE.store_lock, "locks/store-create"),
        (CACHE.trim_lock, "locks/trim"),
        (CACHE.labs, "locks/labs"),
        (CACHE.budget_checked, "locks/budget-checked"),
    ],
    ids=str,
)
def test_everything_lies_where_it_always_did(place: Path, where: str) -> None:
    assert place == Path("/c") / where


def test_it_is_a_value() -> None:
    assert pickle.loads(pickle.dumps(CACHE)) == CACHE == Cache(Path("/c"))
    assert {CACHE: 1}[Cache(Path("/c"))] == 1


def test_build_folders_of_one_source_and_architecture(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert list(cache.build_folders("debian-6.12", "*", "arm64")) == []
    names = ("debian-6.12-thp-arm64", "debian-6.12-thp-x86_64", "debian-6.1-thp-arm64")
    for name in (*names, "debian-6.12-thp-arm64--clang"):
        (cache.objects / name).mkdir(parents=True)
    found = cache.build_folders("debian-6.12", "*", "arm64")
    assert [path.name for path in found] == ["debian-6.12-thp-arm64"]
    # Nobody begins with what a fenced build left, which has a name of its own.
    (cache.objects / "debian-6.12-thp.fenced-0123-arm64").mkdir()
    assert len(list(cache.build_folders("debian-6.12", "*", "arm64"))) == 1
    assert len(list(cache.build_folders("debian-6.12", "*", "arm64", fenced=True))) == 2
    # Those of another compiler are apart.
    found = cache.build_folders("debian-6.12", "*", "arm64", "clang")
    assert [path.name for path in found] == ["debian-6.12-thp-arm64--clang"]


def test_records_of_kept_builds(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.build("whole").mkdir(parents=True)
    cache.build("half.new").mkdir()
    cache.build_record(cache.build("whole")).write_text("{}")
    cache.failed_log("other").write_text("")
    assert list(cache.build_records()) == [tmp_path / "builds/whole/build.json"]


def test_a_record_comes_back_under_its_own_key_only(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    save_record(cache, "sources", "debian:6.12", {"tree": "abc"})
    assert load_record(cache, "sources", "debian:6.12") == {"tree": "abc", "key": "debian:6.12"}
    assert load_record(cache, "sources", "debian:6.1") is None
    cache.record("sources", "debian:6.1").write_bytes(
        cache.record("sources", "debian:6.12").read_bytes()
    )
    assert load_record(cache, "sources", "debian:6.1") is None
    cache.record("sources", "debian:6.12").write_text("{")
    assert load_record(cache, "sources", "debian:6.12") is None


def test_a_disk_without_room_is_told_with_the_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new")
    need_space(cache, 1)
    assert cache.folder.is_dir()
    with pytest.raises(HostError, match=f"^{cache.folder} has [0-9]+ MiB free, "):
        need_space(cache, 1 << 60)
