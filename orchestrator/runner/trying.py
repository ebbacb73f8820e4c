# SPDX-License-Identifier: GPL-2.0-only
"""One case of an earlier run tried on kernels of one's choice, as a run carries out a cell.

A kernel is found or built once, and its guest booted anew for each trial.  What the trials leave is
the state of a run.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host import process
from orchestrator.judge.outcome import apply_reason, cases_of
from orchestrator.judge.trials import Repeat, Subject, Trial, judge_trial, telling
from orchestrator.model.errors import Interrupted
from orchestrator.model.formats import parse_dotconfig
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import SERIES, Verdict
from orchestrator.model.results import CaseResult
from orchestrator.results import runs
from orchestrator.runner import build_lines
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.repeat import command_difference, same_kernel
from orchestrator.runner.stages import (
    Stages,
    record_build,
    record_kernel,
    record_unbooted,
)
from orchestrator.runner.state import RunState


@dataclass(frozen=True)
class Ready:
    """A subject's kernel and build; ``built`` is None where it does not apply or was not wanted."""

    kernel: Kernel
    built: BuildResult | None
    note: str


class Trying:
    """Trials of one case, one after another; what they leave is in ``state``.

    :param old: the folder of the run that the case is of.
    """

    def __init__(self, repeat: Repeat, old: Path, context: Context, stages: Stages) -> None:
        self.repeat = repeat
        self.old = old
        #: The name of the run that a search is about: of one that goes on that of its beginning.
        self.of = old.name
        self.context = context
        self.stages = stages
        self.state = RunState()
        self.ready: dict[str, Ready] = {}

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """A with block of trials: what goes wrong in it is the state's to tell, and ends it."""
        try:
            yield
        except (KeyboardInterrupt, Interrupted):
            self.state.interrupted = True
            process.cancel()
        except Exception as error:
            self.state.explain("", error)

    def attempt(self, subject: Subject) -> Trial:
        """Try the case once on a subject's kernel, which is found or built first."""
        cell, found = subject.cell, RunState()
        ready = self.prepared(subject)
        found.kernels[cell.build.kernel.name] = self.state.kernels[cell.build.kernel.name]
        if cell.on_host and ready.kernel.tree.failure is None:
            self._run(subject, ready)
            found.cells[cell.id] = self.state.cells[cell.id]
        elif ready.built is not None:
            found.builds[cell.build.id] = self.state.builds[cell.build.id]
            if self.repeat.boots and ready.built.verdict is Verdict.PASS:
                self._run(subject, ready)
                found.cells[cell.id] = self.state.cells[cell.id]
            elif self.repeat.boots and ready.built.mismatches:
                record = record_unbooted(
                    cell, Verdict.FAIL, "not booted: its build failed", self.context, ready.built
                )
                found.cells[cell.id] = self.state.cells[cell.id] = record
        cases = [placed.case for placed in cases_of(found.records())]
        return judge_trial(self.repeat.case, subject, self._telling(cases, found))

    def _telling(self, cases: Iterable[CaseResult], found: RunState) -> list[CaseResult]:
        """The cases without the failures that are known: they tell nothing of the one in question.

        :param found: the trial's records, which are settled here.
        """
        found.settle(self.repeat.plan)
        known = {placed.case.id for placed in cases_of(found.records()) if placed.case.known}
        return telling(cases, self.repeat.case, known)

    def _run(self, subject: Subject, ready: Ready) -> None:
        cell = subject.cell
        # The last trial is the one that is shown: it is the one that did not pass.
        shutil.rmtree(self.context.folder / runs.cell_folder(cell.id), ignore_errors=True)
        runs.keep_shapes(self.repeat.plan, self.context.folder)
        if ready.built is None:
            ran = self.stages.host(cell, ready.kernel, self.context)
        else:
            ran = self.stages.run(cell, ready.built, ready.kernel, self.context)
        differs = command_difference(subject.command, ran.record.qemu_command)
        notes = [ready.note] if ready.note else []
        if differs:
            notes.append(f"QEMU's command line is not that of the run: {differs}")
        done = replace(ran.record, notes=(*ran.record.notes, *notes))
        for text in notes:
            self.tell(subject, text)
        self.tell(subject, "", done.verdict)
        self.state.cells[cell.id] = done
        self.state.as_ran[cell.id] = ran.cell

    def prepared(self, subject: Subject) -> Ready:
        """Find or build a subject's kernel, once."""
        build = subject.cell.build
        if build.id in self.ready:
            return self.ready[build.id]
        if self.repeat.case.workload == SERIES or subject.cell.on_host:
            ready = Ready(self.stages.prepare(build.kernel, self.context), None, "")
        else:
            ready = Ready(*same_kernel(subject, self.old, self.context, self.stages))
        kernel, built = ready.kernel, ready.built
        self.state.kernels[build.kernel.name] = record_kernel(kernel, build.kernel)
        if kernel.tree.failure is not None:
            self.tell(subject, apply_reason(kernel.tree.failure), Verdict.FAIL)
        if built is not None:
            ready = replace(ready, note=ready.note or self._other_config(subject, built))
            kept = record_build(built, self.context, boots=self.repeat.boots)
            kept = build_lines.with_lines(kept, kernel, self.context)
            notes = (*kept.notes, ready.note) if ready.note else kept.notes
            self.state.builds[build.id] = replace(kept, notes=notes)
            told = "cached" if built.cached else built.reason
            self.context.listener(
                Event("build", build.id, "done", told, 1.0, built.verdict, built.seconds)
            )
        self.ready[build.id] = ready
        return ready

    def _other_config(self, subject: Subject, built: BuildResult) -> str:
        """A note where the base could not be had with the config that the run's kernel has."""
        if subject.is_base or self.repeat.base is None or built.kernel_config is None:
            return ""
        base_built = next((one.built for one in self.ready.values() if one.built), None)
        if base_built is None or base_built.kernel_config is None:
            return ""
        paths = (base_built.kernel_config, built.kernel_config)
        old, new = (path.read_text("utf-8", "replace") for path in paths)
        base, mine = parse_dotconfig(old), parse_dotconfig(new)
        # A symbol that the base has not heard of is the series' own.
        known = set(re.findall(r"\bCONFIG_(\w+)", old))
        other = sorted(name for name in known if mine.get(name) != base.get(name))
        if not other:
            return ""
        named = ", ".join(other[:4]) + (" ..." if len(other) > 4 else "")
        return f"the base was built with another config: {named} differ"

    def tell(self, subject: Subject, text: str, verdict: Verdict | None = None) -> None:
        """Tell whoever listens something of a subject's cell."""
        stage = "trial" if verdict is None else "done"
        self.context.listener(Event("cell", subject.cell.id, stage, text, verdict=verdict))
