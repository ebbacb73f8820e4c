# SPDX-License-Identifier: GPL-2.0-only
"""Lists of blocked tasks as kernels print them on their consoles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.evidence.blocked import blocked_tasks

LOGS = HOME / "tests" / "data" / "klog"


def listed(*traces: tuple[str, int, tuple[str, ...]]) -> str:
    lines = ["sysrq: Show Blocked State"]
    for comm, pid, names in traces:
        lines += [
            f"task:{comm:<16}state:D stack:0     pid:{pid:<5} tgid:{pid}    ppid:1      flags:0x4",
            "Call Trace:", " <TASK>", *(f" {name}+0x1a/0x40" for name in names), " </TASK>",
        ]  # fmt: skip
    return "".join(f"[   11.{n:06d}][   T74] {line}\r\n" for n, line in enumerate(lines))


def test_who_waits_for_what() -> None:
    console = listed(
        ("w", 61, ("__schedule", "schedule", "__mutex_lock.constprop.0",
                   "remap_pages", "do_syscall_64")),
        ("a b", 62, ("__schedule", "schedule", "rwsem_down_write_slowpath", "fault")),
    )  # fmt: skip
    console += "[   12.0][   T74] sysrq: Show Memory\r\n[   12.1][   T74] task:x state:D pid:9\r\n"
    (tasks,) = blocked_tasks("noise\n" + console)
    assert [(t.pid, t.comm, t.blamed, t.lock) for t in tasks] == [
        (61, "w", "remap_pages", "a mutex"), (62, "a b", "fault", "an rwsem"),
    ]  # fmt: skip
    assert len(tasks[0].trace) == 5


@pytest.mark.parametrize(
    "who", ["handle_userfault", "wait_for_vfork_done", "msleep", "wait_for_completion_timeout"]
)
def test_who_is_woken_by_something_else(who: str) -> None:
    ((task,),) = blocked_tasks(listed(("w", 61, ("__schedule", "schedule", who, "f"))))
    assert task.elsewhere


@pytest.mark.parametrize("name", ["x86-sysrq-lwm", "arm64-sysrq-lwm"])
def test_guests_with_nobody_blocked(name: str) -> None:
    assert blocked_tasks((LOGS / f"{name}.log").read_text()) == ((),)


def test_lists_of_a_console() -> None:
    assert blocked_tasks("") == ()
    two = listed(("w", 61, ("schedule", "f"))) * 2
    assert [len(tasks) for tasks in blocked_tasks(two)] == [1, 1]


@given(st.text())
def test_no_console_is_too_strange(text: str) -> None:
    blocked_tasks("sysrq: Show Blocked State\n" + text)
