# SPDX-License-Identifier: GPL-2.0-only
"""A plan on real worker processes that pretend to build and boot: as on this machine alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import damage
import pytest
from cluster_lab import STAGES, Machines, context_of, free_port, plan_of

from orchestrator.cluster.engine import PLACE, Cluster
from orchestrator.cluster.goods import files_of
from orchestrator.cluster.tls import make, parse
from orchestrator.guest.root import root_image
from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache, load_record
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.judging import Decision, Judging
from orchestrator.model.names import Verdict
from orchestrator.model.spec import KernelSpec
from orchestrator.results.runs import cell_folder
from orchestrator.runner import local
from orchestrator.runner.context import Context, Event, Places
from orchestrator.runner.run import RunOptions, run_plan
from orchestrator.runner.state import RunState


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "local"))
    found = Machines(tmp_path, free_port())
    found.scheduler()
    try:
        yield found
    finally:
        found.stop()


def carry_out(
    machines: Machines,
    plan: object,
    folder: Path,
    events: list[Event] | None = None,
    **more: object,
) -> RunState:
    folder.mkdir(exist_ok=True)
    context = context_of(folder, (events if events is not None else []).append)
    cluster = Cluster(parse(machines.url, None), str(machines.folder / "store"))
    return cluster.carry_out(plan, context, lambda _: None, stages=STAGES, **more)  # type: ignore[arg-type]


def told(state: RunState) -> object:
    """What there is, without times and places."""
    notes = {c.id: [n for n in c.notes if not n.startswith(PLACE)] for c in state.cells.values()}
    return (
        dict(sorted(state.kernels.items())),
        {name: replace(record, seconds=0.0, notes=(), cached=False)
         for name, record in sorted(state.builds.items())},
        {name: replace(record, notes=tuple(notes[name]))
         for name, record in sorted(state.cells.items())},
        sorted(state.problems),
    )  # fmt: skip


def test_a_run_on_a_cluster_of_one_is_as_one_on_this_machine(
    machines: Machines, tmp_path: Path
) -> None:
    machines.worker("one")
    plan = plan_of(tmp_path, ("a", "b", "broken", "nodisk"), ("k", "l"))
    none = KernelSpec("none", "path:none")
    lost = replace(plan.builds[0], id="none/a/x86_64", kernel=none)
    cell = replace(plan.cells[0], id="none/a/x86_64/small", build=lost)
    plan = replace(plan, builds=(*plan.builds, lost), cells=(*plan.cells, cell))
    here: list[Event] = []
    there: list[Event] = []
    (tmp_path / "here").mkdir()
    alone = local.carry_out(
        plan, context_of(tmp_path / "here", here.append), lambda _: None, cores=1, stages=STAGES
    )
    state = carry_out(machines, plan, tmp_path / "there", there)
    assert told(state) == told(alone), machines.said()
    assert state.cells["k/a/x86_64/small"].notes == (f"{PLACE}one",)
    assert state.cells["k/broken/x86_64/small"].verdict is Verdict.FAIL
    assert state.builds["k/nodisk/x86_64"].reason == "the disk is full"

    def shown(events: list[Event]) -> list[tuple[object, ...]]:
        return sorted(
            (e.kind, e.id, e.stage, e.text, str(e.verdict), e.case is not None)
            for e in events
            if e.stage not in ("share", "wait")
        )

    assert shown(there) == shown(here)
    cases = [event.id for event in there if event.kind == "case"]
    assert len(cases) == len(set(cases))
    for name in sorted(state.as_ran):
        assert state.as_ran[name].workloads[0].folder == plan.cells[0].workloads[0].folder
    files = {
        side: {
            path.relative_to(tmp_path / side / "run").as_posix(): path.read_text()
            for path in (tmp_path / side / "run").rglob("*")
            if path.is_file()
        }
        for side in ("here", "there")
    }
    assert files["there"] == files["here"]
    # Another run, from another cache: what was built is fetched, and not built again.
    before = len(machines.did)
    again = carry_out(machines, plan_of(tmp_path, "ab"), tmp_path / "later")
    assert [line for line in machines.did[before:] if " build " in line] == []
    assert all(record.cached for record in again.builds.values())
    assert {record.verdict for record in again.cells.values()} == {Verdict.FAIL}  # of bad


def test_what_a_disk_changed_of_what_a_worker_has_is_fetched_again(
    machines: Machines, tmp_path: Path
) -> None:
    """Roots, compiled workloads, kept builds, the user's files; by a worker that goes on."""
    machines.worker("one")
    folder = tmp_path / "client"
    root = root_image(ARCHES["x86_64"], Cache(folder / "cache"))
    root.parent.mkdir(parents=True)
    root.write_bytes(b"a root" * 1000)
    first = carry_out(machines, plan_of(tmp_path, "a"), folder)
    theirs = Cache(tmp_path / "cache-one")
    places = (theirs.roots, theirs.workloads, theirs.builds, theirs.inputs)
    right = {path: path.read_bytes() for place in places for path in files_of(place).values()}
    assert all(any(path.is_relative_to(place) for path in right) for place in places)
    sealed = [path for path in right if path.parent in (theirs.roots, theirs.workloads)]
    assert root.name in {path.name for path in sealed}
    for path in sealed:
        assert seals.sound(theirs, path)
        noted = load_record(theirs, "seals", path.relative_to(theirs.folder).as_posix())
        assert noted is not None, path
    for path in right:
        if path.stat().st_size:
            damage.flip(path)
    again = carry_out(machines, plan_of(tmp_path, "ab"), folder)
    assert again.problems == []
    for name, cell in first.cells.items():
        assert again.cells[name] == cell, machines.said()
    booted = Path(folder / "run" / cell_folder("k/a/x86_64/small") / "console.log").read_text()
    assert booted == "booted image of k/a/x86_64 from k\nand done\n"
    mended = {path: path.read_bytes() for path in right}
    assert [path for path in right if mended[path] != right[path]] == []
    # Nor is a root that was damaged where the run is started spread to others.
    damage.flip(root)
    seals.forget()
    theirs.folder.rename(tmp_path / "cache-gone")
    carry_out(machines, plan_of(tmp_path, "b"), folder)
    assert root_image(ARCHES["x86_64"], theirs).read_bytes() == b"a root" * 1000


def results(folder: Path) -> object:
    """A stored run without times, places and names of its own."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k not in gone}
        if isinstance(value, list):
            return [clean(v) for v in value if not str(v).startswith(PLACE)]
        return value

    gone = {"seconds", "started", "finished", "host", "rerun"}  # rerun names the run's folder
    found = json.loads((folder / "results.json").read_text())
    del found["run"]["id"]
    return clean(found)


def test_results_and_trials_of_what_regressed_are_as_on_this_machine(
    machines: Machines, tmp_path: Path
) -> None:
    machines.worker("one")
    plan = plan_of(tmp_path, "a", ("base", "k"))
    plan = replace(plan, baseline="base", judging=Judging(trials=3))
    done = {}
    for side in ("here", "there"):
        folder = tmp_path / side
        context = context_of_new(folder)
        places = Places(
            tmp_path / "lab.yaml", folder / "reports", context.cache, context.machine.fragments
        )
        cluster = Cluster(parse(machines.url, None), str(tmp_path / "store"))
        options = RunOptions(jobs=1, seed=1, out=folder / "run" / "it")
        done[side] = run_plan(
            plan, places, options, stages=STAGES, engine=cluster if side == "there" else None
        )
    assert done["there"].result.problems == ()
    assert results(done["there"].folder) == results(done["here"].folder)
    (case,) = (case for cell in done["there"].result.cells for case in cell.cases if case.retried)
    assert case.workload == "fam/bad"
    assert case.retried is not None
    assert case.retried.decision is not Decision.FLAKY
    trials = [line for line in machines.did if " cell k/" in line]
    assert len(trials) == 1 + case.retried.trials


def test_with_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "local"))
    make(tmp_path / "tls")
    machines = Machines(tmp_path, free_port(), ("--tls", str(tmp_path / "tls")), "tls")
    machines.scheduler()
    try:
        machines.worker("one")
        address = parse(machines.url, tmp_path / "tls")
        plan = plan_of(tmp_path, "a")
        context = context_of_new(tmp_path / "client")
        store = str(tmp_path / "store")
        state = Cluster(address, store, tmp_path / "tls").carry_out(
            plan, context, lambda _: None, stages=STAGES
        )
        assert state.problems == [], machines.said()
        assert len(state.cells) == 1
        # Neither without a certificate nor with another authority's.
        with pytest.raises(HostError, match="no scheduler answers"):
            Cluster(parse(machines.url.replace("tls", "tcp"), None), store).check()
        make(tmp_path / "other")
        with pytest.raises(HostError, match="no scheduler answers"):
            Cluster(address, store, tmp_path / "other").check()
    finally:
        machines.stop()


def context_of_new(folder: Path) -> Context:
    folder.mkdir()
    return context_of(folder, lambda _: None)


def test_no_scheduler(tmp_path: Path) -> None:
    cluster = Cluster(parse(f"tcp://127.0.0.1:{free_port()}", None), str(tmp_path))
    with pytest.raises(HostError, match="no scheduler answers"):
        cluster.check()
