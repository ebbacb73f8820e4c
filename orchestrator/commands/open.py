# SPDX-License-Identifier: GPL-2.0-only
"""``lab open``: the page of a run in the browser, at a case."""

from __future__ import annotations

import html
import os
import shlex
from pathlib import Path

import click

from orchestrator.commands.chosen import choose
from orchestrator.commands.workspace import reports_folder
from orchestrator.host import process
from orchestrator.model.errors import EXIT_HOST, EXIT_OK, HostError, UserError

#: Leads to a case: file managers' openers drop what stands behind a ``#`` of a file's address.
SIGNPOST = "open.html"
_OPENERS = ("xdg-open", "x-www-browser")


def open_page(words: tuple[str, ...], only_print: bool) -> int:
    """Show the page of a run; where no browser can be had, print its path and why, and give 3.

    :param words: a run and a case, one of them or none (:mod:`orchestrator.commands.chosen`).
    :param only_print: print the address and start nothing.
    :raises UserError: when the run or case is unknown, or the run has no page.
    """
    chosen = choose(reports_folder(*words[:1]), words)
    page = chosen.folder / "index.html"
    if not page.is_file():
        raise UserError(f"{page} is not there", f"`lab report {chosen.run.run.id}` writes it")
    address = str(page)
    if chosen.case is not None:
        from orchestrator.report.view import anchor

        address = f"{page.as_uri()}#{anchor(chosen.case.id)}"
    click.echo(address)
    if not only_print and (why := _show(page, address)):
        click.echo(f"lab: not opened: {why}", err=True)
        return EXIT_HOST
    return EXIT_OK


def _show(page: Path, address: str) -> str:
    """Have it shown; gives the reason where it cannot be."""
    chosen = shlex.split(os.environ.get("BROWSER", "").partition(":")[0])
    if not chosen and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return (
            "there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set) and no BROWSER"
        )
    if not chosen:
        found = next((name for name in _OPENERS if process.find_tool(name)), None)
        if found is None:
            return f"neither {' nor '.join(_OPENERS)} is installed, and BROWSER is not set"
        chosen = [found]
    goal = page.as_uri() if "#" not in address else _signpost(page, address)
    argv = [word.replace("%s", goal) for word in chosen]
    try:
        process.launch(argv if argv != chosen else [*argv, goal])
    except HostError as error:
        return error.message
    return ""


def _signpost(page: Path, address: str) -> str:
    """The address of a small page that leads to ``address``; that itself where none can be."""
    goal = html.escape(f"{page.name}#{address.rpartition('#')[2]}")
    text = (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={goal}">'
        f'<a href="{goal}">{goal}</a>\n'
    )
    post = page.with_name(SIGNPOST)
    try:
        post.write_text(text, encoding="utf-8")
    except OSError:
        return address
    return post.as_uri()
