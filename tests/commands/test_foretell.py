# SPDX-License-Identifier: GPL-2.0-only
"""What ``lab plan`` says of this machine: of a source never built here, of what a run lacks."""

from __future__ import annotations

import os
from dataclasses import replace

from orchestrator.commands.foretell import first_builds, notes
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build.times import Taken, remember
from orchestrator.kernel.source.slots import own_slot
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec, Plan
from orchestrator.model.toolchain import Toolchain

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


def test_what_a_run_would_stop_at_is_noted(lab, folder, monkeypatch):
    words = ("plan", "--arch", "x86_64", "--arch", "arm64")
    assert "note:" not in lab(*words).out
    (folder / "file").write_text("")
    monkeypatch.setenv("LAB_CACHE", str(folder / "file"))
    monkeypatch.setenv("HOME", str(folder))
    done = lab(*words, "--toolchain", "gcc-99")
    assert (done.status, done.err) == (0, "")
    lines = done.out[done.out.index("\nnote:") + 1 :].rstrip().splitlines()
    assert lines == [
        "note: lab run would stop here: the cache "
        f"{folder}/file, as LAB_CACHE has it, cannot be used: {folder}/file is no folder",
        "      export LAB_CACHE=$HOME/lab-cache",
        "note: lab run would stop here: gcc-99 cannot compile x86_64 kernels: "
        f"{ARCHES['x86_64'].gcc}-99 is not installed",
        lines[3],
        "note: lab run would stop here: gcc-99 cannot compile arm64 kernels: "
        f"{ARCHES['arm64'].gcc}-99 is not installed",
        lines[5],
    ]
    for line, arch in ((lines[3], "x86_64"), (lines[5], "arm64")):
        assert line.endswith(" ".join(Toolchain("gcc", "99").packages(ARCHES[arch])))
    assert "note:" not in lab(*words, "--toolchain", "gcc-99", "--json").out


def test_a_toolchain_that_is_here_is_no_note(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "find_tool", lambda name: f"/usr/bin/{name}")
    (build,) = plan_of("path:/linux").builds
    config = replace(build.config, toolchain=Toolchain("clang", "16"))
    plan = replace(plan_of(), builds=(replace(build, config=config),))
    assert notes(plan, Cache(tmp_path / "new")) == []
