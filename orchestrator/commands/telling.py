# SPDX-License-Identifier: GPL-2.0-only
"""Send the summary of a night: by mail, and to a command of the user's."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.host import process
from orchestrator.model.errors import LabError
from orchestrator.model.nightly import NightlySpec
from orchestrator.report.night import Letter

# Seconds for the command.
_DEADLINE = 300.0


class Teller:
    """Who is told of a night, as lab.yaml has it.

    :param folder: where the command runs: lab.yaml's.
    """

    def __init__(self, spec: NightlySpec, folder: Path) -> None:
        self._spec = spec
        self._folder = folder

    @property
    def can(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._spec.mail or self._spec.command)

    @property
    def how(self) -> str:
        """Where it goes: ``to you@example.org``, ``by mail(1)``."""
        ways = [f"to {', '.join(self._spec.mail.to)}"] if self._spec.mail else []
        ways += [f"by {self._spec.command[0]}"] if self._spec.command else []
        return " and ".join(ways)

    def check(self) -> None:
        """See what would keep a summary from being sent, before a night is spent on it.

        :raises UserError: when the password cannot be read.
        """
        if self._spec.mail is not None:
            from orchestrator.host.mail import password_of

            password_of(self._spec.mail)

    def tell(self, letter: Letter, run: str, status: int, url: str = "") -> LabError | None:
        """Send it each way; what goes wrong is told on standard error, and the first is given.

        :param run: the run's id, ``status`` the exit status, for the command's own use.
        """
        first: LabError | None = None
        for way in (self._by_mail, self._by_command):
            try:
                way(letter, {"run": run, "status": str(status), "url": url})
            except LabError as error:
                click.echo(f"lab: {error.message}", err=True)
                first = first or error
        return first

    def _by_mail(self, letter: Letter, _facts: dict[str, str]) -> None:
        if self._spec.mail is not None:
            from orchestrator.host.mail import send  # some milliseconds, once a night

            send(self._spec.mail, letter.subject, letter.text)

    def _by_command(self, letter: Letter, facts: dict[str, str]) -> None:
        if not self._spec.command:
            return
        facts = {"subject": letter.subject, **facts}
        words = [_filled(word, facts) for word in self._spec.command]
        text = letter.text.encode("utf-8", "backslashreplace")
        process.run(words, deadline=_DEADLINE, cwd=self._folder, input=text)


def _filled(word: str, facts: dict[str, str]) -> str:
    """A word of the command, what stands in braces put in; each once, and nothing of it again."""
    parts = word.split("{")
    done = parts[0]
    for part in parts[1:]:
        name, brace, rest = part.partition("}")
        done += facts[name] + rest if brace and name in facts else "{" + part
    return done
