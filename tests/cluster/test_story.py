# SPDX-License-Identifier: GPL-2.0-only
"""What a worker tells while it is at work: nothing twice, nothing lost, each attempt apart."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from orchestrator.cluster import story
from orchestrator.cluster.story import BEGAN, FILE, Ear, Message, Story
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.runner.context import Event

CELL = "k/c/x86_64/small"


def case(name: str) -> Event:
    told = CaseResult(f"{CELL}:w:{name}", "w", name, Verdict.PASS)
    return Event("case", told.id, "done", verdict=Verdict.PASS, case=told)


class Wire:
    """Between a story and an ear: may lose what is sent."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[Event] = []
        self.sent: list[Message] = []
        self.lose = False
        self.folder = folder
        self.ear = Ear(self.heard.append, folder / "run", {CELL: "cell"})

    def send(self, message: Message) -> None:
        self.sent.append(message)
        if not self.lose:
            self.ear.hear(message)

    def begin(self, attempt: str, worker: str, gone: bool = False) -> Story:
        folder = self.folder / attempt
        folder.mkdir()
        return Story(CELL, attempt, worker, folder, self.send, lambda: gone)


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    (tmp_path / "run").mkdir()
    return Wire(tmp_path)


def test_events_are_heard_as_they_come_and_once(wire: Wire) -> None:
    with wire.begin("1", "one") as told:
        told.tell(case("a"))
        assert wire.heard == [case("a")]
        wire.lose = True
        told.tell(case("b"))
        wire.lose = False
        told.tell(case("c"))
    lost = wire.ear.over(CELL, "1", tuple(told.events))
    assert lost == ()
    assert [event.id[-1] for event in wire.heard] == ["a", "c", "b"]  # late, and not lost
    told.tell(case("d"))
    assert all(not event.id.endswith("d") for event in wire.heard)  # it is over


def test_what_was_not_heard_comes_with_the_answer(wire: Wire) -> None:
    with wire.begin("1", "one") as told:
        told.tell(case("a"))
        wire.lose = True
        told.tell(case("b"))
        told.tell(case("c"))
    wire.ear.over(CELL, "1", tuple(told.events))
    assert [event.id[-1] for event in wire.heard] == ["a", "b", "c"]


def test_a_lost_worker_is_told_and_its_cases_count_once(wire: Wire) -> None:
    first = wire.begin("1", "one")
    first.tell(case("a"))
    second = wire.begin("2", "two")
    first.tell(case("late"))  # one that was stopped goes on, and nobody listens
    second.tell(case("a"))
    second.tell(case("b"))
    assert wire.ear.over(CELL, "2", tuple(second.events)) == ("one",)
    assert [event.id[-1] for event in wire.heard if event.kind == "case"] == ["a", "b"]
    again = [event for event in wire.heard if event.stage == "again"]
    assert [event.text for event in again] == ["worker one was lost with it: begun again on two"]


def test_a_scheduler_that_is_lost_loses_no_worker(wire: Wire) -> None:
    wire.begin("1", "one")
    wire.ear.scheduler_lost()
    second = wire.begin("2", "one")
    assert wire.ear.over(CELL, "2", tuple(second.events)) == ()


def test_logs_are_shown_as_they_grow(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "PERIOD", 0.02)
    monkeypatch.setattr(story, "CHUNK", 10)
    with wire.begin("1", "one") as told:
        log = told.folder / "cells" / "console.log"
        log.parent.mkdir()
        log.write_bytes(b"0123456789abcdef")
        shown = wire.folder / "run" / "cells" / "console.log"
        until = time.monotonic() + 10
        while time.monotonic() < until and not (
            shown.exists() and shown.read_bytes() == b"0123456789abcdef"
        ):
            time.sleep(0.01)
        assert shown.read_bytes() == b"0123456789abcdef"
        assert max(len(m[5]) for m in wire.sent if m[0] == FILE) == 10


def test_nothing_is_written_outside_the_runs_folder(wire: Wire) -> None:
    wire.ear.hear((BEGAN, CELL, "1", "one", None, None))
    wire.ear.hear((FILE, CELL, "1", "../escaped.log", 0, b"x"))
    wire.ear.hear((FILE, CELL, "1", "inside.log", 0, b"x"))
    assert not (wire.folder / "escaped.log").exists()
    assert (wire.folder / "run" / "inside.log").read_bytes() == b"x"


def test_what_nobody_wants_any_more_ends(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "PERIOD", 0.02)
    with wire.begin("1", "one", gone=True) as told:
        assert told.ending.wait(10)
    assert all(not thread.name.startswith("story") for thread in threading.enumerate())
