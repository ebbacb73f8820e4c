# SPDX-License-Identifier: GPL-2.0-only
"""How steady a case is, from the history: what it came to before on the very same kernel.

A case is *flaky* where runs of one kernel (the same sources and the same image), in one config,
architecture and shape, came to both a pass and a failure.  A list of such cases would grow old.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.model.names import CaseId, Verdict
from orchestrator.model.results import EarlierRuns, RunResult
from orchestrator.results import history

#: As many of the newest runs are looked at.
RUNS = 200

# A run's cases with what they ran on; of an older lab's run nobody knows that.  A pass with a
# reason is a failure that lab.yaml expects, or a report that it knows or allows: it speaks for
# neither.
_OUTCOMES = """
SELECT c.key, m.identity, sum(c.verdict = 'pass'), sum(c.verdict = 'fail'), max(c.run)
FROM cases c JOIN made_of m
ON m.run = c.run AND m.cell = substr(c.id, 1, instr(c.id, ':') - 1)
WHERE c.run IN (SELECT id FROM runs WHERE id != ? ORDER BY started DESC, id DESC LIMIT ?)
AND (c.verdict = 'fail' OR (c.verdict = 'pass' AND c.reason = ''))
AND (? OR c.key IN (SELECT value FROM json_each(?)))
GROUP BY c.key, m.identity
"""


@dataclass(frozen=True)
class Flaky:
    """A case that came to both on one kernel.

    ``key`` is ``CONFIG/ARCH/SHAPE:WORKLOAD:CASE``; ``passed`` and ``failed`` are numbers of runs,
    over all kernels on which it came to both; ``last`` is the latest of them.
    """

    key: str
    passed: int
    failed: int
    last: str


def flaky(db: Path, runs: int = RUNS) -> tuple[Flaky, ...]:
    """Every flaky case of the newest runs, the one that fails most often first.

    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    found: dict[str, Flaky] = {}
    for key, _, passed, failed, last in history.rows_of(db, _OUTCOMES, ("", runs, True, "[]")):
        if passed and failed:
            known = found.get(key, Flaky(key, 0, 0, ""))
            found[key] = Flaky(
                key, known.passed + passed, known.failed + failed, max(known.last, last)
            )
    return tuple(sorted(found.values(), key=lambda f: (-f.failed / (f.passed + f.failed), f.key)))


def with_earlier(db: Path, run: RunResult) -> RunResult:
    """The run, its failed cases with what they came to in earlier runs.

    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    made_of = history.identities(run)
    failed = [CaseId.parse(case.id) for cell in run.cells for case in cell.cases
              if case.verdict is Verdict.FAIL and cell.id in made_of]  # fmt: skip
    if not failed:
        return run
    outcomes = _outcomes(db, {case.key for case in failed}, run.run.id)
    found = {}
    for case_id in failed:
        known = outcomes.get(case_id.key, {})
        if known:
            found[str(case_id)] = _counted(known, made_of[str(case_id.cell)])
    cells = tuple(
        replace(
            cell,
            cases=tuple(
                replace(case, earlier=found[case.id]) if case.id in found else case
                for case in cell.cases
            ),
        )
        for cell in run.cells
    )
    return replace(run, cells=cells)


def _outcomes(db: Path, keys: Iterable[str], but: str) -> dict[str, dict[str, tuple[int, int]]]:
    """By case and kernel: how many runs passed and failed, the run ``but`` left out."""
    outcomes: dict[str, dict[str, tuple[int, int]]] = {}
    values = (but, RUNS, False, json.dumps(sorted(keys)))
    for key, identity, passed, failed, _ in history.rows_of(db, _OUTCOMES, values):
        outcomes.setdefault(key, {})[identity] = (passed, failed)
    return outcomes


def _counted(known: Mapping[str, tuple[int, int]], identity: str) -> EarlierRuns:
    passed, failed = known.get(identity, (0, 0))
    others = [counts for other, counts in known.items() if other != identity and counts[0]]
    return EarlierRuns(passed, failed, sum(p for p, _ in others), sum(f for _, f in others))
