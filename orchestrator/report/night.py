# SPDX-License-Identifier: GPL-2.0-only
"""What is told of a night, as a subject and a plain text.  Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.judge.outcome import not_run_text
from orchestrator.model.errors import EXIT_OK, LabError
from orchestrator.model.results import Comparison, RunResult
from orchestrator.report import mail
from orchestrator.report.gist import gist
from orchestrator.report.text import first_line, printable, visible

_NAME = "lab nightly"
_SUBJECT = 150  # characters


@dataclass(frozen=True)
class Letter:
    """A summary of a night: ``subject`` is one line."""

    subject: str
    text: str


def is_silent(run: RunResult, troubles: Sequence[str]) -> bool:
    """Whether there is nothing to tell: clean, complete, and no trouble beside the run."""
    return run.run.exit_status == EXIT_OK and run.run.complete and not troubles


def letter(
    run: RunResult, comparison: Comparison | None, where: str, troubles: Sequence[str] = ()
) -> Letter:
    """What a night came to.

    :param where: the address of its page, or where that lies.
    :param troubles: what went wrong beside the run, such as an update; each a sentence.
    """
    told = gist(run, comparison)
    if left := not_run_text(run.cells):
        told += f"; {left}"
    elif troubles and run.run.exit_status == EXIT_OK:
        told += f"; {troubles[0]}"
    above = "".join(f"{textwrap.fill(f'Trouble: {_clean(one)}', mail.WIDTH)}\n" for one in troubles)
    text = mail.render(run, comparison, where)
    return Letter(_subject(told), f"{above}\n{text}" if above else text)


def no_run(error: LabError) -> Letter:
    """What is told of a night in which there was no run."""
    text = visible("\n".join(filter(None, (error.message, error.hint))))
    return Letter(_subject(f"ERROR: no run: {error.message}"), f"There was no run.\n\n{text}\n")


def _clean(text: str) -> str:
    return visible(printable(first_line(text)))


def _subject(told: str) -> str:
    line = f"{_NAME}: {_clean(told)}"
    return line if len(line) <= _SUBJECT else f"{line[: _SUBJECT - 3]}..."
