# SPDX-License-Identifier: GPL-2.0-only
"""What speaks for a workload's failing, from the history."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.model.names import BOOT, BUILD, CONFIG, GUEST, HANG, RESET, Verdict
from orchestrator.model.signs import Signs
from orchestrator.results import history

#: As many of the newest runs are looked at.
RUNS = 20
# The median of so many of the latest times is what a workload takes.
_TIMES = 5

# What each run found of a workload in a place, the newest first.  A known failure is a skip and an
# expected one a pass: both were foreseen.  Time to a deadline tells nothing of the next time.  One
# case of a workload has its time, so that of those that passed the others need not be read.
_OUTCOMES = """
SELECT c.kernel, substr(c.key, 1, instr(c.key, ':') - 1), c.workload,
max(c.verdict = :fail), sum(c.seconds), max(c.name IN (:hang, :guest, :reset))
FROM cases c JOIN (SELECT id, started FROM runs ORDER BY started DESC, id DESC LIMIT :runs) r
ON r.id = c.run
WHERE c.verdict = :fail
OR (c.verdict = :pass AND (c.seconds > 0 OR c.workload IN (:build, :boot, :config)))
GROUP BY r.id, 1, 2, 3
ORDER BY r.started DESC, r.id DESC, 4 DESC, 2, 1
"""


@dataclass
class _Seen:
    """One workload in one place while the history is read."""

    last: dict[str, bool] = field(default_factory=dict)  # whether it failed, by kernel
    found: int = 0
    runs: int = 0
    took: list[float] = field(default_factory=list)


def signs(db: Path, kernels: Collection[str], runs: int = RUNS) -> dict[tuple[str, str], Signs]:
    """What is known of each workload, by ``CONFIG/ARCH/SHAPE`` and its name.

    A build's are under ``CONFIG/ARCH/-`` and the name that its case has.

    :param kernels: the names of those that are to be run: what failed in the last run of one of
        them, in whatever version, is likely to fail again.
    :param runs: as many of the newest runs are looked at.
    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    words = {
        "pass": Verdict.PASS.value, "fail": Verdict.FAIL.value, "hang": HANG, "guest": GUEST,
        "reset": RESET, "build": BUILD, "boot": BOOT, "config": CONFIG, "runs": runs,
    }  # fmt: skip
    seen: dict[tuple[str, str], _Seen] = {}
    failed_at: dict[str, str] = {}
    for kernel, place, workload, failed, seconds, lost in history.rows_of(db, _OUTCOMES, words):
        one = seen.setdefault((place, workload), _Seen())
        one.runs += 1
        one.found += failed
        if kernel in kernels and kernel not in one.last:
            one.last[kernel] = bool(failed)
            if failed:
                failed_at.setdefault(workload, place)
        if seconds and not lost:
            one.took.append(seconds)
    return {
        (place, workload): Signs(
            failed=any(one.last.values()),
            failed_at="" if any(one.last.values()) else failed_at.get(workload, ""),
            found=one.found,
            runs=one.runs,
            seconds=statistics.median(one.took[:_TIMES]) if one.took else None,
        )
        for (place, workload), one in seen.items()
    }
