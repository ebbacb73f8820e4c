# SPDX-License-Identifier: GPL-2.0-only
"""Places of the kernel's code in the text of reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog.frames import Frame, find_frames, worth_looking_up

DATA = HOME / "tests" / "data" / "klog"


def first_report(name):
    return next(klog.parse((DATA / f"{name}.log").read_text(errors="replace"))).text


def told(text):
    return [(f.function, f.offset, f.size, f.exact, f.guess) for f in find_frames(text)]


def test_x86_knows_addresses_from_return_addresses():
    text = first_report("warning")
    lines = text.split("\n")
    frames = find_frames(text)
    assert [f.function for f in frames if f.exact] == ["move_pages_pte", "move_pages_pte"]
    assert [lines[f.row - 1][:7] for f in frames if f.exact] == ["WARNING", "RIP: 00"]
    sure = [f.function for f in frames if not f.exact and not f.guess]
    assert sure[:2] == ["move_pages", "userfaultfd_ioctl"]
    assert {f.function for f in frames if f.guess} == {"__warn"}
    assert all(f.function in lines[f.row - 1] for f in frames)


def test_arm64_traces_begin_with_the_pc_itself():
    frames = find_frames(first_report("null-deref-arm64"))
    pc, lr, again, caller = frames[:4]
    assert (pc.function, pc.offset, pc.exact) == ("move_pages_huge_pmd", 0x11C, True)
    assert (lr.function, lr.offset, lr.exact) == ("move_pages_huge_pmd", 0xF4, False)
    assert (again.offset, again.exact) == (0x11C, True)
    assert (caller.function, caller.exact) == ("move_pages", False)


@pytest.mark.parametrize(
    ("line", "exact"),
    [
        ("RIP: 0010:f+0x1/0x20", True),
        ("[   40.114220][  T213] RIP: 0010:f+0x1/0x20", True),
        ("pc : f+0x1/0x20", True),
        ("lr : f+0x1/0x20", False),
        (" f+0x1/0x20 (P)", True),
        (" f+0x1/0x20 (L)", False),
        (" f+0x1/0x20", False),
        ("WARNING: CPU: 1 PID: 61 at mm/x.c:12 f+0x1/0x20", True),
        ("WARNING: mm/x.c:12 at f+0x1/0x20, CPU#1: t/61", True),
        ("BUG: KASAN: slab-use-after-free in f+0x1/0x20", False),
        ("BUG: KFENCE: use-after-free read in f+0x1/0x20", True),
        ("BUG: KFENCE: memory corruption in f+0x1/0x20", False),
        ("#0: ffff888004a01f28 (&mm->mmap_lock){++++}-{3:3}, at: f+0x1/0x20", False),
        (" [<ffffffff812345d2>] f+0x1/0x20", False),
    ],
)
def test_what_kind_of_address_it_is(line, exact):
    assert told(line) == [("f", 1, 0x20, exact, False)]


@pytest.mark.parametrize(
    "line",
    ["RIP: 0033:0x43aebb", " f+0x1/0x20 [zram]", " f+0x1", "R10: 00007ffeedbce810", "x+1/2", ""],
)
def test_what_is_no_place_of_the_kernel(line):
    assert told(line) == []


def test_compilers_suffixes_belong_to_the_name():
    assert told(" move_pages.constprop.0.cold+0x1b/0x1f")[0][0] == "move_pages.constprop.0.cold"


def test_the_worthiest_come_first_and_a_place_counts_once():
    text = (
        "WARNING: CPU: 0 PID: 1 at mm/x.c:1 f+0x1/0x9\n dump_stack_lvl+0x1/0x9\n"
        " ? old+0x1/0x9\nRIP: 0010:f+0x1/0x9\n g+0x1/0x9\n h+0x1/0x9\n"
    )
    frames = find_frames(text)
    assert [f.function for f in worth_looking_up(frames, 9)] == [
        "f", "f", "g", "h", "old", "dump_stack_lvl",
    ]  # fmt: skip
    assert [f.function for f in worth_looking_up(frames, 2)] == ["f", "f", "g"]


@given(st.text())
def test_no_text_makes_it_raise(text):
    for frame in find_frames(text + "\n f+0x1/0x2" + text):
        assert isinstance(frame, Frame)


@pytest.mark.slow
def test_a_huge_report_takes_no_time():
    assert len(find_frames("\n".join([" f+0x1/0x2" + "+0x1" * 100000] * 2000))) == 500
