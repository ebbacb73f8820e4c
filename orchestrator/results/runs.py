# SPDX-License-Identifier: GPL-2.0-only
"""The folders of stored runs: how they are named, found, and what stands in them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.model import codec
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import Plan, ShapeSpec

SHAPE = "shape.json"
RESULTS = "results.json"
LATEST = "latest"


def keep_shapes(plan: Plan, folder: Path) -> None:
    """Keep each cell's shape beside its results: lab.yaml may say something else tomorrow.

    Where the disk is full there is none, and a rerun takes lab.yaml's.
    """
    for cell in plan.cells:
        target = folder / cell_folder(cell.id) / SHAPE
        text = codec.dumps(codec.plain(cell.shape), indent=1)
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text + "\n", encoding="ascii")


def stored_shape(folder: Path, cell_id: str) -> ShapeSpec | None:
    """A cell's shape as :func:`keep_shapes` kept it; None where there is none that can be read."""
    try:
        data = json.loads((folder / cell_folder(cell_id) / SHAPE).read_text(encoding="ascii"))
        return codec.build(ShapeSpec, data)
    except (OSError, ValueError, codec.MismatchError):
        return None


def cell_folder(cell_id: str) -> str:
    """The folder of a cell inside a run's folder: ``cells/KERNEL__CONFIG__ARCH__SHAPE``.

    Anything a file name should not hold becomes ``_``, so that no id leads outside the run.
    """
    name = re.sub(r"[^A-Za-z0-9._+=@~-]", "_", cell_id.replace("/", "__"))
    return f"cells/_{name}" if name.startswith(".") or not name else f"cells/{name}"


def list_runs(reports: Path) -> tuple[Path, ...]:
    """The folders below ``reports`` that hold a results.json, oldest id first."""
    if not reports.is_dir():
        return ()
    return tuple(
        sorted(
            entry
            for entry in reports.iterdir()
            if not entry.is_symlink() and (entry / RESULTS).is_file()
        )
    )


def find_run(reports: Path, name: str) -> Path:
    """The folder of the run called ``name``: ``latest``, an id, the start of one, or a path.

    :raises UserError: there is none, or the start of an id fits several.
    """
    runs = list_runs(reports)
    by_id = {run.name: run for run in runs}
    if name == LATEST:
        link = reports / LATEST
        if (link / RESULTS).is_file():
            return link.resolve()
        if runs:  # the link's run was deleted
            return max(runs, key=lambda run: ((run / RESULTS).stat().st_mtime, run.name))
        raise UserError(f"there is no run in {reports} yet", "start one with `lab run`")
    if name in by_id:
        return by_id[name]
    try:
        path = Path(name).expanduser()
        if path.name == RESULTS and path.is_file():
            return path.resolve().parent
        if name and (path / RESULTS).is_file():
            return path.resolve()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown ~user
        pass
    fitting = [run_id for run_id in by_id if name and run_id.startswith(name)]
    if len(fitting) == 1:
        return by_id[fitting[0]]
    if fitting:
        raise UserError(
            f"{name!r} is the start of {len(fitting)} runs: {', '.join(fitting[:5])}",
            "give more of the id",
        )
    newest = ", ".join(list(by_id)[-3:])
    raise UserError(
        f"no run {name!r} in {reports}, and no folder of that name with a {RESULTS}",
        f"the newest are: {newest}" if newest else "start one with `lab run`",
    )


def update_latest(reports: Path, folder: Path) -> None:
    """Point ``reports/latest`` at ``folder``, in one step.

    The link is relative where the run lies below ``reports``, so that the folder can be moved.

    :raises HostError: the link cannot be made (``latest`` is a real folder, or no symlinks here).
    """
    folder, base = folder.resolve(), reports.resolve()
    goal = folder.relative_to(base) if folder.is_relative_to(base) else folder
    temporary = reports / f".{LATEST}.{os.getpid()}.tmp"
    try:
        reports.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(goal)
        temporary.replace(reports / LATEST)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HostError(
            f"cannot point {reports / LATEST} at {folder}: {error.strerror or error}",
            f"remove {reports / LATEST} if it is no symbolic link",
        ) from error


def run_folder(reports: Path, out: Path | None) -> Path:
    """Make the run's folder: ``out``, or a new one below reports/ that no other lab has taken.

    :raises UserError: when ``out`` is not new or empty.
    :raises HostError: when it cannot be made.
    """
    began, number = stamp(), 1
    while True:
        folder = reports / (began if number == 1 else f"{began}-{number}")
        if out is not None:
            folder = out.resolve()
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            if out is None:
                number += 1
                continue
            if not folder.is_dir() or any(folder.iterdir()):
                raise UserError(
                    f"--out {out}: it exists and is no empty folder", "name a new one"
                ) from error
        except OSError as error:
            raise HostError(
                f"cannot make {folder}: {error.strerror}", "name another with --out"
            ) from error
        return folder


def clear_folder(reports: Path, folder: Path) -> None:
    """Take back a folder that :func:`run_folder` made; one elsewhere stays, empty.

    What cannot be removed is left.
    """
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                entry.unlink()
    if folder.parent == reports:
        with contextlib.suppress(OSError):
            folder.rmdir()


def run_id(reports: Path, folder: Path) -> str:
    """The folder's name below reports/; elsewhere an id that no other run can have."""
    if folder.parent == reports:
        return folder.name
    return f"{stamp()}-{secrets.token_hex(3)}"


def stamp() -> str:
    """This second, as a run's id begins."""
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
