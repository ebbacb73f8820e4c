# SPDX-License-Identifier: GPL-2.0-only
"""The first thing that a report says, of a run by itself; on the page test_html looks at it."""

from dataclasses import replace

from sample_run import broken_run

from orchestrator.report.answer import make_answer


def test_the_first_failure_names_hit_and_counter():
    run = broken_run()
    run = replace(run, kernels=run.kernels[:1], builds=run.builds[:2], cells=run.cells[:1])
    run = replace(run, run=replace(run.run, exit_status=1))
    answer = make_answer(run, None)
    assert answer.state == "fail"
    assert answer.first == (
        "cli/default/x86_64/small:ledger/swap:kernel-log: "
        "WARNING at mm/userfaultfd.c in move_swap_pte (and 2 other kinds of hit); "
        "RssAnon +64 and VmSwap -64 pages off the page walk at step 'moved' (pid 213)"
    )
