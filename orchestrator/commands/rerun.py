# SPDX-License-Identifier: GPL-2.0-only
"""``lab rerun``: one case of an earlier run again, on the base kernel first."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import __version__
from orchestrator.commands import record
from orchestrator.commands.run import RunOptions, _expect, compare_kernels
from orchestrator.commands.workspace import find_places, load
from orchestrator.host import process
from orchestrator.judge.outcome import apply_reason, cases_of, exit_status, summary_of
from orchestrator.judge.trials import Repeat, Shown, Subject, Trial, answer, judge_trial
from orchestrator.model.errors import (
    EXIT_HOST,
    EXIT_KERNEL,
    EXIT_OK,
    Interrupted,
    LabError,
    UserError,
)
from orchestrator.model.formats import parse_dotconfig
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import SERIES, Verdict
from orchestrator.model.results import (
    BuildRecord,
    CellRecord,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import Plan
from orchestrator.report.text import visible
from orchestrator.results import runs, store
from orchestrator.results.runs import cell_folder, keep_shapes, stored_shape
from orchestrator.runner.context import Event, Places
from orchestrator.runner.local import Progress
from orchestrator.runner.repeat import command_difference, find_case, make_repeat, same_kernel
from orchestrator.runner.stages import Kernel, Settings, expand_cell, prepare_kernel, run_cell


@dataclass(frozen=True)
class RerunOptions:
    """``on`` is another kernel of lab.yaml; ``trials`` the most there may be of each kernel.

    ``base`` is False to leave out the base kernel; ``gdb`` stops the guest for a debugger.
    """

    on: str | None = None
    trials: int = 1
    base: bool = True
    gdb: bool = False


def rerun(run_name: str, case_id: str, options: RunOptions, how: RerunOptions) -> int:
    """Run the workload of one case again and say in a sentence what came of it.

    Gives the exit status of a run with the kernel under test alone; what the base did is told.

    :raises UserError: when the run or the case is unknown, or lab.yaml lacks what it takes.
    """
    places = find_places()
    config = load(places)
    old = runs.find_run(places.reports, run_name)
    earlier = store.load(old)
    case = find_case(earlier, case_id)
    shape = stored_shape(old, case.id.split(":", 1)[0])
    with_base = how.base and not how.gdb
    repeat = make_repeat(config, earlier, case, on=how.on, shape=shape, with_base=with_base)
    from orchestrator.host.cache.locks import using

    places.cache.folder.mkdir(parents=True, exist_ok=True)
    with using(places.cache):
        if how.gdb:
            from orchestrator.commands.gdb import debug

            return debug(places, repeat, old, options)
        return _Rerun(places, repeat, old, options, how).go()


# ---------------------------------------------------------------- trials


class _Rerun:
    """One ``lab rerun`` while it goes on."""

    def __init__(
        self, places: Places, repeat: Repeat, old: Path, options: RunOptions, how: RerunOptions
    ) -> None:
        self.places = places
        self.repeat = repeat
        self.old = old
        self.options = options
        self.how = how
        self.folder = runs.run_folder(places.reports, options.out)
        self.run_id = runs.run_id(places.reports, self.folder)
        self.state = Progress()
        self.trials: list[Trial] = []
        self.ready: dict[str, tuple[Kernel, BuildResult | None, str]] = {}

    def go(self) -> int:
        from orchestrator.commands import progress
        from orchestrator.commands.summary import print_summary
        from orchestrator.host.cache.trim import keep_budget

        began, started = time.monotonic(), record.now()
        record.log_to(self.folder / "lab.log")
        plan = self.repeat.plan
        keep_shapes(plan, self.folder)
        shown = progress.choose(self.options.plain, self.options.as_json, sys.stdout)
        with progress.listener(plan, shown, sys.stdout) as listener:
            name = self.run_id
            if self.folder.parent != self.places.reports:
                name = str(self.folder)
            jobs = self.options.jobs or os.cpu_count() or 1
            self.settings = Settings(
                self.places.cache, self.folder, self.places.fragments, name, jobs, listener
            )
            try:
                self._all()
            except (KeyboardInterrupt, Interrupted):
                self.state.interrupted = True
                process.cancel()
            except LabError as error:
                told = f"{error.message} ({error.hint})" if error.hint else error.message
                self.state.problems.append(told)
                self.state.usage = isinstance(error, UserError)
        said = answer(self.repeat, self.trials)
        self._note_answer(said)
        issues = _expect(plan, self.state)
        status = self._status()
        run = replace(self._result(plan, started, status), known_issues=issues)
        comparison = compare_kernels(plan, run)
        record.finish(self.places, run, self.folder, comparison)
        keep_budget(self.places.cache)
        if self.options.as_json:
            print(json.dumps({"event": "rerun", "answer": said, "trials": len(self.trials)}))
        print_summary(run, comparison, self.folder, time.monotonic() - began, self.options.as_json)
        if not self.options.as_json:
            print(f"{self.repeat.case.id}: {visible(said)}", flush=True)
        return status

    def _all(self) -> None:
        """Trials until one does not pass; all kernels get as many, so that they compare."""
        for number in range(1, self.how.trials + 1):
            for subject in self.repeat.subjects:
                if self.how.trials > 1:
                    self._tell(subject, f"{number} of up to {self.how.trials}")
                self._trial(subject)
            if any(trial.shown is not Shown.NO for trial in self.trials):
                return

    def _trial(self, subject: Subject) -> None:
        cell = subject.cell
        kernel, built, note = self._ready(subject)
        known = self.state.kernels[cell.build.kernel.name]
        builds = [self.state.builds[cell.build.id]] if built is not None else []
        cells: list[CellRecord] = []
        if self.repeat.boots and built is not None and built.verdict is Verdict.PASS:
            # The last trial is the one that is shown: it is the one that did not pass.
            shutil.rmtree(self.folder / cell_folder(cell.id), ignore_errors=True)
            keep_shapes(self.repeat.plan, self.folder)
            done = run_cell(expand_cell(cell, kernel, self.settings), built, self.settings)
            differs = command_difference(subject.command, done.qemu_command)
            kept = [note] if note else []
            if differs:
                kept.append(f"QEMU's command line is not that of the run: {differs}")
            done = replace(done, notes=(*done.notes, *kept))
            for text in kept:
                self._tell(subject, text)
            self._tell(subject, "", done.verdict)
            self.state.cells[cell.id] = done
            cells.append(done)
        info, total = RunInfo("", "", "", "", 0, __version__, ""), Summary(0, 0, 0, 0)
        part = RunResult(info, (known,), tuple(builds), tuple(cells), total)
        found = [placed.case for placed in cases_of(part)]
        self.trials.append(judge_trial(self.repeat.case, subject, found))

    def _ready(self, subject: Subject) -> tuple[Kernel, BuildResult | None, str]:
        """Find or build a subject's kernel, once."""
        build = subject.cell.build
        if build.id not in self.ready:
            if self.repeat.case.workload == SERIES:
                kernel, built, note = prepare_kernel(build.kernel, self.settings), None, ""
            else:
                kernel, built, note = same_kernel(subject, self.old, self.settings)
            self.ready[build.id] = (kernel, built, note)
            tree = kernel.tree
            self.state.kernels[build.kernel.name] = KernelRecord(
                name=build.kernel.name,
                source=kernel.source,
                version=tree.version,
                series=tree.patches,
                series_digest=tree.series_digest,
                notes=tree.notes,
                failure=tree.failure,
                series_origin=build.kernel.series or "",
            )
            if tree.failure is not None:
                self._tell(subject, apply_reason(tree.failure), Verdict.FAIL)
            if built is not None:
                note = note or self._other_config(subject, built)
                self.ready[build.id] = (kernel, built, note)
                self.state.builds[build.id] = _build_record(built, note)
                told = "cached" if built.cached else built.reason
                self.settings.listener(
                    Event("build", build.id, "done", told, 1.0, built.verdict, built.seconds)
                )
        return self.ready[build.id]

    def _other_config(self, subject: Subject, built: BuildResult) -> str:
        """A note where the base could not be had with the config that the run's kernel has."""
        if subject.is_base or built.kernel_config is None:
            return ""
        files = [b.kernel_config for _, b, _ in self.ready.values() if b and b is not built]
        if not files or files[0] is None:
            return ""
        old, new = (p.read_text("utf-8", "replace") for p in (files[0], built.kernel_config))
        base, mine = parse_dotconfig(old), parse_dotconfig(new)
        # A symbol that the base has not heard of is the series' own.
        known = set(re.findall(r"\bCONFIG_(\w+)", old))
        other = sorted(name for name in known if mine.get(name) != base.get(name))
        if not other:
            return ""
        named = ", ".join(other[:4]) + (" ..." if len(other) > 4 else "")
        return f"the base was built with another config: {named} differ"

    # ------------------------------------------------------------ what is left of it

    def _note_answer(self, said: str) -> None:
        cell = self.repeat.tested.cell.id
        if cell in self.state.cells:
            done = self.state.cells[cell]
            note = f"again from {self.old.name}: {said}"
            self.state.cells[cell] = replace(done, notes=(*done.notes, note))

    def _status(self) -> int:
        tested = self.repeat.tested.cell
        cells = [c for c in self.state.cells.values() if c.id == tested.id]
        status = exit_status(
            cells,
            [b for b in self.state.builds.values() if b.id == tested.build.id],
            [k for k in self.state.kernels.values() if k.name == tested.build.kernel.name],
            interrupted=self.state.interrupted,
            usage=self.state.usage,
            host_problem=bool(self.state.problems),
            need_cases=self.repeat.boots,
        )
        if self.repeat.case.workload == SERIES and status == EXIT_HOST and self.trials:
            return EXIT_OK  # it applies, and nothing else was asked for
        wrong = any(cell.verdict is Verdict.ERROR for cell in self.state.cells.values())
        return EXIT_HOST if wrong and status in (EXIT_OK, EXIT_KERNEL) else status

    def _result(self, plan: Plan, started: str, status: int) -> RunResult:
        info = RunInfo(
            self.run_id, started, record.now(), record.command_line(), status, __version__,
            plan.profile, record.host(self.places), plan.baseline or "",
        )  # fmt: skip
        order = [cell.id for cell in plan.cells]
        cells = tuple(self.state.cells[name] for name in order if name in self.state.cells)
        whole = RunResult(
            info, tuple(self.state.kernels.values()), tuple(self.state.builds.values()), cells,
            Summary(0, 0, 0, 0), tuple(self.state.problems),
        )  # fmt: skip
        return replace(whole, summary=summary_of(whole))

    def _tell(self, subject: Subject, text: str, verdict: Verdict | None = None) -> None:
        stage = "trial" if verdict is None else "done"
        self.settings.listener(Event("cell", subject.cell.id, stage, text, verdict=verdict))


def _build_record(built: BuildResult, note: str) -> BuildRecord:
    build = built.build
    return BuildRecord(
        id=build.id,
        kernel=build.kernel.name,
        config=build.config.name,
        arch=build.arch,
        verdict=built.verdict,
        reason=built.reason,
        seconds=built.seconds,
        cached=built.cached,
        image_sha256=built.image_sha256,
        command=built.command,
        cpu_seconds=built.cpu_seconds,
        errors=built.errors,
        new_warnings=built.new_warnings,
        mismatches=built.mismatches,
        notes=(*built.notes, *((note,) if note else ())),
    )
