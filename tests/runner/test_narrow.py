# SPDX-License-Identifier: GPL-2.0-only
"""What a failing case needs of its guest, on guests that are played."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.judge.narrowing import Effect
from orchestrator.judge.trials import Repeat, Subject
from orchestrator.model.errors import HostError, Interrupted, UserError
from orchestrator.model.judging import ErrorRates
from orchestrator.model.kernel import BuildResult, ConfigMismatch, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.narrowing import AXES, FRAGMENTS, SHAPE, SYMBOLS
from orchestrator.model.results import CaseResult, CellRecord, KernelRecord
from orchestrator.model.searched import NARROW
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
from orchestrator.runner.context import Context, Kernel, Places
from orchestrator.runner.narrow import NOTES, NarrowedDown, narrow
from orchestrator.runner.run import RunOptions
from orchestrator.runner.stages import Ran, Stages

KERNEL = KernelSpec("k", "path:/x")
TEXTS = {
    "base": "CONFIG_SMP=y\n",
    "thp": "CONFIG_TRANSPARENT_HUGEPAGE=y\nCONFIG_MADVISE=y\n",
    "swap": "CONFIG_SWAP=y\nCONFIG_LZO=y\nCONFIG_ZRAM=y\n",
    "ksm": "CONFIG_KSM=y\n",
}


class Played:
    """Guests in which the case fails as ``fails`` says of a cell: a text is another case's failure.

    ``skips`` says of which cells the case cannot be run; ``steps`` are the ids that were tried.
    """

    def __init__(
        self,
        fails: Callable[[Cell], bool | str] = lambda _: True,
        skips: Callable[[Cell], bool] = lambda _: False,
    ) -> None:
        self.fails = fails
        self.skips = skips
        self.steps: list[str] = []
        self.built: list[str] = []
        self.exact = True

    def prepare(self, spec: KernelSpec, _: Context) -> Kernel:
        return Kernel(KernelTree(spec, "6.12", "base", "tree"), "slot", spec.source, self.exact)

    def build(self, wanted: Build, *_: Any) -> BuildResult:
        self.built.append(wanted.id)
        return BuildResult(wanted, Verdict.PASS, "", 1.0, False, image_sha256=wanted.id)

    def run(self, cell: Cell, *_: Any) -> Ran:
        place = cell.id.removeprefix("k/")
        self.steps.append(place)
        found = self.fails(cell)
        name = "moves" if isinstance(found, bool) else "boot"
        verdict = Verdict.FAIL if found else Verdict.PASS
        if self.skips(cell):
            verdict, name, found = Verdict.SKIP, "needs", "no swap in this guest"
        case = CaseResult(f"{cell.id}:f/a:{name}", "f/a", name, verdict, f"{found}")
        record = CellRecord(
            cell.id, "k", "c", cell.build.arch, cell.shape.name, "tcg", verdict, 1.0, (case,)
        )
        return Ran(record, cell)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.config").write_text(text)
    cache = Cache(tmp_path / "cache")
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", cache, tmp_path)


def repeat_of(places: Places, *, deterministic: bool = True) -> Repeat:
    spec = WorkloadSpec("f/a", "f", Path("f"), "a.c", deterministic=deterministic)
    fragments = tuple(places.fragments / f"{name}.config" for name in TEXTS)
    build = Build("k/c/x86_64", KERNEL, ConfigSpec("c", fragments), "x86_64")
    shape = ShapeSpec("s", memory_mib=600, swap_disk_mib=512, boot_args=("quiet",))
    cell = Cell(f"{build.id}/s", build, shape, (spec,))
    case = CaseResult(f"{cell.id}:f/a:moves", "f/a", "moves", Verdict.FAIL)
    subject = Subject(cell, record=KernelRecord("k", "path:/x", "6.12.1"))
    return Repeat(case, (subject,), Plan("p", (build,), (cell,)), boots=True)


def found_by(
    played: Played,
    places: Places,
    *,
    deterministic: bool = True,
    most: int = 200,
    axes: tuple[str, ...] = AXES,
    **options: Any,
) -> NarrowedDown:
    stages = Stages(
        lambda *_: None, played.prepare, lambda *_: None, played.build, played.run
    )  # fmt: skip
    return narrow(
        repeat_of(places, deterministic=deterministic), Path("r1"), places, RunOptions(**options),
        most=most, rates=ErrorRates(), axes=axes, stages=stages,
    )  # fmt: skip


def has(cell: Cell, name: str) -> bool:
    """Whether a cell has a fragment."""
    return any(path.stem == name for path in cell.build.config.fragments)


def off(cell: Cell) -> str:
    """What the last fragment says, which may switch symbols off."""
    return cell.build.config.fragments[-1].read_text()


def test_one_sentence_and_a_row_for_each_change(places: Places) -> None:
    played = Played(lambda cell: has(cell, "thp") and cell.shape.cpus == 2)
    found = found_by(played, places, axes=(SHAPE, FRAGMENTS))
    assert found.said == (
        "needs two CPUs and the fragment thp; the swap disk, less than 1200 MiB of memory and the "
        "fragments swap and ksm do not matter (fails 1 of 1 as it was)"
    )
    assert (found.done.status, found.sure) == (0, True)
    assert not is_clean(found.done.folder)  # a case failed in it
    rows = {row.told: (row.failed, row.trials, row.effect) for row in found.rows}
    assert rows["as it was"] == (1, 1, None)
    assert rows["one CPU"] == (0, 1, Effect.GONE)
    assert rows["without the fragment thp"] == (0, 1, Effect.GONE)
    assert rows["without the swap disk, without the fragments swap and ksm"] == (
        1, 1, Effect.STILL,
    )  # fmt: skip
    assert played.steps[0] == "c/x86_64/s"
    assert len(played.steps) == len(set(played.steps))
    # Both sides stand in the run that is left, and each kernel was built once.
    stored = json.loads((found.done.folder / "results.json").read_text())
    verdicts = {cell["id"]: cell["verdict"] for cell in stored["cells"]}
    assert verdicts["k/c/x86_64/s"] == "fail"
    assert verdicts["k/c@no-thp/x86_64/s"] == "pass"
    assert len(verdicts) == len(played.steps)
    assert f"the search came to: {found.said}" in stored["cells"][0]["notes"]
    assert len(played.built) == len(set(played.built))
    assert (found.done.folder / "cells/k__c__x86_64__s@1-cpu/shape.json").is_file()


def test_the_run_keeps_what_was_searched(places: Places) -> None:
    ended = found_by(Played(lambda cell: cell.shape.swap_disk_mib > 0), places, axes=(SHAPE,))
    found = store.load(ended.done.folder).searched
    assert found == ended.done.result.searched
    assert found is not None
    assert (found.kind, found.answer, found.sure, found.blamed) == (
        NARROW,
        ended.said,
        True,
        "needs the swap disk",
    )
    assert (found.case, found.of) == ("k/c/x86_64/s:f/a:moves", "r1")
    assert found.steps[0].place == "as it was"
    assert [step.trials for step in found.steps] == [row.trials for row in ended.rows]
    (needed,) = [step for step in found.steps if step.guilty]
    assert (needed.failed, needed.note) == (0, "does not fail")
    cells = {cell.id for cell in ended.done.result.cells}
    assert {step.cell for step in found.steps if step.trials} <= cells


def test_symbols_of_a_fragment_that_matters_are_switched_off(places: Places) -> None:
    def fails(cell: Cell) -> bool:
        return has(cell, "swap") and "CONFIG_ZRAM " not in off(cell)

    found = found_by(Played(fails), places, axes=(SYMBOLS,))
    assert found.said == (
        "needs the fragment swap and the symbol ZRAM; the fragments thp and ksm and the symbols "
        "SWAP and LZO do not matter (fails 1 of 1 as it was)"
    )


def test_a_symbol_that_stays_on_cannot_be_tried(places: Places) -> None:
    played = Played(lambda cell: has(cell, "swap"))
    usual = played.build

    def build(wanted: Build, *rest: Any) -> BuildResult:
        text = off(Cell("", wanted, ShapeSpec("s"), ()))
        if "CONFIG_SWAP is not set" not in text:
            return usual(wanted, *rest)
        miss = ConfigMismatch("SWAP", "n", "y", "x.config:1")
        reason = "not compiled: CONFIG_SWAP is y, asked for n"
        return BuildResult(wanted, Verdict.FAIL, reason, 1.0, False, mismatches=(miss,))

    played.build = build  # type: ignore[method-assign]
    found = found_by(played, places, axes=(SYMBOLS,))
    assert "cannot be tried without the symbol SWAP" in found.said
    (row,) = [row for row in found.rows if row.told == "without CONFIG_SWAP"]
    assert row.effect is Effect.CANNOT
    assert "CONFIG_SWAP is y, asked for n" in row.why


def test_a_skip_is_no_proof_that_the_failure_needs_it(places: Places) -> None:
    played = Played(skips=lambda cell: not cell.shape.swap_disk_mib)
    found = found_by(played, places, axes=(SHAPE,))
    assert found.said == (
        "needs nothing of what was tried; two CPUs and less than 1200 MiB of memory do not matter; "
        "cannot be tried without the swap disk (fails 1 of 1 as it was)"
    )
    (row,) = [row for row in found.rows if row.told == "without the swap disk"]
    assert (row.trials, row.why) == (0, "no swap in this guest")


def test_a_case_that_is_skipped_among_others_was_not_tried(places: Places) -> None:
    played = Played()
    usual = played.run

    def run(cell: Cell, *rest: Any) -> Ran:
        ran = usual(cell, *rest)
        if cell.shape.cpus == 2:
            return ran
        cases = (
            CaseResult(f"{cell.id}:f/a:moves", "f/a", "moves", Verdict.SKIP, "one CPU"),
            CaseResult(f"{cell.id}:f/a:other", "f/a", "other", Verdict.PASS),
        )
        return replace(ran, record=replace(ran.record, cases=cases))

    played.run = run  # type: ignore[method-assign]
    assert "cannot be tried without two CPUs" in found_by(played, places, axes=(SHAPE,)).said


def test_a_guest_that_does_not_boot_cannot_be_tried(places: Places) -> None:
    played = Played(lambda cell: True if has(cell, "ksm") else "no init")
    found = found_by(played, places, axes=(FRAGMENTS,))
    assert "cannot be tried without the fragment ksm" in found.said
    assert any(row.why == "f/a:boot: no init" for row in found.rows)


def test_an_architecture_that_the_host_cannot_build_for_ends_nothing(places: Places) -> None:
    played = Played()
    usual = played.build

    def build(wanted: Build, *rest: Any) -> BuildResult:
        if wanted.arch == "arm64":
            raise HostError("aarch64-linux-gnu-gcc is not installed")
        return usual(wanted, *rest)

    played.build = build  # type: ignore[method-assign]
    found = found_by(played, places)
    assert found.said.endswith("cannot be tried on arm64 (fails 1 of 1 as it was)")
    assert found.done.status == 0
    both = found_by(Played(), places)
    assert both.said.endswith("on both architectures (fails 1 of 1 as it was)")


def test_kernels_are_not_built_of_sources_that_have_changed(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played()
    monkeypatch.setattr(
        "orchestrator.runner.trying.same_kernel",
        lambda subject, *_: (
            played.prepare(KERNEL, None),  # type: ignore[arg-type]
            played.build(subject.cell.build),
            "",
        ),
    )
    played.exact = False
    found = found_by(played, places)
    assert played.built == ["k/c/x86_64"]
    assert "cannot be tried without the fragments thp, swap and ksm" in found.said
    assert any(row.why == "the sources are not what they were in r1" for row in found.rows)


def test_a_flaky_one_is_tried_until_it_is_decided(places: Places) -> None:
    chance = random.Random(5)
    played = Played(lambda cell: cell.shape.cpus == 2 and chance.random() < 0.6)
    found = found_by(played, places, deterministic=False, axes=(SHAPE,))
    assert found.said.startswith(
        "needs two CPUs; the swap disk and less than 1200 MiB of memory do not matter (fails "
    )
    (row,) = [row for row in found.rows if row.told == "one CPU"]
    assert row.failed == 0
    assert row.trials > 5
    assert found.rows[0].trials >= row.trials


def test_what_does_not_fail_again_is_not_narrowed(places: Places) -> None:
    found = found_by(Played(lambda _: False), places)
    assert (found.said, found.done.status, found.sure) == (
        "does not fail again: fails 0 of 1 as it was", 1, False,
    )  # fmt: skip
    flaky = found_by(Played(lambda _: False), places, deterministic=False)
    assert flaky.said == "does not fail again: fails 0 of 20 as it was"
    gone = found_by(Played(lambda _: "no init"), places)
    assert gone.said == "cannot be tried again: f/a:boot: no init"


def test_a_budget_that_is_spent_is_told(places: Places) -> None:
    played = Played(lambda cell: has(cell, "thp") and cell.shape.cpus == 2)
    found = found_by(played, places, most=3)
    assert found.said == "not finished after 3 trials: needs two CPUs (fails 1 of 1 as it was)"
    assert found.done.status == 1
    assert len(played.steps) == 3
    # More trials finish it.
    whole = found_by(played, places, resume=found.done.folder)
    assert whole.said.startswith("needs two CPUs, the fragment thp and the symbol")
    assert whole.done.status == 0


def test_an_interrupted_search_goes_on(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a real one stops are all children of this process, and the search goes on in it here.
    monkeypatch.setattr("orchestrator.host.process.cancel", lambda: None)
    played = Played(lambda cell: has(cell, "thp"))
    whole = found_by(played, places)
    steps = list(played.steps)
    played.steps.clear()
    usual = played.run

    def interrupted(cell: Cell, *rest: Any) -> Ran:
        if len(played.steps) == 4:
            raise Interrupted("now")
        return usual(cell, *rest)

    played.run = interrupted  # type: ignore[method-assign]
    first = found_by(played, places)
    assert first.done.status == 130
    assert first.said.startswith("interrupted: --resume goes on; so far: two CPUs, the swap disk")
    played.run = usual  # type: ignore[method-assign]
    second = found_by(played, places, resume=first.done.folder)
    assert played.steps == steps
    assert second.said == whole.said
    told = [note for note in second.done.result.cells[0].notes if note.startswith("the search")]
    assert told == [f"the search came to: {whole.said}"]
    assert second.done.folder == first.done.folder
    # What the first part found stands there still.
    assert {cell.id for cell in second.done.result.cells} == {f"k/{step}" for step in steps}


def test_the_notes_of_another_search_are_refused(places: Places) -> None:
    done = found_by(Played(), places, axes=(SHAPE,)).done
    assert json.loads((done.folder / NOTES).read_text())["tried"][0] == ["", True, ""]
    (places.fragments / "swap.config").write_text("CONFIG_SWAP=y\n")
    with pytest.raises(UserError, match="searched something else"):
        found_by(Played(), places, resume=done.folder)


def test_a_search_goes_on_with_other_axes(places: Places) -> None:
    played = Played(lambda cell: has(cell, "thp") and cell.shape.cpus == 2)
    first = found_by(played, places, axes=(SHAPE,))
    assert first.said.startswith("needs two CPUs; ")
    steps = len(played.steps)
    second = found_by(played, places, axes=(SHAPE, FRAGMENTS), resume=first.done.folder)
    assert second.said.startswith("needs two CPUs and the fragment thp; ")
    assert len(played.steps) == len(set(played.steps)) > steps
    # What is of no axis that was asked for is not told.
    third = found_by(played, places, axes=(FRAGMENTS,), resume=first.done.folder)
    assert third.said.startswith("needs the fragment thp; ")


def test_what_has_no_guest_is_refused(places: Places) -> None:
    repeat = repeat_of(places)
    with pytest.raises(UserError, match="has no guest that could be changed"):
        narrow(
            replace(repeat, case=replace(repeat.case, workload="series")), Path("r1"), places,
            most=9, rates=ErrorRates(),
        )  # fmt: skip


def test_of_a_build_that_fails_only_what_is_built_is_changed(places: Places) -> None:
    played = Played()

    def build(wanted: Build, *_: Any) -> BuildResult:
        bad = has(Cell("", wanted, ShapeSpec("s"), ()), "ksm")
        verdict = Verdict.FAIL if bad else Verdict.PASS
        return BuildResult(wanted, verdict, "mm/ksm.c:1: error: x", 1.0, False)

    played.build = build  # type: ignore[method-assign]
    repeat = repeat_of(places)
    case = CaseResult("k/c/x86_64/-:build:build", "build", "build", Verdict.FAIL)
    stages = Stages(lambda *_: None, played.prepare, lambda *_: None, played.build, played.run)
    found = narrow(
        replace(repeat, case=case, boots=False), Path("r1"), places, most=50, rates=ErrorRates(),
        stages=stages,
    )  # fmt: skip
    assert found.said == (
        "needs the fragment ksm and the symbol KSM; the fragments thp and swap do not matter; "
        "on both architectures (fails 1 of 1 as it was)"
    )
    assert played.steps == []
