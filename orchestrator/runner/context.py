# SPDX-License-Identifier: GPL-2.0-only
"""What the stages of one run share: where things are, who listens; and a kernel ready to build."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.model.values import KernelTree
from orchestrator.runner.events import Listener, nobody

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

    cache: Path
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
