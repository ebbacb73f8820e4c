# SPDX-License-Identifier: GPL-2.0-only
"""The terminal notifies where it can, when it is wanted, and nothing is written elsewhere."""

from __future__ import annotations

import io

import pytest

from orchestrator.commands import notify


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("asked", "seconds", "env", "wanted"),
    [
        (None, 31.0, {}, True),
        (None, 29.0, {}, False),
        (None, 31.0, {"CI": "true"}, False),
        (None, 31.0, {"CI": "false"}, True),
        (None, 31.0, {"NO_COLOR": "1"}, True),
        (None, 31.0, {"TERM": "dumb"}, False),
        (True, 1.0, {"CI": "true"}, True),
        (False, 99.0, {}, False),
    ],
)
def test_when(asked: bool | None, seconds: float, env: dict[str, str], wanted: bool) -> None:
    assert notify.wanted(asked, seconds, Terminal(), env) is wanted
    assert notify.wanted(asked, seconds, io.StringIO(), env) is False


@pytest.mark.parametrize(
    ("env", "sent"),
    [
        ({"TERM": "xterm-kitty"},
         "\x1b]99;i=lab:d=0;lab\x1b\\\x1b]99;i=lab:d=1:p=body;pass, 1 case\x1b\\"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "\x1b]9;lab: pass, 1 case\x1b\\"),
        ({"TERM_PROGRAM": "WezTerm"}, "\x1b]777;notify;lab;pass, 1 case\x1b\\"),
        ({"TERM": "xterm-ghostty"}, "\x1b]777;notify;lab;pass, 1 case\x1b\\"),
        ({"TERM": "foot-extra"}, "\x1b]777;notify;lab;pass, 1 case\x1b\\"),
        ({"VTE_VERSION": "7600"}, "\x1b]777;notify;lab;pass, 1 case\x1b\\\a"),
        ({"WT_SESSION": "a-b"}, "\x1b]777;notify;lab;pass, 1 case\x1b\\\a"),
        ({"TERM": "xterm"}, "\a"),
        ({}, "\a"),
        ({"TMUX": "/tmp/x", "TERM_PROGRAM": "WezTerm"}, "\a"),
        ({"STY": "1.x", "KITTY_WINDOW_ID": "1"}, "\a"),
        ({"TERM": "screen-256color", "VTE_VERSION": "7600"}, "\a"),
    ],
)  # fmt: skip
def test_what(env: dict[str, str], sent: str) -> None:
    assert notify.sequence("lab", "pass; 1 case", env) == sent


@pytest.mark.parametrize("env", [{"TERM": "xterm-kitty"}, {"TERM_PROGRAM": "iTerm.app"}, {}])
def test_a_guests_words_end_no_sequence(env: dict[str, str]) -> None:
    said = "\x1b\\\x9c\a\x1b]0;owned\x07\u2028\x18" + "x" * 900
    plain = notify.sequence("lab", "x" * 900, env)
    sent = notify.sequence("lab", said, env)
    assert sorted(c for c in sent if not c.isprintable()) == sorted(
        c for c in plain if not c.isprintable()
    )
    assert len(sent) < 300
    assert sent.isascii()


def test_a_terminal_that_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    notify.notify(True, 1.0, "pass", stream)
    assert "\a" in stream.getvalue()

    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    notify.notify(True, 1.0, "pass", Gone())
