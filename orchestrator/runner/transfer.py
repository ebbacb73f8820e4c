# SPDX-License-Identifier: GPL-2.0-only
"""Files and folders into a guest and out of it: tar through the system's ssh, of any size."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.guest import boot
from orchestrator.host import process
from orchestrator.host.archive import of_root
from orchestrator.model.errors import HostError, UserError
from orchestrator.runner import session

#: Seconds for one transfer.
DEADLINE = 3600.0


class NotMoved(HostError):
    """Something did not get into the guest or out of it; the message says what and why."""


@dataclass(frozen=True)
class Push:
    """A file or folder of the host, and where it goes in the guest (from /root where relative)."""

    source: Path
    goal: str


@dataclass(frozen=True)
class Pull:
    """A file or folder of the guest (from /root where relative), and where it goes here."""

    source: str
    goal: Path


def parse_push(text: str) -> Push:
    """``FILE[:DEST]``; without DEST its own name in /root, with a slash behind DEST in that folder.

    :raises UserError: when there is no such file, or none is named.
    """
    if not text.partition(":")[0]:
        raise UserError(f"--push {text}: which file of this machine?", "write FILE or FILE:DEST")
    path, goal = Path(text).expanduser(), ""
    if not os.path.lexists(path) and ":" in text:
        name, _, goal = text.rpartition(":")
        path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f"--push {text}: there is no {path}", "write FILE or FILE:DEST")
    name = path.resolve().name
    return Push(path, goal + name if not goal or goal.endswith("/") else goal)


def parse_pull(text: str) -> Pull:
    """``SRC[:DEST]``; without DEST its own name here, and into DEST where that is a folder.

    :raises UserError: when SRC is no name, or the folder of DEST is not there.
    """
    source, _, goal = text.partition(":")
    name = PurePosixPath(source).name
    if not name or name == "..":
        raise UserError(f"--pull {text}: which file of the guest?", "write SRC or SRC:DEST")
    path = Path(goal or ".").expanduser()
    if path.is_dir() or goal.endswith("/"):
        path = path / name
    if not path.parent.is_dir():
        raise UserError(f"--pull {text}: there is no folder {path.parent}")
    return Pull(source, path)


def push(machine: boot.Guest, folder: Path, items: Sequence[Push]) -> None:
    """Put files and folders into the guest.

    :param folder: for what is made on the way.
    :raises NotMoved: at the first that the guest does not take.
    """
    for item in items:
        goal = PurePosixPath(item.goal)
        with tempfile.TemporaryFile(dir=folder) as archive:
            try:
                with tarfile.open(fileobj=archive, mode="w") as tar:
                    tar.add(item.source.resolve(), arcname=goal.name, filter=of_root)
            except OSError as error:
                raise NotMoved(f"cannot read {item.source}: {error}") from error
            archive.seek(0)
            where = shlex.quote(str(goal.parent))
            line = f"mkdir -p {where} && busybox tar xf - -C {where}"
            said = _ssh(machine, folder, line, stdin=archive.fileno())
        if said is not None:
            raise NotMoved(f"the guest did not take {item.source}: {said}")


def pull(machine: boot.Guest, folder: Path, item: Pull) -> None:
    """Get a file or a folder out of the guest; what is there already is written over.

    :param folder: for what is made on the way.
    :raises NotMoved: when it is not there, or cannot be written here.
    """
    source = PurePosixPath(item.source)
    where, name = shlex.quote(str(source.parent)), shlex.quote(f"./{source.name}")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        archive, unpacked = Path(made, "archive"), Path(made, "files")
        unpacked.mkdir()
        with archive.open("wb") as sink:
            line = f"busybox tar cf - -C {where} {name}"
            said = _ssh(machine, folder, line, stdout=sink.fileno())
        if said is not None:
            raise NotMoved(f"no {item.source} out of the guest: {said}")
        # GNU tar keeps to the folder, whatever names a guest writes; set-uid bits stay behind.
        process.run(
            ["tar", "xf", archive, "-C", unpacked, "--no-same-owner", "--no-same-permissions"],
            deadline=DEADLINE,
        )
        try:
            _put(unpacked / source.name, item.goal)
        except OSError as error:
            raise NotMoved(f"cannot write {item.goal}: {error.strerror or error}") from error


def _put(came: Path, goal: Path) -> None:
    if came.is_dir() and not came.is_symlink():
        shutil.copytree(came, goal, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.move(came, goal)


def _ssh(
    machine: boot.Guest,
    folder: Path,
    line: str,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> str | None:
    """Run a line in the guest; None where it went well, else what it said."""
    pinned = session.pin(machine, folder)
    argv = session.ssh_command(machine.port, machine.keys.client_private, pinned, (line,))
    with (
        tempfile.TemporaryFile(dir=folder) as errors,
        process.start(argv, stdin=stdin, stdout=stdout, stderr=errors) as child,
    ):
        try:
            status = child.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise HostError(f"ssh did not end within {DEADLINE:.0f} s: {line}") from None
        errors.seek(0)
        said = errors.read(4096).decode(errors="replace").strip().splitlines()
    if status == 0:
        return None
    return said[0] if said else f"exit status {status}"
