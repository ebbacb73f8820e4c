# SPDX-License-Identifier: GPL-2.0-only
"""What the stages of one run share: its values, the machine they work on, and who listens.

The values (:class:`RunValues`) are the run's own and can be pickled, as can all that a plan is made
of.  The machine (:class:`Machine`) is made where the work is done: its paths mean nothing
elsewhere.  What happens while a run goes on is told as values; renderers (terminal, lines, JSON)
listen.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator import HOME
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.place import named_by
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import KernelSpec
from orchestrator.plan.find import Found

log = logging.getLogger("lab.run")


# ---------------------------------------------------------------- what happens


#: What an event tells of: its ``kind``.
OF_KERNEL, OF_BUILD, OF_CELL, OF_CASE = "kernel", "build", "cell", "case"
#: The stage of the event that says, in one sentence, what a kernel is.
TESTED = "tested"


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    ``kind`` is ``kernel``, ``build``, ``cell`` or ``case``; ``id`` names it.  ``stage`` is what it
    is at (``fetch``, ``tested``, ``apply``, ``compile``, ``root``, ``boot``, ``run``, ``done``).
    ``share`` is the done part of the stage (0 to 1) where known; ``seconds`` counts from the
    stage's beginning; ``verdict`` comes with ``done`` and with each case.  ``version`` comes with a
    kernel that is done, ``case`` with a case; ``foreseen`` says that a failure was ``expected`` or
    is a ``known issue``, and of a cell whose every failure was, ``foreseen_cases`` how many there
    are.
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
    foreseen_cases: int | None = None
    case: CaseResult | None = None


Listener = Callable[[Event], None]
Spare = Callable[[int], AbstractContextManager[bool]]


def nobody(_: Event) -> None:
    """A listener that does not listen."""


def guarded(listener: Listener) -> Listener:
    """``listener``, whose failures go into the log: they must not fail what it is told about."""

    def tell(event: Event) -> None:
        try:
            listener(event)
        except Exception as error:
            log.error("%s %s", event.kind, event.id, exc_info=error)

    return tell


def no_cores(_wanted: int) -> AbstractContextManager[bool]:
    """No cores to spare."""
    return nullcontext(False)


# ---------------------------------------------------------------- where things are


def cache_folder() -> Cache:
    """``$LAB_CACHE``, else ``lab`` below the XDG cache folder.

    :raises UserError: when LAB_CACHE is no path.
    """
    chosen = os.environ.get("LAB_CACHE")
    if chosen:
        try:
            return Cache(Path(chosen).expanduser().resolve())
        except (OSError, RuntimeError, ValueError) as error:  # ~nobody, a loop of links
            told = f"the cache {chosen}, as {named_by()} has it: {error}"
            raise UserError(told, "name a folder") from error
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not base.is_absolute():  # to be ignored then, says the specification
        base = Path.home() / ".cache"
    return Cache(base / "lab")


def state_folder() -> Path:
    """``lab`` below the XDG state folder (XDG Base Directory Specification 0.8)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "lab"


def reports_of(folder: Path) -> Path:
    """Where the reports of a folder are that the lab's own lab.yaml serves."""
    import hashlib  # some milliseconds, for this alone

    name = f"{folder.name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"
    return state_folder() / name / "reports"


@dataclass(frozen=True)
class Places:
    """The folders of one lab; ``fragments`` is ``kernel-configs``.

    ``tree`` is the kernel tree that the lab's own lab.yaml serves; None where the user has one.
    """

    lab_yaml: Path
    reports: Path
    cache: Cache
    fragments: Path
    tree: Path | None = None

    @classmethod
    def of(cls, lab_yaml: Path) -> Places:
        """The places that go with a lab.yaml, its own fragments or else those of the lab."""
        fragments = lab_yaml.parent / "kernel-configs"
        if not fragments.is_dir():
            fragments = HOME / "kernel-configs"
        return cls(lab_yaml, lab_yaml.parent / "reports", cache_folder(), fragments)

    @classmethod
    def of_found(cls, found: Found) -> Places:
        """The places that go with what was found; a folder that the lab's own serves stays clean.

        The reports of such a one are elsewhere, in a folder of its own, so that ``latest`` and the
        history are about it.
        """
        if found.serves is None:
            return cls.of(found.lab_yaml)
        fragments = found.lab_yaml.parent / "kernel-configs"
        reports = reports_of(found.serves)
        return cls(found.lab_yaml, reports, cache_folder(), fragments, found.tree)

    @property
    def history(self) -> Path:
        """The SQLite file with every run."""
        return self.reports / "history.sqlite"


@dataclass(frozen=True)
class Machine:
    """Where one run works on this machine.

    ``folder`` is the run's folder, ``fragments`` is ``kernel-configs``.  ``spare`` gives further
    cores for the length of a with block, if there are any to spare.  Once ``ending`` is set, what
    is under way ends, closes what it has, and nothing else begins.
    """

    cache: Cache
    folder: Path
    fragments: Path
    spare: Spare = no_cores
    ending: threading.Event = field(default_factory=threading.Event, compare=False)


# ---------------------------------------------------------------- one run


@dataclass(frozen=True)
class RunValues:
    """What is the same for a whole run wherever its parts are carried out.

    ``name`` is what ``lab rerun`` finds the run by; ``jobs`` is how many compilers a build starts;
    ``seed`` is what looping workloads start from, unless they bring one; ``token`` marks the run's
    lines in kernel logs.  ``known`` are the kernels that what is tested is told by; None where
    nobody asks what is tested.
    """

    name: str
    jobs: int
    seed: int = field(default_factory=lambda: secrets.randbits(32))
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    known: tuple[KernelSpec, ...] | None = None

    @property
    def rerun(self) -> str:
        """The command that repeats a case; who fills ``{case}`` in quotes it for the shell."""
        return f"lab rerun {shlex.quote(self.name)} {{case}}"


@dataclass(frozen=True)
class Context:
    """A run's values on a machine, and its listener: what every stage is handed."""

    values: RunValues
    machine: Machine
    listener: Listener = nobody

    @property
    def cache(self) -> Cache:
        """The machine's cache."""
        return self.machine.cache

    @property
    def folder(self) -> Path:
        """The run's folder on this machine."""
        return self.machine.folder

    @property
    def ending(self) -> threading.Event:
        """Set once the run is to end early."""
        return self.machine.ending

    def ended_by(self, ending: threading.Event, listener: Listener) -> Context:
        """This context for a part of the run that ends once ``ending`` is set."""
        return replace(self, machine=replace(self.machine, ending=ending), listener=listener)


@dataclass(frozen=True)
class Kernel:
    """A kernel that is ready to be built: its tree and the slot it is checked out into.

    ``exact`` is False where an image is run that was built of other sources than these: a tree that
    was edited since.
    """

    tree: KernelTree
    slot: str
    source: str
    exact: bool = True
