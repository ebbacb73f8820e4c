# SPDX-License-Identifier: GPL-2.0-only
"""Selftest collections as workloads: their names, and how they are taken apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.judge.known_issues import settle
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import Selftest, Selftests
from orchestrator.model.names import Verdict, is_named
from orchestrator.model.results import (
    CaseResult,
    CellRecord,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    KnownIssue,
    SelftestRun,
    SelftestSpec,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan import selftests
from orchestrator.plan.problems import Problems
from orchestrator.plan.selftest_table import read_table
from orchestrator.workload.watch import guest_command

P, F, S = Verdict.PASS, Verdict.FAIL, Verdict.SKIP
TABLE = SelftestSpec(
    "mm",
    runs=(
        SelftestRun("cow", setup=("each 4",), timeout=60.0),
        SelftestRun("khugepaged", "order9", needs=("thp",)),
        SelftestRun("khugepaged", "order2", args=("-s", "2"), timeout=500.0),
        SelftestRun("soft-dirty", only_arch=("x86_64",)),
        SelftestRun("test_vmalloc.sh", args=("smoke",)),
    ),
    helpers=True,
    left_out=("run_vmtests.sh",),
)
MM = WorkloadSpec(
    "kselftest/mm", "kselftest", Path("guest-tests/kselftest"), "run.sh", timeout=45.0,
    selftests=TABLE,
)  # fmt: skip
OTHER = WorkloadSpec("ledger/anon", "ledger", Path("guest-tests/ledger"), "anon.c")
BUILT = Selftests(
    "mm", "mm", Path("/cache/files"),
    (
        Selftest("run_vmtests.sh"),
        Selftest("cow", "built"),
        Selftest("khugepaged", "built"),
        Selftest("soft-dirty", "built"),
        Selftest("brand-new", "built"),
        Selftest("test_vmalloc.sh", "file"),
        Selftest("write_hugetlb_memory.sh", "file"),
    ),
    timeout=180.0,
)  # fmt: skip


def cell(*workloads: WorkloadSpec, arch: str = "x86_64") -> Cell:
    build = Build(f"k/default/{arch}", KernelSpec("k", "debian:6.12"), ConfigSpec("default"), arch)
    return Cell(f"{build.id}/small", build, ShapeSpec("small"), workloads)


def names(*workloads: WorkloadSpec, built: Selftests = BUILT, arch: str = "x86_64") -> list[str]:
    expanded = selftests.expand(cell(*workloads, arch=arch), {built.collection: built})
    return [spec.name for spec in expanded.workloads]


def test_a_collection_becomes_its_programs_and_their_runs() -> None:
    assert names(OTHER, MM) == [
        "ledger/anon",
        "kselftest/mm/cow",
        "kselftest/mm/khugepaged/order9",
        "kselftest/mm/khugepaged/order2",
        "kselftest/mm/soft-dirty",
        "kselftest/mm/brand-new",
        "kselftest/mm/test_vmalloc.sh",
    ]
    assert "kselftest/mm/soft-dirty" not in names(MM, arch="arm64")


def test_each_program_has_a_guest_of_its_own() -> None:
    assert selftests.expand(cell(MM), {"mm": BUILT}).fresh_guests
    assert not selftests.expand(cell(OTHER), {}).fresh_guests


def test_how_a_program_is_started() -> None:
    cow = selftests.programs(MM, BUILT, "x86_64")[0]
    assert cow.args == ("mm", "-s", "each 4", "--", "./cow")
    assert cow.bundle == Path("/cache/files")
    command = guest_command(cow, "t")
    assert command.endswith("sh /tmp/lab/kselftest/run.sh mm -s 'each 4' -- ./cow")


def test_the_table_has_the_last_word_on_the_limit_then_the_settings_file() -> None:
    limits = {w.name.split("/", 2)[2]: w.timeout for w in selftests.programs(MM, BUILT, "x86_64")}
    assert limits["cow"] == 60.0
    assert limits["khugepaged/order2"] == 500.0
    assert limits["brand-new"] == 45.0
    bare = replace(MM, selftests=SelftestSpec("size"))
    size = Selftests("size", "size", Path("/f"), (Selftest("get_size"),))
    assert selftests.programs(bare, size, "x86_64")[0].timeout == 45.0
    endless = replace(size, timeout=0.0)
    assert selftests.programs(bare, endless, "x86_64")[0].timeout > 1000


@pytest.mark.parametrize(
    ("pattern", "programs"),
    [
        ("kselftest/mm/cow", ["kselftest/mm/cow"]),
        ("kselftest/mm/brand-new", ["kselftest/mm/brand-new"]),
        ("kselftest/mm/khugepaged/order2", ["kselftest/mm/khugepaged/order2"]),
        (
            "kselftest/mm/khug*",
            ["kselftest/mm/khugepaged/order9", "kselftest/mm/khugepaged/order2"],
        ),
    ],
)
def test_a_program_may_be_asked_for(pattern: str, programs: list[str]) -> None:
    spec = selftests.named(pattern, (OTHER, MM))
    assert spec is not None
    assert spec.name == pattern
    assert names(spec) == programs
    assert names(MM, spec)[: len(names(MM))] == names(MM)  # none twice


def test_a_collection_without_a_table_may_be_asked_for() -> None:
    spec = selftests.named("kselftest/net.forwarding", (OTHER, MM))
    assert spec is not None
    assert spec.selftests == SelftestSpec("net/forwarding")
    built = Selftests("net/forwarding", "net/forwarding", Path("/f"), (Selftest("a.sh"),))
    assert names(spec, built=built) == ["kselftest/net.forwarding/a.sh"]
    for pattern in ("ledger/other", "kselftest", "kselftest/*", "*"):
        assert selftests.named(pattern, (OTHER, MM)) is None


@pytest.mark.parametrize(
    "pattern",
    ["kselftest/../x", "kselftest/..", "kselftest/n,o", "kselftest/mm/", "kselftest/mm//cow",
     "kselftest/mm/..", "kselftest/mm/../x", "kselftest/mm/cow/", "kselftest/mm/a/b/c",
     "kselftest/.mm", "kselftest/net..lib", "kselftest/mm/a b", "kselftest/mm\n"],
)  # fmt: skip
def test_a_name_that_no_collection_can_have_is_refused(pattern: str) -> None:
    with pytest.raises(UserError, match="expected kselftest/COLLECTION"):
        selftests.named(pattern, (OTHER, MM))


@pytest.mark.parametrize(
    "pattern",
    ["kselftest/mm/va_high*.sh", "kselftest/mm/[a-c]*", "kselftest/mm/uffd-stress/shmem*",
     "kselftest/dmabuf-heaps", "kselftest/net.lib", "kselftest/mm/*"],
)  # fmt: skip
def test_a_name_that_one_can_have_is_taken(pattern: str) -> None:
    assert selftests.named(pattern, (OTHER, MM)) is not None


def test_only_who_names_the_family_means_a_collection() -> None:
    assert not selftests.asked_for(MM, ("*",))
    assert selftests.asked_for(MM, ("*", "kselftest/*"))
    assert selftests.asked_for(MM, ("kselftest",))
    assert selftests.asked_for(OTHER, ("*",))


def test_a_pattern_names_any_leading_part() -> None:
    assert is_named("kselftest/mm/khugepaged/order2", "kselftest/mm")
    assert is_named("kselftest/mm/khugepaged/order2", "kselftest/mm/khugepaged")
    assert is_named("ledger/anon", "ledger")
    assert not is_named("ledger/anon", "ledge")


def test_what_a_tree_lacks_is_a_skip_and_what_does_not_build_a_fail() -> None:
    (absent,) = selftests.programs(MM, Selftests("mm", missing="no such folder"), "x86_64")
    assert [(n.case, n.verdict, n.runs) for n in absent.not_ready] == [("build", S, False)]
    (broken,) = selftests.programs(MM, Selftests("mm", failure="Makefile:1: ***"), "x86_64")
    assert [(n.case, n.verdict) for n in broken.not_ready] == [("build", F)]
    tests = (
        Selftest("bad", "built", problem="bad.c:1: error: x"),
        Selftest("host", "built", problem="cannot find -lfoo", lacks="libfoo"),
        Selftest("khugepaged", "built", problem="k.c:1: error: x", repaired="-DX"),
    )
    found = selftests.programs(MM, replace(BUILT, tests=tests), "x86_64")
    told = {spec.name.split("/", 2)[2]: spec.not_ready[0] for spec in found}
    assert (told["bad"].verdict, told["bad"].runs) == (F, False)
    assert (told["host"].verdict, told["host"].runs) == (S, False)
    assert "libfoo" in told["host"].reason
    assert (told["khugepaged/order9"].verdict, told["khugepaged/order9"].runs) == (F, True)
    # Where files beside the programs are none themselves, one that does not build is told still.
    assert MM.selftests is not None
    alone = replace(MM, selftests=replace(MM.selftests, helpers=False, runs=()))
    beside = (Selftest("good", "built"), Selftest("bad", "built", problem="bad.c:1: error: x"))
    (only,) = selftests.programs(alone, replace(BUILT, tests=beside), "x86_64")
    assert (only.name, only.not_ready[0].verdict) == ("kselftest/mm/bad", F)
    spec = selftests.named("kselftest/mm/none", (MM,))
    assert spec is not None
    (none,) = selftests.programs(spec, BUILT, "x86_64")
    assert none.not_ready[0].verdict is S


# ---------------------------------------------------------------- the table


def test_a_table_is_read_and_its_mistakes_are_told(tmp_path: Path) -> None:
    text = """\
helpers: true
not_programs: [run_vmtests.sh]
programs:
  cow: {setup: [each 4], timeout: 60s}
  khugepaged:
    needs: [thp]
    runs:
      order9: {}
      order2: {args: [-s, 2]}
known:
  - {program: cow, case: "x*", arch: arm64, kernels: ["< 6.13"], reason: because}
"""
    path = tmp_path / "mm.yaml"
    path.write_text(text)
    problems = Problems()
    table = read_table(path, "mm.yaml", "kselftest/mm", problems)
    assert table is not None
    assert not len(problems)
    assert [(run.program, run.name, run.args, run.needs) for run in table.runs] == [
        ("cow", "", (), ()),
        ("khugepaged", "order9", (), ("thp",)),
        ("khugepaged", "order2", ("-s", "2"), ("thp",)),
    ]
    assert table.known[0].workload == "kselftest/mm/cow"
    path.write_text(text.replace("60s", "soon").replace("< 6.13", "new").replace("setup", "setpu"))
    read_table(path, "mm.yaml", "kselftest/mm", problems)
    assert len(problems) >= 3


# ---------------------------------------------------------------- known failures

CELL = "k/default/x86_64/small"


def case(workload: str, name: str, verdict: Verdict, reason: str = "") -> CaseResult:
    return CaseResult(f"{CELL}:{workload}:{name}", workload, name, verdict, reason)


def run_of(*cases: CaseResult) -> RunResult:
    record = CellRecord(CELL, "k", "default", "x86_64", "small", "tcg", F, 5.0, cases)
    info = RunInfo("r", "", "", "", 0, "", "")
    kernel = KernelRecord("k", "debian:6.12", "6.12.117")
    return RunResult(info, (kernel,), (), (record,), Summary(0, 0, 0, 0))


ISSUE = KnownIssue(
    "the guest is too small", title="huge page", kernels=("< 6.13",),
    workload="kselftest/mm/khugepaged", case="extreme*", shape="small",
)  # fmt: skip
KHUGEPAGED = "kselftest/mm/khugepaged/order9"


def test_a_known_failure_is_a_skip_that_names_it() -> None:
    run = run_of(case(KHUGEPAGED, "extreme (anon)", F, "no huge page"), case(KHUGEPAGED, "full", P))
    done = settle(run, (), (ISSUE,))
    (known, passed) = done.cells[0].cases
    assert (known.verdict, known.known, known.judged) == (S, ISSUE.reason, "fail: no huge page")
    assert passed.verdict is P
    assert done.cells[0].verdict is P
    assert [(i.state, i.seen) for i in done.known_issues] == [("seen", 1)]
    assert settle(done, (), (ISSUE,)) == done
    (again, _) = settle(done, (), ()).cells[0].cases
    assert again == run.cells[0].cases[0]


@pytest.mark.parametrize(
    "issue",
    [
        replace(ISSUE, title="another reason"),
        replace(ISSUE, kernels=(">= 6.13",)),
        replace(ISSUE, shape="roomy"),
        replace(ISSUE, case="other"),
        replace(ISSUE, workload="kselftest/mm/cow"),
        replace(ISSUE, arch="arm64"),
    ],
)
def test_another_failure_is_not_excused(issue: KnownIssue) -> None:
    run = run_of(case(KHUGEPAGED, "extreme (anon)", F, "no huge page"))
    assert settle(run, (), (issue,)).cells[0].cases[0].verdict is F


@pytest.mark.parametrize(
    "name",
    ["hang", "counters", "kernel-log", "guest", "exit-status", "reset", "ktap", "host", "build"],
)
def test_a_pattern_does_not_excuse_what_the_lab_itself_finds(name: str) -> None:
    own = case(KHUGEPAGED, name, F, "no huge page")
    for pattern in ("*", name[:-1] + "?", "[a-z]*"):
        issue = replace(ISSUE, case=pattern, title="")
        (found, other) = settle(run_of(own, case(KHUGEPAGED, "a", F)), (), (issue,)).cells[0].cases
        assert found.verdict is F
        assert other.verdict is (S if pattern != name[:-1] + "?" else F)
    if name not in ("kernel-log", "reset"):
        (found,) = settle(run_of(own), (), (replace(ISSUE, case=name),)).cells[0].cases
        assert found.verdict is S


def test_a_pattern_does_not_excuse_a_boot() -> None:
    boot = case("boot", "boot", F, "no huge page")
    for pattern, verdict in (("*", F), ("boot", S)):
        issue = replace(ISSUE, case=pattern, workload="*")
        assert settle(run_of(boot), (), (issue,)).cells[0].cases[0].verdict is verdict


def test_a_tables_entry_without_a_case_means_the_programs_own(tmp_path: Path) -> None:
    path = tmp_path / "mm.yaml"
    path.write_text("programs: {}\nknown:\n  - {program: cow, reason: because}\n")
    table = read_table(path, "mm.yaml", "kselftest/mm", Problems())
    assert table is not None
    names = ("program", "sub", "hang", "counters", "kernel-log", "guest", "build")
    run = run_of(*(case("kselftest/mm/cow", name, F, "bad") for name in names))
    left = [c.case for c in settle(run, (), table.known).cells[0].cases if c.verdict is F]
    assert left == ["hang", "counters", "kernel-log", "guest", "build"]


@pytest.mark.parametrize(
    ("issue", "cases", "state"),
    [
        # It failed for another reason, or it never ran.
        (ISSUE, (("extreme", F), ("other", P)), "not tried"),
        (ISSUE, (("other", P),), "not tried"),
        (ISSUE, (("extreme", S), ("other", P)), "not tried"),
        (ISSUE, (("extreme", P), ("extreme two", F)), "not tried"),
        (ISSUE, (("extreme", P), ("other", F)), "not seen"),
        (replace(ISSUE, case="program"), (("program", P),), "not seen"),
        (replace(ISSUE, case="build"), (("program", P),), "not seen"),
        (replace(ISSUE, case="build"), (("build", F), ("program", P)), "not tried"),
        (replace(ISSUE, case="build"), (("build", S),), "not tried"),
        (replace(ISSUE, case="build"), (("build", F),), "not tried"),
    ],
)
def test_only_a_case_that_passed_is_told_to_pass(
    issue: KnownIssue, cases: tuple[tuple[str, Verdict], ...], state: str
) -> None:
    run = run_of(*(case(KHUGEPAGED, name, verdict, "other words") for name, verdict in cases))
    (record,) = settle(run, (), (issue,)).known_issues
    assert record.state == state


def test_a_known_failure_that_passes_is_told() -> None:
    run = run_of(case(KHUGEPAGED, "extreme (anon)", P))
    (record,) = settle(run, (), (ISSUE,)).known_issues
    assert (record.state, record.cells) == ("not seen", (CELL,))
    (record,) = settle(run_of(case("kselftest/mm/cow", "a", P)), (), (ISSUE,)).known_issues
    assert record.state == "not tried"
