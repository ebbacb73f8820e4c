# SPDX-License-Identifier: GPL-2.0-only
"""``--series -``: read once, kept beside the runs, and found again by rerun and ``--resume``."""

from __future__ import annotations

import gzip
import io
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.commands import run as command
from orchestrator.commands.arguments import cli
from orchestrator.commands.workspace import command_line
from orchestrator.kernel.series.load import load_series
from orchestrator.runner import run as runner

DIFF = b"diff --git a/mm/x.c b/mm/x.c\n--- a/mm/x.c\n+++ b/mm/x.c\n@@ -1 +1 @@\n-a\n+b\n"
MBOX = b"".join(
    b"From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"
    b"From: A <a@b.org>\nSubject: [PATCH %d/2] mm: x\n\n---\n%s--\n2.39.5\n\n" % (n, DIFF)
    for n in (1, 2)
)


class Planned(Exception):
    """A plan was made; nothing is run."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the runs of this test were asked for: plan and options."""
    seen: list[Any] = []

    def run_plan(plan: Any, _places: Any, options: Any, **_more: Any) -> Any:
        seen.append((plan, options))
        raise Planned

    monkeypatch.setattr(runner, "run_plan", run_plan)
    return seen


def give(monkeypatch: pytest.MonkeyPatch, data: bytes, *words: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    monkeypatch.setattr(sys, "argv", ["lab", *words])
    with pytest.raises(Planned):
        cli.main(list(words), standalone_mode=False)


@pytest.mark.parametrize("words", [("--series", "-"), ("--series=-",)])
@pytest.mark.parametrize("packed", [False, True])
def test_it_is_kept_by_its_content_and_the_command_names_the_file(
    folder: Path, asked: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], packed: bool
) -> None:
    data = gzip.compress(MBOX) if packed else MBOX
    give(monkeypatch, data, "run", "--arch", "x86_64", *words)
    plan, options = asked[0]
    kept = Path(plan.builds[0].kernel.series)
    assert kept.parent == folder / "reports" / "series"
    assert kept.read_bytes() == MBOX
    assert len(load_series(str(kept)).patches) == 2
    assert str(kept) in options.command
    assert " -" not in options.command.replace(" --", " ")
    # The command of the run repeats it, as a resumed run does, without standard input.
    monkeypatch.setattr(command, "command_of", lambda _run: shlex.split(options.command)[2:])
    monkeypatch.setattr(command.runs, "find_run", lambda *_: folder)
    give(monkeypatch, b"", "run", "--resume", "r1")
    assert asked[1][0].builds == plan.builds


def test_one_diff_is_a_series(folder: Path, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, DIFF, "run", "--arch", "x86_64", "--series", "-")
    assert len(load_series(asked[0][0].builds[0].kernel.series).patches) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "standard input holds no diff: it is empty"),
        (b"hello\n", "standard input holds no diff"),
        (b"<html><body>x", "standard input is a web page"),
    ],
)
def test_what_is_no_series_is_not_kept(
    lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    done = lab("run", "--series", "-", "--arch", "x86_64")
    assert done.status == 2
    assert said in done.err
    assert not (folder / "reports").exists()


def test_a_closed_one_is_told(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    done = lab("run", "--series", "-", "--arch", "x86_64")
    assert (done.status, "standard input is closed" in done.err) == (2, True)


def test_a_plan_reads_nothing(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    done = lab("plan", "--series", "-", "--arch", "x86_64")
    assert done.status == 0
    assert "debian:6.12 + standard input" in done.out
    assert not (folder / "reports").exists()


def test_a_login_needs_a_terminal_of_its_own(
    lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MBOX)))
    done = lab("shell", "--series", "-")
    assert done.status == 2
    assert "no terminal to log in from" in done.err


def test_other_words_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lab", "run", "--series", "-", "--out", "-"])
    assert command_line("/s") == "lab run --series /s --out -"
    assert command_line() == "lab run --series - --out -"
