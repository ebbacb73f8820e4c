# SPDX-License-Identifier: GPL-2.0-only
"""What the stages of one run share: where things are, what happens, who listens.

What happens while a run goes on is told as values; renderers (terminal, lines, JSON) listen.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.host.cache.files import Cache
from orchestrator.model.kernel import KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult


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


@dataclass(frozen=True)
class Places:
    """The folders of one lab; ``fragments`` is ``kernel-configs``."""

    lab_yaml: Path
    reports: Path
    cache: Cache
    fragments: Path

    @property
    def history(self) -> Path:
        """The SQLite file with every run."""
        return self.reports / "history.sqlite"


Spare = Callable[[int], AbstractContextManager[bool]]


def no_cores(_wanted: int) -> AbstractContextManager[bool]:
    """No cores to spare."""
    return nullcontext(False)


@dataclass(frozen=True)
class Settings:
    """Where things are and who listens; the same for a whole run.

    ``spare`` gives further cores for the length of a with block, if there are any to spare.

    ``seed`` is what looping workloads start from, unless they bring one.

    ``folder`` is the run's folder; ``run_name`` is what ``lab rerun`` finds it by.
    """

    cache: Cache
    folder: Path
    fragments: Path
    run_name: str
    jobs: int
    listener: Listener = nobody
    spare: Spare = no_cores
    seed: int = field(default_factory=lambda: secrets.randbits(32))
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def rerun(self) -> str:
        """The command that repeats a case; who fills ``{case}`` in quotes it for the shell."""
        return f"lab rerun {shlex.quote(self.run_name)} {{case}}"


@dataclass(frozen=True)
class Kernel:
    """A kernel that is ready to be built: its tree and the slot it is checked out into."""

    tree: KernelTree
    slot: str
    source: str
