# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import CELL, GOOD, PANIC, RSS, SAMPLES, judged, seen, spec

from orchestrator.judge.expectations import apply_expectations
from orchestrator.judge.outcome import cell_verdict, executed, exit_status
from orchestrator.judge.verdict import judge
from orchestrator.model.errors import EXIT_HOST, EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK, EXIT_USAGE
from orchestrator.model.evidence import GuestEnd, Hit, WorkloadEvidence
from orchestrator.model.kernel import ApplyFailure
from orchestrator.model.names import Verdict
from orchestrator.model.results import BuildRecord, CaseResult, CellRecord, KernelRecord
from orchestrator.model.spec import Expectation, MessageRules, SelftestSpec

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR
LEDGER = "# LEDGER step=a pid=1 rss_anon={} walk_anon=5 vm_swap=0 walk_swap=0 tolerance=0\n"


def verdicts(evidence: WorkloadEvidence, *provided: str) -> dict[str, Verdict]:
    return {name: c.verdict for name, c in judged(evidence, frozenset(provided)).items()}


# ---------------------------------------------------------------- one workload


def test_all_good() -> None:
    cases = judged(seen())
    assert {n: c.verdict for n, c in cases.items()} == {"basic": P, "holes": P, "kernel-log": P}
    assert cases["basic"].id == f"{CELL}:move/basic:basic"
    assert cases["basic"].rerun == f"lab rerun latest {CELL}:move/basic:basic"
    assert cases["basic"].seconds == 1.5
    assert sum(c.seconds for c in cases.values()) == 1.5


def test_failing_case_shows_its_diagnostics() -> None:
    text = (
        "KTAP version 1\n1..1\n# expected EEXIST, got 0\n# MEASURE name=x value=1\nnot ok 1 exist\n"
    )
    cases = judged(seen(text, exit_status=1))
    assert cases["exist"].verdict is F
    assert cases["exist"].reason == "expected EEXIST, got 0"
    assert cases["exist"].measurements[0].name == "x"
    assert "exit-status" not in cases


def test_a_find_is_read_and_its_program_is_not_repeated_in_the_reason() -> None:
    last = "steady.c:9: state: step 1 of 1, `0 exit`: page 1 is none, expected present (entry 0)"
    text = (
        "KTAP version 1\n1..1\n# swarm advice, seed 3, after 9 steps\n"
        f"# FIND rule=state process=0\n# PROGRAM 0 exit\n# {last}\nnot ok 1 advice\n"
    )
    case = judged(seen(text, exit_status=1))["advice"]
    assert case.find is not None
    assert (case.find.signature, case.find.seed, case.find.program) == (
        "state-exit",
        3,
        ("0 exit",),
    )
    assert case.reason == last
    passed = judged(seen(text.replace("not ok", "ok")))["advice"]
    assert passed.find is None


def test_cases_never_take_the_names_of_synthetic_ones() -> None:
    cases = judged(seen("1..1\nnot ok 1 kernel-log\n", exit_status=1))
    assert cases["kernel-log (case)"].verdict is F
    assert cases["kernel-log"].verdict is P


@pytest.mark.parametrize(
    "stdout", ["", "no ktap here\n", "KTAP version 1\n", "KTAP version 1\n1..3\n"]
)
def test_no_case_is_an_error(stdout: str) -> None:
    assert verdicts(seen(stdout)) == {"ktap": E, "kernel-log": P}


def test_cut_output_is_an_error() -> None:
    cases = judged(seen(GOOD.replace("1..2", "1..3")))
    assert cases["ktap"].verdict is E
    assert "3 cases planned, 2 seen" in cases["ktap"].reason


def test_exit_status_with_all_ok_is_a_fail() -> None:
    cases = judged(seen(exit_status=3))
    assert cases["exit-status"].verdict is F
    assert cases["exit-status"].reason == "ended with exit status 3 although no case failed"


@pytest.mark.parametrize(("status", "name"), [(139, "SIGSEGV"), (-7, "SIGBUS"), (137, "SIGKILL")])
def test_death_by_signal_is_named_and_explains_the_cut(status: int, name: str) -> None:
    cases = judged(seen("KTAP version 1\n1..9\nok 1 basic\n", exit_status=status))
    assert cases["exit-status"].verdict is F
    assert name in cases["exit-status"].reason
    assert "incomplete" in cases["exit-status"].reason
    assert E not in {c.verdict for c in cases.values()}


def test_the_sampler_knows_of_a_signal_that_the_shell_hides() -> None:
    stderr = SAMPLES.replace('"status": 0, "signal": 0', '"status": null, "signal": 11')
    assert "SIGSEGV" in judged(seen(stderr=stderr))["exit-status"].reason
    stderr = SAMPLES.replace('"status": 0', '"status": 2')
    assert judged(seen(stderr=stderr))["exit-status"].verdict is F


def test_unknown_end_is_an_error() -> None:
    assert verdicts(seen(exit_status=None))["exit-status"] is E


def test_not_started_is_an_error() -> None:
    assert verdicts(seen("", exit_status=127)) == {"exit-status": E, "kernel-log": P}


@pytest.mark.parametrize("how", [{"timed_out": True, "exit_status": None}, {"exit_status": 124}])
def test_hang(how: dict[str, Any]) -> None:
    assert verdicts(seen("KTAP version 1\n1..2\nok 1 basic\n", **how)) == {
        "basic": P, "hang": F, "kernel-log": P
    }  # fmt: skip


def test_host_problem() -> None:
    found = verdicts(seen("", exit_status=None, host_problem="disk full"))
    assert found["host"] is E
    assert F not in found.values()


def test_a_guest_that_takes_no_command_with_a_report_is_the_kernels_doing() -> None:
    evidence = seen(
        "", exit_status=None, guest=GuestEnd.SSH_LOST, host_problem="it takes no command",
        console=RSS, console_complete=False,
    )  # fmt: skip
    cases = judged(evidence)
    assert {n: c.verdict for n, c in cases.items()} == {"guest": F, "kernel-log": F}
    assert cases["guest"].reason == "lost with a report: it takes no command"
    assert cases["kernel-log"].hits[0].kind == "bad-rss-counter"
    # A report that the manifest allows explains nothing.
    allowed = replace(evidence, workload=spec(messages=MessageRules(allows=("rss-counter",))))
    assert verdicts(allowed)["host"] is E


# ---------------------------------------------------------------- skips


def test_skip_all() -> None:
    text = "KTAP version 1\n1..0 # SKIP no move ioctl\n"
    for status in (0, 4):
        assert verdicts(seen(text, exit_status=status)) == {"all": S, "kernel-log": P}
    cases = judged(
        seen(text, spec(exercises=("uffd-move",)), exit_status=4), frozenset({"uffd-move"})
    )
    assert cases["all"].verdict is F
    assert cases["all"].reason == "skipped although provided: uffd-move: no move ioctl"


def test_skip_of_something_provided() -> None:
    text = "1..2\nok 1 a # SKIP no ioctl\nok 2 b\n"
    workload = spec(exercises=("uffd-move", "thp"))
    assert verdicts(seen(text, workload), "uffd-move")["a"] is S
    assert verdicts(seen(text, workload), "uffd-move", "thp", "ksm")["a"] is F
    assert verdicts(seen(text), "uffd-move")["a"] is S


def test_counters_of_a_skipped_workload_are_not_asked_for() -> None:
    workload = spec(invariants=("counter-equals-walk",), counters=("RssAnon",))
    assert verdicts(seen("1..0 # SKIP no\n", workload, exit_status=4))["counters"] is S


# ---------------------------------------------------------------- the kernel log


def test_reports_alike_are_counted_and_a_few_are_kept() -> None:
    """A leak may be reported a thousand times."""
    case = judged(seen(console=RSS * 300))["kernel-log"]
    title = "BUG: Bad rss-counter state type:MM_ANONPAGES"
    assert case.reason == f"{title} (300 times)"
    assert len(case.hits) == 20
    case = judged(seen(console=RSS * 2 + PANIC))["kernel-log"]
    assert case.reason.splitlines()[0] == f"{title} (2 times)"
    assert len(case.hits) == 3


def test_hit_fails() -> None:
    case = judged(seen(console=RSS))["kernel-log"]
    assert case.verdict is F
    assert case.reason == "BUG: Bad rss-counter state type:MM_ANONPAGES"
    assert [h.kind for h in case.hits] == ["bad-rss-counter"]


def test_allowed_hit() -> None:
    allows = spec(messages=MessageRules(allows=("Bad rss-counter.*ANON",)))
    case = judged(seen(workload=allows, console=RSS))["kernel-log"]
    assert case.verdict is P
    assert len(case.hits) == 1
    other = RSS.replace("MM_ANONPAGES", "MM_SWAPENTS")
    case = judged(seen(workload=allows, console=RSS + other))["kernel-log"]
    assert case.verdict is F
    assert [h.title for h in case.hits] == ["BUG: Bad rss-counter state type:MM_SWAPENTS"]


def test_a_panic_is_never_allowed() -> None:
    allows = spec(messages=MessageRules(allows=("panic", ".")))
    assert verdicts(seen(workload=allows, console=PANIC))["kernel-log"] is F


def test_required_and_forbidden_messages() -> None:
    rules = spec(messages=MessageRules(requires=(r"^uffd: moved \d+",), forbids=("tainted",)))
    good = "[    1.000000][    T1] uffd: moved 3 pages\n"
    assert verdicts(seen(workload=rules, console=good))["kernel-log"] is P
    case = judged(seen(workload=rules, console="[    1.000000][    T1] module tainted\n"))[
        "kernel-log"
    ]
    assert case.verdict is F
    assert "forbidden message: module tainted" in case.reason
    assert r"required message is missing: ^uffd: moved \d+" in case.reason
    skipped = seen("1..0 # SKIP no\n", rules, exit_status=4)
    assert verdicts(skipped)["kernel-log"] is P
    cut = seen(workload=rules, console_complete=False)
    assert verdicts(cut)["kernel-log"] is E


def test_missing_mark_is_an_error_but_a_hit_still_a_fail() -> None:
    assert verdicts(seen(console_complete=False))["kernel-log"] is E
    assert verdicts(seen(console_complete=False, console=RSS))["kernel-log"] is F


def test_bad_pattern_is_an_error() -> None:
    assert verdicts(seen(workload=spec(messages=MessageRules(allows=("(",)))))["kernel-log"] is E


# ---------------------------------------------------------------- guests that were lost


@pytest.mark.parametrize("end", [e for e in GuestEnd if e is not GuestEnd.ALIVE])
def test_lost_with_a_report_is_a_fail(end: GuestEnd) -> None:
    evidence = seen("KTAP version 1\n1..2\n", exit_status=None, guest=end, console=RSS + PANIC,
                    console_complete=False)  # fmt: skip
    assert verdicts(evidence) == {"kernel-log": F}


@pytest.mark.parametrize("end", [e for e in GuestEnd if e not in (GuestEnd.ALIVE, GuestEnd.RESET)])
def test_lost_without_a_report_is_an_error(end: GuestEnd) -> None:
    evidence = seen("KTAP version 1\n1..2\n", exit_status=None, guest=end, console_complete=False)
    assert verdicts(evidence) == {"guest": E, "kernel-log": S}


def test_reset_without_a_panic() -> None:
    evidence = seen("", exit_status=None, guest=GuestEnd.RESET, console_complete=False)
    cases = judged(evidence)
    assert {n: c.verdict for n, c in cases.items()} == {"reset": F, "kernel-log": S}
    assert cases["reset"].hits[0].kind == "reset"
    assert verdicts(replace(evidence, console=RSS)) == {"reset": F, "kernel-log": F}
    assert verdicts(replace(evidence, console=PANIC)) == {"kernel-log": F}


def test_silent_after_the_time_limit_is_a_hang() -> None:
    evidence = seen(
        "", exit_status=None, guest=GuestEnd.SILENT, timed_out=True, console_complete=False
    )
    assert verdicts(evidence) == {"hang": F, "kernel-log": S}
    died = replace(evidence, guest=GuestEnd.QEMU_DIED)
    assert verdicts(died) == {"guest": E, "kernel-log": S}


@pytest.mark.parametrize(
    "end",
    [
        {},
        {"guest": GuestEnd.SILENT, "hang": "its kernel does not react to its console either"},
        {"guest": GuestEnd.SSH_LOST, "hang": "its kernel answers on the console"},
        {"guest": GuestEnd.SILENT, "timed_out": True},
    ],
)
def test_a_hang_that_was_proved_is_the_kernels(end: dict[str, Any]) -> None:
    hit = Hit("deadlock: CPU 0 in a, CPU 1 in b", "deadlock", "1f", 0, "looks", fatal=True)
    more = {"exit_status": None, "console_complete": False, "seconds": 16.2, **end}
    cases = judged(seen("KTAP version 1\n1..2\nok 1 basic\n", stuck=hit, **more))
    assert {n: c.verdict for n, c in cases.items()} == {"basic": P, "hang": F, "kernel-log": S}
    assert cases["hang"].hits == (hit,)
    how = f"; the guest: {end['hang']}" if "hang" in end else ""
    assert cases["hang"].reason == f"deadlock: CPU 0 in a, CPU 1 in b; after 16 s{how}"
    assert cases["kernel-log"].reason == "not judged: the kernel hangs"


def test_lost_with_only_allowed_reports_is_an_error() -> None:
    workload = spec(messages=MessageRules(allows=("rss-counter",)))
    evidence = seen("", workload, exit_status=None, guest=GuestEnd.SSH_LOST, console=RSS)
    assert verdicts(evidence)["guest"] is E


# ---------------------------------------------------------------- counters


WATCHED = spec(invariants=("counter-equals-walk", "back-after-exit"), counters=("RssAnon",))


def test_counters_pass_and_fail() -> None:
    case = judged(seen(LEDGER.format(5) + GOOD, WATCHED, stderr=SAMPLES))["counters"]
    assert case.verdict is P
    assert case.counters[0].name == "RssAnon"
    assert case.ledger[0].walk_anon == 5
    assert case.samples[0].values == {"RssAnon": 12}
    case = judged(seen(LEDGER.format(7) + GOOD, WATCHED, stderr=SAMPLES))["counters"]
    assert case.verdict is F
    assert "RssAnon is 7 pages where the page walk finds 5" in case.reason


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        (GOOD, SAMPLES),
        (LEDGER.format(5) + GOOD, ""),
        (LEDGER.format(5) + GOOD, SAMPLES.replace('"phase": "after"', '"phase": "aft')),
        (LEDGER.format(5) + "# LEDGER step=b pid=1\n" + GOOD, SAMPLES),
        (LEDGER.format(5) + GOOD, SAMPLES.replace("AnonPages", "Other")),
    ],
)
def test_missing_counters_are_an_error(stdout: str, stderr: str) -> None:
    assert verdicts(seen(stdout, WATCHED, stderr=stderr))["counters"] is E


def test_counters_of_a_lost_guest_are_kept_but_not_judged() -> None:
    evidence = seen(
        LEDGER.format(5), WATCHED, exit_status=None, guest=GuestEnd.PANIC, console=PANIC
    )
    case = judged(evidence)["counters"]
    assert case.verdict is S
    assert case.ledger
    drift = replace(evidence, stdout=LEDGER.format(9))
    assert judged(drift)["counters"].verdict is F


@pytest.mark.parametrize(("status", "told"), [(1, False), (255, False), (139, True), (None, True)])
def test_of_a_selftest_a_failed_case_does_not_explain_a_signal(
    status: int | None, told: bool
) -> None:
    mm = spec(selftests=SelftestSpec("mm"))
    text = "TAP version 13\n1..2\nnot ok 1 a\nok 2 b\n"
    found = verdicts(seen(text, mm, exit_status=status))
    assert found["a"] is F
    assert ("exit-status" in found) is told
    assert found.get("program") is (F if status == 139 else None)
    assert verdicts(seen(text, mm, exit_status=124))["hang"] is F


def test_measurements_without_a_case_of_their_own() -> None:
    text = "KTAP version 1\n1..1\nok 1 a\n# MEASURE name=x value=2 unit=us\n"
    cases = judged(seen(text))
    assert [m.name for c in cases.values() for m in c.measurements] == ["x"]


# ---------------------------------------------------------------- never a pass


STDOUT = st.sampled_from(
    [GOOD, "", "1..1\nok 1 a # SKIP x\n", "1..3\nok 1 a\n", "1..0 # SKIP no\n", "x"]
)


@given(
    STDOUT,
    st.sampled_from([None, 0, 1, 4, 124, 127, 139, -9]),
    st.booleans(),
    st.sampled_from(list(GuestEnd)),
    st.sampled_from(["", RSS, PANIC, "\x00\xff garbage"]),
    st.booleans(),
    st.sampled_from(["", "disk full"]),
)
def test_only_complete_clean_evidence_passes(
    stdout: str,
    status: int | None,
    late: bool,
    guest: GuestEnd,
    console: str,
    whole: bool,
    host: str,
) -> None:
    evidence = seen(stdout, exit_status=status, timed_out=late, guest=guest, console=console,
                    console_complete=whole, host_problem=host)  # fmt: skip
    cases = judge(evidence, CELL, frozenset(), "")
    clean = (stdout == GOOD and status == 0 and not late and guest is GuestEnd.ALIVE
             and console not in (RSS, PANIC) and whole and not host)  # fmt: skip
    assert (cell_verdict(cases) is P) == clean
    assert cases
    if not clean:
        assert exit_status([cell(*cases)]) != EXIT_OK
    if console in (RSS, PANIC):
        assert cell_verdict(cases) is F


@given(st.text(), st.text(), st.text(), st.lists(st.text(max_size=6), max_size=2))
def test_no_text_raises(stdout: str, stderr: str, console: str, patterns: list[str]) -> None:
    rules = MessageRules(requires=tuple(patterns), allows=tuple(patterns), forbids=tuple(patterns))
    judge(
        seen(stdout, spec(messages=rules), stderr=stderr, console=console), CELL, frozenset(), "x"
    )


# ---------------------------------------------------------------- expectations


def case(verdict: Verdict, name: str = "a", workload: str = "move/basic", place: str = CELL,
         reason: str = "", hits: tuple[str, ...] = ()) -> CaseResult:  # fmt: skip
    found = tuple(Hit(title, "k", "s", 1, title) for title in hits)
    return CaseResult(f"{place}:{workload}:{name}", workload, name, verdict, reason, hits=found)


def expect(title: str, kernel: str = "stock", config: str = "*", glob: str = "*") -> Expectation:
    return Expectation(kernel, config, glob, title, where="lab.yaml:7")


def test_expectation_met() -> None:
    failing = case(F, "kernel-log", hits=("BUG: Bad rss-counter state type:MM_ANONPAGES",))
    (found,) = apply_expectations([failing], [expect("Bad rss-counter")])
    assert found.verdict is P
    assert found.expected == "Bad rss-counter"
    assert executed(found)
    by_reason = case(F, reason="expected EEXIST, got 0")
    assert apply_expectations([by_reason], [expect("EEXIST")])[0].verdict is P


def test_expectation_unmet_or_vanished_is_a_fail() -> None:
    for cases in ([case(P)], [case(F, reason="something else")], [case(E, reason="title")]):
        *_, last = apply_expectations(cases, [expect("title")])
        assert last.verdict is F
        assert "lab.yaml:7" in last.reason
        assert last.id == f"{CELL}:expect:title"


def test_expectation_of_other_kernels_does_not_matter() -> None:
    cases = (case(P),)
    assert apply_expectations(cases, [expect("x", kernel="broken")]) == cases
    assert apply_expectations(cases, [expect("x", config="no-uffd")]) == cases
    failing = case(F, reason="x", place="other/default/x86_64/small")
    assert apply_expectations([failing], [expect("x", kernel="stock")]) == (failing,)


def test_known_report_does_not_hide_another() -> None:
    failing = case(
        F, "kernel-log", reason="two", hits=("BUG: Bad rss-counter", "BUG: KASAN: uaf in f")
    )
    (found,) = apply_expectations([failing], [expect("Bad rss-counter")])
    assert found.verdict is F
    assert "not expected: BUG: KASAN: uaf in f" in found.reason
    both = [expect("Bad rss-counter"), expect("KASAN")]
    assert apply_expectations([failing], both)[0].expected == "Bad rss-counter; KASAN"
    missing = case(
        F, "kernel-log", "w", reason="BUG: x\nrequired message is missing: y", hits=("BUG: x",)
    )
    assert apply_expectations([missing], [expect("BUG: x")])[0].verdict is F


def test_case_globs() -> None:
    failing = case(F, reason="x")
    for glob in ("a", "move/basic:a", "move/*", "*:a", f"{CELL}:move/basic:a"):
        assert apply_expectations([failing], [expect("x", glob=glob)])[0].verdict is P
    found = apply_expectations([failing], [expect("x", glob="b")])
    assert [c.verdict for c in found] == [F, F]


def test_every_cell_must_meet_it_and_a_build_may_for_its_cells() -> None:
    arm = CELL.replace("x86_64", "arm64")
    cases = [case(F, reason="x"), case(P, place=arm)]
    found = apply_expectations(cases, [expect("x")])
    assert [(c.id.split(":")[0], c.verdict) for c in found[2:]] == [(arm, F)]
    build = case(F, "build", "build", "stock/default/x86_64/-", reason="implicit declaration")
    series = case(P, "apply", "series", "stock/-/-/-")
    assert [c.verdict for c in apply_expectations([series, build], [expect("implicit")])] == [P, P]
    good = replace(build, verdict=P, reason="")
    assert len(apply_expectations([series, good, case(F, reason="x")], [expect("x")])) == 3


# ---------------------------------------------------------------- cells and runs


def cell(*cases: CaseResult, verdict: Verdict | None = None) -> CellRecord:
    return CellRecord(CELL, "stock", "default", "x86_64", "small", "tcg",
                      verdict or cell_verdict(cases), 5.0, tuple(cases))  # fmt: skip


def build(verdict: Verdict) -> BuildRecord:
    return BuildRecord("b", "stock", "default", "x86_64", verdict, "", 1.0, False, "")


def test_cell_verdict() -> None:
    log = case(P, "kernel-log")
    assert cell_verdict([]) is E
    assert cell_verdict([case(P), case(S), log]) is P
    assert cell_verdict([case(S), log]) is S
    assert cell_verdict([case(E), case(P), log]) is E
    assert cell_verdict([case(E), case(F), log]) is F
    assert cell_verdict([case(P, "boot", "boot")]) is P


def test_exit_status_and_its_order() -> None:
    good, bad, lost = cell(case(P)), cell(case(F)), cell(case(E))
    assert exit_status([good], [build(P)]) == EXIT_OK
    assert exit_status([good, bad]) == EXIT_KERNEL
    assert exit_status([good, bad, lost]) == EXIT_HOST
    assert exit_status([bad, lost], usage=True) == EXIT_USAGE
    assert exit_status([bad, lost], usage=True, interrupted=True) == EXIT_INTERRUPTED
    assert exit_status([good], host_problem=True) == EXIT_HOST
    assert exit_status([], [build(F)]) == EXIT_KERNEL
    assert exit_status([good], [build(E)]) == EXIT_HOST
    failure = ApplyFailure(1, "s", "f", 1, "m", "h", "c")
    kernel = KernelRecord("k", "s", "v", failure=failure)
    assert exit_status([], [], [kernel]) == EXIT_KERNEL


def test_a_run_without_an_executed_case_never_exits_0() -> None:
    assert exit_status([]) == EXIT_HOST
    assert exit_status([], [build(P)]) == EXIT_HOST
    skipped = cell(case(S), case(P, "kernel-log"), case(P, "boot", "boot"))
    assert exit_status([skipped]) == EXIT_HOST
    assert exit_status([], [build(P)], need_cases=False) == EXIT_OK


def test_a_known_failure_was_executed() -> None:
    known = replace(case(S), known="a defect of 6.12")
    assert exit_status([cell(known)]) == EXIT_OK


def test_exit_status_of_a_comparison() -> None:
    bad = cell(case(F), case(P, "b"))
    assert exit_status([bad], regressions=0) == EXIT_OK
    assert exit_status([bad], regressions=2) == EXIT_KERNEL
    assert exit_status([bad, cell(case(E))], regressions=2) == EXIT_HOST
