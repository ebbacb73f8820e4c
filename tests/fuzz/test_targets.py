# SPDX-License-Identifier: GPL-2.0-only
"""The fuzz targets without a fuzzer: their corpora, what was once found, and mutations of both.

Every parser of what others write takes each of these, or refuses it with one of the lab's errors,
in a time that grows with the input alone.  ``make fuzz`` goes on from here, guided by coverage.
"""

from __future__ import annotations

import gc
import random
import re
import time
from collections.abc import Callable

import pytest
from fuzz_targets import CORPORA, TARGETS, Target
from run_fuzz import FLAT, PER_BYTE

from orchestrator import HOME

EACH = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
QUICK = pytest.mark.parametrize(
    "target", [target for target in TARGETS.values() if not target.slow], ids=lambda t: t.name
)
#: How long an input is made to see whether time grows with it: bytes, and how many times longer.
SMALL, TIMES = 8 << 10, 8
#: Of how many files of a corpus, and of how many lines of each.
MOST_FILES, MOST_LINES = 6, 10


@EACH
def test_it_takes_its_corpus_and_what_was_once_found(target: Target) -> None:
    corpus = target.corpus()
    assert corpus
    for path in corpus:
        target(path.read_bytes())
    target(b"")


def mutations(data: bytes, rng: random.Random) -> bytes:
    """One of what fuzzers do: bits, bytes, numbers, and pieces cut out, doubled or strange."""
    made = bytearray(data or b"x")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made) + 1)
        end = min(len(made), at + rng.randint(1, 40))
        match rng.randrange(6):
            case 0:
                made[at:end] = rng.randbytes(end - at)
            case 1:
                del made[at:end]
            case 2:
                made[at:at] = made[at:end] * rng.randint(1, 20)
            case 3:
                made[at:at] = rng.choice(STRANGE)
            case 4:
                number = re.search(rb"\d+", bytes(made[at:]))
                if number:
                    made[at + number.start() : at + number.end()] = rng.choice(NUMBERS)
            case 5:
                del made[rng.randrange(len(made) + 1) :]
                made = made or bytearray(b"\n")
    return bytes(made)


STRANGE = (
    b"\0", b"\n", b"\r\n", b"\xff\xfe", "\u00b2\u0663".encode(), "\u2028\u202e\ufeff".encode(),
    b"\xed\xa0\x80", b"\x1b[2J", b"{" * 50, b"(" * 50, b"[" * 50, b"\\" * 9, b'"', b"'", b"%%%%\n",
    b"&a *a", b"<<: *a", b"!!python/object:x", b": ", b"- ", b"@@ -1 +1 @@\n",
)  # fmt: skip
NUMBERS = (
    b"0", b"-1", b"00009", b"4294967296", b"18446744073709551616", b"9" * 30, b"1" * 5000,
    b"1e999", b"0x", "\u00b2".encode(), "\u0663".encode(), b"NaN", b"",
)  # fmt: skip


@QUICK
def test_it_takes_mutations_of_its_corpus(target: Target) -> None:
    _mutate(target, 60)


@pytest.mark.slow
@EACH
def test_it_takes_many_mutations_of_its_corpus(target: Target) -> None:
    _mutate(target, 200 if target.slow else 3000)


def _mutate(target: Target, count: int) -> None:
    rng = random.Random(target.name)
    corpus = [path.read_bytes() for path in target.corpus()]
    for _ in range(count):
        data = mutations(rng.choice(corpus), rng)
        began = time.thread_time()
        target(data)
        assert time.thread_time() - began < FLAT + PER_BYTE * len(data), data[:200]


@pytest.mark.slow
@QUICK
def test_its_time_grows_with_the_input_alone(target: Target) -> None:
    """Of what its corpus holds, and of single lines of it, repeated."""
    for path in target.corpus()[:MOST_FILES]:
        data = path.read_bytes()
        for piece in {data, *data.splitlines(keepends=True)[:MOST_LINES], data.replace(b"\n", b"")}:
            if piece:
                small = _seconds(target, _grown(piece, SMALL))
                large = _seconds(target, _grown(piece, SMALL * TIMES))
                # A quadratic one takes TIMES * TIMES; of less than that clocks cannot tell.
                assert large < 0.05 + small * TIMES * 4, (path.name, piece[:100], small, large)


def _grown(piece: bytes, size: int) -> bytes:
    return piece * (size // len(piece) + 1)


def _seconds(target: Callable[[bytes], None], data: bytes) -> float:
    best = 60.0
    gc.disable()  # a collection takes what other tests left behind as well
    try:
        for _ in range(2):
            began = time.thread_time()
            target(data)
            best = min(best, time.thread_time() - began)
    finally:
        gc.enable()
    return best


def test_corpora_are_small_and_each_has_its_target() -> None:
    files = [path for path in CORPORA.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= set(TARGETS)
    assert sum(path.stat().st_size for path in files) < 1 << 20


def test_the_page_names_each_target() -> None:
    page = (HOME / "docs" / "fuzzing.md").read_text("utf-8")
    told = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert told == list(TARGETS)
