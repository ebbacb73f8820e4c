# SPDX-License-Identifier: GPL-2.0-only
"""``lab rerun``, with kernels and guests that are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rerun_world import CASE, CELL, EXACT, World, make_world

from orchestrator.host.cache.files import Cache
from orchestrator.model import kernel as made
from orchestrator.model.errors import HostError, Interrupted, UserError
from orchestrator.model.kernel import BuildResult, Difference, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    KernelRecord,
)
from orchestrator.model.spec import Cell, Plan, ShapeSpec
from orchestrator.results import runs, store
from orchestrator.results.runs import keep_shapes, stored_shape
from orchestrator.runner import trials
from orchestrator.runner.context import Context, Kernel, Machine, RunValues
from orchestrator.runner.repeat import same_kernel
from orchestrator.runner.stages import Stages


@pytest.fixture
def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(folder, monkeypatch, trials, 1)


def stored(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "reports/latest/results.json").read_text())
    return found


def test_the_base_runs_first_and_the_series_is_to_blame(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    world.script = {"cli": [Verdict.FAIL]}
    done = lab("rerun", "r1", CASE, "--plain")
    assert done.status == 1, done
    assert world.booted == ["v6.12", "cli"]
    last = done.out.splitlines()[-1]
    assert last == (f"{CASE}: fails with the series and not without it: the series is to blame")
    kept = stored(folder)
    assert [cell["id"] for cell in kept["cells"]] == ["v6.12/default/x86_64/small", CELL]
    assert kept["run"]["baseline"] == "v6.12"
    assert kept["run"]["exit_status"] == 1
    assert any("the series is to blame" in note for note in kept["cells"][1]["notes"])
    assert (folder / "reports/latest/junit.xml").exists()
    assert stored_shape(folder / "reports/latest", CELL) is not None


def test_a_failure_of_the_base_is_told_and_does_not_decide(
    world: World, lab: Callable[..., Any]
) -> None:
    world.script = {"v6.12": [Verdict.FAIL], "cli": [Verdict.FAIL]}
    done = lab("rerun", "r1", CASE, "--plain")
    assert done.status == 1
    assert done.out.endswith("fails on the base too: not the series\n")
    world.script = {"v6.12": [Verdict.FAIL]}
    done = lab("rerun", "r1", CASE, "--plain")
    assert done.status == 0, done
    assert "did not fail again, but fails on v6.12" in done.out


def as_tree(folder: Path, count: int = 1, *, near: bool = True) -> None:
    """Make the stored run one of a user's tree that differs from v6.12."""
    (folder / "linux").mkdir(exist_ok=True)
    where = folder / "reports" / "r1"
    run = store.load(where)
    beside = Difference("v6.12", EXACT, "t", count, near=near)
    tree = replace(
        run.kernels[0], source=f"path:{folder}/linux", series=(), series_digest="",
        series_origin="", tested=made.Tested(what="your tree", difference=beside),
    )  # fmt: skip
    store.save(replace(run, kernels=(tree,)), where)


def test_a_tree_has_the_known_kernel_that_it_is_nearest_to_as_its_base(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    as_tree(folder)
    world.script = {"cli": [Verdict.FAIL]}
    done = lab("rerun", "r1", CASE, "--plain")
    assert world.booted == ["v6.12", "cli"]
    assert done.out.splitlines()[-1] == (
        f"{CASE}: fails here and not on v6.12: what differs between them is to blame"
    )
    for count, near in ((0, True), (3000, False)):
        as_tree(folder, count, near=near)
        world.booted.clear()
        lab("rerun", "r1", CASE, "--plain")
        assert world.booted == ["cli"]


def test_a_rerun_keeps_to_the_commit_that_the_run_was_set_beside(
    world: World, folder: Path
) -> None:
    from orchestrator.plan.lab_yaml import load_config
    from orchestrator.runner.repeat import make_repeat

    as_tree(folder)
    run = store.load(folder / "reports" / "r1")
    source = f"git:{folder}/linux#{'a' * 40}"
    base = KernelRecord("base", source, "6.12.117")
    asked = replace(
        run, kernels=(*run.kernels, base), run=replace(run.run, baseline="base")
    )  # fmt: skip
    config = load_config(folder / "lab.yaml", ("x86_64",))
    repeat = make_repeat(config, asked, run.cells[0].cases[0])
    assert repeat.tested.cell.build.kernel.base == source
    assert repeat.base is not None
    assert repeat.base.cell.build.kernel.source == source
    assert repeat.base.cell.build.kernel.name == "base"


def test_until_fail_stops_at_the_first_failure(world: World, lab: Callable[..., Any]) -> None:
    world.script = {"cli": [Verdict.PASS, Verdict.PASS, Verdict.FAIL]}
    done = lab("rerun", "r1", CASE, "--plain", "--until-fail", "9")
    assert done.status == 1
    assert world.booted == ["v6.12", "cli"] * 3
    assert done.out.splitlines()[-1].endswith("; 1 of 3 trials failed, 0 of 3 on the base")
    assert "trial: 3 of up to 9" in done.out


def test_until_fail_that_never_does(world: World, lab: Callable[..., Any]) -> None:
    done = lab("rerun", "r1", CASE, "--json", "--until-fail", "4", "--no-base")
    assert done.status == 0
    assert world.booted == ["cli"] * 4
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[-1]["event"] == "summary"
    assert events[-2] == {
        "event": "rerun", "answer": "did not fail again; 0 of 4 trials failed", "trials": 4
    }  # fmt: skip


def test_until_decided_counts_on_both_and_stops_when_it_is_known(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    world.script = {"cli": [Verdict.FAIL], "v6.12": [Verdict.PASS]}
    done = lab("rerun", "r1", CASE, "--plain", "--until-decided", "50")
    assert done.status == 1
    assert world.booted == ["v6.12", "cli"]
    assert done.out.splitlines()[-1].endswith(
        "regression: fails 1 of 1 with the series, 0 of 1 without, and its workload is"
        " deterministic"
    )
    assert "trial: 1 of up to 50" in done.out


def test_until_decided_calls_a_failure_of_both_none_of_the_series(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    world.script = {"cli": [Verdict.FAIL] * 20, "v6.12": [Verdict.FAIL] * 20}
    done = lab("rerun", "r1", CASE, "--json", "--until-decided", "50")
    assert done.status == 0
    assert world.booted == ["v6.12", "cli"] * 15
    event = json.loads(done.out.splitlines()[-2])
    assert event["decided"] == {
        "decision": "fails on both", "pairs": 15, "failed": 15, "failed_base": 15
    }  # fmt: skip


def test_until_decided_may_come_to_no_decision(world: World, lab: Callable[..., Any]) -> None:
    world.script = {"cli": [Verdict.FAIL] * 5, "v6.12": [Verdict.FAIL] * 5}
    done = lab("rerun", "r1", CASE, "--plain", "--until-decided", "5")
    assert done.status == 1
    assert "undecided: fails 5 of 5 with the series, 5 of 5 without" in done.out
    # Where neither says anything, time after time, no more is tried.
    world.booted.clear()
    world.script = {"cli": [Verdict.ERROR] * 9}
    done = lab("rerun", "r1", CASE, "--plain", "--until-decided", "9")
    assert done.status == 3
    assert world.booted == ["v6.12", "cli"] * 3
    assert "not known whether it fails again" in done.out


def test_another_kernel(world: World, lab: Callable[..., Any]) -> None:
    done = lab("rerun", "r1", CASE, "--plain", "--on", "v6.1")
    assert done.status == 0
    assert world.booted == ["v6.1"]
    assert done.out.endswith("did not fail again\n")


def test_what_the_host_did_is_no_answer(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    world.script = {"cli": [Verdict.ERROR]}
    done = lab("rerun", "r1", CASE, "--plain", "--until-fail", "5")
    assert done.status == 3
    assert world.booted == ["v6.12", "cli"]
    assert "not known whether it fails again" in done.out
    world.script = {"v6.12": [Verdict.ERROR], "cli": [Verdict.FAIL]}
    assert lab("rerun", "r1", CASE, "--plain").status == 3
    world.error = HostError("no QEMU", "install it")
    done = lab("rerun", "r1", CASE, "--plain")
    assert done.status == 3
    assert "nothing was tried" in done.out
    assert stored(folder)["problems"] == ["no QEMU (install it)"]
    world.error = UserError("the series is gone")
    assert lab("rerun", "r1", CASE, "--plain").status == 2


def test_an_interrupted_one_is_kept(
    world: World, folder: Path, lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.host.process.cancel", lambda: None)
    world.error = Interrupted("interrupted")
    assert lab("rerun", "r1", CASE, "--plain").status == 130
    assert stored(folder)["run"]["exit_status"] == 130


def test_another_guest_than_the_runs_is_told(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    world.qemu = "qemu -m 2048M"
    done = lab("rerun", "r1", CASE, "--plain")
    told = "QEMU's command line is not that of the run: -1024M +2048M"
    assert told in done.out
    assert any(told in note for note in stored(folder)["cells"][1]["notes"])
    assert not any(told in note for note in stored(folder)["cells"][0]["notes"])


def test_wrong_input(world: World, lab: Callable[..., Any]) -> None:
    assert lab("rerun", "r2", CASE).status == 2
    done = lab("rerun", "r1", CASE.replace("counters", "counter"))
    assert done.status == 2
    assert CASE in done.err
    assert lab("rerun", "r1", CASE, "--on", "v9").status == 2
    assert lab("rerun", "r1", CASE, "--until-fail", "0").status == 2
    assert lab("rerun", "r1", CASE, "--until-fail", "2", "--gdb").status == 2
    assert lab("rerun", "r1", CASE, "--until-decided", "2", "--no-base").status == 2
    done = lab("rerun", "r1", CASE, "--until-decided", "2", "--on", "v6.1")
    assert (done.status, "there is no base" in done.err) == (2, True)
    assert world.booted == []


def test_the_first_failure_of_the_latest_run(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    """What is left out of RUN and CASE is what a developer looks at anyway."""
    for words in (
        (), ("r1",), ("counters",), ("fam/one",), ("one",), ("r1", "one:c*"), ("@1", "x86_64"),
        ("last-failed",),
    ):  # fmt: skip
        runs.update_latest(folder / "reports", folder / "reports" / "r1")
        world.script = {"cli": [Verdict.FAIL]}
        done = lab("rerun", *words, "--plain", "--no-base")
        assert done.status == 1, (words, done)
        assert done.err.startswith(f"lab: {CASE}\n")
        assert done.out.splitlines()[-1] == f"{CASE}: fails again"


def test_nothing_failed(world: World, folder: Path, lab: Callable[..., Any]) -> None:
    runs.update_latest(folder / "reports", folder / "reports" / "r1")
    assert lab("rerun", "--plain", "--no-base").status == 0  # this one passes, and is the latest
    latest = (folder / "reports" / "latest").resolve().name
    done = lab("rerun")
    assert done.status == 2
    assert done.err.splitlines() == [
        f"lab: no case of run {latest} failed",
        "     the last in which one did is r1: `last-failed` names it",
    ]
    assert lab("rerun", "last-failed", "--plain", "--no-base").status == 0


def test_a_word_that_means_nothing_or_too_much(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    done = lab("rerun", "conters")
    assert done.status == 2
    assert "'conters' is neither a run nor a case of the latest one, r1" in done.err
    assert "did you mean 'counters' or 'fam/one:counters'?" in done.err
    for name in ("r2-a", "r2-b"):
        store.save(store.load(folder / "reports" / "r1"), folder / "reports" / name)
    done = lab("rerun", "r2")
    assert done.status == 2
    assert done.err.splitlines()[:3] == ["lab: 'r2' fits 2 runs:", "     r2-b", "     r2-a"]
    assert lab("rerun", "a", "b", "c").status == 2
    assert world.booted == []


def test_a_debugger_keeps_the_cache_in_use(
    world: World, folder: Path, lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes, nobody trims the kernel and the root away meanwhile."""
    from orchestrator.commands import gdb
    from orchestrator.host.cache.locks import trimming

    seen: list[float | None] = []

    def debug(places: Any, *_: Any) -> int:
        with trimming(places.cache) as oldest:
            seen.append(oldest)
        return 0

    monkeypatch.setattr(gdb, "debug", debug)
    assert lab("rerun", "r1", CASE, "--gdb").status == 0
    assert seen != [None]


# ---------------------------------------------------------------- the same again


def test_a_shape_is_kept_and_read_back(tmp_path: Path) -> None:
    shape = ShapeSpec("odd", cpus=3, boot_args=("a=b", "c"), swap_disk_mib=5)
    build = SimpleNamespace(id="k/c/a")
    cell = Cell("k/c/a/odd", build, shape, ())  # type: ignore[arg-type]
    keep_shapes(Plan("p", (), (cell,)), tmp_path)
    assert stored_shape(tmp_path, cell.id) == shape
    assert stored_shape(tmp_path, "k/c/a/other") is None
    file = next(tmp_path.rglob("shape.json"))
    file.write_text('{"name": 3}')
    assert stored_shape(tmp_path, cell.id) is None
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    keep_shapes(Plan("p", (), (cell,)), blocked)  # a full disk costs no run


def test_an_image_that_was_trimmed_is_built_again_and_compared(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from orchestrator.plan.lab_yaml import load_config
    from orchestrator.runner import repeat
    from orchestrator.runner.repeat import make_repeat

    config = load_config(Path("lab.yaml"), ("x86_64",))
    earlier = store.load(Path("reports/r1"))
    subject = make_repeat(config, earlier, earlier.cells[0].cases[0]).tested
    tree = KernelTree(subject.cell.build.kernel, "6.12.117", "a", "b", series_digest="d")
    built = BuildResult(subject.cell.build, Verdict.PASS, "", 9.0, False, tmp_path, "other")
    context = Context(RunValues("r", 1), Machine(Cache(tmp_path), tmp_path, tmp_path))
    old = Path("reports/r1")
    stages = Stages(prepare=lambda *_: Kernel(tree, "s", EXACT), build=lambda *_: built)
    kernel, found, note = same_kernel(subject, old, context, stages)
    assert kernel.tree is tree
    assert found is built
    assert "is not the image of r1" in note
    like = replace(stages, build=lambda *_: replace(built, image_sha256="sha"))
    assert same_kernel(subject, old, context, like)[2] == ""

    def gone(*_: object) -> Kernel:
        raise UserError("the series is gone")

    # While the image is there, nothing else is needed.
    monkeypatch.setattr(repeat, "find_image", lambda *_: built)
    kernel, found, note = same_kernel(subject, old, context, replace(stages, prepare=gone))
    assert (found, note) == (built, "")
    assert kernel.tree.version == "6.12.117"
