# SPDX-License-Identifier: GPL-2.0-only
"""The command line as a user meets it, without a process for it."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

import pytest

from orchestrator.commands import entry
from orchestrator.commands.arguments import cli


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    status: int
    out: str
    err: str


def run_lab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> Outcome:
    """Run ``lab WORDS`` within this process, around it what a real one has."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(sys, "argv", ["lab", *words])
    capsys.readouterr()
    try:
        with pytest.raises(SystemExit) as end:
            entry.run_command(cli)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert "unexpected" not in err
    return Outcome(int(end.value.code or 0), out, err)
