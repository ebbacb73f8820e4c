# SPDX-License-Identifier: GPL-2.0-only
"""Put a developer's own defaults into the command line, where that leaves them open.

They become words of it (``sys.argv``), so that a run records what it did and can be repeated by
somebody else, and that no command has to know of them.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from click.core import ParameterSource

from orchestrator.model.errors import UserError
from orchestrator.plan.personal import ENV_FILE, Personal, personal_file, read_personal

LEAVE_OUT = "--no-personal"
# Options of the command line that a default does not go with: it gives way.
_GIVES_WAY = {
    "source": {"kernel"},
    "kernel": {"source", "base"},
    "baseline": {"base"},
    "quiet": {"json"},
}
# A night is the lab's own, and not to depend on who looks after it.
_NOBODYS = ("nightly",)
# A resumed run has the options that it was started with; how it is shown may change.
_RESUMED = ("jobs", "plain", "quiet")


def apply_personal(group: click.Command) -> None:
    """Add the personal defaults to this process's command line, and say so on standard error.

    :raises UserError: when the file is wrong.
    """
    words = sys.argv[1:]
    if not isinstance(group, click.Group) or LEAVE_OUT in _before_dashes(words):
        return
    path = personal_file(os.environ)
    if path is None:
        return
    if not path.is_file():
        if os.environ.get(ENV_FILE):
            raise UserError(f"{ENV_FILE} names {path}, which is no file", f"unset {ENV_FILE}")
        return
    name = next((word for word in words if not word.startswith("-")), "")
    command = group.commands.get(name)
    if command is None or {"-h", "--help"} & set(_before_dashes(words)):
        return
    personal = read_personal(path)
    if personal.cache and not os.environ.get("LAB_CACHE"):
        from orchestrator.host.cache.place import FROM_ENV

        os.environ["LAB_CACHE"] = personal.cache
        os.environ[FROM_ENV] = f"{shown(path, os.environ)} (cache:)"
    at = words.index(name) + 1
    added = added_words(command, words[at:], personal)
    if added:
        sys.argv[1:] = [*words[:at], *added, *words[at:]]
        click.echo(f"lab: from {shown(path, os.environ)}: {shlex.join(added)}", err=True)


def added_words(command: click.Command, words: list[str], personal: Personal) -> list[str]:
    """The options of a command that ``words`` do not give and the personal defaults do."""
    defaults = personal.of(command.name or "")
    if not defaults or command.name in _NOBODYS:
        return []
    context = command.make_context(command.name, list(words), resilient_parsing=True)
    options = {
        max(param.opts, key=len).removeprefix("--"): param
        for param in command.params
        if isinstance(param, click.Option)
    }
    given = {
        name
        for name, param in options.items()
        if context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
    }
    added: list[str] = []
    for name, values in defaults.items():
        option = options.get(name)
        if option is None or name in given or _GIVES_WAY.get(name, set()) & given:
            continue
        if "resume" in given and name not in _RESUMED:
            continue
        kept = values if option.multiple else values[:1]
        if name == "source":
            kept = tuple(map(_at_home, kept))
        added += [word for value in kept for word in (f"--{name}", value)] or [f"--{name}"]
    return added


def _at_home(source: str) -> str:
    """A source with ``~`` as a shell would have made of it."""
    scheme, path = ("path:", source[5:]) if source.startswith("path:") else ("", source)
    return f"{scheme}{Path(path).expanduser()}" if path.startswith("~") else source


def shown(path: Path, environ: Mapping[str, str]) -> str:
    """A path as a person writes it, the home folder as ``~``."""
    home = environ.get("HOME")
    if home and path.is_relative_to(home):
        return f"~/{path.relative_to(home)}"
    return str(path)


def _before_dashes(words: list[str]) -> list[str]:
    """The words that are the lab's own: what follows ``--`` is a guest's."""
    return words[: words.index("--")] if "--" in words else words
