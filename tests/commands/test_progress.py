# SPDX-License-Identifier: GPL-2.0-only
"""Progress as lines, as JSON and on a terminal; and nothing a guest says may spoil it."""

from __future__ import annotations

import io
import json
import re
import threading
from typing import TextIO

import pytest

from orchestrator.commands import progress
from orchestrator.model.evidence import Hit
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    Expectation,
    KernelSpec,
    KnownIssue,
    Plan,
    ShapeSpec,
)
from orchestrator.runner.context import Event

BUILD = Build("k/c/x86_64", KernelSpec("k", "path:x"), ConfigSpec("c"), "x86_64")
CELL = Cell("k/c/x86_64/small", BUILD, ShapeSpec("small"), ())
PLAN = Plan("smoke", (BUILD,), (CELL,))
RUN = (
    Event("kernel", "k", "fetch", "linux-source-6.12"),
    Event("kernel", "k", "done", "6.12.117"),
    Event("build", BUILD.id, "compile", "CC mm/userfaultfd.o", 0.25, seconds=3.0),
    Event("build", BUILD.id, "done", "12 s", 1.0, Verdict.PASS, 12.3),
    Event("cell", CELL.id, "boot", "booting"),
    Event("cell", CELL.id, "run", "uffd-move/basic"),
    Event("case", f"{CELL.id}:uffd-move/basic:one", "done", "", None, Verdict.PASS, 0.1),
    Event("case", f"{CELL.id}:uffd-move/basic:two", "done", "off by 1", None, Verdict.FAIL, 0.2),
    Event("cell", CELL.id, "done", "", 1.0, Verdict.FAIL),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    tried = 0

    def write(self, text: str) -> int:
        self.tried += 1
        raise BrokenPipeError


def show(how: str, events: tuple[Event, ...], stream: TextIO | None = None) -> str:
    stream = stream or io.StringIO()
    with progress.listener(PLAN, how, stream) as listener:
        for event in events:
            listener(event)
    return stream.getvalue() if isinstance(stream, io.StringIO) else ""


def test_choose() -> None:
    assert progress.choose(False, False, Terminal()) == "live"
    assert progress.choose(True, False, Terminal()) == "plain"
    assert progress.choose(False, False, io.StringIO()) == "plain"
    assert progress.choose(True, True, Terminal()) == "json"
    assert progress.choose(True, False, Terminal(), quiet=True) == "quiet"


def test_quiet_says_nothing() -> None:
    assert show("quiet", RUN, Terminal()) == ""


def test_plain_lines_are_dated_and_complete() -> None:
    lines = show("plain", RUN).splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    assert [line.split(" ", 1)[1] for line in lines] == [
        "kernel k fetch: linux-source-6.12",
        "kernel k done: 6.12.117",
        "build k/c/x86_64 compile  25%: CC mm/userfaultfd.o",
        "build k/c/x86_64 PASS: 12 s (12.3 s)",
        "cell k/c/x86_64/small boot: booting",
        "cell k/c/x86_64/small run: uffd-move/basic",
        "case k/c/x86_64/small:uffd-move/basic:one PASS (0.1 s)",
        "case k/c/x86_64/small:uffd-move/basic:two FAIL: off by 1 (0.2 s)",
        "cell k/c/x86_64/small FAIL",
    ]


@pytest.mark.parametrize("how", ["plain", "live"])
def test_of_a_long_reason_the_first_line(how: str) -> None:
    lines = "\n".join(["12 CPUs: got 1", *(f"line {n}" for n in range(11))])
    event = Event("case", "k/c/x86_64/s:w:c", "done", lines, verdict=Verdict.FAIL)
    out = show(how, (event,))
    assert "12 CPUs: got 1 [11 more]" in out
    assert "line 0" not in out


@pytest.mark.parametrize("how", ["plain", "live"])
@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("config", "CONFIG_B is n, asked for y (a.config:2)"),
        ("start", "from the build in debian-6.12: 1 of 1,201 objects to compile"),
    ],
)
def test_what_is_known_before_the_compile_stays_in_sight(how: str, stage: str, text: str) -> None:
    note = Event("build", "k/c/x86_64", stage, text)
    out = show(how, (note, Event("build", "k/c/x86_64", "compile", "mm/a.o", 0.1)))
    assert text in out


@pytest.mark.parametrize("how", ["plain", "live", "json"])
def test_what_is_tested_is_told_and_stays_in_sight(how: str) -> None:
    said = "your tree (6.12.117) differs from v6.12 in mm/userfaultfd.c (+1 -1)"
    out = show(how, (Event("kernel", "cli", "tested", said), *RUN))
    assert said in out
    assert "tested" in out[: out.index(said)]


def test_plain_does_not_repeat_itself() -> None:
    compiling = tuple(
        Event("build", BUILD.id, "compile", f"CC mm/{n}.o", n / 1000) for n in range(1, 900)
    )
    running = tuple(Event("cell", CELL.id, "run", f"uffd/basic: ok {n}") for n in range(50))
    booting = (Event("cell", CELL.id, "boot", "booting"),) * 5
    lines = show("plain", (*compiling, *running, *booting)).splitlines()
    assert len(lines) == 3


def test_json_is_one_object_a_line() -> None:
    objects = [json.loads(line) for line in show("json", RUN).splitlines()]
    assert len(objects) == len(RUN)
    assert [entry["event"] for entry in objects] == [event.kind for event in RUN]
    assert all(entry["time"].endswith("Z") for entry in objects)
    assert objects[2]["share"] == 0.25
    assert objects[7]["verdict"] == "fail"
    assert objects[7]["text"] == "off by 1"
    assert "verdict" not in objects[0]


def test_live_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", show("live", RUN, Terminal()))
    assert "ready  kernel k" in text
    assert "pass  build k/c/x86_64  12.3 s" in text
    assert "off by 1" in text
    assert ":one" not in text  # passing cases are counted at the end, not listed


@pytest.mark.parametrize("how", ["plain", "json", "live"])
@pytest.mark.parametrize(
    "said",
    ["[/dev/vdb] [bold", "\x1b[2J\x1b[31mred\r\n\x00", "\ufffd\u2603 {braces} %s", "x" * 5000,
     "line\nline\u2028line", "[link=file:///etc/passwd]x[/link]"],
)  # fmt: skip
def test_a_guests_words_spoil_nothing(how: str, said: str) -> None:
    events = (
        Event("cell", CELL.id, "run", said),
        Event("case", f"{CELL.id}:w:{said}", "done", said, None, Verdict.FAIL, 1.0),
        Event("cell", CELL.id, "done", said, 1.0, Verdict.ERROR),
    )
    text = show(how, events, Terminal() if how == "live" else None)
    assert "\x1b[2J" not in text
    assert "\x00" not in text
    if how != "live":
        assert len(text.splitlines()) == text.count("\n")
        assert text.count("\n") == 3


@pytest.mark.parametrize("how", ["plain", "json"])
def test_reader_that_went_away_ends_no_run(how: str) -> None:
    gone = Gone()
    show(how, RUN, gone)
    assert gone.tried
    closed = io.StringIO()
    closed.close()
    with progress.listener(PLAN, how, closed) as listener:
        listener(RUN[0])


def test_terminal_with_another_character_set() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show("plain", (Event("cell", CELL.id, "boot", "\u2018quoted\u2019"),), stream)
    assert rb"\u2018quoted\u2019" in raw.getvalue()


@pytest.mark.parametrize("how", ["plain", "json"])
def test_lines_of_many_threads_do_not_mix(how: str) -> None:
    stream = io.StringIO()
    with progress.listener(PLAN, how, stream) as listener:

        def work(n: int) -> None:
            for m in range(50):
                listener(Event("case", f"c{n}:{m}", "done", "t" * 50, None, Verdict.PASS, 1.0))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 400
    assert all(line.count("t" * 50) == 1 for line in lines)


# ---------------------------------------------------------------- what lab.yaml foresees

P, F = Verdict.PASS, Verdict.FAIL
BAD = "bad/default/x86_64/small"
RSS = "BUG: Bad rss-counter state type:MM_ANONPAGES"
FORESEEN = Plan(
    "p", (), (), (Expectation("bad", "*", "f/w:*", "Bad rss-counter"),
                  Expectation("broken", "*", "build:build", "implicit declaration")),
    known_issues=(KnownIssue("tracked", signature="a" * 16, kernels=("< 6.13",)),),
)  # fmt: skip


def said(*events: Event, how: str = "plain") -> list[str]:
    stream = io.StringIO()
    with progress.listener(FORESEEN, how, stream) as listener:
        for event in events:
            listener(event)
    return stream.getvalue().splitlines()


def failing(name: str, reason: str, *signatures: str) -> Event:
    hits = tuple(Hit(f"WARNING in {s[0]}", "warning", s, 1, "") for s in signatures)
    case = CaseResult(f"{BAD}:f/w:{name}", "f/w", name, F, reason, hits=hits)
    return Event("case", case.id, "done", reason, None, F, case=case)


def kernel(version: str) -> Event:
    return Event("kernel", "bad", "done", "source", version=version)


def test_a_line_says_that_the_failure_was_foreseen() -> None:
    lines = said(
        kernel("6.12.30"),
        Event("case", f"{BAD}:f/w:counters", "done", "off by one", None, F),
        Event("case", f"{BAD}:f/w:kernel-log", "done", RSS, None, F),
        failing("kernel-log", "WARNING in a", "a" * 16),
        failing("kernel-log", "WARNING in a", "a" * 16, "b" * 16),
    )
    told = [line.partition(BAD)[2] for line in lines[1:]]
    assert told[0].startswith(":f/w:counters FAIL: ")
    assert told[1].startswith(":f/w:kernel-log FAIL (expected): ")
    assert told[2].startswith(":f/w:kernel-log FAIL (known issue): ")
    assert told[3].startswith(":f/w:kernel-log FAIL: ")


def test_an_issue_is_known_in_its_range_only() -> None:
    event = failing("kernel-log", "WARNING in a", "a" * 16)
    assert " FAIL: " in said(kernel("6.13.0"), event)[-1]
    assert " FAIL: " in said(event)[-1]  # the version is not known


def test_a_cell_and_a_build() -> None:
    cell = Event("cell", BAD, "done", "", None, F)
    log = failing("kernel-log", "WARNING in a", "a" * 16)
    other = failing("other", "got 1, expected 2")
    assert said(kernel("6.12"), log, cell)[-1].endswith("small PASS (1 known issue)")
    assert said(kernel("6.12"), log, log, cell)[-1].endswith("small PASS (2 known issues)")
    expected = Event("case", f"{BAD}:f/w:kernel-log", "done", RSS, None, F)
    assert said(kernel("6.12"), expected, log, cell)[-1].endswith("PASS (2 expected failures)")
    assert said(kernel("6.12"), log, other, cell)[-1].endswith("FAIL")
    lost = Event("case", f"{BAD}:f/v:host", "done", "no disk", None, Verdict.ERROR)
    assert said(kernel("6.12"), log, lost, cell)[-1].endswith("FAIL")
    built = Event("build", "broken/default/arm64", "done", "x.c:1: implicit declaration", 1.0, F)
    unbooted = Event("cell", "broken/default/arm64/small", "done", "not booted", 1.0, F)
    assert all("FAIL (expected)" in line for line in said(built, unbooted))


def test_scripts_see_a_cell_fail_as_before() -> None:
    log = failing("kernel-log", "WARNING in a", "a" * 16)
    cell = Event("cell", BAD, "done", "", None, F)
    told = json.loads(said(kernel("6.12"), log, cell, how="json")[-1])
    assert (told["verdict"], told["foreseen"]) == ("fail", "known issue")
    assert told["foreseen_cases"] == 1


def test_scripts_get_a_field_and_no_case() -> None:
    (line,) = said(failing("kernel-log", RSS), how="json")
    told = json.loads(line)
    assert (told["verdict"], told["foreseen"]) == ("fail", "expected")
    assert "case" not in told
    (line,) = said(Event("case", f"{BAD}:f/w:a", "done", verdict=P), how="json")
    assert "foreseen" not in json.loads(line)
