# SPDX-License-Identifier: GPL-2.0-only
"""Around every command: signals, streams, and what an error becomes: a line and an exit status."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from orchestrator.commands.personal import apply_personal
from orchestrator.model.errors import (
    EXIT_HOST,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    HostError,
    LabError,
)


def tell(error: LabError) -> int:
    """Say an expected error, and what can be done about it; gives its exit status."""
    from orchestrator.report.text import visible  # only who fails pays for it

    # A mail's subject, a name in an archive: nothing of it may steer the terminal.
    click.echo(f"lab: {visible(error.message)}", err=True)
    if error.hint:
        click.echo(f"     {visible(error.hint)}", err=True)
    return error.exit_status


def _stop_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Stop in good order; what a second signal would cut short takes seconds at the most."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def no_interrupts() -> Iterator[None]:
    """Ctrl-C is for the program that has the terminal, a debugger or a pager, not for the lab."""
    kept = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)


def _prepare_streams() -> None:
    """Take any text whatever the locale: consoles hold bytes that are no text."""
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        if stream is None:  # closed by the caller (`>&-`)
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (until the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def let_go_of_stdout() -> None:
    """What is still unwritten goes nowhere, or the interpreter would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> bool:
    """Print a line; gives whether anybody reads on.

    What a reader leaves unread (`lab compare A B | head -1`) goes nowhere, and the command ends
    with its own exit status all the same.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        let_go_of_stdout()
        return False
    return True


def _status_of(command: click.Command) -> int:
    """Run the command; expected errors become one line and the right exit status."""
    try:
        apply_personal(command)
        status = command.main(standalone_mode=False) or EXIT_OK
        sys.stdout.flush()
        return int(status)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("lab: interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except LabError as error:
        return tell(error)
    except (BrokenPipeError, SystemExit):
        # The reader of our output went away (`lab list | head`), which is no error of ours; click
        # makes of it a SystemExit(1), and nothing else here makes one.
        let_go_of_stdout()
        return EXIT_OK


def run_command(command: click.Command) -> NoReturn:
    """Run the command line and exit with its status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What is ignored from the start stays so, by convention: nohup(1) has SIGHUP ignored, a
        # shell without job control SIGINT for `lab run &` (POSIX, XCU 2.11), since Ctrl-C there is
        # meant for another.  SIGTERM stops such a lab in the same good order.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop_once)
    _prepare_streams()
    status = EXIT_HOST
    try:
        status = _status_of(command)
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            let_go_of_stdout()
            status = tell(HostError("cannot write the output: the disk is full"))
        else:
            _bug(error)
    except Exception as error:
        _bug(error)
    sys.exit(status)


def _bug(error: Exception) -> None:
    click.echo(f"lab: unexpected {type(error).__name__}: {error}", err=True)
    click.echo("     this is a bug of the lab; LAB_DEBUG=1 shows the traceback", err=True)
    if os.environ.get("LAB_DEBUG"):
        raise error
