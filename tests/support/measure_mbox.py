# SPDX-License-Identifier: GPL-2.0-only
"""Time and memory of reading a large mailbox: ``python tests/support/measure_mbox.py replies 100``.

``replies`` is a series of 20 patches among answers that quote it, ``patches`` nothing but patches;
so many MB are written to a temporary file and read in a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from peak_memory import peak_kib

from orchestrator.kernel.series.load import load_series

_PATCH = 57_000  # bytes of each of ``patches``
_SERIES = 20


def mail(n: int, subject: str, body: str, answers: str = "") -> str:
    """One mail of a mailbox, with the line that begins it."""
    return (
        "From mboxrd@z Thu Jan  1 00:00:00 1970\n"
        "From: Ann Author <ann@example.org>\nDate: Sat, 23 Sep 2023 01:31:45 +0000\n"
        f"Message-ID: <{n}@x>\n{answers}Subject: {subject}\n\n{body}\n"
    )


def patch(n: int, total: int, size: int) -> str:
    """A patch of about ``size`` bytes to a file of its own."""
    hunks, written = [], 0
    while written < size:
        at = len(hunks) * 10 + 1
        hunks.append(
            f"@@ -{at},3 +{at},3 @@ f()\n one {n}\n-two as it was\n+two as it is\n three\n"
        )
        written += len(hunks[-1])
    name = f"mm/f{n}.c"
    diff = f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n{''.join(hunks)}"
    return mail(n, f"[PATCH {n}/{total}] mm: part {n}", f"Why.\n---\n{diff}-- \n2.39\n")


def mailbox(kind: str, size: int) -> Iterator[str]:
    """The mails of a mailbox of about ``size`` bytes."""
    if kind == "patches":
        total = size // _PATCH
        yield from (patch(n, total, _PATCH) for n in range(1, total + 1))
        return
    yield from (patch(n, _SERIES, 100) for n in range(1, _SERIES + 1))
    quoted = "".join(f"> line {k} of a patch that somebody answers to\n" for k in range(60))
    reply = mail(9, f"Re: [PATCH 1/{_SERIES}] mm: part 1", f"{quoted}\nFine.\n",
                 "In-Reply-To: <1@x>\n")  # fmt: skip
    yield from (reply for _ in range(size // len(reply)))


def main() -> None:
    kind, megabytes = sys.argv[1], int(sys.argv[2])
    with tempfile.NamedTemporaryFile("w", suffix=".mbox") as file:
        file.writelines(mailbox(kind, megabytes * 1_000_000))
        file.flush()
        start = time.process_time()
        series = load_series(str(Path(file.name)))
        seconds = time.process_time() - start
    peak = peak_kib() / 1024
    print(f"{megabytes} MB, {len(series.patches)} patches: {seconds:.1f} s of CPU; "
          f"{peak:.0f} MiB at most")  # fmt: skip


if __name__ == "__main__":
    main()
