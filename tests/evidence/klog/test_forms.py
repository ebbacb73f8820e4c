# SPDX-License-Identifier: GPL-2.0-only
"""One log in every form that logs come in reads the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from klogs import each_log

from orchestrator.evidence.klog import forms
from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog.lines import LogLine, read

ISO = "2026-11-29T10:00:00"


def plain(line: LogLine) -> str:
    return f"[{line.seconds or 0:12.6f}] {line.text}"


def with_caller(line: LogLine) -> str:
    return f"[{line.seconds or 0:12.6f}][{line.caller or 'T1':>6}] {line.text}"


def record(line: LogLine) -> str:
    text = "".join(c if " " <= c < "\x7f" and c != "\\" else f"\\x{b:02x}"
                   for c in line.text for b in c.encode())  # fmt: skip
    return (
        f"4,{line.number},{round((line.seconds or 0) * 1e6)},-,caller={line.caller or 'T1'};{text}"
    )


#: Forms that keep neither printk's time nor its caller, then those with its time, then both.
TEXT_ONLY: dict[str, Callable[[LogLine], str]] = {
    "dmesg -T": lambda line: f"[Wed Nov 29 10:00:00 2026] {line.text}",
    "dmesg -T in German": lambda line: f"[Mi Nov  9 10:00:00 2026] {line.text}",
    "dmesg -T -d": lambda line: f"[Wed Nov 29 10:00:00 2026 <    0.000012>] {line.text}",
    "dmesg -x -T": lambda line: f"kern  :err   : [Wed Nov 29 10:00:00 2026] {line.text}",
    "dmesg -e": lambda line: f"[{'Nov29 10:00' if line.number % 9 else '  +0.000012'}] {line.text}",
    "dmesg --time-format=iso": lambda line: f"{ISO},123456+01:00 {line.text}",
    "level alone": lambda line: f"<4>{line.text}",
    "GitHub, of a journal": lambda line: f"{ISO}.1Z Nov 29 10:00:00 h kernel: {line.text}",
    "journalctl": lambda line: f"Nov 29 10:00:00 host-1 kernel: {line.text}",
    "short-precise": lambda line: f"Nov  9 10:00:00.123456 host kernel: {line.text}",
    "short-iso": lambda line: f"{ISO}+0100 host kernel: {line.text}",
    "short-full": lambda line: f"Sun 2026-11-29 10:00:00 UTC host.example kernel: {line.text}",
    "short-unix": lambda line: f"1795946400.123456 host kernel: {line.text}",
}  # fmt: skip
WITH_TIMES: dict[str, Callable[[LogLine], str]] = {
    "short-monotonic": lambda line: f"[{line.seconds or 0:12.6f}] host kernel: {line.text}",
    "rsyslog": lambda line: f"Nov 29 10:00:00 host kernel: {plain(line)}",
    "rsyslog's own": lambda line: f"{ISO}.123456+00:00 host kernel: {plain(line)}",
    "dmesg -x": lambda line: f"kern  :warn  : {plain(line)}",
    "dmesg -r": lambda line: f"<4>{plain(line)}",
    "dmesg -d": lambda line: f"[{line.seconds or 0:12.6f} <    0.000012>] {line.text}",
    "GitHub": lambda line: f"{ISO}.1234567Z {plain(line)}",
    "gh run view": lambda line: f"boot it\tRun make check\t{ISO}.1234567Z {plain(line)}",
    "GitLab": lambda line: f"{ISO}.123456Z 00O {plain(line)}",
    "Jenkins": lambda line: f"[{ISO}.123Z] {plain(line)}",
}
WITH_CALLERS: dict[str, Callable[[LogLine], str]] = {
    "serial, CRLF": lambda line: with_caller(line) + "\r",
    "syzbot": with_caller,
    "dmesg of util-linux 2.41": lambda line: plain(line).replace(
        "] ", f"] [{line.caller or 'T1':>6}] ", 1
    ),
    "/dev/kmsg": record,
    "GitHub, with callers": lambda line: f"{ISO}.1234567Z {with_caller(line)}",
}
FORMS = TEXT_ONLY | WITH_TIMES | WITH_CALLERS


def told(lines: list[str]) -> list[tuple[str, str, int]]:
    return [(hit.title, hit.signature, hit.line) for hit in klog.parse(lines)]


def kernels(log: Path) -> list[LogLine]:
    return [line for line in read(log.read_bytes()) if line.stamped and line.seconds is not None]


@each_log()
def test_a_log_reads_the_same_in_every_form(log: Path) -> None:
    lines = kernels(log)
    if not any(line.text for line in lines):
        pytest.skip("no line of it has a stamp")
    for plainest, others in (
        (lambda line: line.text, TEXT_ONLY), (plain, WITH_TIMES), (with_caller, WITH_CALLERS),
    ):  # fmt: skip
        wanted = told([plainest(line) for line in lines])
        for name, form in others.items():
            assert told([form(line) for line in lines]) == wanted, name


@pytest.mark.parametrize("name", FORMS)
def test_nothing_of_the_form_is_left(name: str) -> None:
    form = FORMS[name]
    texts = [
        "BUG: Bad page map in process x  pte:1 pmd:2",
        "Call Trace:",
        " f+0x1/0x2",
        "",
        "\ta b",
    ]
    lines = [LogLine(n, text, n / 8, "T7", True) for n, text in enumerate(texts, 1)]
    found = list(read(form(line) for line in lines))
    assert [line.text for line in found] == texts
    assert all(line.stamped for line in found)
    if name in WITH_CALLERS:
        assert {line.caller for line in found} == {"T7"}


def test_times_of_printk_are_kept() -> None:
    for form in ("rsyslog", "dmesg -d", "GitLab", "dmesg -r", "short-monotonic"):
        (line,) = read([FORMS[form](LogLine(1, "x", 12.5, "", True))])
        assert line.seconds == 12.5, form
    (line,) = read(["[Wed Nov 29 10:00:00 2026] [   T12] x"])
    assert (line.text, line.caller) == ("x", "T12")
    (line,) = read([record(LogLine(1, "ä \\ b", 12.5, "C3", True))])
    assert (line.text, line.seconds, line.caller) == ("ä \\ b", 12.5, "C3")


@pytest.mark.parametrize(
    "text",
    [
        "<12>[    1.000000] BUG: Bad page map", "user  :notice: [    1.000000] BUG: Bad page map",
        "12,7,1000000,-;BUG: Bad page map", "<30>BUG: Bad page map",
    ],
)  # fmt: skip
def test_what_a_program_wrote_into_kmsg_is_not_the_kernels(text: str) -> None:
    (line,) = read([text])
    assert line.text == "BUG: Bad page map"
    assert not line.stamped


@pytest.mark.parametrize(
    "text",
    [
        "Nov 29 10:00:00 host sshd[7]: BUG: x", "Nov 29 10:00:00 BUG: Bad page map",
        f"{ISO}Z WARNING: apt does not have a stable CLI interface", f"{ISO} host x: BUG: x",
        "2026-11-29 10:00:00,123 WARNING: x", "1234567890.123456 BUG: x", "1,2,3 BUG: x",
        "kern: BUG: x", "[x] BUG: x", "[10:00:00] BUG: x", "a\tb\tBUG: x", "<x>BUG: x",
        "[Wed Nov 29 2026] BUG: x", "4,5,6,-BUG: x",
    ],
)  # fmt: skip
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    (line,) = read([text])
    assert line.text == text
    assert not line.stamped


def test_in_a_console_the_journal_is_a_program() -> None:
    """What journald or a workload prints there has no stamp of printk's, and is no report."""
    text = "Nov 29 10:00:00 host kernel: BUG: Bad page map"
    first, second = read(["[    1.000000] x", text])
    assert first.stamped
    assert (second.text, second.stamped) == (text, False)
    (alone,) = read([text])
    assert (alone.text, alone.stamped) == ("BUG: Bad page map", True)


def test_a_job_log_of_a_kernel_without_stamps() -> None:
    lines = ["WARNING: apt is not stable", "Linux version 6.12.1", "BUG: Bad page map in process x"]
    found = list(read(f"{ISO}.1Z {line}" for line in lines))
    assert [line.text for line in found] == [f"{ISO}.1Z {lines[0]}", *lines[1:]]


@pytest.mark.parametrize("name", ["dmesg -T", "dmesg -x", "journalctl", "dmesg -d"])
def test_further_lines_of_a_record_are_indented(name: str) -> None:
    head = FORMS[name](LogLine(1, "vma 1 start 2", 3.0, "", True))
    width = len(head) - len("vma 1 start 2")
    found = list(read([head, " " * width + "prot 1", " " * (width - 1) + "no part", "nor this"]))
    assert [line.text for line in found][:2] == ["vma 1 start 2", "prot 1"]
    assert [line.stamped for line in found] == [True, True, False, False]


def test_a_record_may_have_several_lines() -> None:
    found = list(read([r"4,7,1000000,-;vma 1\x0aprot 1", " SUBSYSTEM=pci"]))
    assert [(line.number, line.text, line.stamped) for line in found] == [
        (1, "vma 1", True), (1, "prot 1", True), (2, " SUBSYSTEM=pci", False),
    ]  # fmt: skip


def test_a_byte_order_mark_and_buildkites_escapes() -> None:
    found = list(read("\ufeff[    1.000000] x\n\x1b_bk;t=17\x07[    2.000000] y".encode()))
    assert [(line.text, line.seconds) for line in found] == [("x", 1.0), ("y", 2.0)]


@given(st.text(alphabet="<>[]0123456789,;:.T Z+-Nov\tkernl\\x", max_size=60))
def test_no_line_makes_it_raise(text: str) -> None:
    for line in read([text, text]):
        assert len(line.text) <= len(text)
    forms.unwrap(text)
    forms.undated(text)


def test_time_is_linear_in_the_line() -> None:
    import time

    rng = random.Random(1)
    heads = ("<1>" * 9000, "1," * 9000, "Nov 29 " * 9000, "a\t" * 9000, "[" * 9000, " " * 20_000,
             "kern  :" * 5000, "2026-11-29T10:00:00Z " * 2000, "[Wed " * 9000)  # fmt: skip
    start = time.process_time()
    for _ in range(30):
        list(read(head + rng.choice("ab") for head in heads))
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("program", "kernel"),
    [
        ("<12>[   10.000000] ", "<4>[   11.000000] "),
        ("12,1,10000000,-;", "4,2,11000000,-;"),
        ("user  :warn  : [   10.000000] ", "kern  :warn  : [   11.000000] "),
    ],
)
def test_what_a_program_wrote_is_no_report_from_the_first_line_on(program, kernel):
    assert list(klog.parse([f"{program}WARNING: something new"])) == []
    (hit,) = klog.parse([f"{program}WARNING: something new", f"{kernel}WARNING: something new"])
    assert hit.line == 2
