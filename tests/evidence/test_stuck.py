# SPDX-License-Identifier: GPL-2.0-only
"""Looks at guests that hang, and at guests that do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from stuck_looks import read_looks

from orchestrator import HOME
from orchestrator.evidence import stuck
from orchestrator.evidence.blocked import Blocked, blocked_tasks
from orchestrator.evidence.stuck import judge
from orchestrator.model.evidence import CpuPlace, Hit, Look

ENTRY = ("do_syscall_64+0x54/0xf0", "entry_SYSCALL_64_after_hwframe+0x76/0x7e")
MOVE = ("move_pages+0x5d2/0x13d0", "userfaultfd_move+0xd0/0x200", "userfaultfd_ioctl+0x1/0x900",
        "__x64_sys_ioctl+0x60/0xb0", *ENTRY)  # fmt: skip
SPIN = ("native_queued_spin_lock_slowpath+0x62/0x1d0", "_raw_spin_lock+0x29/0x30")
IDLE = ("default_idle+0xb/0x10", "do_idle+0x1d0/0x230", "cpu_startup_entry+0x29/0x30")
FAULT = ("do_wp_page+0x3a/0x900", "handle_mm_fault+0x90/0x1a0", "<exception>")


def busy(cpu: int, *frames: str, call: int = 0x1000, lock: int = 0x50, **more: object) -> CpuPlace:
    at = CpuPlace(cpu, tuple(frames), call + cpu, f"digest{cpu}", lock)
    return replace(at, **more)  # type: ignore[arg-type]


def idle(cpu: int) -> CpuPlace:
    return CpuPlace(cpu, IDLE, 0x9000 + cpu, "zero", idle=True)


def looks(*cpus: CpuPlace, times: int = 5) -> list[Look]:
    """So many looks a second apart at CPUs that ran all the time."""
    return [
        Look(float(n), tuple(replace(at, ran=float(n) * (not at.idle)) for at in cpus))
        for n in range(times)
    ]


def found(looked: Sequence[Look], *blocked: Sequence[Blocked]) -> Hit:
    hit = judge(looked, blocked, "one call of task 7 burnt 10 s")
    assert hit is not None
    return hit


# ---------------------------------------------------------------- guests that really hung

# Looks at kernels 6.12 with the faults of tests/e2e/provoke, in guests of two CPUs that a busy
# host gave a tenth of a CPU; and the console of those in which tasks sleep.
RECORDED = {
    "lock-kept": ("lock-kept", "lock never let go: CPU 1 in ask_for_kept_spinlock"),
    "loop": ("endless-loop", "endless loop in lkdtm_LOOP"),
    "loop-off": ("endless-loop", "endless loop in lkdtm_HARDLOCKUP with interrupts off"),
    "mutex-kept": ("lock-kept", "lock never let go: task in ask_for_kept_mutex for a mutex"),
    "mutex-rwsem": ("deadlock", "deadlock: task in take_mutex_first for an rwsem, "
                    "task in take_mutex_last for a mutex"),
    "retry": ("endless-loop", "endless loop in retry_without_end"),
    "spin-order": ("deadlock", "deadlock: CPU 0 in lock_first_then_second, "
                   "CPU 1 in lock_second_then_first"),
    "task": ("stuck-task", "task never woken: in lkdtm_HUNG_TASK"),
}  # fmt: skip
DATA = HOME / "tests" / "data" / "stuck"


def recorded(name: str) -> tuple[list[Look], tuple[tuple[Blocked, ...], ...]]:
    console = DATA / f"x86_64-{name}.console"
    said = console.read_text() if console.exists() else ""
    return read_looks((DATA / f"x86_64-{name}.txt").read_text()), blocked_tasks(said)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_guest_that_hung(name: str) -> None:
    looked, blocked = recorded(name)
    assert len(looked) >= stuck.SIGHTINGS
    hit = judge(looked, blocked, "one call of task 92 burnt 44 s")
    assert hit is not None
    assert (hit.kind, hit.title) == RECORDED[name]
    assert hit.blamed in RECORDED[name][1]
    assert judge(looked[:4], blocked[:1], "") is None  # too early to say


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_the_same_guest_without_a_cpu_of_its_host(name: str) -> None:
    looked, _ = recorded(name)
    still = [replace(look, cpus=tuple(replace(at, ran=1.0) for at in look.cpus)) for look in looked]
    assert judge(still, (), "") is None


def test_recorded_guests_do_not_share_a_signature() -> None:
    hits = [judge(*recorded(name), "") for name in RECORDED]
    assert len({hit.signature for hit in hits if hit}) == len(RECORDED)


# ---------------------------------------------------------------- what hangs


def test_two_locks_in_opposite_order() -> None:
    hit = found(looks(busy(0, *SPIN, *MOVE), busy(1, *SPIN, *FAULT, *ENTRY, lock=0x60)))
    assert hit.title == "deadlock: CPU 0 in move_pages, CPU 1 in do_wp_page"
    assert (hit.kind, hit.fatal) == ("deadlock", True)
    swapped = found(looks(busy(0, *SPIN, *FAULT, *ENTRY, lock=0x60), busy(1, *SPIN, *MOVE)))
    assert swapped.title == "deadlock: CPU 0 in do_wp_page, CPU 1 in move_pages"
    assert swapped.signature == hit.signature


def test_a_lock_that_nobody_lets_go() -> None:
    hit = found(looks(idle(0), busy(1, *SPIN, *MOVE)))
    assert (hit.kind, hit.title) == ("lock-kept", "lock never let go: CPU 1 in move_pages")
    # Two that wait for one lock do not wait for each other.
    both = found(looks(busy(0, *SPIN, *FAULT, *ENTRY), busy(1, *SPIN, *MOVE)))
    assert both.kind == "lock-kept"


@pytest.mark.parametrize("interrupts", [True, False])
def test_a_loop_without_an_end(interrupts: bool) -> None:
    hit = found(looks(busy(0, *MOVE, interrupts=interrupts), idle(1)))
    off = "" if interrupts else " with interrupts off"
    assert (hit.kind, hit.title) == ("endless-loop", f"endless loop in move_pages{off}")
    # Who waits for the lock that the loop holds is not at fault.
    two = found(looks(busy(0, *MOVE, interrupts=interrupts), busy(1, *SPIN, *FAULT, *ENTRY)))
    assert (two.title, two.signature) == (hit.title, hit.signature)


def test_a_loop_that_is_seen_in_what_it_calls() -> None:
    looked = looks(busy(0, *MOVE))
    inner = ("pte_alloc+0x1/0x20", *MOVE)
    looked[1] = Look(1.0, (replace(busy(0, *inner), ran=1.0),))
    looked[3] = Look(3.0, (replace(busy(0, "asm_sysvec_apic+0x1/0x9", "<exception>", *MOVE),
                                   ran=3.0),))  # fmt: skip
    assert found(looked).title == "endless loop in move_pages"


def test_one_odd_moment_does_not_hide_the_loop() -> None:
    """In the fourth look the stack lacks the frame of the function that loops."""
    looked = looks(busy(0, *MOVE))
    looked[3] = Look(3.0, (replace(busy(0, "__x86_return_thunk+0x0/0x5", *MOVE[1:]), ran=3.0),))
    assert found(looked).title == "endless loop in move_pages"


def test_a_loop_that_lets_others_run_and_changes_its_cpu() -> None:
    loop = busy(0, *MOVE)
    there = [
        Look(float(n), (replace(idle(0), ran=float(n)), replace(loop, cpu=1, ran=float(n))))
        if n % 2
        else Look(float(n), (replace(loop, ran=float(n)), replace(idle(1), ran=float(n))))
        for n in range(6)
    ]
    assert found(there).title == "endless loop in move_pages"


# ---------------------------------------------------------------- what does not


def test_another_call_at_each_look() -> None:
    """What user space's registers hold is another thing each time: the calls return."""
    looked = [
        Look(float(n), (replace(busy(0, *MOVE), entered=f"digest{n}", ran=float(n)),))
        for n in range(8)
    ]
    assert judge(looked, (), "") is None


def test_another_function_at_each_look() -> None:
    looked = [
        Look(float(n), (replace(busy(0, f"f{n}+0x1/0x20", *ENTRY), ran=float(n)),))
        for n in range(8)
    ]
    assert judge(looked, (), "") is None


def test_a_guest_that_had_no_cpu() -> None:
    looked = [Look(float(n), (replace(busy(0, *MOVE), ran=7.0),)) for n in range(8)]
    assert judge(looked, (), "") is None
    at = [replace(look, cpus=tuple(replace(c, ran=n * 0.1) for c in look.cpus))
          for n, look in enumerate(looked)]  # fmt: skip
    assert judge(at, (), "") is None


def test_too_few_looks() -> None:
    assert judge(looks(busy(0, *MOVE), times=stuck.SIGHTINGS - 1), (), "") is None
    assert judge([], (), "") is None


def test_user_space_and_idle() -> None:
    assert judge(looks(CpuPlace(0, user=True), idle(1), times=8), (), "") is None
    # A stack whose way into the kernel was not found proves nothing.
    assert judge(looks(replace(busy(0, *MOVE), entered="")), (), "") is None


# ---------------------------------------------------------------- tasks that sleep


def task(pid: int, name: str, lock: str = "", **more: object) -> Blocked:
    at = Blocked(pid, "w", (f" {name}+0x1/0x20",), name, lock)
    return replace(at, **more)  # type: ignore[arg-type]


MUTEX, RWSEM = task(1, "remap", "a mutex"), task(2, "fault", "an rwsem")
QUIET = looks(idle(0), idle(1))


def test_a_mutex_against_an_rwsem() -> None:
    hit = found(QUIET, (RWSEM, MUTEX), (MUTEX, RWSEM))
    assert hit.title == "deadlock: task in fault for an rwsem, task in remap for a mutex"
    assert hit.kind == "deadlock"


def test_a_mutex_that_nobody_lets_go() -> None:
    # That both wait for the same kind of lock says nothing of two locks.
    hit = found(QUIET, (MUTEX, task(3, "moved", "a mutex")), (MUTEX, task(3, "moved", "a mutex")))
    assert hit.title == "lock never let go: task in moved for a mutex, task in remap for a mutex"
    assert hit.kind == "lock-kept"


def test_a_task_that_nobody_wakes() -> None:
    hit = found(QUIET, (task(1, "waits"),), (task(1, "waits"),))
    assert (hit.kind, hit.title) == ("stuck-task", "task never woken: in waits")
    assert "blocked at the last look: w (pid 1)" in hit.text


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ((MUTEX,), ()),  # it went on
        ((), (MUTEX,)),
        ((MUTEX,), (replace(MUTEX, trace=(" remap+0x9/0x20",)),)),
        ((replace(MUTEX, elsewhere=True),), (replace(MUTEX, elsewhere=True),)),
        ((replace(MUTEX, comm="sampler"),), (replace(MUTEX, comm="sampler"),)),
    ],
)
def test_tasks_that_may_be_woken(first: tuple[Blocked, ...], last: tuple[Blocked, ...]) -> None:
    assert judge(QUIET, (first, last), "") is None


def test_somebody_runs_who_may_wake_them() -> None:
    working = looks(idle(0), CpuPlace(1, user=True))
    assert judge(working, ((MUTEX,), (MUTEX,)), "") is None
    assert judge(QUIET, ((MUTEX,),), "") is None, "one list alone shows no time"
