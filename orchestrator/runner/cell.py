# SPDX-License-Identifier: GPL-2.0-only
"""One cell: boot its guest, run its workloads, judge each; a lost guest costs one workload.

A cell is booted once.  With ``fresh_guests`` the booted guest becomes a snapshot, and each workload
gets a copy of its own; else they share a guest for as long as each leaves it as it was.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import statistics
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from orchestrator.guest import accel, boot, facts, root, snapshot
from orchestrator.guest.boot import BOOT_DEADLINE
from orchestrator.guest.qemu import Qemu
from orchestrator.guest.ssh import SshLost
from orchestrator.host.cache.scratch import scratch
from orchestrator.host.ending import ended_by, refuse_ended
from orchestrator.host.memory import memory_for
from orchestrator.judge.outcome import ENDED, STOPPED, cell_verdict
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import Ended, HostError, Interrupted
from orchestrator.model.evidence import CrashReport, GuestEnd
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import (
    BOOT,
    CONFIG,
    GUEST,
    HOST,
    SHAPE,
    Verdict,
)
from orchestrator.model.results import CellRecord
from orchestrator.model.spec import Cell, WorkloadSpec
from orchestrator.plan.budget import seeded
from orchestrator.plan.first import in_turn
from orchestrator.results.runs import cell_folder
from orchestrator.runner import bootcheck
from orchestrator.runner.collector import CellLog, stem
from orchestrator.runner.context import Context
from orchestrator.runner.in_guest import InGuest
from orchestrator.workload import programs, watch

# The consoles' logs of boots; those of copies have their workload's name.
_OF_A_BOOT = re.compile(r"console(-\d+)?\.log")


def run_cell(cell: Cell, built: BuildResult, context: Context) -> CellRecord:
    """Boot a cell's guest, run its workloads, judge each, and give the record.

    A guest that is lost costs the workload it was running; the others run in a fresh one.

    :raises HostError: when the host cannot run a guest at all.
    :raises Interrupted: when the run was stopped before anything was known of it.
    """
    return CellRun(cell, built, context).run()


class CellRun:
    """One cell while it runs; its steps are for who repeats a part of it."""

    def __init__(self, cell: Cell, built: BuildResult, context: Context) -> None:
        self.cell = cell
        self.built = built
        self.context = context
        self.arch = ARCHES[cell.build.arch]
        self.log = CellLog(cell, context)
        self.folder = self.log.folder
        self.retried: set[str] = set()  # what of a boot was tried once more
        self.inside = InGuest(cell, built, context, self.log)
        self.fresh = cell.fresh_guests
        self.restores: list[float] = []
        self.lost: CrashReport | None = None  # of a guest that did not boot
        self.boots = 0
        self.boots_before = 0  # of the part of the run before it was ended, whose logs stay
        self.boot_seconds = 0.0
        self.accelerator = ""
        self.command = ""

    @property
    def number(self) -> int:
        """Of this boot among all of the cell, by which its console's log is called."""
        return self.boots_before + self.boots

    def run(self) -> CellRecord:
        """Everything, from the host's preparations to the record."""
        try:
            return self._run()
        except OSError as error:
            raise HostError(f"{self.cell.id}: {error}", "see that the disk is not full") from error

    def prepare(self) -> tuple[Path, Path]:
        """Choose how it is run; gives the root's image and the archive with its programs.

        :raises HostError, UserError: when one of them cannot be made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.built.kernel_config:
            shutil.copyfile(self.built.kernel_config, self.folder / "config")
        chosen = accel.choose(self.arch, self.context.cache)
        self.accelerator = chosen.name
        if chosen.name == "tcg":
            self.log.notes.append(f"emulated (TCG): {chosen.reason}")
            if self.arch.tcg_note:
                self.log.notes.append(self.arch.tcg_note)
        if self.cell.shape.cpus > (os.cpu_count() or 1):
            self.log.notes.append(
                f"{self.cell.shape.cpus} CPUs on a host with {os.cpu_count() or 1}: "
                "they wait for each other, and the kernel may report it as a lockup or a stall"
            )
        self.log.tell("root", "preparing the guest's root")
        image = root.ensure_root(self.arch, self.context.cache)
        workloads = seeded(self.cell.workloads, self.context.values.seed)
        library = programs.library_folder(workloads)
        files = programs.compile_all(workloads, library, self.arch, self.context.cache)
        return image, programs.pack(files, self.context.cache)

    def _run(self) -> CellRecord:
        image, archive = self.prepare()
        workloads = seeded(self.cell.workloads, self.context.values.seed)
        left = in_turn(self.cell, workloads)
        if self.cell.done:
            logs = [path.name for path in self.folder.glob("console*.log")]
            self.boots_before = sum(_OF_A_BOOT.fullmatch(name) is not None for name in logs)
        why = "the guest did not boot"
        with scratch(self.context.cache) as folder, contextlib.ExitStack() as stack:
            try:
                stack.enter_context(ended_by(self.context.ending))
                # A cell without workloads is there to see that it boots.
                while (left or not self.log.judged(BOOT, SHAPE)) and self._one_boot(
                    folder, image, archive, left
                ):
                    refuse_ended()
                    if self.boots > 2 * len(workloads) + 4:
                        raise HostError(f"{self.cell.id}: guests keep getting lost")
            except Interrupted as stop:
                # What was found before stays found; a boot alone is nothing that was asked for.
                if not any(self.log.judged(spec.name) for spec in workloads):
                    raise
                self.log.left_out(left, ENDED if isinstance(stop, Ended) else STOPPED)
            except (HostError, OSError) as error:
                if not self.log.cases:
                    raise
                # What was found before the host failed stays found.
                told = error.message if isinstance(error, HostError) else str(error)
                self.log.case(BOOT, HOST, Verdict.ERROR, told)
                why = "the host failed"
        for spec in left:
            if not self.log.judged(spec.name):
                reason = f"not run: {why}"
                self.log.case(spec.name, GUEST, Verdict.SKIP, reason)
        return self._record()

    def _one_boot(self, folder: Path, image: Path, archive: Path, left: list[WorkloadSpec]) -> bool:
        """Boot once and run what is left until the guest is lost; False when it does not boot."""
        self.boots += 1
        request = self.request(folder, image)
        if not self.command:
            self.command = shlex.join(boot.qemu_command(request))
            (self.folder / "qemu-command.txt").write_text(self.command + "\n", "utf-8")
        self.log.tell("boot", "booting")
        kept: snapshot.Snapshot | None = None
        with contextlib.ExitStack() as stack:
            if self.copies(left):
                request = stack.enter_context(snapshot.memory_files(request))
            try:
                with boot.booted(
                    request, partial(self.log.tell, "boot"), self._boot_lost
                ) as machine:
                    self._booted(machine)
                    try:
                        self.get_ready(machine, archive)
                    except SshLost as lost:
                        return self._lost_between(machine, lost)
                    try:
                        if request.memory:
                            kept = self._snapshot(machine)
                        else:
                            self._run_workloads(machine, left)
                    except Interrupted:  # what it has printed so far is known all the same
                        self.log.outside_windows(machine.console_bytes())
                        raise
                    self.log.outside_windows(machine.console_bytes())
            except boot.BootFailed as failed:
                return self._boot_failed(failed, request)
            if kept:
                self.run_copies(kept, left)
        return True

    def copies(self, left: list[WorkloadSpec]) -> bool:
        """Whether what is left runs in copies of the guest."""
        return self.fresh and len(left) > 1

    def request(self, folder: Path, image: Path) -> boot.GuestRequest:
        """The guest to boot.

        :param folder: for its files while it lives.
        :param image: the root's.
        """
        return boot.GuestRequest(
            arch=self.arch,
            shape=self.cell.shape,
            accelerator=self.accelerator,
            image=self._image(),
            root=image,
            folder=folder,
            console=self.log.console("" if self.number < 2 else f"-{self.number}"),
            deadline=BOOT_DEADLINE[self.accelerator],
        )

    def _snapshot(self, machine: boot.Guest) -> snapshot.Snapshot | None:
        """Keep the guest as it is now; where that fails the workloads share one."""
        try:
            return snapshot.take(machine)
        except HostError as error:
            self.share(error.message)
            return None

    def share(self, why: str) -> None:
        """Have the workloads share a guest, since it cannot be copied."""
        self.fresh = False
        self.log.notes.append(f"the workloads share a guest: {why}")

    def run_copies(self, kept: snapshot.Snapshot, left: list[WorkloadSpec]) -> None:
        """Run what is left, each workload in a copy of the snapshot; several where cores are free.

        More copies than cores would make a healthy kernel report lockups.  Where the run ends, what
        has not come to its end by then stays left.
        """
        queue = deque(left)
        done: list[WorkloadSpec] = []
        failed: list[str] = []

        def work() -> None:
            while queue and not failed:
                try:
                    spec = queue.popleft()
                except IndexError:  # another worker was quicker
                    return
                try:
                    with ended_by(self.context.ending):
                        while not self.inside.unmet(spec) and self.in_copy(kept, spec):
                            pass
                    done.append(spec)
                except Ended:
                    return
                except snapshot.RestoreFailed as problem:
                    failed.append(problem.message)

        def more() -> None:
            with self.context.machine.spare(self.cell.shape.cpus) as got:
                if got and memory_for(self.cell.shape.memory_mib):
                    work()

        try:
            with ThreadPoolExecutor(max(1, len(left) - 1)) as pool:
                others = [pool.submit(more) for _ in left[1:]]
                work()
            for other in others:
                other.result()
        finally:
            left[:] = [spec for spec in left if not any(spec is one for one in done)]
        if failed:
            self.share(failed[0])

    def in_copy(self, kept: snapshot.Snapshot, spec: WorkloadSpec) -> bool:
        """Run one workload in a copy; True when it must be run again."""
        again = spec.name in self.inside.retried
        console = self.log.console(f"-{stem(spec)}{'-2' if again else ''}")
        self.log.tell("run", f"{spec.name}: restoring")
        try:
            with (
                scratch(self.context.cache) as folder,
                snapshot.restored(kept, folder, console) as machine,
            ):
                self.restores.append(machine.restore_seconds)
                lost, _ = self.inside.run(machine, spec)
                self.log.outside_windows(machine.console_bytes())
        except snapshot.RestoreFailed:
            if console.exists():  # it may have been the kernel's doing
                self.log.outside_windows(console.read_bytes())
            raise
        return lost

    def _image(self) -> Path:
        if self.built.image is None:
            raise HostError(f"{self.cell.id}: there is no kernel image to boot")
        return self.built.image

    def _booted(self, machine: boot.Guest) -> None:
        seconds = machine.boot_seconds
        self.log.tell("boot", f"booted in {seconds:.1f} s")
        self.boot_seconds = self.boot_seconds or seconds
        if not self.log.judged(BOOT, BOOT):
            self.log.case(BOOT, BOOT, Verdict.PASS, seconds=seconds)

    def _boot_failed(self, failed: boot.BootFailed, request: boot.GuestRequest) -> bool:
        """A boot that failed: a report decides, silence is tried once more."""
        with request.console.open("rb") as console:
            hits = self.log.hits(console)
        blamed = bool(hits) or failed.end in (GuestEnd.PANIC, GuestEnd.RESET)
        if not blamed and "boot" not in self.retried:
            self.retried.add("boot")
            self.log.notes.append(f"the first boot was repeated: {failed.reason}")
            return True
        reason = f"{failed.reason}; {hits[0].title}" if hits else failed.reason
        found = Verdict.FAIL if blamed or failed.end is GuestEnd.SILENT else Verdict.ERROR
        self.log.case(BOOT, BOOT, found, reason, failed.seconds, hits, self.lost)
        return False

    def _boot_lost(self, qemu: Qemu) -> None:
        self.lost = self.inside.examine(qemu, "boot" if self.number == 1 else f"boot-{self.number}")

    def get_ready(self, machine: boot.Guest, archive: Path) -> None:
        """Look at the guest while the programs are on their way into it."""
        with ThreadPoolExecutor(1) as beside:
            pushed = beside.submit(watch.push, machine, archive)
            self._check_guest(machine)
            if self.built.modules:
                watch.push_modules(machine, self.built.modules)
            pushed.result()

    def _check_guest(self, machine: boot.Guest) -> None:
        """Compare the running guest with what was asked for, once a cell."""
        found = self.inside.guest = bootcheck.look(facts.read_facts(machine), self.built)
        bootcheck.refuse_other_kernel(self.built, found.facts)
        if self.log.judged(CONFIG):
            return
        config = bootcheck.check_config(self.built, found.made, found.shown)
        self.log.case(CONFIG, CONFIG, config.verdict, config.reason)
        if config.note:
            self.log.notes.append(config.note)
        shape = bootcheck.check_shape(self.cell, found.facts, found.config)
        self.log.case(BOOT, SHAPE, shape.verdict, shape.reason)

    def _run_workloads(self, machine: boot.Guest, left: list[WorkloadSpec]) -> None:
        """Run what is left until the guest is lost, or is no longer as the next one may expect."""
        while left and not self.context.ending.is_set():
            spec = left[0]
            if self.inside.unmet(spec):
                left.pop(0)
                continue
            again, why = self.inside.run(machine, spec)
            if not again:
                left.pop(0)
            if left and why and not self.context.ending.is_set():
                log = f"console-{self.number + 1}.log"
                note = f"a fresh guest was booted after {spec.name} ({why}): see {log}"
                self.log.notes.append(note)
            if why:
                return

    def _lost_between(self, machine: boot.Guest, lost: SshLost) -> bool:
        """A guest lost before a workload began; True when it is worth another boot."""
        hits = self.log.hits(machine.console_bytes().splitlines(keepends=True))
        again = "guest" not in self.retried
        self.retried.add("guest")
        if again and not hits:
            self.log.notes.append(f"a boot was repeated: {lost.message}")
            return True
        found = Verdict.FAIL if hits else Verdict.ERROR
        title = f"; {hits[0].title}" if hits else ""
        self.log.case(BOOT, GUEST, found, f"{lost.message}{title}", hits=hits)
        return again

    def _record(self) -> CellRecord:
        cell, where = self.cell, cell_folder(self.cell.id)
        return CellRecord(
            id=cell.id,
            kernel=cell.build.kernel.name,
            config=cell.build.config.name,
            arch=cell.build.arch,
            shape=cell.shape.name,
            accelerator=self.accelerator,
            verdict=cell_verdict(self.log.cases),
            boot_seconds=self.boot_seconds,
            restore_seconds=statistics.median(self.restores) if self.restores else 0.0,
            cases=self.log.in_order(),
            page_size=self.inside.guest.facts.page_size,
            qemu_command=self.command,
            console_log=f"{where}/console.log",
            kernel_config=f"{where}/config",
            notes=tuple(self.log.notes),
            loops=tuple(self.inside.loops.values()),
        )
