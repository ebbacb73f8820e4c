# SPDX-License-Identifier: GPL-2.0-only
"""``lab narrow``: the smallest statement of what a failure needs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.commands.chosen import failing
from orchestrator.commands.run import Options
from orchestrator.model.narrowing import AXES

if TYPE_CHECKING:
    from orchestrator.judge.narrowing import Narrowed
    from orchestrator.runner.narrow import NarrowedDown, Row


@dataclass(frozen=True)
class NarrowOptions:
    """``axes`` are what may be changed; ``trials`` the most that there may be in all."""

    axes: tuple[str, ...] = AXES
    trials: int = 100


def narrow(words: tuple[str, ...], options: Options, how: NarrowOptions) -> int:
    """Search, tell each change that was tried, and say in a sentence what the failure needs.

    Gives 0 where nothing is left to try, 1 where it is not or the case does not fail again.

    :param words: a run and a case, one of them or none (:mod:`orchestrator.commands.chosen`).
    :raises UserError: when the run or the case is unknown, or the case has no guest.
    """
    from orchestrator.commands import progress
    from orchestrator.commands.summary import print_end
    from orchestrator.report.text import visible
    from orchestrator.runner import narrow as engine

    chosen = failing(words, options.resume, engine.NOTES)
    repeat = chosen.repeat(with_base=False)
    given = chosen.options(options)
    shown = progress.choose(options.plain, options.as_json, sys.stdout, options.quiet)
    with progress.listener(repeat.plan, shown, sys.stdout, chosen.places.history) as listener:
        ended = engine.narrow(
            repeat, chosen.folder, chosen.places, given, most=how.trials,
            rates=chosen.config.judging.rates, axes=how.axes, configs=chosen.config.configs,
            listener=listener,
        )  # fmt: skip
    said = f"{repeat.case.id}: {visible(ended.said)}"
    if options.as_json:
        print(json.dumps(_told(ended, said)))
    print_end(ended.done, shown, options.notify, said, visible_table(ended))
    return ended.done.status


def visible_table(ended: NarrowedDown) -> str:
    """What was tried, a line each: the changes, and how often the case failed with them."""
    from orchestrator.report.text import visible

    width = max((len(row.told) for row in ended.rows), default=0)
    lines = (f"  {row.told:<{width}}  {_came_to(row)}" for row in ended.rows)
    return "\n".join(["tried:", *map(visible, lines)])


def _came_to(row: Row) -> str:
    if row.trials == 0:
        return f"cannot be tried: {row.why}" if row.why else "not tried"
    return f"fails {row.failed} of {row.trials}"


def _told(ended: NarrowedDown, said: str) -> dict[str, object]:
    """The event that ends the stream of ``--json``."""
    from orchestrator.model.codec import plain

    return {
        "event": "narrow",
        "answer": said,
        "complete": ended.sure,
        **_names(ended.found),
        "tried": [plain(row) for row in ended.rows],
    }


def _names(found: Narrowed) -> dict[str, object]:
    single = ("needed", "rarer", "free", "cannot")
    told: dict[str, object] = {name: [c.name for c in getattr(found, name)] for name in single}
    return told | {"either": [[change.name for change in group] for group in found.either]}
