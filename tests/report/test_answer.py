# SPDX-License-Identifier: GPL-2.0-only
"""The first thing that a report says, of a run by itself; on the page test_html looks at it."""

from dataclasses import replace

from sample_run import broken_run, good_run

from orchestrator.judge.causes import causes_of
from orchestrator.model.names import Verdict
from orchestrator.report.answer import make_answer


def alone(run):
    """The kernel under test in one cell, without the build and the series that fail too."""
    run = replace(run, kernels=run.kernels[:1], builds=run.builds[:2], cells=run.cells[:1])
    return replace(run, run=replace(run.run, exit_status=1))


def test_it_leads_with_the_worst_and_each_part_leads_to_the_case_that_shows_it():
    answer = make_answer(alone(broken_run()), None)
    assert answer.state == "fail"
    case = "case=cli/default/x86_64/small:ledger/swap:kernel-log"
    (what,) = answer.judged.what
    assert (what.text, what.anchor) == (
        "WARNING at mm/userfaultfd.c in move_swap_pte in ledger/swap", case
    )  # fmt: skip
    assert answer.judged.more == len(causes_of(alone(broken_run()))) - 1
    assert answer.sentence == "2 of 9 cases failed, in 1 cell."


def known(verdict):
    case = good_run().cells[0].cases[1]
    return replace(case, verdict=verdict, known="it is known", judged="fail: so")


def test_known_failures_are_neither_passes_nor_skips():
    run = good_run()
    first = run.cells[0]
    cases = (first.cases[0], known(Verdict.SKIP), known(Verdict.PASS), *first.cases[3:])
    run = replace(run, cells=(replace(first, cases=cases), *run.cells[1:]))
    answer = make_answer(run, None)
    assert answer.sentence == (
        "13 cases passed, none failed, 2 known failures, 1 skipped, in 2 cells."
    )
    assert answer.judged.text == "No case failed: tried on x86_64 and arm64, 2 known failures"
