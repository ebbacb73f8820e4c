# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evidence.klog import kmsg
from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog.kmsg import KmsgRecord, Source, prefix, reconcile, records

RAW = (
    b"5,0,0,-,caller=T0;Linux version 6.12.117 (lab@lab)\n"
    b"6,1,0,-,caller=T0;Command line: console=ttyS0\n"
    b"7,160,424069,-;pci_root PNP0A03:00: host bridge window (ignored)\n"
    b" SUBSYSTEM=acpi\n"
    b" DEVICE=+acpi:PNP0A03:00\n"
    b"12,161,500000,-,caller=T61;lab-mark tok begin x\n"
    b"4,162,600000,c,caller=C1;two\\x0alines and \\x5c and \\xc3\\xa4\n"
)


def rec(seq: int, text: str, usec: int | None = None, caller: str = "T7") -> KmsgRecord:
    return KmsgRecord(seq, 1000 * seq if usec is None else usec, text, caller=caller)


def shown(record: KmsgRecord) -> list[str]:
    return [prefix(record.usec, record.caller) + part for part in record.text.split("\n")]


def merged(console: list[str], given_records: list[KmsgRecord]) -> list[str]:
    return [line.text for line in reconcile(console, given_records)]


# ---------------------------------------------------------------- records


def test_records() -> None:
    found = list(records(RAW))
    assert [r.seq for r in found] == [0, 1, 160, 161, 162]
    assert found[0].text == "Linux version 6.12.117 (lab@lab)"
    assert (found[0].level, found[0].facility, found[0].caller) == (5, 0, "T0")
    assert found[2].caller == ""
    assert found[2].pairs == (("SUBSYSTEM", "acpi"), ("DEVICE", "+acpi:PNP0A03:00"))
    assert (found[3].level, found[3].facility) == (4, 1)
    assert found[4].text == "two\nlines and \\ and \u00e4"
    assert (found[4].flags, found[4].caller, found[4].usec) == ("c", "C1", 600_000)


def test_chunks_and_lines_give_the_same() -> None:
    whole = list(records(RAW))
    assert list(records(RAW.splitlines(keepends=True))) == whole
    assert list(records(RAW.decode().split("\n"))) == whole


@pytest.mark.parametrize(
    "bad",
    [b"", b"\n", b"x", b"6,1", b"6,1,2,-", b"6,1,2;x", b"-1,2,3,-;x", b" A=b", b"6,,2,-;x",
     b"\xff\xfe", b"6," + b"9" * 40 + b",1,-;x"],
)  # fmt: skip
def test_what_is_no_record_is_passed_over(bad: bytes) -> None:
    assert [r.seq for r in records(bad + b"\n" + RAW)] == [0, 1, 160, 161, 162]


def test_prefix_is_printks() -> None:
    # print_time() and print_caller() in kernel/printk/printk.c
    assert prefix(12_345_678, "T123") == "[   12.345678][  T123] "
    assert prefix(0, "") == "[    0.000000] "
    assert prefix(123_456_000_001, "C0") == "[123456.000001][    C0] "


# ---------------------------------------------------------------- the union

LOG = [rec(i, f"line {i}", caller="T7" if i % 3 else "C1") for i in range(40)]
WHOLE = [text for record in LOG for text in shown(record)]


def test_equal_logs_are_one() -> None:
    assert list(reconcile(WHOLE, LOG)) == [
        kmsg.MergedLine(text, Source.BOTH, i + 1) for i, text in enumerate(WHOLE)
    ]


def test_either_alone() -> None:
    assert merged([], LOG) == WHOLE
    assert merged(WHOLE, []) == WHOLE


def test_lost_in_the_middle_of_either() -> None:
    assert merged(WHOLE[:10] + WHOLE[20:], LOG) == WHOLE
    assert merged(WHOLE, LOG[:10] + LOG[20:]) == WHOLE
    assert merged(WHOLE[:10] + WHOLE[20:], LOG[:5] + LOG[8:]) == WHOLE
    lines = list(reconcile(WHOLE[:10] + WHOLE[20:], LOG))
    assert [line.source for line in lines[9:12]] == [Source.BOTH, Source.KMSG, Source.KMSG]
    assert [line.number for line in lines[18:22]] == [0, 0, 11, 12]


def test_a_console_that_ends_early_and_a_reader_that_came_late() -> None:
    assert merged(WHOLE[:15], LOG[10:]) == WHOLE


def test_what_neither_has_is_told() -> None:
    lines = list(reconcile(WHOLE[:10] + WHOLE[20:], LOG[:12] + LOG[18:]))
    (gap,) = (line for line in lines if line.source is Source.GAP)
    assert "6 kernel messages" in gap.text
    assert [line.text for line in lines if line.source is not Source.GAP] == WHOLE[:12] + WHOLE[18:]
    # The console filled the hole: nothing is missing.
    assert all(line.source is not Source.GAP for line in reconcile(WHOLE, LOG[:12] + LOG[18:]))


def test_cut_and_glued_lines() -> None:
    console = list(WHOLE)
    console[5] = console[5][:-3]
    console[6] = console[6] + "user space goes on"
    console[7] = "login: " + console[7]
    console[8] = prefix(LOG[8].usec, LOG[8].caller).rstrip()
    assert merged(console, LOG) == [
        *WHOLE[:7], "user space goes on", "login:", *WHOLE[7:],
    ]  # fmt: skip


def test_user_space_stays_where_it_stands() -> None:
    console = [*WHOLE[:3], "a test speaks", *WHOLE[3:10], "and again", *WHOLE[30:]]
    assert merged(console, LOG) == [
        *WHOLE[:3], "a test speaks", *WHOLE[3:10], "and again", *WHOLE[10:],
    ]  # fmt: skip


def test_records_of_several_lines() -> None:
    log = [rec(1, "one"), rec(2, "two\n\n  three\ntwo"), rec(3, "four")]
    whole = [line.rstrip() for record in log for line in shown(record)]
    assert merged(whole, log) == whole
    assert merged(whole[:2] + whole[-1:], log) == whole
    assert merged(whole[-1:], log) == whole


def test_a_log_that_was_read_twice() -> None:
    assert merged(WHOLE[:10], LOG[:30] + LOG[5:] + LOG) == WHOLE
    assert merged([], LOG + LOG) == WHOLE


def test_two_boots() -> None:
    banner = "Linux version 6.12.117 (x)"
    first = [rec(0, banner, 0), rec(1, "same", 0), *LOG[2:]]
    second = [rec(0, banner, 0), rec(1, "same", 0)]
    second += [rec(i, f"other {i}", 1000 * i + 7) for i in range(2, 30)]
    one = [text for record in first for text in shown(record)]
    two = [text for record in second for text in shown(record)]
    assert merged(one + two, first + second) == one + two
    # The end of the first boot is lost on the console.
    assert merged(one[:20] + two, first + second) == one + two
    # Only the second was read, although the first prints the same at time 0.
    assert merged(one + two[:10], second) == one + two
    assert merged(one + two[:5] + two[9:], second) == one + two


def test_callers_may_be_missing_in_one() -> None:
    bare = [rec(i, f"line {i}", caller="") for i in range(40)]
    plain = [text for record in bare for text in shown(record)]
    assert merged(plain[:10] + plain[15:], LOG) == WHOLE
    assert merged(WHOLE, bare) == WHOLE


def test_a_console_without_stamps() -> None:
    plain = [record.text for record in LOG]
    assert merged(plain, LOG) == WHOLE
    assert merged(plain[:10] + plain[13:], LOG) == WHOLE


def test_hits_of_a_report_of_which_either_has_a_part() -> None:
    texts = [
        "BUG: sleeping function called from invalid context at mm/x.c:1",
        "in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 61, name: move",
        "CPU: 1 UID: 0 PID: 61 Comm: move Not tainted 6.12.117 #1",
        "Call Trace:", " <TASK>", " __might_resched+0x1/0x2", " move_pages+0x1/0x2", " </TASK>",
        "after",
    ]  # fmt: skip
    log = [rec(i, text, caller="T61") for i, text in enumerate(texts, 50)]
    whole = [text for record in log for text in shown(record)]
    (wanted,) = klog.parse(whole)
    (hit,) = klog.parse(kmsg.lines(reconcile(whole[:3], log[2:])))
    assert (hit.title, hit.signature, hit.text) == (wanted.title, wanted.signature, wanted.text)
    assert not hit.corrupted


def test_a_console_that_begins_later_than_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmsg, "MAX_AHEAD", 10)
    assert merged(WHOLE[30:], LOG) == WHOLE
    assert merged([*WHOLE[:5], *WHOLE[35:]], LOG) == WHOLE
    assert merged([*WHOLE[:5], prefix(20_500, "T9") + "its own", *WHOLE[35:]], LOG) == [
        *WHOLE[:21], prefix(20_500, "T9") + "its own", *WHOLE[21:],
    ]  # fmt: skip


# ---------------------------------------------------------------- properties

TEXTS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=20).map(
    lambda s: s.strip().replace("\\", "/") or "x"
)


@given(
    st.lists(st.tuples(st.sampled_from([0, 0, 1, 5, 1000]), TEXTS, st.sampled_from(["T1", "C0"])),
             min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_the_union_has_each_line_once_and_in_order(
    steps: list[tuple[int, str, str]], rng: random.Random
) -> None:
    usec, log = 5_000_000, []
    for seq, (step, text, caller) in enumerate(steps):
        usec += step
        log.append(rec(seq, f"{text} {seq}", usec, caller))
    whole = [line.rstrip() for record in log for line in shown(record)]
    in_console = [rng.random() < 0.7 for _ in log]
    in_kmsg = [rng.random() < 0.7 for _ in log]
    console = [line for line, kept in zip(whole, in_console, strict=True) if kept]
    kept = [record for record, there in zip(log, in_kmsg, strict=True) if there]
    wanted = [line for line, a, b in zip(whole, in_console, in_kmsg, strict=True) if a or b]
    got = [line.text for line in reconcile(console, kept) if line.source is not Source.GAP]
    assert sorted(got) == sorted(wanted)
    # From the first line on that both have, all stand in the order of time.
    both = [line for line, a, b in zip(whole, in_console, in_kmsg, strict=True) if a and b]
    if both:
        later = got[got.index(both[0]) :]
        assert [x[:14] for x in later] == [x[:14] for x in wanted[wanted.index(both[0]) :]]
    assert [line.text for line in reconcile(whole, kept)] == whole


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_no_bytes_raise(console: bytes, raw: bytes) -> None:
    found = list(records(raw))
    for line in reconcile([console], found):
        line.text.encode()


PARTS = st.sampled_from([
    b"6,1,2,-;x", b"6,1,2,-,caller=T1;\\x41\\x", b"\n", b" A=b\n", b"6,", b";", b"\\xff",
    b"0,0,0,-;",
    b"[    0.000002][    T1] x\n", b"[    0.000002] ", b"Linux version 6.1\n", b"\r", b"\x00",
])  # fmt: skip


@given(st.lists(PARTS, max_size=30), st.lists(PARTS, max_size=30))
def test_no_mixture_raises(console: list[bytes], raw: list[bytes]) -> None:
    list(reconcile([b"".join(console)], records(b"".join(raw))))


def _many(count: int, usec: int) -> tuple[list[str], list[KmsgRecord]]:
    log = [rec(i, f"t {i % 7}", usec * i) for i in range(count)]
    return [line for record in log for line in shown(record)], log


@pytest.mark.slow
@pytest.mark.parametrize("usec", [0, 1000])
def test_time_is_linear(usec: int) -> None:
    def cost(count: int) -> float:
        console, log = _many(count, usec)
        console = console[: count // 3] + console[count // 2 :]
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            for _line in reconcile(console, log[: -count // 5]):
                pass
            best = min(best, time.process_time() - start)
        return best

    small, large = cost(3_000), cost(12_000)
    assert large < 6.25 * small + 0.1, (small, large)


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    def console() -> Iterator[str]:
        for i in range(30_000):
            yield f"{prefix(10 * i + 10, 'T1')}console {i}\n"

    def log() -> Iterator[KmsgRecord]:
        for i in range(30_000):
            yield rec(i, f"kmsg {i}", 10 * i + 10)

    tracemalloc.start()
    count = 0
    for _line in reconcile(console(), log()):
        count += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 60_000
    assert peak < 40_000_000
