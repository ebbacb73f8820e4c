# SPDX-License-Identifier: GPL-2.0-only
"""Values between machines: a path is told by what it is, and found where that is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cluster.parcel import Paths, pack, unpack
from orchestrator.model.spec import WorkloadSpec

HERE = Paths(Path("/home/me/cache"), {Path("/home/me/guest-tests/fam"): "inputs/abc/fam"})
THERE = Paths(Path("/srv/cache"))


def test_paths_go_there_and_back() -> None:
    spec = WorkloadSpec(
        "fam/a", "fam", Path("/home/me/guest-tests/fam"), "a.c",
        bundle=Path("/home/me/cache/selftests/mm"),
    )  # fmt: skip
    arrived = unpack(pack(spec, HERE), THERE)
    assert arrived.folder == Path("/srv/cache/inputs/abc/fam")
    assert arrived.bundle == Path("/srv/cache/selftests/mm")
    assert unpack(pack(arrived, THERE), HERE) == spec
    assert unpack(pack(Path("a/b"), HERE), THERE) == Path("a/b")


def test_a_path_that_means_nothing_elsewhere_is_a_bug() -> None:
    with pytest.raises(ValueError, match="means nothing on another machine"):
        pack({"a": [Path("/etc/passwd")]}, HERE)


@pytest.mark.parametrize("told", ["/etc/passwd", "../../etc/passwd", "builds/../../x"])
def test_no_parcel_leads_out_of_the_cache(told: str) -> None:
    with pytest.raises(ValueError, match="no place in a cache"):
        THERE.here(told)
