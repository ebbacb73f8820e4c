# SPDX-License-Identifier: GPL-2.0-only
"""Slices of exploration together: each find once, with how often; swarms summed up."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.judge.explored import CORPUS, OF_CORPUS, Tally
from orchestrator.model.evidence import Measurement
from orchestrator.model.finds import Find
from orchestrator.model.names import BOOT, COUNTERS, KERNEL_LOG, Verdict
from orchestrator.model.results import CaseResult

WORK = "explore/steady"
FIND = Find("state", "move", "page 1 is none, expected present (entry 0)",
            ("0 mmap at=1 n=2 prot=rw how=private", "0 write at=1 byte=1",
             "0 move at=1 n=1 to=5 how=strict"),
            swarm="userfault", seed=9)  # fmt: skip
SMALLER = replace(FIND, program=FIND.program[1:], seed=12)


def case(name: str, verdict: Verdict, **more: object) -> CaseResult:
    return replace(CaseResult(f"k/c/a/s:{WORK}:{name}", WORK, name, verdict), **more)  # type: ignore[arg-type]


def swarm(name: str, programs: int, find: Find | None = None) -> CaseResult:
    figures = (
        Measurement("programs", programs, "programs"),
        Measurement("steps", programs * 40, "steps"),
        Measurement("rate", programs * 20, "steps/s"),
    )
    verdict = Verdict.FAIL if find else Verdict.PASS
    return case(name, verdict, measurements=figures, find=find)


def test_equal_finds_are_one_with_the_smallest_program() -> None:
    tally = Tally()
    (new,) = tally.take([swarm("userfault", 3, FIND), swarm("advice", 5)])
    assert (new.case, new.find, new.measurements) == ("state-move", FIND, ())
    assert tally.take([swarm("everything", 2, SMALLER)]) == []
    assert tally.take([swarm("userfault", 2, FIND)]) == []
    (found,) = tally.finds.values()
    assert found.find is not None
    assert (found.find.program, found.find.seed, found.find.times) == (SMALLER.program, 12, 3)


def test_finds_of_other_steps_or_rules_are_others() -> None:
    tally = Tally()
    tally.take([swarm("a", 1, FIND), swarm("b", 1, replace(FIND, rule="bytes"))])
    tally.take([swarm("a", 1, replace(FIND, step="copy"))])
    assert set(tally.finds) == {"state-move", "bytes-move", "state-copy"}


def test_what_was_not_drawn_keeps_its_name_and_a_corpus_gives_its_up() -> None:
    tally = Tally()
    fixed = replace(FIND, seed=None)
    tally.take([case("beside", Verdict.FAIL, find=fixed)])
    tally.take(
        [case(f"{OF_CORPUS}ab", Verdict.FAIL, find=fixed), case(f"{OF_CORPUS}cd", Verdict.PASS)]
    )
    assert set(tally.finds) == {"beside", "state-move"}
    assert tally.replayed == 1


def test_swarms_are_summed_up() -> None:
    tally = Tally()
    tally.take([swarm("advice", 5), swarm("userfault", 3, FIND)])
    tally.take([swarm("advice", 7), case(f"{OF_CORPUS}cd", Verdict.PASS)])
    cases = {one.case: one for one in tally.summed(case("x", Verdict.FAIL))}
    assert set(cases) == {"advice", "userfault", CORPUS}
    assert [m.value for m in cases["advice"].measurements] == [12, 480, 120]
    assert (cases["advice"].verdict, cases["advice"].find) == (Verdict.PASS, None)
    assert cases["userfault"].verdict is Verdict.SKIP
    assert cases["userfault"].reason == "a find ended it in each of 1 slice"
    assert cases[CORPUS].reason == "1 program of the corpus"
    assert tally.told() == "15 programs, 600 steps, 100 steps/s, 1 find"


def test_of_what_is_no_find_the_worst_stands() -> None:
    tally = Tally()
    tally.take([case(KERNEL_LOG, Verdict.PASS), case(COUNTERS, Verdict.SKIP)])
    tally.take([case(KERNEL_LOG, Verdict.FAIL, reason="BUG"), case(COUNTERS, Verdict.PASS)])
    tally.take([case(KERNEL_LOG, Verdict.ERROR), case(COUNTERS, Verdict.PASS)])
    tally.take(
        [
            CaseResult("b", BOOT, KERNEL_LOG, Verdict.FAIL),
            CaseResult("b", BOOT, KERNEL_LOG, Verdict.PASS),
        ]
    )
    cases = {one.case: one for one in tally.summed(case("x", Verdict.FAIL))}
    assert (cases[KERNEL_LOG].verdict, cases[KERNEL_LOG].reason) == (Verdict.FAIL, "BUG")
    assert cases[COUNTERS].verdict is Verdict.PASS
    assert [one.workload for one in tally.apart] == [BOOT]


def test_a_swarm_that_fails_without_a_find_is_told_as_it_is() -> None:
    tally = Tally()
    tally.take(
        [replace(swarm("advice", 5), verdict=Verdict.FAIL, reason="the model contradicts itself")]
    )
    tally.take([swarm("advice", 5)])
    (one,) = tally.summed(case("x", Verdict.FAIL))
    assert (one.verdict, one.reason) == (Verdict.FAIL, "the model contradicts itself")


def test_what_was_passed_of_the_kernel_is_told() -> None:
    tally = Tally()
    one = swarm("advice", 5)
    for guided, pcs in ((1, 4000), (3, 4400)):
        more = (Measurement("guided", guided, "programs"), Measurement("pcs", pcs, "pcs"))
        tally.take([replace(one, measurements=(*one.measurements, *more))])
    (case_of,) = tally.summed(case("x", Verdict.FAIL))
    assert [(m.name, m.value) for m in case_of.measurements[3:]] == [("guided", 4), ("pcs", 4400)]
    tally.pcs = 4400
    assert tally.told() == "10 programs, 400 steps, 100 steps/s, 4400 pcs, 0 finds"
