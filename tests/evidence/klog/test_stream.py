# SPDX-License-Identifier: GPL-2.0-only
"""Reading takes linear time and bounded memory, whatever is read."""

from __future__ import annotations

import io
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from measure_klog import flood

from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog.lines import MAX_RAW, raw_lines, read

CUT = "------------[ cut here ]------------"


def line(text: str, caller: str = "T1", seconds: float = 1.0) -> str:
    return f"[{seconds:12.6f}][{caller:>6}] {text}"


def stalls(count: int) -> Iterator[str]:
    for i in range(count // 2):
        yield line("rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", f"C{i % 8}")
        yield line(f"NMI backtrace for cpu {i}", f"T{i}")


# What could cost more the longer it is; each takes the number of lines, or of pieces of one line.
HOSTILE: dict[str, Callable[[int], Iterator[str]]] = {
    "cut here": lambda n: (line(CUT) for _ in range(n)),
    "cut here by all": lambda n: (line(CUT, f"T{i}") for i in range(n)),
    "callers": lambda n: (line("BUG: Bad page map in process x", f"T{i}") for i in range(n)),
    "nested headers": lambda n: (
        line(text)
        for _ in range(n // 6)
        for text in (
            CUT, "page dumped because: VM_BUG_ON_FOLIO(x)", "kernel BUG at mm/x.c:1!",
            "KASAN: null-ptr-deref in range [0x0-0x7]", "Oops: invalid opcode: 0000 [#1] SMP",
            "Kernel panic - not syncing: x",
        )
    ),
    "one kind of note": lambda n: (
        line("KASAN: null-ptr-deref in range [0x0-0x7]") for _ in range(n)
    ),
    "one-liners in an open report": lambda n: (
        line("BUG: KASAN: x in f+0x1/0x2", "T9") if i == 0 else line("BUG: Bad rss-counter", "T1")
        for i in range(n)
    ),
    "stalls and backtraces": stalls,
    "frames": lambda n: (
        line(t) for t in ("BUG: Bad page map", "Call Trace:", *[" f+0x1/0x2"] * n)
    ),
    "traces": lambda n: (line("Call Trace:") for _ in range(n)),
    "oom without end": lambda n: (
        line("x invoked oom-killer: gfp_mask=0x1") if i == 0 else line("[     29]     0    29")
        for i in range(n)
    ),
    "rulers": lambda n: (line("=" * 66) for _ in range(n)),
    "stamps in one line": lambda n: iter(["[    1.000000][    T1] BUG: " * n]),
    "brackets in one line": lambda n: iter(["[" * (n * 20)]),
    "escapes in one line": lambda n: iter(["\x1b[1" * (n * 5)]),
    "carriage returns": lambda n: iter(["x\r" * n]),
    "words of headers": lambda n: iter(["BUG: WARNING: INFO: in a at b " * n]),
    "quotes": lambda n: (line(t) for _ in range(n // 3) for t in (
        CUT, "'" * 200 + '"' * 200, "WARNING: CPU: 0 PID: 1 at mm/x.c:1 f+0x1/0x2",
    )),
    "locks": lambda n: (line(t) for _ in range(n // 2) for t in (
        "WARNING: possible recursive locking detected", "ffff888004a01f28 (" + "(" * 300,
    )),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear(name: str) -> None:
    """Four times the input takes at most 6.25 times as long: 2.5 for each doubling."""

    def cost(count: int) -> float:
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            for hit in klog.parse(HOSTILE[name](count)):
                assert len(hit.text) < 100_000
            best = min(best, time.process_time() - start)
        return best

    count = 1000
    while (small := cost(count)) < 0.015 and count < 100_000:
        count *= 2
    large = cost(4 * count)
    assert large < 6.25 * small + 0.05, (count, small, large)


@pytest.mark.slow
def test_memory_is_bounded_for_a_stream() -> None:
    tracemalloc.start()
    hits = sum(1 for _ in klog.parse(flood(2_500_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert hits > 8
    assert peak < 8_000_000


@pytest.mark.slow
def test_twice_the_log_takes_no_more_memory() -> None:
    def peak(size: int) -> int:
        tracemalloc.start()
        for _ in klog.parse(flood(size)):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(2_000_000) < 1.3 * peak(1_000_000) + 1_000_000


@pytest.mark.slow
def test_a_line_without_end_is_read_in_pieces(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.write(
            b"[    1.000000][    T1] BUG: Bad rss-counter state mm:0 type:MM_ANONPAGES val:1\n"
        )
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b"\n[    2.000000][    T1] BUG: Bad rss-counter state mm:0 type:MM_FILEPAGES\n")
    tracemalloc.start()
    with log.open("rb") as file:
        hits = list(klog.parse(file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(hit.line, hit.title.split(":")[-1]) for hit in hits] == [
        (1, "MM_ANONPAGES"), (3, "MM_FILEPAGES"),
    ]  # fmt: skip
    assert peak < 4_000_000


def test_lines_of_a_file() -> None:
    data = b"a\n" + b"b" * (9 * MAX_RAW) + b"\nc"
    assert [(line[0], len(line) < 3 * MAX_RAW) for line in raw_lines(io.BytesIO(data))] == [
        ("a", True), ("b", True), ("c", True),
    ]  # fmt: skip
    exact = b"b" * (MAX_RAW - 1) + b"\n" + b"c" * MAX_RAW
    assert [line[:1] for line in raw_lines(io.BytesIO(exact))] == ["b", "c"]
    assert list(raw_lines(io.BytesIO(b""))) == []
    assert list(raw_lines(io.BytesIO(b"\n\n"))) == ["", ""]
    cut = "é".encode() * MAX_RAW + b"\nx"  # a character across two blocks
    assert list(raw_lines(io.BytesIO(b"x\n" + cut))) == ["x", "é" * MAX_RAW, "x"]


def test_a_file_reads_as_its_bytes() -> None:
    data = b"".join(flood(300_000))
    assert list(klog.parse(io.BytesIO(data))) == list(klog.parse(data))
    assert [x.number for x in read(io.BytesIO(b"a\n\nb"))] == [1, 2, 3]
