# SPDX-License-Identifier: GPL-2.0-only
"""``lab rerun``: one case of an earlier run again, on the base kernel first."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from orchestrator.commands.chosen import failing
from orchestrator.commands.run import Options
from orchestrator.commands.workspace import with_history


@dataclass(frozen=True)
class RerunOptions:
    """``on`` is another kernel of lab.yaml; ``trials`` the most there may be of each kernel.

    ``decide`` goes on until it is known whether the kernel under test is worse than its base.
    ``base`` is False to leave out the base kernel; ``gdb`` stops the guest for a debugger.
    """

    on: str | None = None
    trials: int = 1
    decide: bool = False
    base: bool = True
    gdb: bool = False


def rerun(words: tuple[str, ...], options: Options, how: RerunOptions) -> int:
    """Run the workload of one case again and say in a sentence what came of it.

    Gives the exit status of a run with the kernel under test alone; what the base did is told.

    :param words: a run and a case, one of them or none (:mod:`orchestrator.commands.chosen`).
    :raises UserError: when the run or the case is unknown, or lab.yaml lacks what it takes.
    """
    from orchestrator.commands import progress
    from orchestrator.commands.summary import print_end
    from orchestrator.model.codec import plain
    from orchestrator.report.text import visible
    from orchestrator.runner.trials import run_trials

    chosen = failing(words)
    places = chosen.places
    with_history(places)
    repeat = chosen.repeat(on=how.on, with_base=how.base and not how.gdb)
    if how.gdb:
        from orchestrator.commands.gdb import debug
        from orchestrator.host.cache.locks import using

        with using(places.cache):
            return debug(places, repeat, chosen.folder, options)
    shown = progress.choose(options.plain, options.as_json, sys.stdout, options.quiet)
    given = chosen.options(options)
    with progress.listener(repeat.plan, shown, sys.stdout, places.history) as listener:
        rates = chosen.config.judging.rates if how.decide else None
        found = run_trials(
            repeat, chosen.folder, places, given, most=how.trials, rates=rates, listener=listener
        )
    done = found.done
    if options.as_json:
        told: dict[str, object] = {
            "event": "rerun", "answer": found.said, "trials": len(found.trials),
        }  # fmt: skip
        if found.decided is not None:
            told["decided"] = plain(found.decided)
        print(json.dumps(told))
    answer = f"{repeat.case.id}: {visible(found.said)}"
    print_end(done, shown, options.notify, answer)
    return done.status
