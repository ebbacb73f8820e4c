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


PROGRAM = [
    "[ INFO: all tests passed ]", "Internal error: cannot open display",
    "Out of memory: Killing remaining workers", "WARNING: foo.py:10 something happened",
    "Oops: could not connect", "Unable to handle kernel version 6.12",
    "list_add corruption test: ok", "general protection fault test: ok", "Unhandled fault: retry",
    "UBSAN: nothing", "refcount_t: unit tests", "BUG report (Not tainted): x",
    "detected buffer overflow in main", "irq 5: nobody cared test",
    "Updating main: deadbeef [#123]", "commit: abcdef12 [#45] fix",
    "swapon: Bad swap file entry ab",
]  # fmt: skip


@pytest.mark.parametrize("text", PROGRAM)
def test_what_a_program_prints_between_the_kernels_lines_is_no_report(text):
    assert list(parse([*log("a line of the kernel"), text, *log("another")])) == []


@pytest.mark.parametrize("text", ["Updating main: deadbeef [#123]", "commit: abcd [#45] fix"])
def test_die_is_known_by_its_whole_line(text):
    assert list(parse([text])) == []


def test_without_a_stamp_the_kernels_own_words_are_still_read():
    lines = [*log("a line of the kernel"), *OOPS]
    (hit,) = parse(lines)
    assert (hit.kind, hit.blamed) == ("null-deref", "move_pages")


@pytest.mark.parametrize("gap", [0.0, 4.0, 10.0])
def test_a_stall_waits_for_the_cpus_that_it_asked(gap):
    head = ["rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu: \t1-...0: (1 GPs behind) idle=5be/1/0x4000000000000000 softirq=1/1 fqs=4",
            "rcu: \t(detected by 0, t=2002 jiffies, g=2601, q=18 ncpus=2)",
            "Sending NMI from CPU 0 to CPUs 1:"]  # fmt: skip
    dump = ["NMI backtrace for cpu 1", "CPU: 1 PID: 61 Comm: a Not tainted 6.12 #1",
            "RIP: 0010:loop_fn+0x1/0x20", "Call Trace:", " caller+0x1/0x20"]  # fmt: skip
    lines = [f"[{100:12.6f}] {text}" for text in head]
    lines += [f"[{100 + gap:12.6f}] {text}" for text in dump]
    (hit,) = parse(lines)
    assert hit.blamed == "loop_fn"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sh: vmalloc: allocation failure: 4096 bytes, mode:0x24000c2", "alloc-failure"),
        ("sh: vmalloc size 4096 allocation failure: page order 0 allocation failed",
         "alloc-failure"),
        ("sh: page allocation stalls for 10000ms, order:0, mode:0x24000c2", "alloc-failure"),
        ("slab error in verify_redzone_free(): cache `foo': double free detected", "slub"),
        ("kmem_cache_destroy foo: Slab cache still has objects", "slub"),
    ],
)  # fmt: skip
def test_wordings_of_older_kernels(text, kind):
    stack = ["CPU: 1 PID: 61 Comm: sh Not tainted 4.14 #1", "Call Trace:", " dump_stack+0x1/0x2",
             " real_fn+0x1/0x20", " kthread+0x1/0x20"]  # fmt: skip
    hit = one(text, *stack)
    assert (hit.kind, hit.blamed) == (kind, "real_fn")


def test_the_commonest_path_of_allocation_does_not_merge_its_callers():
    def bad(caller: str) -> Hit:
        return one("BUG: Bad page state in process a  pfn:12345",
                   "page: refcount:0 mapcount:0 mapping:0 index:0x0 pfn:0x12345",
                   "page dumped because: nonzero mapcount", "CPU: 1 PID: 61 Comm: a", "Call Trace:",
                   " bad_page+0x1/0x20", " get_page_from_freelist+0x1/0x20",
                   " __alloc_pages_noprof+0x1/0x20", " vma_alloc_folio_noprof+0x1/0x20",
                   f" {caller}+0x1/0x20", " do_syscall_64+0x1/0x20")  # fmt: skip

    names = ("do_anonymous_page", "wp_page_copy", "do_swap_page")
    assert [bad(name).blamed for name in names] == list(names)
    assert len({bad(name).signature for name in names}) == 3


def test_the_trampoline_of_a_warning_is_not_guilty():
    hit = one("WARNING: mm/foo.c:123 at 0x0, CPU#1: a/61", "RIP: 0010:__SCT__WARN_trap+0x0/0x8",
              "Call Trace:", " foo_fn+0x1/0x20", " do_syscall_64+0x1/0x20",
              "---[ end trace 0000000000000000 ]---")  # fmt: skip
    assert hit.blamed == "foo_fn"


@pytest.mark.parametrize("index", ["4", "00009", "9" * 5000, "\u00b2", "\u0663"])
def test_an_index_that_is_no_counters_of_old_kernels_is_unknown(index):
    line = f"[    1.000000] BUG: Bad rss-counter state mm:00000000abcdef01 idx:{index} val:1\n"
    (found,) = parse([line])
    assert found.title == "BUG: Bad rss-counter state type:unknown"
