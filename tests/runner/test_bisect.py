# SPDX-License-Identifier: GPL-2.0-only
"""The search for the patch that brought a failure, on kernels that are played."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.judge.trials import Repeat, Subject
from orchestrator.model.errors import Interrupted, UserError
from orchestrator.model.judging import ErrorRates
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.searched import BISECT
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.results import store
from orchestrator.results.runs import is_clean
from orchestrator.runner.bisect import NOTES, Bisected, Line, bisect
from orchestrator.runner.context import Context, Kernel, Places
from orchestrator.runner.run import RunOptions
from orchestrator.runner.stages import Ran, Stages

PATCHES = 5
KERNELS = tuple(KernelSpec(f"k{n}", "path:/x", series="/s" if n else None) for n in range(6))
LINE = Line(KERNELS, tuple(f"mm: {n}" for n in range(1, 6)))


class Played:
    """Guests in which the case fails as ``fails`` says of the number of patches."""

    def __init__(self, fails: Callable[[int], bool | str]) -> None:
        self.fails = fails
        self.tried: list[int] = []

    def prepare(self, spec: KernelSpec, _: Context) -> Kernel:
        return Kernel(KernelTree(spec, "6.12", "base", "tree"), "slot", spec.source)

    def build(self, wanted: Build, *_: Any) -> BuildResult:
        return BuildResult(wanted, Verdict.PASS, "", 1.0, False, image_sha256=wanted.id)

    def run(self, cell: Cell, *_: Any) -> Ran:
        place = int(cell.build.kernel.name[1:])
        self.tried.append(place)
        found = self.fails(place)
        name = "moves" if isinstance(found, bool) else "boot"
        verdict = Verdict.FAIL if found else Verdict.PASS
        case = CaseResult(f"{cell.id}:f/a:{name}", "f/a", name, verdict, f"{found}")
        kernel = cell.build.kernel.name
        return Ran(
            CellRecord(cell.id, kernel, "c", "x86_64", "s", "tcg", verdict, 1.0, (case,)), cell
        )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    cache = Cache(tmp_path / "cache")
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", cache, tmp_path)


def repeat_of(*, deterministic: bool) -> Repeat:
    spec = WorkloadSpec("f/a", "f", Path("f"), "a.c", deterministic=deterministic)
    build = Build("k5/c/x86_64", KERNELS[-1], ConfigSpec("c"), "x86_64")
    cell = Cell(f"{build.id}/s", build, ShapeSpec("s"), (spec,))
    case = CaseResult(f"{cell.id}:f/a:moves", "f/a", "moves", Verdict.FAIL)
    return Repeat(case, (Subject(cell),), Plan("p", (build,), (cell,)), boots=True)


def found_by(
    played: Played, places: Places, *, deterministic: bool = True, most: int = 200,
    old: Path = Path("r1"), **options: Any,
) -> Bisected:  # fmt: skip
    stages = Stages(
        lambda *_: None, played.prepare, lambda *_: None, played.build, played.run
    )  # fmt: skip
    return bisect(
        repeat_of(deterministic=deterministic), LINE, old, places, RunOptions(**options),
        most=most, rates=ErrorRates(), stages=stages,
    )  # fmt: skip


@pytest.mark.parametrize("guilty", range(1, PATCHES + 1))
def test_of_a_deterministic_failure_each_patch_is_found(places: Places, guilty: int) -> None:
    played = Played(lambda place: place >= guilty)
    found = found_by(played, places)
    assert found.culprit is not None
    assert (found.culprit.first, found.culprit.last) == (guilty, guilty)
    assert found.said.startswith(f"patch {guilty} of 5 brought it: mm: {guilty} (probability ")
    assert found.done.status == 0
    assert not is_clean(found.done.folder)  # a case failed in it
    assert len(played.tried) <= 2 + 3
    # Both sides stand in the run that is left.
    stored = json.loads((found.done.folder / "results.json").read_text())
    verdicts = {cell["kernel"]: cell["verdict"] for cell in stored["cells"]}
    assert (verdicts[f"k{guilty - 1}"], verdicts[f"k{guilty}"]) == ("pass", "fail")


def test_a_flaky_one_is_found_beside_the_known_good_kernel(places: Places) -> None:
    chance = random.Random(3)
    played = Played(lambda place: place >= 4 and chance.random() < 0.4)
    found = found_by(played, places, deterministic=False)
    assert found.culprit is not None
    assert (found.culprit.first, found.done.status) == (4, 0)
    assert found.culprit.probability >= 0.99
    assert played.tried.count(0) > 10


def test_the_run_keeps_what_was_searched(places: Places) -> None:
    played = Played(lambda place: "no init" if place == 2 else place >= 4)
    done = found_by(played, places).done
    found = store.load(done.folder).searched
    assert found == done.result.searched
    assert found is not None
    assert (found.kind, found.sure, found.blamed, found.patches) == (
        BISECT, True, "patch 4 of 5", (4,)
    )  # fmt: skip
    assert found.short == "patch 4 of 5 brought it (over 99.9%)"
    assert found.answer.startswith("patch 4 of 5 brought it: mm: 4 (probability ")
    assert (found.case, found.of) == ("k5/c/x86_64/s:f/a:moves", "r1")
    assert found.trials == len(played.tried) - played.tried.count(2)
    steps = {step.place: (step.failed, step.trials, step.guilty) for step in found.steps}
    assert steps["without any patch"] == (0, 1, False)
    assert steps["patch 4 of 5: mm: 4"] == (1, 1, True)
    assert {step.cell for step in found.steps} <= {cell.id for cell in done.result.cells}
    # It passes where a failure was explained: no baseline for anything.
    assert (done.status, done.result.run.complete) == (0, False)


def test_what_is_not_found_is_kept_as_that(places: Places) -> None:
    found = found_by(Played(lambda _: True), places, deterministic=False).done.result.searched
    assert found is not None
    assert (found.sure, found.blamed, found.patches, found.likely) == (False, "", (), "")
    assert found.short.startswith("nothing to search: ")


def test_what_fails_before_the_case_ran_is_left_out(places: Places) -> None:
    played = Played(lambda place: "no init" if place in (2, 3) else place >= 3)
    found = found_by(played, places)
    assert found.culprit is not None
    assert (found.culprit.first, found.culprit.last) == (2, 4)
    assert set(found.left_out) == {2, 3}
    assert "one of patch 2 to 4 of 5 brought it" in found.said


def test_ends_that_do_not_differ_are_no_search(places: Places) -> None:
    found = found_by(Played(lambda _: True), places, deterministic=False)
    assert found.culprit is None
    assert found.said.startswith("nothing to search: fails ")
    assert found.done.status == 1
    broken = found_by(Played(lambda place: "no init" if place == 0 else True), places)
    assert broken.said == "the beginning cannot be tried: f/a:boot: no init"


def test_a_budget_that_is_spent_is_told(places: Places) -> None:
    chance = random.Random(1)
    played = Played(lambda place: place >= 2 and chance.random() < 0.5)
    found = found_by(played, places, deterministic=False, most=30)
    assert found.said.startswith("not sure after 30 trials: ")
    assert found.done.status == 1


def test_an_interrupted_search_goes_on(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a real one stops are all children of this process, and the search goes on in it here.
    monkeypatch.setattr("orchestrator.host.process.cancel", lambda: None)
    played = Played(lambda place: place >= 3)
    usual = played.run

    def interrupted(cell: Cell, *rest: Any) -> Ran:
        if len(played.tried) == 3:
            raise Interrupted("now")
        return usual(cell, *rest)

    played.run = interrupted  # type: ignore[method-assign]
    first = found_by(played, places)
    assert first.done.status == 130
    assert first.culprit is None
    played.run = usual  # type: ignore[method-assign]
    tried = list(played.tried)
    second = found_by(played, places, resume=first.done.folder)
    assert second.culprit is not None
    assert second.culprit.first == 3
    assert played.tried[: len(tried)] == tried
    assert len(played.tried) <= 2 + 3
    assert second.done.folder == first.done.folder
    # What the first part found stands there still.
    assert {cell.kernel for cell in second.done.result.cells} >= {"k0", "k2", "k3", "k5"}


def test_one_that_goes_on_is_still_about_the_run_it_began_with(places: Places) -> None:
    played = Played(lambda place: place >= 3)
    first = found_by(played, places, most=2).done.folder
    told = found_by(played, places, resume=first, old=first).done.result.searched
    assert told is not None
    assert (told.of, told.sure) == ("r1", True)


def test_the_notes_of_another_search_are_refused(places: Places) -> None:
    done = found_by(Played(lambda place: place >= 3), places).done
    notes = json.loads((done.folder / NOTES).read_text())
    (done.folder / NOTES).write_text(json.dumps(notes | {"case": "another"}))
    with pytest.raises(UserError, match="searched something else"):
        found_by(Played(lambda place: place >= 3), places, resume=done.folder)
    (done.folder / NOTES).write_text("[]")
    with pytest.raises(UserError, match="not the notes of a search"):
        found_by(Played(lambda place: place >= 3), places, resume=done.folder)


def test_a_line_of_one_kernel_is_refused(places: Places) -> None:
    repeat = repeat_of(deterministic=True)
    with pytest.raises(UserError, match="there is no patch to search"):
        bisect(
            repeat, replace(LINE, kernels=KERNELS[:1]), Path("r1"), places, most=9,
            rates=ErrorRates(),
        )  # fmt: skip
