# SPDX-License-Identifier: GPL-2.0-only
"""What a memory dump says of a crash: the questions, and the answers as values.

drgn answers them, in a process of its own (:mod:`orchestrator.evidence.vmcore.child`): a dump is
whatever a broken kernel left, and a library that dies or never ends over it must not take the lab
along.  Each answer comes as a line of its own, so that those before a death or a deadline stay.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orchestrator
from orchestrator.host import process
from orchestrator.model import codec
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import Hit

#: Most addresses taken from a report; each costs a walk of the page tables.
CLUES = 64
# Where the package is found, installed or not.
_ROOT = Path(orchestrator.__file__).parent.parent
_ADDRESS = re.compile(r"(?<![\w.])(?:0x)?([0-9a-f]{16})(?![\w.])")
_PFN = re.compile(r"\bpfn:(?:0x)?([0-9a-f]+)\b")
# Not CR2, which holds the last page fault's address whatever the crash was.
_FAULT = re.compile(
    r"(?:BUG: unable to handle [a-z ]*for address:|BUG: kernel NULL pointer dereference, address:"
    r"|Unable to handle kernel .*at virtual address|probably for non-canonical address"
    r"|\baddr:)"
    r"\s*(?:0x)?([0-9a-f]{8,16})\b",
    re.MULTILINE,
)
_LINE = re.compile(r"^answer (\{.*\})$")


@dataclass(frozen=True)
class Clues:
    """What the kernel's own report names: page frames, addresses in registers, what faulted."""

    pfns: tuple[int, ...] = ()
    addresses: tuple[int, ...] = ()
    faults: tuple[int, ...] = ()


@dataclass(frozen=True)
class Task:
    """A task; ``cpu`` is where it runs or last ran, ``state`` as ps(1) has it, with its name."""

    comm: str
    pid: int
    tgid: int
    cpu: int
    state: str
    address: int


@dataclass(frozen=True)
class Frame:
    """One frame of a kernel stack, innermost first; ``values`` are ``name = value`` of locals."""

    function: str
    source: str
    inline: bool
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mm:
    """An address space.

    ``counters`` are the exact sums of rss_stat in pages, which may be negative; ``approximate``
    what the kernel's cheap read gives.
    """

    address: int
    counters: dict[str, int]
    approximate: dict[str, int]
    total_vm: int
    map_count: int
    users: int
    count: int
    pgtables_bytes: int


@dataclass(frozen=True)
class Area:
    """A VMA; ``flags`` are the two-letter words of /proc/PID/smaps, and the number itself."""

    start: int
    end: int
    flags: str
    name: str


@dataclass(frozen=True)
class Folio:
    """A folio and how it was found.  ``mapcount`` is None where its kind has none.

    ``detail`` are the raw fields behind the mapcount of a large one, and other oddities.
    """

    found: str
    address: int
    pfn: int
    order: int
    flags: str
    refcount: int
    mapcount: int | None
    mapping: str
    index: int
    detail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Address:
    """A user address named by the crash: its VMA, the page table entries on its way, its folio."""

    found: str
    address: int
    area: str
    walk: tuple[str, ...]
    folio: str


@dataclass(frozen=True)
class Answers:
    """All that a dump told; what it did not tell is empty, and ``problems`` says why."""

    version: str = ""
    task: Task | None = None
    frames: tuple[Frame, ...] = ()
    mm: Mm | None = None
    areas: tuple[Area, ...] = ()
    folios: tuple[Folio, ...] = ()
    addresses: tuple[Address, ...] = ()
    blocked: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    seconds: float = 0.0


def clues(hits: Iterable[Hit]) -> Clues:
    """What reports of the kernel log name that a dump can tell more about; in their order."""
    pfns: dict[int, None] = {}
    addresses: dict[int, None] = {}
    faults: dict[int, None] = {}
    for hit in hits:
        pfns |= dict.fromkeys(_numbers(_PFN, hit.text))
        faults |= dict.fromkeys(_numbers(_FAULT, hit.text))
        addresses |= dict.fromkeys(_numbers(_ADDRESS, hit.text))
    return Clues(tuple(pfns)[:CLUES], tuple(addresses)[:CLUES], tuple(faults)[:CLUES])


def _numbers(pattern: re.Pattern[str], text: str) -> list[int]:
    return [int(found[-16:], 16) for found in pattern.findall(text[: 1 << 20])]


def available() -> str:
    """Why no dump can be opened on this host; empty where it can."""
    if importlib.util.find_spec("drgn") is None:
        return "drgn is not installed (it has packages for x86_64 hosts only)"
    return ""


def ask(dump: Path, vmlinux: Path, hints: Clues, deadline: float) -> Answers:
    """Put the questions to a dump (a kdump with VMCOREINFO) of the kernel that vmlinux belongs to.

    Never raises for what the dump holds; what could not be answered is told in ``problems``.

    :param deadline: seconds; what was answered by then is kept.
    :raises Interrupted: when the lab is being stopped.
    """
    began = time.monotonic()
    lines: list[str] = []
    request = {"dump": str(dump), "vmlinux": str(vmlinux), **codec.plain(hints)}
    argv = [sys.executable, "-m", "orchestrator.evidence.vmcore.child"]
    trouble: tuple[str, ...] = ()
    try:
        done = process.run(
            argv, deadline=deadline, cwd=_ROOT, check=False,
            input=json.dumps(request).encode(), on_line=lines.append,
            # Nothing of a kernel under test is looked up in the network.
            env={"DEBUGINFOD_URLS": ""},
        )  # fmt: skip
        if done.status:
            said = next((line for line in reversed(lines) if line.strip()), "nothing")
            how = f"signal {-done.status}" if done.status < 0 else f"status {done.status}"
            trouble = (f"drgn's process ended with {how}; its last words: {said[:300]}",)
    except HostError as error:
        trouble = (error.message,)
    found = read_answers(lines)
    return replace(found, problems=(*found.problems, *trouble), seconds=time.monotonic() - began)


def read_answers(lines: Iterable[str]) -> Answers:
    """Put the child's lines together; anything else that was printed is passed over."""
    whole: dict[str, Any] = {}
    problems: list[str] = []
    for line in lines:
        found = _LINE.match(line.strip())
        if not found:
            continue
        try:
            part = json.loads(found[1])
            problem = part.pop("problem", None)
            if problem is not None:
                problems.append(str(problem))
            codec.build(Answers, part)
            whole |= part
        except (ValueError, RecursionError, codec.MismatchError) as error:
            problems.append(f"an answer cannot be read: {error}")
    answers = codec.build(Answers, whole)
    return replace(answers, problems=(*answers.problems, *problems))


# ---------------------------------------------------------------- in words


def sections(answers: Answers) -> dict[str, str]:
    """Question to answer as text, in the order of a reader's interest; ``unknown`` where none."""
    task, mm = answers.task, answers.mm
    none = "none named" if task else ""
    found = {
        "Which kernel": answers.version,
        "Which task": f"{_task(task)}" if task else "",
        "Its kernel stack": "\n".join(_frame(n, f) for n, f in enumerate(answers.frames)),
        "Its address space": _mm(mm) if mm else "",
        "Its VMAs": "\n".join(_area(area) for area in answers.areas),
        "The addresses at stake": "\n\n".join(_address(a) for a in answers.addresses) or none,
        "The folios at stake": "\n\n".join(_folio(f) for f in answers.folios) or none,
    }
    if answers.blocked:
        found["Blocked tasks"] = "\n\n".join(answers.blocked)
    if answers.problems:
        found["Not answered"] = "\n".join(answers.problems)
    return {question: answer or "unknown" for question, answer in found.items()}


def _task(task: Task) -> str:
    kind = f"pid {task.pid}" + (f" of process {task.tgid}" if task.tgid != task.pid else "")
    where = f"on CPU {task.cpu}, state {task.state}, task_struct {task.address:#x}"
    return f"{task.comm}, {kind}, {where}"


def _frame(number: int, frame: Frame) -> str:
    head = f"#{number:<2} {frame.function}{' (inlined)' if frame.inline else ''}"
    values = "".join(f"\n      {value}" for value in frame.values)
    return f"{head}{' at ' + frame.source if frame.source else ''}{values}"


def _mm(mm: Mm) -> str:
    rows = []
    for name, value in mm.counters.items():
        cheap = mm.approximate.get(name, value)
        aside = f"  (a cheap read gives {cheap})" if cheap != value else ""
        rows.append(f"{name:<16} {value:>10}{'  NEGATIVE' if value < 0 else ''}{aside}")
    rows += [
        f"{'total_vm':<16} {mm.total_vm:>10}",
        f"{'map_count':<16} {mm.map_count:>10}",
        f"{'pgtables_bytes':<16} {mm.pgtables_bytes:>10}",
        f"{'mm_users':<16} {mm.users:>10}",
        f"{'mm_count':<16} {mm.count:>10}",
    ]
    return f"mm_struct {mm.address:#x}; pages, exact sums over all CPUs\n" + "\n".join(rows)


def _area(area: Area) -> str:
    return f"{area.start:012x}-{area.end:012x}  {area.flags}  {area.name}"


def _address(address: Address) -> str:
    lines = [f"{address.address:#x}: {address.found}", f"  VMA    {address.area or 'none'}"]
    lines += [f"  {step}" for step in address.walk]
    return "\n".join([*lines, f"  folio  {address.folio or 'none'}"])


def _folio(folio: Folio) -> str:
    count = "none" if folio.mapcount is None else str(folio.mapcount)
    lines = [
        f"folio {folio.address:#x}: {folio.found}",
        f"  pfn {folio.pfn:#x}, order {folio.order}, refcount {folio.refcount}, mapcount {count}",
        f"  flags   {folio.flags}",
        f"  mapping {folio.mapping}, index {folio.index:#x}",
    ]
    return "\n".join([*lines, *(f"  {text}" for text in folio.detail)])
