# SPDX-License-Identifier: GPL-2.0-only
"""What each cell came to in the last runs, from the history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.model.names import BUILD, SERIES, CellId
from orchestrator.model.results import CellPast
from orchestrator.results import history

#: As many of the newest runs are looked at.
RUNS = 60

# A known failure is a skip and has been looked into; a cell that was left out is a skip too.  That
# a build came out tells nothing of its cells: they may have been left out.
_CELLS = """
SELECT substr(c.id, 1, instr(c.id, ':') - 1), c.workload = :build, r.started,
max(c.verdict = 'fail'), sum(c.seconds)
FROM cases c JOIN (SELECT id, started FROM runs ORDER BY started DESC, id DESC LIMIT :runs) r
ON r.id = c.run
WHERE c.verdict IN ('pass', 'fail') AND c.workload != :series
AND (c.workload != :build OR c.verdict = 'fail')
GROUP BY 1, 2, r.id ORDER BY r.started, r.id
"""


def cell_pasts(db: Path, runs: int = RUNS) -> dict[str, CellPast]:
    """What cells came to, by their ids; what builds that failed came to, by theirs.

    :param runs: as many of the newest runs are looked at.
    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    values = {"build": BUILD, "series": SERIES, "runs": runs}
    found: dict[str, CellPast] = {}
    for name, is_build, started, failed, seconds in history.rows_of(db, _CELLS, values):
        key = CellId.parse(name).build if is_build else name
        known = found.get(key, CellPast())
        found[key] = replace(
            known,
            failed=bool(failed),
            last=started,
            found=known.found + bool(failed),
            seconds=known.seconds + (seconds or 0.0),
        )
    return found
