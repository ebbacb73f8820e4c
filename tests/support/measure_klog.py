# SPDX-License-Identifier: GPL-2.0-only
"""Time and memory of reading a large kernel log: ``python tests/support/measure_klog.py 200``.

The log is made of this folder's reports among ordinary lines of 400 tasks, written to a temporary
file and read as a stream in a process of its own.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator

from peak_memory import peak_kib

from orchestrator import HOME
from orchestrator.evidence.klog import parse as klog

DATA = HOME / "tests" / "data" / "klog"


def flood(size: int, seed: int = 1) -> Iterator[bytes]:
    """Lines of a log of about ``size`` bytes: a report between each 2000 ordinary lines."""
    rng = random.Random(seed)
    boot = (DATA / "guest-arm64-clean.log").read_bytes().split(b"\n")
    texts = [line.split(b"] ", 1)[1] for line in boot if b"] " in line]
    texts = [text for text in texts if not text.startswith(b"Linux version")]
    reports = [
        log.read_bytes().rstrip(b"\n") + b"\n"
        for log in sorted(DATA.glob("*.log"))
        if not log.stem.startswith("guest") and b"Linux version" not in log.read_bytes()
    ]
    seconds, written = 1.0, 0
    while written < size:
        for _ in range(2000):
            seconds += 0.001
            line = b"[%12.6f][%6s] %s\n" % (
                seconds, b"T%d" % rng.randrange(1, 400), rng.choice(texts)
            )  # fmt: skip
            written += len(line)
            yield line
        report = rng.choice(reports)
        written += len(report)
        yield report


def main() -> None:
    megabytes = int(sys.argv[1])
    with tempfile.TemporaryFile() as file:
        file.writelines(flood(megabytes * 1_000_000))
        file.seek(0)
        before = peak_kib()
        start = time.process_time()
        hits = sum(1 for _ in klog.parse(file))
        seconds = time.process_time() - start
    after = peak_kib()
    print(
        f"{megabytes} MB, {hits} hits: {seconds:.1f} s of CPU; {after / 1024:.0f} MiB at most, of "
        f"which {(after - before) / 1024:.0f} MiB more than before reading"
    )


if __name__ == "__main__":
    main()
