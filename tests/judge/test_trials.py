# SPDX-License-Identifier: GPL-2.0-only
"""What a rerun runs, and what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import HOME
from orchestrator.judge.sequential import Decided
from orchestrator.judge.trials import (
    Repeat,
    Shown,
    Trial,
    answer,
    decided_answer,
    judge_trial,
    pairs_of,
)
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.judging import Decision, ErrorRates
from orchestrator.model.kernel import PatchState
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import LabConfig, ShapeSpec
from orchestrator.plan.lab_yaml import load_config
from orchestrator.results.cases import find_case
from orchestrator.runner.repeat import command_difference, make_repeat

CELL = "cli/default/x86_64/small"
EXACT = "debian:6.12=6.12.117-1"
SERIES = "/somewhere/series"


@pytest.fixture(scope="module")
def config() -> LabConfig:
    return load_config(HOME / "lab.yaml", tuple(ARCHES))


def case(workload: str, name: str, found: Verdict = Verdict.FAIL, cell: str = CELL) -> CaseResult:
    return CaseResult(f"{cell}:{workload}:{name}", workload, name, found, "why\nmore")


def run_of(*kernels: KernelRecord, baseline: str = "") -> RunResult:
    builds, cells = [], []
    for kernel in kernels:
        place = f"{kernel.name}/default/x86_64"
        builds.append(
            BuildRecord(place, kernel.name, "default", "x86_64", Verdict.PASS, "", 1.0, True,
                        f"sha of {kernel.name}")
        )  # fmt: skip
        name = f"{place}/small"
        cases = (
            case("boot", "boot", Verdict.PASS, name), case("ledger/swap", "counters", cell=name),
            case("uffd-move/swap", "kernel-log", cell=name),
        )  # fmt: skip
        cells.append(
            CellRecord(name, kernel.name, "default", "x86_64", "small", "tcg", Verdict.FAIL, 4.0,
                       cases, qemu_command=f"qemu of {kernel.name}")
        )  # fmt: skip
    info = RunInfo("r1", "", "x", "lab run", 1, "0", "smoke", baseline=baseline)
    return RunResult(info, kernels, tuple(builds), tuple(cells), Summary(0, 0, 0, 0))


PATCHES = (PatchState(1, "mm: x", "A", "1", True),)
CLI = KernelRecord("cli", EXACT, "6.12.117", PATCHES, "digest", series_origin=SERIES)
PLAIN = KernelRecord("v6.12", EXACT, "6.12.117")


def test_the_base_of_a_series_comes_first_as_the_run_had_it(config: LabConfig) -> None:
    earlier = run_of(CLI, PLAIN)
    repeat = make_repeat(config, earlier, find_case(earlier, f"{CELL}:ledger/swap:counters"))
    base, tested = repeat.subjects
    assert (base.is_base, tested.is_base) == (True, False)
    assert base.cell.id == "v6.12/default/x86_64/small"
    assert base.cell.build.kernel.series is None
    assert base.image_sha256 == "sha of v6.12"
    assert tested.cell.id == CELL
    assert tested.cell.build.kernel.source == base.cell.build.kernel.source == EXACT
    assert tested.cell.build.kernel.series == SERIES
    assert tested.image_sha256 == "sha of cli"
    assert tested.command == "qemu of cli"
    for subject in repeat.subjects:
        assert [spec.name for spec in subject.cell.workloads] == ["ledger/swap"]
    assert repeat.boots


def test_a_series_goes_on_as_it_did(config: LabConfig) -> None:
    earlier = run_of(replace(CLI, apply="3way"), PLAIN)
    wanted = find_case(earlier, f"{CELL}:ledger/swap:counters")
    base, tested = make_repeat(config, earlier, wanted).subjects
    assert tested.cell.build.kernel.apply == "3way"
    assert base.cell.build.kernel.apply == "strict"


def test_what_was_built_although_a_symbol_did_not_take_is_built_again(config: LabConfig) -> None:
    earlier = run_of(CLI, PLAIN)
    wanted = find_case(earlier, f"{CELL}:ledger/swap:counters")
    subjects = make_repeat(config, earlier, wanted).subjects
    assert all(subject.cell.build.config.build_mismatched for subject in subjects)
    stopped = tuple(replace(build, image_sha256="") for build in earlier.builds)
    subjects = make_repeat(config, replace(earlier, builds=stopped), wanted).subjects
    assert not any(subject.cell.build.config.build_mismatched for subject in subjects)


def test_both_kernels_are_compiled_as_the_run_had_it(config: LabConfig) -> None:
    earlier = run_of(CLI, PLAIN)
    wanted = find_case(earlier, f"{CELL}:ledger/swap:counters")

    def toolchains(said: str) -> set[str]:
        builds = tuple(replace(build, toolchain=said) for build in earlier.builds)
        found = make_repeat(config, replace(earlier, builds=builds), wanted).subjects
        return {str(subject.cell.build.config.toolchain) for subject in found}

    assert toolchains("clang-16") == {"clang-16"}
    assert toolchains("gcc") == {"gcc"}
    assert toolchains("of another lab") == {"gcc"}  # what lab.yaml has


def test_a_base_that_did_not_run_has_the_exact_source_and_no_image(config: LabConfig) -> None:
    earlier = run_of(CLI)
    wanted = find_case(earlier, f"{CELL}:ledger/swap:counters")
    base = make_repeat(config, earlier, wanted).base
    assert base is not None
    assert base.cell.build.kernel.name == "v6.12"  # lab.yaml's name of that source
    assert base.cell.build.kernel.source == EXACT
    assert base.image_sha256 == ""
    other = replace(CLI, source="tar:/my/linux.tar")
    base = make_repeat(config, run_of(other), wanted).base
    assert base is not None
    assert base.cell.build.kernel.name == "base"
    assert make_repeat(config, earlier, wanted, with_base=False).base is None


def test_without_a_series_the_base_is_what_the_run_compared_with(config: LabConfig) -> None:
    mine = KernelRecord("cli", "path:/my/linux", "6.13.0")
    earlier = run_of(mine, PLAIN)
    wanted = find_case(earlier, f"{CELL}:ledger/swap:counters")
    assert make_repeat(config, earlier, wanted).base is None
    earlier = run_of(mine, PLAIN, baseline="v6.12")
    base = make_repeat(config, earlier, wanted).base
    assert base is not None
    assert base.cell.build.kernel.name == "v6.12"
    of_base = find_case(earlier, "v6.12/default/x86_64/small:ledger/swap:counters")
    assert make_repeat(config, earlier, of_base).base is None


def test_the_kernel_is_the_runs_whatever_lab_yaml_makes_of_its_name(config: LabConfig) -> None:
    old = replace(PLAIN, source="debian:6.12=6.12.1-1")
    earlier = run_of(old)
    wanted = find_case(earlier, "v6.12/default/x86_64/small:ledger/swap:counters")
    (subject,) = make_repeat(config, earlier, wanted).subjects
    assert subject.cell.build.kernel.source == "debian:6.12=6.12.1-1"


def test_another_kernel_is_lab_yamls_with_its_own_base(config: LabConfig) -> None:
    earlier = run_of(CLI)
    wanted = find_case(earlier, f"{CELL}:ledger/swap:counters")
    (subject,) = make_repeat(config, earlier, wanted, on="v6.1").subjects
    assert subject.cell.id == "v6.1/default/x86_64/small"
    assert subject.image_sha256 == ""
    both = make_repeat(config, earlier, wanted, on="v6.12-rss-drift").subjects
    assert [s.cell.build.kernel.name for s in both] == ["v6.12", "v6.12-rss-drift"]
    with pytest.raises(UserError, match="no kernel 'v9'"):
        make_repeat(config, earlier, wanted, on="v9")


def test_the_shape_is_the_one_that_was_kept(config: LabConfig) -> None:
    earlier = run_of(CLI)
    wanted = find_case(earlier, f"{CELL}:ledger/swap:counters")
    for kept in (ShapeSpec("small", memory_mib=333), ShapeSpec("gone", cpus=7)):
        for subject in make_repeat(config, earlier, wanted, shape=kept).subjects:
            assert subject.cell.shape == kept
            assert subject.cell.id.endswith(f"/{kept.name}")


def test_a_case_of_the_boot_takes_all_that_the_cell_ran(config: LabConfig) -> None:
    earlier = run_of(CLI)
    repeat = make_repeat(config, earlier, find_case(earlier, f"{CELL}:boot:boot"))
    names = {spec.name for spec in repeat.tested.cell.workloads}
    assert names == {"ledger/swap", "uffd-move/swap"}
    build = find_case(earlier, "cli/default/x86_64/-:build:build")
    alone = make_repeat(config, earlier, build)
    assert not alone.boots
    assert alone.steady  # it is looked up once: trials more would be of nothing


def test_what_is_unknown_is_wrong_input(config: LabConfig) -> None:
    earlier = run_of(CLI)
    with pytest.raises(UserError) as caught:
        find_case(earlier, f"{CELL}:ledger/swap:counter")
    assert f"{CELL}:ledger/swap:counters" in caught.value.hint
    with pytest.raises(UserError, match="no workload 'gone/now' any more"):
        make_repeat(config, earlier, case("gone/now", "x"))
    with pytest.raises(UserError, match="does not tell its source"):
        make_repeat(config, run_of(), case("ledger/swap", "x"))


# ---------------------------------------------------------------- what is said


@pytest.fixture
def repeat(config: LabConfig) -> Repeat:
    earlier = run_of(CLI)
    return make_repeat(config, earlier, find_case(earlier, f"{CELL}:ledger/swap:counters"))


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ([case("ledger/swap", "counters")], Shown.AGAIN),
        ([case("ledger/swap", "hang")], Shown.OTHERWISE),
        ([case("boot", "boot")], Shown.OTHERWISE),
        ([case("ledger/swap", "x", Verdict.PASS)], Shown.NO),
        ([case("ledger/swap", "x", Verdict.PASS), case("ledger/swap", "host", Verdict.ERROR)],
         Shown.UNKNOWN),
        ([case("boot", "boot", Verdict.PASS), case("ledger/swap", "kernel-log", Verdict.PASS)],
         Shown.UNKNOWN),
        ([case("ledger/swap", "needs", Verdict.SKIP)], Shown.UNKNOWN),
        ([], Shown.UNKNOWN),
    ],
)  # fmt: skip
def test_a_trial(repeat: Repeat, found: list[CaseResult], shown: Shown) -> None:
    trial = judge_trial(repeat.case, repeat.tested, found)
    assert trial.shown is shown
    assert "\n" not in trial.reason


@pytest.mark.parametrize(
    ("base", "tested", "said"),
    [
        (Shown.NO, Shown.AGAIN,
         "fails with the series and not without it: the series is to blame"),
        (Shown.AGAIN, Shown.AGAIN, "fails on the base too: not the series"),
        (Shown.NO, Shown.NO, "did not fail again"),
        (Shown.AGAIN, Shown.NO, "did not fail again, but fails on v6.12, the base: not the series"),
        (Shown.NO, Shown.OTHERWISE,
         "fails in another case with the series and not without it: the series is to blame"),
        (Shown.OTHERWISE, Shown.AGAIN, "fails; the base v6.12 fails too, but otherwise (r)"),
        (Shown.UNKNOWN, Shown.AGAIN, "fails again; nothing is known of the base v6.12: r"),
        (Shown.NO, Shown.UNKNOWN, "not known whether it fails again: r"),
        (None, Shown.AGAIN, "fails again"),
        (None, Shown.NO, "did not fail again"),
        (Shown.AGAIN, None, "only the base was tried: fails again (r)"),
        (None, None, "nothing was tried"),
    ],
)  # fmt: skip
def test_the_answer(repeat: Repeat, base: Shown | None, tested: Shown | None, said: str) -> None:
    subjects = repeat.subjects if base else repeat.subjects[1:]
    shown = (base, tested) if base else (tested,)
    trials = [Trial(s, w, "r") for s, w in zip(subjects, shown, strict=True) if w]
    given = repeat if base or not trials else replace(repeat, subjects=repeat.subjects[1:])
    assert answer(given, trials) == said


def test_the_answer_counts_where_there_were_several_trials(repeat: Repeat) -> None:
    base, tested = repeat.subjects
    trials = [Trial(base, Shown.NO), Trial(tested, Shown.NO)] * 2
    assert answer(repeat, trials).endswith("; 0 of 2 trials failed, 0 of 2 on the base")
    trials += [Trial(base, Shown.NO), Trial(tested, Shown.AGAIN)]
    assert answer(repeat, trials) == (
        "fails with the series and not without it: the series is to blame"
        "; 1 of 3 trials failed, 0 of 3 on the base"
    )


def test_command_lines_are_compared_without_their_folders() -> None:
    words = (
        "qemu -m {m}M -kernel {a}/builds/1/image -append 'console=ttyS0 {more}panic=-1' "
        "-chardev socket,path=console.sock,logfile={b}/cells/x/console{n}.log "
        "-drive file={a}/roots/x86_64-{root}.ext2,if=none -drive file={b}/tmp/k/seed.tar,if=none"
    )
    old = words.format(m=1024, a="/cache", b="/r", more="", n="", root="abc")
    same = words.format(m=1024, a="/other/cache", b="/s", more="", n="-2", root="abc")
    assert command_difference(old, same) == ""
    assert command_difference("", same) == ""
    memory = words.format(m=512, a="/cache", b="/r", more="", n="", root="abc")
    assert command_difference(old, memory) == "-1024M +512M"
    boot = words.format(m=1024, a="/cache", b="/r", more="quiet ", n="", root="abc")
    assert command_difference(old, boot) == "+quiet"
    root = words.format(m=1024, a="/cache", b="/r", more="", n="", root="def")
    told = command_difference(old, root)
    assert "x86_64-abc.ext2" in told
    assert "x86_64-def.ext2" in told


def test_a_known_failure_is_the_same_failure_again(config: LabConfig) -> None:
    earlier = run_of(CLI, PLAIN)
    wanted = find_case(earlier, f"{CELL}:ledger/swap:counters")
    subject = make_repeat(config, earlier, wanted).tested
    known = replace(wanted, verdict=Verdict.SKIP, known="a defect of 6.12")
    assert judge_trial(wanted, subject, [known]).shown is Shown.AGAIN
    other = replace(known, case="bytes-arrive")
    assert judge_trial(wanted, subject, [other]).shown is Shown.UNKNOWN


def shown(repeat: Repeat, *pairs: tuple[Shown, Shown]) -> list[Trial]:
    """Trials as they come: the base first, the kernel under test after it."""
    base, tested = repeat.subjects
    return [t for one, two in pairs for t in (Trial(base, two), Trial(tested, one))]


def test_pairs_of_trials_that_tell_something(repeat: Repeat) -> None:
    again, no = Shown.AGAIN, Shown.NO
    trials = shown(
        repeat, (again, no), (no, Shown.UNKNOWN), (Shown.OTHERWISE, again), (Shown.UNKNOWN, no)
    )
    assert pairs_of(trials) == ((True, False), (False, True))
    assert pairs_of(trials[:1]) == ()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Decided(Decision.REGRESSION, 9, 7, 0),
         "regression: fails 7 of 9 with the series, 0 of 9 without (wrong in at most 1%)"),
        (Decided(Decision.REGRESSION, 1, 1, 0),
         "regression: fails 1 of 1 with the series, 0 of 1 without, and its workload is"
         " deterministic"),
        (Decided(Decision.FLAKY, 40, 6, 8),
         "flaky on both: fails 6 of 40 with the series, 8 of 40 without"
         " (a regression of 30 points would be missed in at most 5%)"),
        (Decided(Decision.UNDECIDED, 3, 1, 0),
         "undecided: fails 1 of 3 with the series, 0 of 3 without"),
    ],
)  # fmt: skip
def test_a_decision_in_a_sentence(repeat: Repeat, found: Decided, said: str) -> None:
    assert decided_answer(repeat, found, ErrorRates()) == said


def test_a_case_that_is_skipped_beside_others_that_ran_is_told(config: LabConfig) -> None:
    run = run_of(CLI)
    subject = make_repeat(config, run, find_case(run, "uffd-move/swap:kernel-log")).tested
    asked = case("uffd-move/swap", "moves")
    other = case("uffd-move/swap", "other", Verdict.PASS)
    left_out = judge_trial(asked, subject, [case("uffd-move/swap", "moves", Verdict.SKIP), other])
    assert (left_out.shown, left_out.skipped) == (Shown.NO, "why")
    # One that stands there only when it fails was not left out.
    assert judge_trial(asked, subject, [other]).skipped == ""
    assert [judge_trial(asked, subject, [other]).case_failed, left_out.failed] == [False, False]
