# SPDX-License-Identifier: GPL-2.0-only
"""Tell who turned away that a run is over: by what the terminal says it can, else by its bell.

Nobody can ask a terminal which notification it knows; its name in the environment tells:

* kitty has OSC 99 (its manual, "Desktop notifications"), iTerm2 OSC 9 (its manual, "Proprietary
  Escape Codes");
* WezTerm, Ghostty, foot and Contour have ``OSC 777 ; notify``, which began as urxvt's;
* a VTE has it with Fedora's patch and ignores it without (since 0.46), Windows Terminal has it
  since 2026 and ignores it before: these get the bell as well.

tmux and screen hand nothing on unless they are told to, and show a bell by themselves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TextIO

from orchestrator.report.text import printable

#: A run that was shorter (s) has been watched to its end.
LONG = 30.0
_BELL = "\a"
_LONGEST = 200
_OSC_777 = frozenset({"wezterm", "ghostty", "contour"})


def wanted(asked: bool | None, seconds: float, stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether to notify: where there is a terminal, and as asked, else after a long run.

    :param asked: what the command line says, None where it says nothing; then nothing is sent under
        CI (``CI`` is set by all of the usual ones).
    """
    if not stream.isatty() or env.get("TERM") == "dumb":
        return False
    if asked is not None:
        return asked
    return seconds >= LONG and env.get("CI", "").lower() in ("", "0", "false")


def sequence(title: str, text: str, env: Mapping[str, str]) -> str:
    """What makes this terminal notify."""
    program, term = env.get("TERM_PROGRAM", "").lower(), env.get("TERM", "")
    title, text = _clean(title), _clean(text)
    if "TMUX" in env or "STY" in env or term.startswith(("tmux", "screen")):
        return _BELL
    if "KITTY_WINDOW_ID" in env or "kitty" in term:
        return _osc(f"99;i=lab:d=0;{title}") + _osc(f"99;i=lab:d=1:p=body;{text}")
    if program == "iterm.app":
        return _osc(f"9;{title}: {text}")
    found = _osc(f"777;notify;{title};{text}")
    if program in _OSC_777 or term.startswith(("foot", "contour", "xterm-ghostty", "wezterm")):
        return found
    if "VTE_VERSION" in env or "WT_SESSION" in env:
        return found + _BELL
    return _BELL


def notify(asked: bool | None, seconds: float, text: str, stream: TextIO) -> None:
    """Notify of a run that took so long, if it is wanted; a terminal may have gone by then."""
    if not wanted(asked, seconds, stream, os.environ):
        return
    with contextlib.suppress(OSError, ValueError):
        stream.write(sequence("lab", text, os.environ))
        stream.flush()


def _osc(payload: str) -> str:
    return f"\x1b]{payload}\x1b\\"


def _clean(text: str) -> str:
    """What ends no sequence and separates no field; ASCII, as kitty asks for in an escape code."""
    return printable(text).replace(";", ",").encode("ascii", "replace").decode()[:_LONGEST]
