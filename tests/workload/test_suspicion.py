# SPDX-License-Identifier: GPL-2.0-only
"""What makes a guest worth a look, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.host.starved import HostTime
from orchestrator.workload.suspicion import LEAST, Suspicion, Suspicions, limit


def told(seconds: float, state: str = "R", tid: int = 471) -> bytes:
    return b'{"stuck":%d,"state":"%s","seconds":%.2f,"wchan":"0"}\n' % (
        tid, state.encode(), seconds,
    )  # fmt: skip


def due(found: Suspicions, now: float, starved: float = 0.0, ran: float = 0.0) -> Suspicion | None:
    return found.due(now, lambda: HostTime(starved, {0: 0.0, 1: ran}))


def watched(longest_call: float = 1.5, slowness: float = 1.0) -> Suspicions:
    """From 0 to 30 s there was nothing to suspect."""
    found = Suspicions(0.0, limit(longest_call, slowness))
    for second in range(31):
        found.hear(b'{"t":1.0}\n', float(second))
        assert due(found, float(second), 0.0) is None
    return found


def test_a_call_that_lasts() -> None:
    found = watched()
    found.hear(told(LEAST - 1), 31.0)
    assert due(found, 31.0, 0.0) is None
    found.hear(told(LEAST - 1) + told(LEAST), 32.0)
    assert due(found, 32.0, 0.0) == Suspicion(471, "R", LEAST, "0")


def test_the_last_half_of_a_line_is_not_read() -> None:
    found = watched()
    found.hear(told(LEAST)[:-1], 31.0)
    assert due(found, 31.0, 0.0) is None


def test_silence() -> None:
    found = watched()
    assert due(found, 30.0 + LEAST - 0.6, 0.0) is None
    suspect = due(found, 30.0 + LEAST, 0.0)
    assert suspect is not None
    assert (suspect.tid, suspect.told) == (0, "nothing was heard of the guest for 10 s")


def test_a_guest_that_is_there_is_not_silent() -> None:
    found = watched()
    for second in range(31, 60):
        found.hear(b'{"stuck":0}\n', float(second))
        assert due(found, float(second), 0.0) is None


@pytest.mark.parametrize("suspect", [told(LEAST + 1), told(LEAST + 1, "D")])
def test_time_without_a_cpu_is_not_the_guests(suspect: bytes) -> None:
    found = watched()
    for second in range(31, 41):  # for the half of which it had none
        found.hear(b'{"t":1.0}\n', float(second))
        assert due(found, float(second), (second - 30) / 2) is None
    found.hear(suspect, 41.0)
    assert due(found, 41.0, 5.5) is None
    found.hear(suspect.replace(b"11.00", b"21.00"), 51.0)
    assert due(found, 51.0, 10.5) is not None


def test_a_cpu_that_ran_counts_although_another_one_had_to_wait() -> None:
    found = watched()
    found.hear(told(LEAST + 4), 31.0)
    assert due(found, 31.0, 25.0, ran=LEAST - 1) is None
    found.hear(told(LEAST + 5), 32.0)
    assert due(found, 32.0, 26.0, ran=LEAST) is not None


def test_calls_that_are_long_by_nature_and_slow_guests() -> None:
    found = watched(longest_call=40.0)
    found.hear(told(39.0), 31.0)
    assert due(found, 31.0, 0.0) is None
    found.hear(told(40.0), 32.0)
    assert due(found, 32.0, 0.0) is not None
    found = watched(slowness=20.0)
    found.hear(told(29.0), 31.0)
    assert due(found, 31.0, 0.0) is None
    found.hear(told(30.0), 32.0)
    assert due(found, 32.0, 0.0) is not None


def test_after_looks_that_proved_nothing_it_takes_longer() -> None:
    found = watched()
    found.hear(told(12.0), 31.0)
    assert due(found, 31.0, 0.0) is not None
    found.unproven()
    assert due(found, 31.6, 0.0) is None
    found.hear(told(19.0), 38.0)
    assert due(found, 38.0, 0.0) is None
    found.hear(told(20.5), 40.0)
    assert due(found, 40.0, 0.0) is not None


def test_what_the_sampler_no_longer_says_is_over() -> None:
    found = watched()
    found.hear(told(LEAST), 31.0)
    for second in range(32, 45):
        found.hear(b'{"t":1.0}\n', float(second))
    assert due(found, 44.0, 0.0) is None


@given(st.binary())
def test_no_line_is_too_strange(line: bytes) -> None:
    found = Suspicions(0.0, LEAST)
    found.hear(b'{"stuck":' + line + b"\n", 1.0)
    assert due(found, 1.0, 0.0) is None or b"second" in line


@pytest.mark.parametrize(
    ("suspicion", "words"),
    [
        (Suspicion(7, "R", 10.4, "0"), "one call of task 7 burnt 10 s"),
        (Suspicion(7, "D", 11.0, "ask_for_kept_mutex"),
         "task 7 slept in ask_for_kept_mutex for 11 s"),
        (Suspicion(7, "D", 11.0, "0"), "task 7 slept for 11 s"),
    ],
)  # fmt: skip
def test_in_words(suspicion: Suspicion, words: str) -> None:
    assert suspicion.told == words
