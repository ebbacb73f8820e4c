# SPDX-License-Identifier: GPL-2.0-only
"""Whether a guest that was looked at several times is stuck in its kernel, and in what.  Pure.

A CPU's task is stuck when it is in the same call at all looks, which user space's registers and
stack prove (they change when a call returns), when it ran between the looks, and when one function
was in its stack each time.  A task that sleeps is stuck when it is blocked in the same place at the
first and at the last look and nothing runs meanwhile that could wake it.  How long a call may last
is not known here: who suspects it has waited that long.

Names: *deadlock* where several wait for different locks, *lock-kept* where a lock is waited for
that nobody who runs lets go, *endless-loop* where a CPU never leaves a function, *stuck-task* where
a task sleeps that nobody wakes.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.evidence.blocked import Blocked
from orchestrator.evidence.klog import titles
from orchestrator.evidence.klog.roles import hands_out, passed_over, plain_function
from orchestrator.model.evidence import CpuPlace, Hit, Look

#: So often a task must be seen in the same call.
SIGHTINGS = 5
#: Seconds of the host's CPU time that its CPUs must have had in between.
LEAST_RAN = 2.0
_KIND = "soft-lockup"  # whose functions are passed over: those of any trace
# Who spins for what another CPU has to do: locks, and calls on other CPUs (kernel/{locking,smp.c}).
_SPINS = re.compile(
    r"_*(?:native_|pv_|virt_)?queued_\w+|_*raw_(?:spin|read|write)_\w+|do_raw_\w+|arch_\w+_lock"
    r"|_*(?:spin|read|write)_lock\w*|mutex_spin_on_owner|rwsem_\w*spin\w*|osq_lock"
    r"|smp_call_function_\w+|_*csd_lock_\w+|on_each_cpu\w*|bit_spin_lock|stop_one_cpu\w*"
)
# The lab's own program in the guest: it waits for whom it watches.
_OWN = ("sampler", "revive")
_MAX_FRAMES = 24
_MAX_NAMED = 4


@dataclass(frozen=True)
class _Stuck:
    """A call that never ends: on which CPU it was last, whose function, and whether it waits."""

    cpu: int
    frames: tuple[str, ...]
    blamed: str
    waits: bool
    lock: int
    interrupts: bool


def judge(looks: Sequence[Look], blocked: Sequence[Sequence[Blocked]], why: str) -> Hit | None:
    """What the looks prove; None where the guest may well get on.

    :param blocked: the blocked tasks at the first look, and later.
    :param why: what was suspected, for whoever reads the report.
    """
    found = list(_stuck_calls(looks))
    loops = [call for call in found if not call.waits]
    tasks = [] if found or somebody_runs(looks) else _stuck_tasks(blocked)
    waiting = sorted({(task.blamed, task.lock) for task in tasks if task.lock})
    if loops:
        kind, title, names = "endless-loop", *_endless(loops)
    elif found:
        kind = "deadlock" if len({call.lock for call in found}) > 1 else "lock-kept"
        title = _waits_title(kind, [f"CPU {call.cpu} in {call.blamed}" for call in found])
        names = {call.blamed for call in found}
    elif waiting:
        kind = "deadlock" if len({lock for _, lock in waiting}) > 1 else "lock-kept"
        title = _waits_title(kind, [f"task in {name} for {lock}" for name, lock in waiting])
        names = {name for name, _ in waiting}
    elif tasks:
        names = {task.blamed for task in tasks}
        kind, title = "stuck-task", f"task never woken: in {', '.join(sorted(names)[:_MAX_NAMED])}"
    else:
        return None
    text = (
        title,
        f"suspected since {why}",
        *_where(found, tasks),
        *_told(looks),
        *_listed(blocked),
    )
    return _hit(kind, title, sorted(names), "\n".join(text))


def _waits_title(kind: str, places: Sequence[str]) -> str:
    what = "deadlock" if kind == "deadlock" else "lock never let go"
    return f"{what}: {', '.join(places[:_MAX_NAMED])}"


# ---------------------------------------------------------------- CPUs


def _stuck_calls(looks: Sequence[Look]) -> Iterator[_Stuck]:
    """The calls that were under way at so many looks, in the order of their CPUs."""
    seen: dict[tuple[int, str], list[tuple[int, CpuPlace]]] = {}
    for number, look in enumerate(looks):
        for at in look.cpus:
            if at.entered and not at.user and not at.idle:
                seen.setdefault((at.call, at.entered), []).append((number, at))
    stuck = []
    for sightings in seen.values():
        if len(sightings) >= SIGHTINGS and _ran(looks, sightings) >= LEAST_RAN:
            places = [at for _, at in sightings]
            name = _always_in(places)
            if name:
                waits = sum(_waits(at, name) for at in places) >= _most(places)
                interrupts = any(at.interrupts for at in places)
                last = next(at for at in reversed(places) if name in _names(at))
                stuck.append(
                    _Stuck(places[-1].cpu, last.frames, name, waits, _lock(places), interrupts)
                )
    yield from sorted(stuck, key=lambda call: (call.cpu, call.blamed))


def _ran(looks: Sequence[Look], sightings: Sequence[tuple[int, CpuPlace]]) -> float:
    """Seconds that the CPUs which had a task had of the host's from one sighting to the next."""
    total = 0.0
    for (before, _), (_, at) in itertools.pairwise(sightings):
        earlier = next((p.ran for p in looks[before].cpus if p.cpu == at.cpu), at.ran)
        total += at.ran - earlier
    return total


def _names(at: CpuPlace) -> list[str]:
    """The functions of a stack, innermost first, as the source has them."""
    return [plain_function(frame.partition("+")[0]) for frame in at.frames if "+" in frame]


def _most(places: Sequence[CpuPlace]) -> int:
    """How many of the sightings must show a thing: one in five may be of an odd moment."""
    return len(places) - len(places) // SIGHTINGS


def _always_in(places: Sequence[CpuPlace]) -> str:
    """The innermost function that was in the stack nearly each time and has no role in it."""
    stacks = [_names(at) for at in places]
    often = Counter(name for stack in stacks for name in set(stack))
    inner = Counter(
        next((name for name in stack if often[name] >= _most(places) and _tells(name)), "")
        for stack in stacks
    )
    return max(inner, key=lambda name: (bool(name), inner[name]), default="")


def _tells(name: str) -> bool:
    return not passed_over(name, _KIND) and not hands_out(name)


def _waits(at: CpuPlace, blamed: str) -> bool:
    names = _names(at)
    inner = names[: names.index(blamed)] if blamed in names else names
    return any(_SPINS.fullmatch(name) for name in inner)


def _lock(places: Sequence[CpuPlace]) -> int:
    """The address that most of them spin on: the first argument, where no interrupt hides it."""
    seen = [at.lock for at in places if _SPINS.fullmatch(next(iter(_names(at)), ""))]
    return max(seen, key=seen.count, default=0)


def _endless(loops: Sequence[_Stuck]) -> tuple[str, set[str]]:
    names = list(dict.fromkeys(call.blamed for call in loops))
    off = "" if any(call.interrupts for call in loops) else " with interrupts off"
    return f"endless loop in {', '.join(names[:_MAX_NAMED])}{off}", set(names)


def somebody_runs(looks: Sequence[Look]) -> bool:
    """Whether a CPU was at work at most looks: what it does may wake whoever sleeps."""
    busy = sum(any(at.user or not at.idle for at in look.cpus) for look in looks)
    return 2 * busy > len(looks)


# ---------------------------------------------------------------- tasks


def _stuck_tasks(blocked: Sequence[Sequence[Blocked]]) -> list[Blocked]:
    """The tasks that were blocked in one place at the first look and at the last."""
    if len(blocked) < 2:
        return []
    last = {(task.pid, task.blamed, task.trace) for task in blocked[-1]}
    return [
        task
        for task in blocked[0]
        if task.blamed
        and not task.elsewhere
        and task.comm not in _OWN
        and (task.pid, task.blamed, task.trace) in last
    ]


# ---------------------------------------------------------------- the report


def _hit(kind: str, title: str, names: Sequence[str], text: str) -> Hit:
    # Which CPU was in which of the functions is chance.
    base = kind + (" with interrupts off" if title.endswith("interrupts off") else "")
    return Hit(
        title=title[: titles.MAX_TITLE],
        kind=kind,
        signature=titles.signature(kind, base, names[0], names[1:]),
        line=0,
        text=text,
        fatal=True,
        blamed=names[0],
    )


def _where(found: Sequence[_Stuck], tasks: Sequence[Blocked]) -> Iterator[str]:
    """The traces of what is stuck: first, since of a long text the first frames are looked up."""
    for call in found:
        yield f"CPU {call.cpu} is in the same call at all looks:"
        yield from (f"  {frame}" for frame in call.frames[:_MAX_FRAMES])
    for task in tasks:
        yield f"{task.comm} (pid {task.pid}) does not wake:"
        yield from task.trace[:_MAX_FRAMES]


def _told(looks: Sequence[Look]) -> Iterator[str]:
    for number, look in enumerate(looks, 1):
        yield f"look {number} of {len(looks)}, at {look.seconds:.1f} s:"
        for at in look.cpus:
            where = "in user space" if at.user else "idle" if at.idle else "in the kernel"
            off = "" if at.interrupts or at.user else ", interrupts off"
            yield f"CPU {at.cpu}: {where}{off}; {at.ran:.2f} s of the host's time so far"
            if not at.user and not at.idle:
                yield f"  call {at.call:#x}, entered {at.entered or 'unknown'}, at {at.lock:#x}"
                yield from (f"  {frame}" for frame in at.frames[:_MAX_FRAMES])


def _listed(blocked: Sequence[Sequence[Blocked]]) -> Iterator[str]:
    for when, tasks in zip(("first", "last"), (blocked[:1], blocked[1:][-1:]), strict=True):
        for task in tasks[0] if tasks else ():
            yield f"blocked at the {when} look: {task.comm} (pid {task.pid})"
            yield from task.trace[:_MAX_FRAMES]
