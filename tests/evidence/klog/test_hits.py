# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of a report: the words of its title, its signature, what is wrong with it."""

from __future__ import annotations

import pytest

from orchestrator.evidence.klog.damage import BROKEN, GUESSED, MIXED, NO_BEGINNING, NO_END, NO_TRACE
from orchestrator.evidence.klog.parse import parse
from orchestrator.model.evidence import Hit


def log(*texts: str, caller: str = "T7") -> list[str]:
    mark = f"[{caller:>6}]" if caller else ""
    return [f"[{1 + i / 1000:12.6f}]{mark} {text}" for i, text in enumerate(texts)]


def one(*texts: str, caller: str = "T7") -> Hit:
    (hit,) = parse(log(*texts, caller=caller))
    return hit


def kasan(what: str, access: str, *frames: str) -> list[str]:
    return [
        "=" * 66, f"BUG: KASAN: {what} in ksm_scan+0x1/0x20",
        f"{access} ffff888004a5c3c8 by task a/61", "", "CPU: 1 PID: 61 Comm: a Not tainted 6.12 #1",
        "Call Trace:", *(f" {frame}+0x1/0x20" for frame in frames), "=" * 66,
    ]  # fmt: skip


OOPS = [
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "Oops: Oops: 0000 [#1] PREEMPT SMP", "CPU: 1 PID: 61 Comm: a Not tainted 6.12 #1",
    "RIP: 0010:move_pages+0x1/0x20", "Call Trace:", " userfaultfd_ioctl+0x1/0x20",
    " do_syscall_64+0x1/0x20", "---[ end trace 0000000000000000 ]---",
]  # fmt: skip
WARN = ["-" * 12 + "[ cut here ]" + "-" * 12, "WARNING: CPU: 1 PID: 61 at mm/ksm.c:9 f+0x1/0x20"]


@pytest.mark.parametrize(
    ("access", "how"),
    [("Read of size 8 at addr", "Read"), ("Write of size 8 at addr", "Write"),
     ("Read at addr", "Read"), ("Write at addr", "Write")],
)  # fmt: skip
def test_the_access_is_part_of_a_kasan_reports_name(access, how):
    hit = one(*kasan("use-after-free", access, "dump_stack", "kasan_report", "ksm_scan", "kthread"))
    assert hit.title == f"BUG: KASAN: use-after-free {how} in ksm_scan"


def test_read_and_write_are_two_bugs_and_an_invalid_free_is_one_in_any_words():
    frames = ["kasan_report", "ksm_scan", "kthread"]
    read = one(*kasan("use-after-free", "Read of size 8 at addr", *frames))
    write = one(*kasan("use-after-free", "Write of size 8 at addr", *frames))
    assert read.signature != write.signature
    words = ("double-free", "invalid-free", "double-free or invalid-free")
    assert len({one(*kasan(w, "Free of addr", *frames)).signature for w in words}) == 1


@pytest.mark.parametrize(
    ("lines", "damage", "corrupted"),
    [
        (OOPS, "", False),
        (OOPS[:-1], NO_END, False),
        (OOPS[:-2], NO_END, True),
        (OOPS[:4], NO_TRACE, True),
        (OOPS[3:], NO_BEGINNING, True),
        (WARN, NO_END, True),
        ([*OOPS[:5], " ? userfaultfd_ioctl+0x1/0x20", OOPS[-1]], GUESSED, True),
        ([OOPS[0], *OOPS[1:5], "---[ end trace 0000000000000000 ]---"], NO_TRACE, True),
    ],
)
def test_a_report_says_what_it_lost(lines, damage, corrupted):
    hit = one(*lines)
    assert (hit.damage, hit.corrupted) == (damage, corrupted)


def test_without_callers_a_report_says_that_another_stands_in_its_midst():
    lines = log(*OOPS[:6], *WARN, " g+0x1/0x20", *OOPS[6:], caller="")
    first = next(parse(lines))
    assert (first.damage, first.blamed) == (MIXED, "move_pages")
    assert not first.corrupted  # its name came before the other
    with_callers = [*log(*OOPS[:6]), *log(*WARN, caller="T9"), *log(*OOPS[6:])]
    assert next(parse(with_callers)).damage == ""


def test_a_failure_that_was_injected_mixes_with_a_report_without_callers():
    frames = ["kasan_report", "ksm_scan", "should_fail", "kthread"]
    lines = kasan("use-after-free", "Read of size 8 at addr", *frames)
    assert one(*lines, caller="").damage == MIXED
    assert one(*lines).damage == ""


def test_a_header_in_the_midst_of_a_line_is_read_and_told():
    hit = one("kasan: GPF could be caused by a bug" + "general protection fault: 0000 [#1] SMP",
              *OOPS[2:], caller="")  # fmt: skip
    assert (hit.kind, hit.blamed, hit.damage) == ("general-protection", "move_pages", BROKEN)


def test_a_resolved_log_names_the_function_as_before_it_was_resolved():
    header = "BUG: KASAN: use-after-free in "
    plain = kasan("use-after-free", "Read of size 8 at addr", "kasan_report", "ksm_scan", "kthread")
    resolved = [
        plain[0], f"{header}get include/linux/mm.h:12 [inline]",
        f"{header}ksm_scan+0x1/0x20 mm/ksm.c:9", *plain[2:6], " get include/linux/mm.h:12 [inline]",
        *(f"{line} mm/ksm.c:9" for line in plain[6:9]), plain[9],
    ]  # fmt: skip
    one_hit, other = one(*plain), one(*resolved)
    assert other.blamed == one_hit.blamed == "ksm_scan"
    assert other.signature == one_hit.signature


def test_a_stall_is_titled_by_where_it_stood_and_known_by_whose_loop_it_is():
    def stall(*frames: str) -> Hit:
        return one("watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [a:61]",
                   "CPU: 1 PID: 61 Comm: a Not tainted 6.12 #1", f"RIP: 0010:{frames[0]}+0x1/0x20",
                   "Call Trace:", *(f" {name}+0x1/0x20" for name in frames[1:]))  # fmt: skip

    below = ("userfaultfd_ioctl", "__x64_sys_ioctl", "do_syscall_64")
    first, second = stall("_raw_spin_lock", "move_pages", *below), stall("copy_folio", *below)
    assert first.title == "BUG: soft lockup in move_pages"
    assert second.title == "BUG: soft lockup in copy_folio"
    assert first.blamed == second.blamed == "userfaultfd_ioctl"
    assert first.signature == second.signature


def test_panics_of_a_broken_stack_have_a_function():
    stack = ["Call Trace:", " panic+0x1/0x20", " __schedule+0x1/0x20", " ksm_scan+0x1/0x20",
             " kthread+0x1/0x20"]  # fmt: skip
    panic = "Kernel panic - not syncing: "
    end = one(f"{panic}corrupted stack end detected inside scheduler", *stack)
    assert end.blamed == "ksm_scan"
    protector = one(f"{panic}stack-protector: Kernel stack is corrupted in: ksm_enter+0x1/0x20")
    assert (protector.blamed, protector.damage) == ("ksm_enter", "")
    assert one(f"{panic}VFS: Unable to mount root fs", *stack).blamed == ""


def test_the_words_of_a_rust_panic_are_its_title():
    lines = ["rust_kernel: panicked at mm/shrinker.rs:12:3:", "index out of bounds: the len is 3",
             *WARN[:1], "kernel BUG at rust/helpers/bug.c:7!", "Oops: invalid opcode: 0000 [#1]",
             "RIP: 0010:rust_helper_BUG+0x1/0x20", "Call Trace:", " rust_begin_unwind+0x1/0x20",
             " shrinker_scan+0x1/0x20", "---[ end trace 0000000000000000 ]---"]  # fmt: skip
    hit = one(*lines)
    assert hit.title == "rust_kernel: panicked: index out of bounds: the len is N in shrinker_scan"
