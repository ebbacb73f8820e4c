# SPDX-License-Identifier: GPL-2.0-only
"""What ``lab plan`` says of a source that was never built here."""

from __future__ import annotations

import os

from orchestrator.commands.foretell import first_builds
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build.times import Taken, remember
from orchestrator.kernel.source.slots import own_slot
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec, Plan

JOBS = os.cpu_count() or 1


def plan_of(*sources: str) -> Plan:
    config = ConfigSpec("default", ())
    return Plan(
        "smoke",
        tuple(
            Build(f"k{n}/default/x86_64", KernelSpec(f"k{n}", source), config, "x86_64")
            for n, source in enumerate(sources)
        ),
        (),
    )


def test_nothing_measured_nothing_told(tmp_path):
    cache = Cache(tmp_path)
    assert first_builds(plan_of("path:/linux"), cache) == ""
    cache.records.mkdir()
    assert first_builds(plan_of("path:/linux"), cache) == ""


def test_a_source_that_was_never_built_is_told_what_others_took(tmp_path):
    cache, mine = Cache(tmp_path), f"path:{tmp_path}"
    taken = Taken(1600, 300.0, 520.0, JOBS, everything=True)
    remember("default", "x86_64", own_slot("debian:6.12"), taken, cache)
    plan = plan_of("debian:6.12=6.12.117-1", mine, "tar:linux-6.12.tar.xz")
    assert first_builds(plan, cache).splitlines() == [
        "FIRST BUILD OF ITS SOURCE  NEAR WHAT WAS BUILT  FAR FROM IT",
        "k1/default/x86_64          not known            about 5 min",
    ]
    little = Taken(80, 11.0, 14.0, JOBS, everything=False)
    remember("default", "x86_64", own_slot(mine), little, cache)
    assert first_builds(plan, cache) == ""
    assert "about 10 s           about 5 min" in first_builds(plan_of("git:/linux#v6"), cache)
