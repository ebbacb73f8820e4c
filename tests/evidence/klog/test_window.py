# SPDX-License-Identifier: GPL-2.0-only
"""What the console lost, the sampler's copy of /dev/kmsg has; a stored console in parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog.window import read_window, stored_window

TOKEN, NAME = "tok", "f/w"
BUG = "BUG: Bad rss-counter state mm:00000000abcdef01 type:MM_ANONPAGES val:1"


def console(*lines: tuple[int, str]) -> str:
    return "".join(f"[    {n}.000000][   T50] {text}\r\n" for n, text in lines)


def copy(*lines: tuple[int, str]) -> str:
    said = "".join(f"kmsg: 6,{n},{n}000000,-,caller=T50;{text}\n" for n, text in lines)
    return '{"phase":"before"}\n' + said + '{"phase":"exit"}\n'


BEGIN, END = f"lab-mark {TOKEN} begin {NAME}", f"lab-mark {TOKEN} end {NAME}"
WHOLE = ((1, BEGIN), (2, "hello"), (3, BUG), (4, END))


def test_a_whole_console_is_taken_as_it_is() -> None:
    window = read_window("booted\n" + console(*WHOLE), copy(*WHOLE), TOKEN, NAME)
    assert (window.numbers, window.complete, window.recovered) == ((3, 4), True, 0)
    assert window.text == console(*WHOLE[1:3]).rstrip("\n")
    assert read_window("booted\n" + console(*WHOLE), "", TOKEN, NAME) == window


def test_what_the_console_lost_comes_from_kmsg() -> None:
    shown = console((1, BEGIN), (2, "hello"), (4, END))
    window = read_window(shown, copy((0, "before"), *WHOLE, (5, "after")), TOKEN, NAME)
    assert (window.complete, window.recovered) == (True, 1)
    assert [hit.kind for hit in klog.parse(window.text)] == ["bad-rss-counter"]
    assert window.numbers == (2, 2), "beside the line that the console has before it"
    assert "before" not in window.text
    assert "after" not in window.text


def test_a_console_that_shows_nothing_loses_nothing() -> None:
    window = read_window("", copy(*WHOLE), TOKEN, NAME)
    assert window.complete
    assert window.recovered == 2
    assert [hit.kind for hit in klog.parse(window.text)] == ["bad-rss-counter"]


def test_a_mark_that_neither_has_is_missing() -> None:
    assert not read_window(console(*WHOLE[:3]), copy(*WHOLE[:3]), TOKEN, NAME).complete
    assert not read_window(console(*WHOLE[:3]), "", TOKEN, NAME).complete
    assert not read_window(console(*WHOLE), "", "another", NAME).complete


def test_an_overrun_is_no_record() -> None:
    said = copy(*WHOLE).replace("kmsg: 6,2,", "kmsg: !overrun\nkmsg: 6,2,")
    assert read_window(console(*WHOLE), said, TOKEN, NAME).recovered == 0


@given(st.text(), st.text())
def test_nothing_makes_it_raise(shown: str, said: str) -> None:
    read_window(shown, said, TOKEN, NAME)
    read_window(shown, "kmsg: " + said, TOKEN, NAME)
    read_window(console(*WHOLE) + shown, copy(*WHOLE) + said, TOKEN, NAME)


STORED = """\
[    1.000000] before
[    2.000000] lab-mark abc begin fam/one
[    3.000000] of the first
[    4.000000] lab-mark abc end fam/one
[    5.000000] lab-mark abc begin fam/two
[    6.000000] of the second
[    7.000000] Kernel panic"""


def test_a_stored_console_is_cut_without_its_token() -> None:
    line, text = stored_window(STORED, "fam/one") or (0, "")
    assert line == 2
    assert [part[15:] for part in text.split("\n")] == [
        "lab-mark abc begin fam/one", "of the first", "lab-mark abc end fam/one",
    ]  # fmt: skip


def test_a_guest_that_was_lost_left_all_that_follows() -> None:
    line, text = stored_window(STORED, "fam/two") or (0, "")
    assert line == 5
    assert text.endswith("Kernel panic")
    assert stored_window(STORED, "fam") is None


def test_the_last_try_counts() -> None:
    again = f"{STORED}\n[    8.000000] lab-mark abc begin fam/one\n[    9.000000] again"
    line, text = stored_window(again, "fam/one") or (0, "")
    assert line == 8
    assert text.endswith("again")
