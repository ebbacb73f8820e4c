# SPDX-License-Identifier: GPL-2.0-only
"""Failures by cause: few where one line is wrong, and never one for two."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.judge.causes import Cause, causes_of, failures
from orchestrator.judge.outcome import cases_of
from orchestrator.judge.signs import CauseKind
from orchestrator.model.evidence import Hit, LedgerStep
from orchestrator.model.finds import Find
from orchestrator.model.names import CaseId, CellId, Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.results import store

F, E = Verdict.FAIL, Verdict.ERROR
K = "cli/default/x86_64/small"
REAL = sorted(path.name for path in (HOME / "tests/data/runs").iterdir())


@cache
def stored(name: str) -> RunResult:
    return store.load(Path(HOME / "tests/data/runs" / name))


def told(run: RunResult) -> list[tuple[str, str, int, int]]:
    return [(c.kind.value, c.title, len(c.cases), len(c.followers)) for c in causes_of(run)]


def bad(run: RunResult) -> list[CaseResult]:
    return [p.case for p in cases_of(run) if p.case.verdict in (F, E)]


# ---------------------------------------------------------------- runs as they were


def test_a_symbol_that_stops_a_build_is_one_cause() -> None:
    said = "CONFIG_A is n, asked for y (mine.config:1)"
    why = f"not compiled: {said}\nmore"
    build = BuildRecord("cli/typo/x86_64", "cli", "typo", "x86_64", F, why, 9.0, False, "")
    cells = tuple(
        CellRecord(f"cli/{config}/x86_64/{shape}", "cli", config, "x86_64", shape, "", F, 0.0, (
            CaseResult(f"cli/{config}/x86_64/{shape}:config:config", "config", "config", F, reason),
        ))
        for config, shape, reason in (
            ("typo", "small", said), ("typo", "numa", said), ("other", "small", "CONFIG_B is n"),
        )
    )  # fmt: skip
    info = RunInfo("r", "", "", "lab run", 1, "1", "smoke")
    run = RunResult(info, (), (build,), cells, Summary(0, 4, 0, 0))
    assert told(run) == [
        ("build", f"not compiled: {said}", 1, 2), ("case", "CONFIG_B is n", 1, 0)
    ]  # fmt: skip
    # Built all the same, only the guests tell.
    built = replace(run, builds=(replace(build, verdict=Verdict.PASS, reason=""),))
    assert told(built)[0] == ("case", said, 2, 0)


ANON = "BUG: Bad rss-counter state type:MM_ANONPAGES"


def test_one_wrong_line_and_78_failures() -> None:
    run = stored("drift")
    assert told(run) == [
        ("report", ANON, 13, 0),
        ("counter", "RssAnon above the page walk", 11, 54),
    ]
    assert failures(run)[0].id == f"{K}:ledger/move-swap:kernel-log"


def test_a_move_between_processes_drifts_on_both_sides() -> None:
    assert told(stored("cross-swap")) == [
        ("report", ANON, 1, 0),
        ("report", "BUG: Bad rss-counter state type:MM_SWAPENTS", 1, 0),
        ("counter", "RssAnon below the page walk", 1, 5),
        ("counter", "VmSwap above the page walk", 1, 0),
        ("counter", "RssAnon above the page walk", 1, 0),
        ("counter", "VmSwap below the page walk", 1, 0),
    ]


def test_a_swap_entry_that_stays_at_the_source() -> None:
    """One line again, but nothing proves that these are of it: each says a thing of its own."""
    assert told(stored("source-kept")) == [
        ("report", "kernel BUG at mm/swapfile.c:1587 in swap_entry_range_free", 1, 0),
        ("report", "WARNING: at mm/swapfile.c:1567 free_swap_and_cache_nr", 2, 0),
        ("report", "BUG: Bad rss-counter state type:MM_SWAPENTS", 1, 0),
        ("counter", "VmSwap below the page walk", 3, 5),
        ("counter", "a move adds to the pages that the walk finds", 3, 0),
        ("guest", "hang: still running after 335 s", 1, 0),
        ("case", "rss.c:200: after->walk_swap: got 512, expected 384", 1, 0),
        ("case", "uffd.c:193: result.err: got EEXIST, expected success", 1, 0),
        ("case", "swap.c:68: mem_frame(first.pair.src + i * mem_page()): got 4611686018427404416, "
         "expected 0", 1, 0),
        ("case", "frames.c:51: source, page 0: got entry 0x4000000000001480, expected 0 "
         "(0 pages migrated meanwhile)", 8, 0),
    ]  # fmt: skip


def test_fourteen_bugs_are_fourteen_causes() -> None:
    causes = causes_of(stored("provoked"))
    assert len(causes) == 14
    hits = {h.signature for case in bad(stored("provoked")) for h in case.hits}
    assert len(hits) == 14
    assert [c.title for c in causes if len(c.cases) > 1] == [
        "WARNING: at drivers/misc/lkdtm/bugs.c:114 lkdtm_WARNING",
        "WARNING: at drivers/misc/lkdtm/bugs.c:119 lkdtm_WARNING_MESSAGE",
    ]


def test_guests_that_were_lost_each_for_itself() -> None:
    assert told(stored("hostile")) == [
        ("report", "Kernel panic - not syncing: sysrq triggered crash", 1, 0),
        ("guest", "reset: the guest started again without a panic before", 1, 0),
        ("guest", "hang: still running after 6 s", 1, 0),
        ("error", "incomplete: 3 cases planned, 1 seen", 1, 0),
    ]


def test_a_compile_error() -> None:
    title = "mm/ksm.c:2: error: 'nothing_here' undeclared (first use in this function)"
    assert told(stored("compile")) == [("build", title, 1, 0)]


@pytest.mark.parametrize("name", REAL)
def test_no_case_and_no_report_is_left_out(name: str) -> None:
    complete(stored(name))


def complete(run: RunResult) -> None:
    causes = causes_of(run)
    shown = {case.id for cause in causes for case in (*cause.cases, *cause.followers)}
    assert shown == {case.id for case in bad(run)}
    assert [case.id for case in failures(run)] == list(
        dict.fromkeys(case.id for c in causes for case in (*c.cases, *c.followers))
    )
    for case in bad(run):
        for hit in case.hits if case.verdict is F else ():
            if not hit.known and hit.kind != "reset":
                mine = [c for c in causes if hit.title in c.title and case in c.cases]
                assert mine, (case.id, hit.title)
    assert all(cause.cases for cause in causes)
    for cause in causes:
        assert {CaseId.parse(c.id).cell.kernel for c in cause.cases} == {cause.kernel}


# ---------------------------------------------------------------- two causes are not one


def hit(title: str = "WARNING in a", signature: str = "", **more: object) -> Hit:
    found = Hit(title, "warning", signature or title, 1, title)
    return replace(found, **more)  # type: ignore[arg-type]


def case(name: str, reason: str = "", workload: str = "f/w", cell: str = K, **more: object):
    found = CaseResult(f"{cell}:{workload}:{name}", workload, name, F, reason)
    return replace(found, **more)  # type: ignore[arg-type]


def run_of(*cases: CaseResult, baseline: str = "") -> RunResult:
    by_cell: dict[str, list[CaseResult]] = {}
    for one in cases:
        by_cell.setdefault(str(CaseId.parse(one.id).cell), []).append(one)
    cells = tuple(
        CellRecord(cell, *CellId.parse(cell).parts, "tcg", F, 1.0, tuple(found))
        for cell, found in by_cell.items()
    )
    info = RunInfo("r", "", "", "lab run", 1, "0", "p", baseline=baseline)
    return RunResult(info, (), (), cells, Summary(0, len(cases), 0, 0))


def of(*cases: CaseResult, baseline: str = "") -> list[Cause]:
    run = run_of(*cases, baseline=baseline)
    complete(run)
    return list(causes_of(run))


def step(name: str, anon: tuple[int, int], swap: tuple[int, int] = (0, 0), pid: int = 7):
    return LedgerStep(name, pid, *anon, *swap, 0)


def walk(name: str, have: int, real: int, at: str = "s") -> str:
    return (
        f"{name} is {have} pages where the page walk finds {real}: {have - real:+d} at "
        f"step {at} in pid 7 (tolerance 0)"
    )


def drifts(*steps: LedgerStep, workload: str = "f/w", more: str = "") -> CaseResult:
    lines = [walk(*off, s.step) for s in steps for off in s.off]
    return case("counters", "\n".join([*lines, *filter(None, [more])]), workload, ledger=steps)


def check(name: str, said: str, workload: str = "f/w") -> CaseResult:
    return case(name, said, workload)


def agree(name: str, got: int, expected: int, line: int = 172) -> str:
    return (
        f"rss.c:{line}: after the move: {name}: got {got} pages, expected {expected} by page walk"
        " (tolerance 0)"
    )


def test_finds_by_rule_and_step() -> None:
    found = Find(
        "state", "move", "page 1 is none, expected present (entry 0)", ("0 exit", "0 kill")
    )
    cases = [
        case("mappings", "steady.c:9: state: x", find=found),
        case("state-move", "steady.c:9: state: y", cell="cli/default/arm64/small",
             find=replace(found, said="page 7 is none", program=("0 exit",))),
        case("advice", "steady.c:9: bytes: z", find=replace(found, rule="bytes")),
    ]  # fmt: skip
    first, other = of(*cases)
    assert first.title == f"state is wrong after move: {found.said}"
    assert first.evidence == "in 2 steps: 0 exit; 0 kill"
    assert [one.case for one in first.cases] == ["mappings", "state-move"]
    assert [one.case for one in other.cases] == ["advice"]


def test_reports_by_signature() -> None:
    causes = of(
        case("kernel-log", "", "f/a", hits=(hit("W1"), hit("W1"), hit("W2"))),
        case("kernel-log", "", "f/b", hits=(hit("W2"),)),
        case("kernel-log", "", "f/c", hits=(hit("panic", fatal=True),)),
    )
    assert [(c.title, len(c.cases)) for c in causes] == [("panic", 1), ("W1", 1), ("W2", 2)]
    assert len(causes[1].hits) == 2


def test_a_report_that_is_cut_stands_alone() -> None:
    whole, cut = hit("W", "s"), hit("W", "s", corrupted=True, damage="it lost its end")
    causes = of(
        case("kernel-log", "", "f/a", hits=(whole,)),
        case("kernel-log", "", "f/b", hits=(cut,)),
        case("kernel-log", "", "f/c", hits=(cut,)),
    )
    assert [len(c.cases) for c in causes] == [1, 1, 1]
    assert causes[2].evidence == "it lost its end"


@pytest.mark.parametrize(("left", "side"), [(64, "above"), (-64, "below")])
def test_what_is_left_in_a_counter_by_its_sign(left: int, side: str) -> None:
    def rss(value: int) -> Hit:
        text = f"BUG: Bad rss-counter state mm:0 type:MM_ANONPAGES val:{value}"
        return hit(ANON, "s", kind="bad-rss-counter", text=text)

    causes = of(
        case("kernel-log", "", "f/a", hits=(rss(left),)),
        case("kernel-log", "", "f/b", hits=(rss(2 * left),)),
        case("kernel-log", "", "f/c", hits=(rss(-left),)),
    )
    assert [len(c.cases) for c in causes] == [2, 1]
    assert causes[0].title == f"{ANON}, {side} zero at exit"


def test_kernels_are_apart_and_the_baseline_is_last() -> None:
    base = "v6.12/default/x86_64/small"
    causes = of(
        case("kernel-log", "", cell=base, hits=(hit("W", fatal=True),)),
        case("one", "a.c:1: no"),
        case("kernel-log", "", "f/v", hits=(hit("W"),)),
        baseline="v6.12",
    )
    assert [(c.kernel, c.kind.value) for c in causes] == [
        ("cli", "report"), ("cli", "case"), ("v6.12", "report"),
    ]  # fmt: skip


def test_a_counter_by_name_and_side() -> None:
    causes = of(
        drifts(step("s", (70, 6)), workload="f/a"),
        drifts(step("s", (80, 6)), workload="f/b"),
        drifts(step("s", (1, 6)), workload="f/c"),
        drifts(step("s", (6, 6), (9, 1)), workload="f/d"),
    )
    assert [(c.title, len(c.cases)) for c in causes] == [
        ("RssAnon above the page walk", 2),
        ("RssAnon below the page walk", 1),
        ("VmSwap above the page walk", 1),
    ]
    assert causes[0].evidence == "RssAnon +64 pages off the page walk at step 's' (pid 7)"


def test_a_leak_beside_a_drift_is_told() -> None:
    leak = "LostPages is 90 pages after exit and was 0 before: +90, more than the 62 that batching"
    causes = of(drifts(*(step(f"s{n}", (70, 6)) for n in range(9)), more=leak))
    assert [c.title for c in causes] == [
        "RssAnon above the page walk",
        "LostPages grew over a workload",
    ]


def test_a_move_that_loses_pages_beside_a_drift_is_told_and_its_shadow_is_not() -> None:
    moved = "a move changed {} from 64 to 60 pages (-4) between a and b over pid 7 (tolerance 0)"
    walked = moved.format("the pages that the walk finds, present and swapped,")
    both = moved.format("RssAnon+VmSwap")
    assert len(of(drifts(step("s", (70, 6)), more=both))) == 1
    assert len(of(drifts(step("s", (70, 6)), more=f"{both}\n{walked}"))) == 2
    assert len(of(case("counters", both))) == 1


def test_a_check_that_a_drift_accounts_for_follows_from_it() -> None:
    causes = of(
        check("a", agree("RssAnon", 70, 6)),
        check("b", f"{agree('RssAnon', 70, 6)}\nchild.c:70: child 9: got wait status 0x100, "
              "expected exit status 0"),
        check("c", "rss.c:193: RssAnon: got 70 pages, expected 6 (tolerance 0)"),
        drifts(step("s", (70, 6))),
    )  # fmt: skip
    assert [(len(c.cases), len(c.followers)) for c in causes] == [(1, 3)]


@pytest.mark.parametrize(
    "said",
    [
        agree("RssAnon", 71, 6),  # not a number of the ledger
        agree("RssAnon", 70, 7),
        agree("VmSwap", 70, 6),
        "rss.c:193: RssAnon: got 70 pages, expected 5 (tolerance 0)",
        "swap.c:68: mem_frame(at): got 70, expected 6",
        f"{agree('RssAnon', 70, 6)}\nchild.c:70: child 9: got wait status 0x9, "
        "expected exit status 0",
        f"{agree('RssAnon', 70, 6)}\nmem.c:9: the bytes differ",
    ],
)
def test_a_check_of_its_own_stays_a_cause_of_its_own(said: str) -> None:
    causes = of(check("a", said), drifts(step("s", (70, 6))))
    assert [c.kind for c in causes] == [CauseKind.COUNTER, CauseKind.CASE]
    assert not causes[0].followers


def test_a_drift_in_another_workload_accounts_for_nothing() -> None:
    causes = of(check("a", agree("RssAnon", 70, 6)), drifts(step("s", (70, 6)), workload="f/v"))
    assert len(causes) == 2
    # Nor does one that the workload does not have to answer for.
    free = case("counters", "LostPages is 9", ledger=(step("s", (70, 6)),))
    assert [c.kind.value for c in of(check("a", agree("RssAnon", 70, 6)), free)] == [
        "counter", "case",
    ]  # fmt: skip


def test_checks_by_workload_place_and_what_they_say() -> None:
    causes = of(
        check("a", "swap.c:68: got 0x4000, expected 0"),
        check("b", "swap.c:68: got 0x8000, expected 0"),
        check("c", "swap.c:68: got EINVAL, expected 0"),
        check("d", "swap.c:69: got 0x4000, expected 0"),
        check("a", "swap.c:68: got 0x4000, expected 0", "f/v"),
        check("e", "no place at all"),
        check("f", "no place at all"),
    )
    assert [len(c.cases) for c in causes] == [2, 1, 1, 1, 1, 1]


def test_what_a_fatal_report_ends_follows_from_it_and_checks_before_it_do_not() -> None:
    causes = of(
        check("a", "swap.c:68: got 0x4000, expected 0"),
        case("guest", "lost with a report: no answer"),
        case("hang", "still running after 6 s; the guest: panic"),
        case("kernel-log", "", hits=(hit("W"), hit("kernel BUG", fatal=True))),
    )
    assert [(c.title, len(c.followers)) for c in causes] == [
        ("kernel BUG", 2),
        ("W", 0),
        ("swap.c:68: got 0x4000, expected 0", 0),
    ]


@pytest.mark.parametrize(("kind", "explained"), [("warning", False), ("hung-task", True)])
def test_a_hang_follows_from_a_stall_alone(kind: str, explained: bool) -> None:
    causes = of(case("hang", "still running"), case("kernel-log", "", hits=(hit("W", kind=kind),)))
    assert len(causes) == (1 if explained else 2)


def test_guests_lost_without_a_word_are_apart_by_workload() -> None:
    reset = hit("guest reset without a panic", "r", kind="reset")
    causes = of(
        *(case("reset", "again", f"f/{n}", hits=(reset,)) for n in "ab"),
        *(case("hang", "still running after 6 s", f"f/{n}") for n in "ab"),
        case("hang", "still running after 9 s", "f/a", cell="cli/default/arm64/small"),
        case("boot", "silent", "boot", cell="cli/kasan/x86_64/small"),
        case("boot", "silent", "boot", cell="cli/numa/x86_64/small"),
    )
    assert [len(c.cases) for c in causes] == [1, 2, 1, 1, 1, 1]


def test_known_reports_are_no_cause() -> None:
    causes = of(case("kernel-log", "", hits=(hit("W1", known="so it is"), hit("W2"))))
    assert [c.title for c in causes] == ["W2"]


def test_messages_that_a_manifest_forbids_or_requires() -> None:
    reason = "W\nforbidden message: oops 17\nrequired message is missing: done"
    other = case("kernel-log", "forbidden message: oops 18", cell="cli/default/arm64/small")
    causes = of(case("kernel-log", reason, hits=(hit("W"),)), other)
    assert [(c.title, len(c.cases)) for c in causes] == [
        ("W", 1), ("forbidden message: oops 17", 2), ("required message is missing: done", 1),
    ]  # fmt: skip


def test_a_broken_promise_is_one_cause() -> None:
    reason = "skipped although provided: uffd-move: no UFFDIO_MOVE"
    assert [len(c.cases) for c in of(case("a", reason), case("b", reason, "f/v"))] == [2]


def test_the_hosts_trouble_is_one_where_it_says_the_same() -> None:
    causes = of(
        case("host", "no space", "f/a", verdict=E),
        case("host", "no space", "f/b", verdict=E),
        case("host", "no QEMU", "f/b", verdict=E),
    )
    assert [(c.kind, len(c.cases)) for c in causes] == [(CauseKind.ERROR, 2), (CauseKind.ERROR, 1)]


def test_a_report_beside_a_drift_leaves_what_follows_from_it() -> None:
    counters = case(
        "counters", walk("RssAnon", 70, 6), hits=(hit("W1"),), ledger=(step("s", (70, 6)),)
    )
    assert [c.kind for c in of(counters, case("a", agree("RssAnon", 70, 6)))] == [
        CauseKind.REPORT, CauseKind.COUNTER,
    ]  # fmt: skip


REASONS = st.sampled_from(
    ["", "x", agree("RssAnon", 70, 6), agree("VmSwap", 3, 4), "a.c:1: no", "a.c:1: no\nb.c:2: yes",
     walk("RssAnon", 70, 6), walk("VmSwap", 1, 2) + "\nforbidden message: x", "\n", "a.c:1:",
     "y" * 2500]
)  # fmt: skip
HITS = st.builds(
    hit, st.sampled_from(["W1", "W2"]), fatal=st.booleans(), corrupted=st.booleans(),
    known=st.sampled_from(["", "k"]), kind=st.sampled_from(["warning", "reset", "hung-task"]),
)  # fmt: skip
CASES = st.builds(
    case,
    st.sampled_from(
        ["a", "b", "kernel-log", "counters", "guest", "hang", "boot", "host", "boot-2"]
    ),
    REASONS,
    st.sampled_from(["f/w", "f/v", "boot"]),
    st.sampled_from([K, "v6.12/default/x86_64/small"]),
    hits=st.lists(HITS, max_size=2).map(tuple),
    ledger=st.sampled_from([(), (step("s", (70, 6)),), (step("s", (70, 6), (3, 4)),)]),
    verdict=st.sampled_from([F, E, Verdict.PASS]),
)


@given(st.lists(CASES, max_size=12, unique_by=lambda one: one.id))
def test_whatever_failed_nothing_is_lost(cases: list[CaseResult]) -> None:
    of(*cases)
