# SPDX-License-Identifier: GPL-2.0-only
"""The process that opens a dump with drgn; run by :mod:`orchestrator.evidence.vmcore.questions`.

It reads a request from standard input and prints each answer as a line ``answer {...}`` as soon
as it has it.  A question that fails costs its own answer only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import drgn
from drgn.helpers.linux import mm as mmhelp
from drgn.helpers.linux import percpu, sched
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.pid import for_each_task

from orchestrator.evidence.vmcore import walk
from orchestrator.evidence.vmcore.questions import Address, Area, Clues, Folio, Frame, Mm, Task
from orchestrator.evidence.vmcore.walk import Pages, Walk
from orchestrator.model import codec

AREAS = 40
FRAMES = 48
FOLIOS = 12
ADDRESSES = 8
REPORTED = 4  # of these at most so many that only the report's registers name
BLOCKED = 8
#: What a local variable points to that is worth its value in a report.
_TELLING = ("folio", "page", "vm_area_struct", "mm_struct", "anon_vma", "address_space")
#: What drgn raises for what is optimized out, not in this kernel, or not in the dump.
_UNKNOWN = (LookupError, ValueError, TypeError, drgn.ObjectAbsentError, drgn.FaultError)


@dataclass
class Findings:
    """What one question finds for the next: the mm, and folios and addresses with their place."""

    task: drgn.Object | None = None
    mm: drgn.Object | None = None
    folios: dict[int, str] = field(default_factory=dict)
    addresses: dict[int, str] = field(default_factory=dict)


def tell(**answer: Any) -> None:
    """Print one answer."""
    print("answer", json.dumps(codec.plain(answer)), flush=True)


class Dump:
    """One opened dump and the questions to it."""

    def __init__(self, dump: Path, vmlinux: Path, clues: Clues) -> None:
        self.prog = drgn.Program()
        self.prog.set_core_dump(dump)
        # Nothing but this file: what the host has installed is of another kernel.
        self.prog.set_enabled_debug_info_finders([])
        self.prog.load_debug_info([str(vmlinux)])
        self.clues = clues
        self.found = Findings()
        info = self.prog["VMCOREINFO"].string_().decode(errors="replace")
        pairs = (line.partition("=") for line in info.splitlines())
        self.info = {name: value for name, _, value in pairs}
        self.walk = Walk(self.prog, self.info)
        self.pages = Pages(self.prog, self.info, drgn.sizeof(self.prog.type("struct page")))

    def ask_all(self) -> None:
        """Put all questions, each on its own."""
        questions: tuple[Callable[[], None], ...] = (
            self.version, self.task, self.frames, self.mm, self.areas, self.addresses, self.folios,
            self.blocked,
        )  # fmt: skip
        for question in questions:
            try:
                question()
            except Exception as error:  # whatever a broken kernel's memory makes of it
                told = f"{type(error).__name__}: {error}"
                tell(problem=f"{question.__name__}: {told[:300]}")

    def version(self) -> None:
        """The kernel's own banner."""
        # By its address: with arm64's types it is an array of no known length.
        address = self.prog["linux_banner"].address_ or 0
        banner = self.prog.read_c_string(address, max_size=512)
        tell(version=banner.decode(errors="replace").strip())

    def task(self) -> None:
        """The task that crashed; where the guest was stopped while it ran, one that was running."""
        try:
            task = self.prog.crashed_thread().object
        except (LookupError, ValueError) as error:
            running = self._running()
            shown = f"; CPU {sched.task_cpu(running)} was running this one" if running else ""
            tell(problem=f"no CPU has panicked, so no task is to blame ({error}){shown}")
            if running is None:
                return
            task = running
        self.found.task = task
        mm = task.mm or task.active_mm
        self.found.mm = mm if mm else None
        tell(task=_task(task))

    def _running(self) -> drgn.Object | None:
        """The first CPU's task that is not the idle one."""
        for cpu in for_each_online_cpu(self.prog):
            task = sched.cpu_curr(self.prog, cpu)
            if int(task.pid):
                return task
        return None

    def frames(self) -> None:
        """Its kernel stack with the locals that point into memory management."""
        if self.found.task is None:
            return
        trace = list(self.prog.stack_trace(self.found.task))
        frames = [self._frame(frame) for frame in self._past_exception(trace)[:FRAMES]]
        short = walk.short_sources([frame.source for frame in frames])
        tell(
            frames=[replace(frame, source=text) for frame, text in zip(frames, short, strict=True)]
        )

    def _past_exception(self, trace: list[drgn.StackFrame]) -> list[drgn.StackFrame]:
        """The trace with what was interrupted unwound from the registers saved there.

        Unwinding by frame pointers (arm64) reaches the interrupted function without its registers,
        and so without its locals; the handlers hold a pointer to where they were saved.
        """
        for at, frame in enumerate(trace):
            for regs in self._saved_registers(frame):
                try:
                    saved = list(self.prog.stack_trace(regs))
                except _UNKNOWN:
                    continue
                for further in range(at + 1, len(trace)):
                    if saved and trace[further].pc == saved[0].pc:
                        return trace[:further] + saved
        return trace

    def _saved_registers(self, frame: drgn.StackFrame) -> Iterator[drgn.Object]:
        """Where a frame may know of saved registers: its ``regs``, or its frame record.

        arm64 has the record of an exception's frame inside the registers that it saved
        (``stackframe`` in struct pt_regs, arch/arm64/include/asm/ptrace.h).
        """
        kind = self.prog.type("struct pt_regs")
        try:
            regs = frame["regs"]
            if int(regs):
                yield regs
        except _UNKNOWN:
            pass
        if kind.has_member("stackframe"):
            try:
                record = frame.register("x29") - drgn.offsetof(kind, "stackframe")
                yield drgn.Object(self.prog, self.prog.pointer_type(kind), record)
            except _UNKNOWN:
                pass

    def _frame(self, frame: drgn.StackFrame) -> Frame:
        source = ""
        try:
            file, line, _ = frame.source()
            source = f"{file}:{line}"
        except LookupError:
            pass
        name = frame.name or f"{frame.pc:#x}"
        values = tuple(self._values(frame, name))
        return Frame(name, source, frame.is_inline, values)

    def _values(self, frame: drgn.StackFrame, function: str) -> Iterator[str]:
        """Locals worth telling; folios and user addresses among them are remembered."""
        try:
            names = frame.locals()
        except LookupError:
            return
        for name in names:
            try:
                value = frame[name]
                if value.absent_:
                    continue
                told = self._value(value, name, f"{name} in {function}()")
            except _UNKNOWN:
                continue
            if told:
                yield told

    def _value(self, value: drgn.Object, name: str, place: str) -> str:
        kind = value.type_
        while kind.kind is drgn.TypeKind.TYPEDEF:
            kind = kind.type
        if kind.kind is drgn.TypeKind.POINTER:
            tag = getattr(kind.type, "tag", None)
            if tag not in _TELLING:
                return ""
            number = int(value)
            if tag in ("folio", "page") and self._is_page(number):
                _add(self.found.folios, number, place)
            return f"{name} = (struct {tag} *){number:#x}"
        if kind.kind is drgn.TypeKind.INT and kind.size == 8 and "addr" in name:
            number = int(value) & (1 << 64) - 1
            if self.walk.is_user(number):
                _add(self.found.addresses, number, place)
            return f"{name} = {number:#x}"
        return ""

    def _is_page(self, address: int) -> bool:
        return self.pages.pfn(address) is not None

    def mm(self) -> None:
        """The exact counters of its address space."""
        mm = self.found.mm
        if mm is None:
            if self.found.task is not None:
                tell(problem="the task has no address space: a kernel thread, or one that exits")
            return
        exact, cheap = {}, {}
        names = self.prog.type("struct mm_struct").member("rss_stat").type
        kinds = self.prog.constant("MM_FILEPAGES").type_.enumerators or ()
        per_cpu = names.kind is drgn.TypeKind.ARRAY
        for name, number in kinds:
            if name.startswith("NR_"):
                continue
            if per_cpu:  # since 6.2
                counter = mm.rss_stat[number]
                exact[name] = percpu.percpu_counter_sum(counter.address_of_())
                cheap[name] = int(counter.count)
            else:
                exact[name] = int(mm.rss_stat.count[number].counter)
        tell(
            mm=Mm(
                int(mm), exact, cheap, int(mm.total_vm), int(mm.map_count),
                int(mm.mm_users.counter), int(mm.mm_count.counter),
                int(mm.pgtables_bytes.counter),
            )
        )  # fmt: skip

    def areas(self) -> None:
        """Its first VMAs."""
        if self.found.mm is None:
            return
        areas: list[Area] = []
        for vma in mmhelp.for_each_vma(self.found.mm):
            if len(areas) == AREAS:
                tell(problem=f"more than {AREAS} VMAs: the others are in the dump")
                break
            areas.append(_area(vma))
        tell(areas=areas)

    def addresses(self) -> None:
        """The user addresses that faulted or stood in the stack or in registers."""
        mm = self.found.mm
        if mm is None:
            return
        wanted = {n: "the address that faulted" for n in self.clues.faults if self.walk.is_user(n)}
        for number, place in self.found.addresses.items():
            wanted.setdefault(number, place)
        limit = len(wanted) + REPORTED
        for number in self.clues.addresses:
            if len(wanted) < limit and self.walk.is_user(number) and mmhelp.vma_find(mm, number):
                wanted.setdefault(number, "named by the kernel's report")
        answers: list[Address] = []
        seen: set[int] = set()
        for number, place in wanted.items():
            if number >> 12 in seen or len(answers) == ADDRESSES:
                continue
            seen.add(number >> 12)
            vma = mmhelp.vma_find(mm, number)
            shown = _area(vma) if vma else None
            area = f"{shown.start:x}-{shown.end:x} {shown.flags} {shown.name}" if shown else ""
            steps, pfn = self.walk.steps(int(mm.pgd), number)
            folio = ""
            if pfn is not None:
                page = self.pages.page(pfn)
                if page is not None:
                    head = int(mmhelp.compound_head(self._page(page)))
                    if number in self.found.addresses or number in self.clues.faults:
                        _add(self.found.folios, page, f"mapped at {number:#x}")
                    folio = f"{head:#x}, page frame {pfn:#x}"
                else:
                    folio = f"page frame {pfn:#x} has no struct page"
            answers.append(Address(place, number, area, steps, folio))
        tell(addresses=answers)

    def _page(self, address: int) -> drgn.Object:
        return drgn.Object(self.prog, "struct page *", address)

    def folios(self) -> None:
        """The folios that the report names, the stack holds, or the addresses lead to."""
        wanted = dict(self.found.folios)
        for pfn in self.clues.pfns:
            page = self.pages.page(pfn)
            if page is not None:
                wanted.setdefault(page, f"pfn {pfn:#x} in the report")
        for number in self.clues.addresses:
            if self._is_page(number):
                wanted.setdefault(number, "in a register, by the kernel's report")
        heads: dict[int, str] = {}
        for number, place in wanted.items():
            if self._is_page(number):
                head = int(mmhelp.compound_head(self._page(number)))
                heads[head] = f"{heads[head]}; {place}" if head in heads else place
        found = []
        for head, place in list(heads.items())[:FOLIOS]:
            try:
                found.append(self._folio(head, place))
            except _UNKNOWN as error:
                tell(problem=f"folio {head:#x} ({place}): {error}")
        tell(folios=found)

    def _folio(self, address: int, place: str) -> Folio:
        page = self._page(address)
        folio = drgn.cast("struct folio *", page)
        order = int(mmhelp.compound_order(page))
        flags = int(mmhelp.page_flags(page))
        bits = [(name, bit) for name, bit in self.prog.type("enum pageflags").enumerators or ()]
        names = " ".join(walk.page_flags(bits, flags, anon=bool(int(folio.mapping) & 1)))
        raw = int(folio._mapcount.counter)
        detail = []
        mapcount: int | None = raw + 1
        if raw < -1:
            # Not mappable: the field holds the page's type (include/linux/page-flags.h).
            mapcount = None
            detail.append(f"page type {raw & (1 << 32) - 1:#010x}")
        if order:
            members = {m.name for m in self.prog.type("struct folio").members if m.name}
            members |= _inner_members(self.prog.type("struct folio"))
            if "_large_mapcount" in members:
                mapcount = int(folio._large_mapcount.counter) + 1
            else:
                mapcount = None
            for name in ("_entire_mapcount", "_nr_pages_mapped", "_pincount"):
                if name in members:
                    detail.append(f"{name} {int(getattr(folio, name).counter)}")
        mapping = int(folio.mapping)
        if "memcg_data" in {m.name for m in page.type_.type.members}:
            detail.append(f"memcg_data {int(page.memcg_data):#x}")
        return Folio(
            place, address, self.pages.pfn(address) or 0, order, f"{names} ({flags:#x})".strip(),
            int(folio._refcount.counter), mapcount, walk.mapping(mapping), int(folio.index),
            tuple(detail),
        )  # fmt: skip

    def blocked(self) -> None:
        """Tasks in uninterruptible sleep, with their stacks: what a hang waits for."""
        told: list[str] = []
        for task in for_each_task(self.prog):
            if sched.task_state_to_char(task) != "D":
                continue
            if len(told) == BLOCKED:
                break
            lines = [f"{_text(task.comm)}, pid {int(task.pid)}"]
            for frame in list(self.prog.stack_trace(task))[:16]:
                lines.append(f"  {frame.name or hex(frame.pc)}")
            told.append("\n".join(lines))
        tell(blocked=told)


def _add(places: dict[int, str], number: int, place: str) -> None:
    """Remember where a number was found: in all places, for it has another name in each frame."""
    places[number] = f"{places[number]}, {place}" if number in places else place


def _text(value: drgn.Object) -> str:
    return str(value.string_().decode(errors="replace"))


def _task(task: drgn.Object) -> Task:
    return Task(
        _text(task.comm), int(task.pid), int(task.tgid), int(sched.task_cpu(task)),
        sched.get_task_state(task), int(task),
    )  # fmt: skip


def _area(vma: drgn.Object) -> Area:
    bits = int(vma.vm_flags)
    name = mmhelp.vma_name(vma).decode(errors="replace")
    return Area(
        int(vma.vm_start),
        int(vma.vm_end),
        f"{walk.vma_flags(bits)} ({bits:#x})",
        name or "(anonymous)",
    )


def _inner_members(kind: drgn.Type) -> set[str]:
    """Names of the members of a structure's nameless members."""
    found = set()
    for member in kind.members or ():
        inner = member.type
        if member.name:
            found.add(member.name)
        elif inner.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
            found |= _inner_members(inner)
    return found


def main() -> int:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    clues = Clues(tuple(request["pfns"]), tuple(request["addresses"]), tuple(request["faults"]))
    try:
        dump = Dump(Path(request["dump"]), Path(request["vmlinux"]), clues)
    except Exception as error:  # not a dump, not its vmlinux, no VMCOREINFO ...
        tell(problem=f"the dump cannot be opened: {type(error).__name__}: {error}"[:400])
        return 0
    dump.ask_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
