# SPDX-License-Identifier: GPL-2.0-only
"""The source file that a resolved report is about."""

from orchestrator.evidence.klog.source import guilty_file

KASAN = """BUG: KASAN: use-after-free in get_bit include/linux/bitops.h:12 [inline]
BUG: KASAN: use-after-free in ksm_scan+0x1/0x20 mm/ksm.c:263
Call Trace:
 dump_stack+0x1/0x20 lib/dump_stack.c:15
 kasan_report+0x1/0x20 mm/kasan/report.c:408
 get_bit include/linux/bitops.h:12 [inline]
 ksm_scan+0x1/0x20 /build/linux/mm/ksm.c:263
 kthread+0x1/0x20 kernel/kthread.c:9
"""


def test_the_first_file_that_is_no_helpers():
    assert guilty_file(KASAN) == "mm/ksm.c"
    assert guilty_file(KASAN.replace("mm/ksm.c", "arch/x86/kvm/../../../mm/ksm.c")) == "mm/ksm.c"


def test_mm_files_are_suspects():
    assert guilty_file(KASAN.replace("mm/ksm.c", "mm/memory.c")) == "mm/memory.c"
    assert guilty_file(KASAN.replace("mm/ksm.c", "mm/page_alloc.c")) == "mm/page_alloc.c"


def test_a_deeper_file_of_the_same_folder_is_closer():
    text = " f+0x1/0x2 fs/buffer.c:1\n g+0x1/0x2 fs/ext4/inode.c:2\n h+0x1/0x2 net/core/x.c:3\n"
    assert guilty_file(text) == "fs/ext4/inode.c"


def test_better_a_header_than_nothing():
    assert guilty_file("WARNING: at include/linux/mm.h:12 f+0x1/0x2") == "include/linux/mm.h"
    assert guilty_file("nothing here: 12") == ""


def test_what_lockdep_says_of_other_places_does_not_count():
    text = (
        "hardirqs last  enabled at (11): [<ffffffff8b53b4b3>] f+0x1/0x2 mm/wrong.c:3\n"
        " #0: ffff88804093d380 (x){+.+.}-{4:4}, at: f+0x1/0x2 mm/wrong.c:3\n"
        " ? guess+0x1/0x2 mm/wrong.c:4\n real+0x1/0x2 mm/right.c:5\n"
    )
    assert guilty_file(text) == "mm/right.c"


def test_of_a_stall_only_what_stands_below_the_interrupt():
    text = (
        "Call Trace:\n rcu_x+0x1/0x2 fs/reporter.c:1\n apic_timer_interrupt+0x1/0x2 a/b.c:1\n"
        " </IRQ>\n loop+0x1/0x2 mm/loop.c:5\n"
    )
    assert guilty_file(text, "rcu-stall") == "mm/loop.c"
    assert guilty_file(text) == "fs/reporter.c"
