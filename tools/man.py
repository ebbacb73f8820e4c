# SPDX-License-Identifier: GPL-2.0-only
"""Write docs/lab.1, the man page, from the texts that ``lab --help`` shows.

    .venv/bin/python tools/man.py           # write it
    .venv/bin/python tools/man.py --check   # exit 1 where it is not as it would be written

A wheel has it as share/man/man1/lab.1, which pipx links where man(1) looks; set-up copies it there.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from pathlib import Path

import click

from orchestrator import HOME, __version__
from orchestrator.commands.arguments import cli

PAGE = HOME / "docs" / "lab.1"

STATUSES = (
    ("0", "All as expected."),
    ("1", "The kernel under test failed somewhere; with a baseline: a regression."),
    ("2", "The input is wrong: lab.yaml, an option, a source or series that cannot be read."),
    ("3", "The host failed: a tool is missing, no space, a guest was lost without a report."),
    ("130", "Interrupted by SIGINT or SIGTERM; what was done by then is reported."),
)
ENVIRONMENT = (
    ("LAB_YAML", "The lab.yaml to use, in place of the nearest one."),
    ("LAB_CACHE", "The folder of the cache (default: ~/.cache/lab)."),
    ("LAB_CONFIG", "Personal defaults from this file; none: from no file."),
    ("CI", "Where it is set, personal defaults are read from LAB_CONFIG alone."),
    ("LAB_DEBUG", "1: a bug of the lab shows its traceback."),
)
FILES = (
    ("lab.yaml", "What is tested: kernels, configs, guest shapes, profiles."),
    ("~/.config/lab.yaml", "Personal defaults of options."),
    ("reports/", "The runs, beside lab.yaml; latest is the newest."),
    ("~/.cache/lab", "Sources, builds, roots."),
)


def escaped(text: str) -> str:
    """Text as roff takes it: nothing of it is a request, and a hyphen stays one to be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("^", "\\(ha")
    text = text.replace("'", "\\(aq").replace("~", "\\(ti")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def paragraphs(text: str) -> list[str]:
    """A help text's paragraphs, each on one line."""
    parts = inspect.cleandoc(text).replace("\b", "").split("\n\n")
    return [escaped(" ".join(part.split())) for part in parts if part.strip()]


def items(pairs: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> list[str]:
    """Terms with what they mean."""
    lines: list[str] = []
    for term, meaning in pairs:
        lines += [".TP", f".B {escaped(term)}", escaped(" ".join(meaning.split()))]
    return lines


def top() -> click.Context:
    """The context of ``lab`` itself, with its settings."""
    return click.Context(cli, info_name="lab", **cli.context_settings)


def command_part(name: str, command: click.Command) -> list[str]:
    """A command's own part: usage, help, options."""
    context = click.Context(command, parent=top(), info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f".SS lab {escaped(name)}", f".B lab {escaped(name)}", escaped(usage)]
    for paragraph in paragraphs(command.help or ""):
        lines += [".PP", paragraph]
    records = [param.get_help_record(context) for param in command.get_params(context)]
    return lines + items([record for record in records if record])


def page() -> str:
    """The whole page."""
    about = paragraphs(cli.help or "")
    lines = [
        '.\\" SPDX-License-Identifier: GPL-2.0-only',
        '.\\" Written by tools/man.py from the texts of lab \\-\\-help.',
        f'.TH LAB 1 "" "lab {__version__}" "User Commands"',
        ".SH NAME",
        "lab \\- full\\-system test lab for memory management of the Linux kernel",
        ".SH SYNOPSIS",
        ".B lab",
        ".RI [ options ]",
        ".I command",
        ".RI [ arguments ...]",
        ".SH DESCRIPTION",
        *about,
        ".PP",
        "In a folder with a lab.yaml, or below one, that file says what is tested; in a kernel",
        "tree without one the tree is, with the lab\\(aqs own lab.yaml for the rest.",
        ".SH OPTIONS",
        *items([r for p in cli.get_params(top()) if (r := p.get_help_record(top()))]),
        ".SH COMMANDS",
    ]
    for name in cli.list_commands(top()):
        lines += command_part(name, cli.commands[name])
    lines += [".SH EXIT STATUS", *items(STATUSES), ".SH ENVIRONMENT", *items(ENVIRONMENT)]
    lines += [".SH FILES", *items(FILES)]
    lines += [".SH SEE ALSO", "docs/commands.md and docs/lab\\-yaml.md, which come with the lab;",
              "lab doctor names their folder."]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(words: list[str]) -> int:
    """Write or check; give the exit status."""
    text = page()
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    stale = found != text
    if words == ["--check"]:
        if stale:
            print(f"{PAGE.relative_to(HOME)} is not as --help says: run tools/man.py")
            print(*difflib.unified_diff(found.splitlines(), text.splitlines(), n=0), sep="\n")
        return int(stale)
    if stale:
        Path(PAGE).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
