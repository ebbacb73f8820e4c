# SPDX-License-Identifier: GPL-2.0-only
"""What one thread does is ended from another one, and nothing else is."""

from __future__ import annotations

import threading
import time

import pytest

from orchestrator.host import process
from orchestrator.host.ending import ended_by, is_ended
from orchestrator.model.errors import Ended


def command_in(event: threading.Event, *words: str) -> int:
    with ended_by(event):
        return process.run(words, deadline=50).status


def wait_in(event: threading.Event) -> None:
    with ended_by(event):
        process.sleep(0)
        event.set()
        process.sleep(0)


def test_a_wait_ends_at_once() -> None:
    with pytest.raises(Ended):
        wait_in(threading.Event())
    process.sleep(0)  # and the next one is nobody's to end


def test_a_command_ends_with_what_it_started() -> None:
    event = threading.Event()
    assert command_in(event, "true") == 0
    threading.Timer(0.2, event.set).start()
    began = time.monotonic()
    with pytest.raises(Ended):
        command_in(event, "sh", "-c", "sleep 60 & sleep 60")
    assert time.monotonic() - began < 10
    with pytest.raises(Ended):  # nor does one begin
        command_in(event, "true")
    assert process.run(["true"], deadline=10).status == 0


def test_what_must_be_done_is_done_all_the_same() -> None:
    event = threading.Event()
    with ended_by(event):
        event.set()
        with ended_by(None):
            assert not is_ended()
            assert process.run(["true"], deadline=10).status == 0
        assert is_ended()


def test_another_thread_goes_on() -> None:
    event = threading.Event()
    seen: list[bool] = []
    with ended_by(event):
        event.set()
        other = threading.Thread(target=lambda: seen.append(is_ended()))
        other.start()
        other.join()
        assert is_ended()
    assert seen == [False]
