# SPDX-License-Identifier: GPL-2.0-only
"""The man page is what ``--help`` says, whole, and rendered without a complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import click
import man
import pytest

from orchestrator.commands.arguments import cli


def rendered(*words: str) -> str:
    """The page as text, or what the renderer complains about."""
    done = subprocess.run(
        [*words, str(man.PAGE)], capture_output=True, text=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "100", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)


def test_the_page_is_as_help_says() -> None:
    # By itself, since click keeps a command's --help as whoever asked first would have it.
    told = [sys.executable, man.__file__, "--check"]
    done = subprocess.run(told, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_it_names_every_command_and_option() -> None:
    text = rendered("groff", "-man", "-ww", "-Tutf8", "-rLL=100n").replace("\u2010", "-")
    parts = re.split(r"^   lab (\S+)$", text, flags=re.M)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(told) == set(cli.commands)
    for name, command in cli.commands.items():
        for param in command.params:
            if isinstance(param, click.Option):
                for option in param.opts:
                    assert re.search(rf"(?<![\w-]){option}(?![\w-])", told[name]), (name, option)
            else:
                assert (param.metavar or "").strip("[]") in told[name] or param.name in told[name]
        first = " ".join((command.help or "").partition("\n\n")[0].split())
        assert first in " ".join(told[name].split()), name


@pytest.mark.skipif(not shutil.which("man"), reason="no man")
def test_man_itself_has_no_complaint() -> None:
    assert "full-system test lab" in rendered("man", "--warnings", "-l")


def test_nothing_becomes_a_request() -> None:
    assert man.escaped(".x\n'y\\-z") == "\\&.x\n\\(aqy\\e\\-z"
