# SPDX-License-Identifier: GPL-2.0-only
"""What happens while a run goes on, told as values; renderers (terminal, lines, JSON) listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.model.values import CaseResult, Verdict


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    ``kind`` is ``kernel``, ``build``, ``cell`` or ``case``; ``id`` names it.  ``stage`` is what it
    is at (``fetch``, ``apply``, ``compile``, ``root``, ``boot``, ``run``, ``done``).  ``share`` is
    the done part of the stage (0 to 1) where it is known; ``seconds`` counts from the stage's
    beginning; ``verdict`` comes with ``done`` and with each case.  ``version`` comes with a kernel
    that is done, ``case`` with a case; ``foreseen`` says that a failure was ``expected`` or is a
    ``known issue``.
    """

    kind: str
    id: str
    stage: str
    text: str = ""
    share: float | None = None
    verdict: Verdict | None = None
    seconds: float | None = None
    version: str = ""
    foreseen: str = ""
    case: CaseResult | None = None


Listener = Callable[[Event], None]


def nobody(_: Event) -> None:
    """A listener that does not listen."""
