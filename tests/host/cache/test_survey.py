# SPDX-License-Identifier: GPL-2.0-only
"""What is in the cache."""

from cache_files import KIB, names, put

from orchestrator.host.cache import trim
from orchestrator.host.cache.survey import disk_size, survey
from orchestrator.host.cache.trim import Wish


def test_everything_is_found_least_recently_used_first(cache):
    assert names(survey(cache)) == [
        "builds/old",
        "obj/debian-6.1-default-x86_64",
        "trees/debian-6.1",
        "workloads/x86_64-basic-0123",
        "roots/arm64-0123.ext2",
        "obj/debian-6.12-default-x86_64",
        "trees/debian-6.12",  # as used as the last build from it
        "builds/young",
        "sources/kernels.git",  # as used as the last build of all
    ]


def test_sizes_are_those_on_disk(cache, tmp_path):
    sparse = tmp_path / "sparse" / "swap.raw"
    sparse.parent.mkdir()
    with sparse.open("wb") as file:
        file.truncate(1 << 30)
    assert disk_size(tmp_path / "sparse") < 1 << 20
    assert disk_size(cache.folder / "builds" / "old") >= 64 * KIB
    assert disk_size(tmp_path / "nothing") == 0


def test_a_link_out_of_the_cache_is_not_followed(cache, tmp_path):
    put(tmp_path / "precious" / "file", 0, 1 << 20)
    (cache.folder / "obj" / "link").symlink_to(tmp_path / "precious")
    (cache.folder / "builds" / "link").symlink_to(tmp_path / "precious")
    assert disk_size(cache.folder / "builds" / "link") < 64 * KIB
    trim.trim(cache, Wish(everything=True))
    assert (tmp_path / "precious" / "file").exists()
