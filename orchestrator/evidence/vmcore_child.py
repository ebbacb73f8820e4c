# SPDX-License-Identifier: GPL-2.0-only
"""The process that opens a dump with drgn; run by :mod:`orchestrator.evidence.vmcore`.

It reads a request from standard input and prints each answer as a line ``answer {...}`` as soon
as it has it.  A question that fails costs its own answer only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import drgn
from drgn.helpers.linux import mm as mmhelp
from drgn.helpers.linux import percpu, sched
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.pid import for_each_task

from orchestrator import codec
from orchestrator.evidence.vmcore import Address, Area, Clues, Folio, Frame, Mm, Task
from orchestrator.evidence.vmcore_walk import Pages, Walk

AREAS = 40
FRAMES = 48
FOLIOS = 12
ADDRESSES = 8
REPORTED = 4  # of these at most so many that only the report's registers name
BLOCKED = 8
#: What a local variable points to that is worth its value in a report.
_TELLING = ("folio", "page", "vm_area_struct", "mm_struct", "anon_vma", "address_space")
#: Bits of vm_flags since 4.x (include/linux/mm.h) as /proc/PID/smaps spells them
#: (Documentation/filesystems/proc.rst).
_VM_FLAGS = {
    0: "rd", 1: "wr", 2: "ex", 3: "sh", 4: "mr", 5: "mw", 6: "me", 7: "ms", 8: "gd", 9: "um",
    10: "pf", 12: "uw", 13: "lo", 14: "io", 15: "sr", 16: "rr", 17: "dc", 18: "de", 19: "lf",
    20: "ac", 21: "nr", 22: "ht", 23: "sf", 25: "wf", 26: "dd", 27: "sd", 28: "mm", 29: "hg",
    30: "nh", 31: "mg",
}  # fmt: skip


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
        banner = self.prog["linux_banner"].string_().decode(errors="replace").strip()
        tell(version=banner)

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
        frames = []
        for at, frame in enumerate(self.prog.stack_trace(self.found.task)):
            if at >= FRAMES:
                break
            frames.append(self._frame(frame))
        tell(frames=frames)

    def _frame(self, frame: drgn.StackFrame) -> Frame:
        source = ""
        try:
            file, line, _ = frame.source()
            source = f"{_short(file)}:{line}"
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
            except (LookupError, ValueError, TypeError):
                continue  # optimized out here, or its memory is gone
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
            except (LookupError, ValueError) as error:
                tell(problem=f"folio {head:#x} ({place}): {error}")
        tell(folios=found)

    def _folio(self, address: int, place: str) -> Folio:
        page = self._page(address)
        folio = drgn.cast("struct folio *", page)
        order = int(mmhelp.compound_order(page))
        flags = int(mmhelp.page_flags(page))
        names = " ".join(self._flag_names(flags, bool(int(folio.mapping) & 1)))
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
            int(folio._refcount.counter), mapcount, _mapping(mapping), int(folio.index),
            tuple(detail),
        )  # fmt: skip

    def _flag_names(self, flags: int, anon: bool) -> Iterator[str]:
        """One name a bit: the enumeration lists the proper ones first, and their aliases later."""
        values = self.prog.type("enum pageflags").enumerators or ()
        count = next((e.value for e in values if e.name == "__NR_PAGEFLAGS"), 64)
        names: dict[int, str] = {}
        for name, bit in values:
            if bit < count and (bit not in names or (anon and name == "PG_anon_exclusive")):
                names[bit] = name.removeprefix("PG_")
        return (name for bit, name in sorted(names.items()) if flags >> bit & 1)

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
    words = " ".join(word for bit, word in _VM_FLAGS.items() if bits >> bit & 1)
    name = mmhelp.vma_name(vma).decode(errors="replace")
    return Area(int(vma.vm_start), int(vma.vm_end), f"{words} ({bits:#x})", name or "(anonymous)")


def _mapping(value: int) -> str:
    """The low bits of folio->mapping say what it is (PAGE_MAPPING_*, include/linux/mm_types.h)."""
    kind = ("address_space", "anon_vma", "movable_operations", "KSM node")[value & 3]
    return f"{kind} {value & ~3:#x}" if value else "none"


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


def _short(file: str) -> str:
    """A source file below its kernel tree: out of a build folder the names begin with ../."""
    parts = file.split("/")
    for top in ("arch", "mm", "kernel", "fs", "include", "lib", "drivers", "net", "block", "ipc",
                "init", "security", "crypto", "virt", "io_uring"):  # fmt: skip
        if top in parts:
            return "/".join(parts[parts.index(top) :])
    return file


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
