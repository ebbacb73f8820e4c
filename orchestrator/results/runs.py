# SPDX-License-Identifier: GPL-2.0-only
"""The folders of stored runs: how they are named, found, and what stands in them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.model import codec, lookup
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import Plan, ShapeSpec

SHAPE = "shape.json"
RESULTS = "results.json"
LATEST = "latest"
LAST_FAILED = "last-failed"
_NTH = re.compile(r"@([0-9]{1,6})")
_NO_RUN_YET = "start one with `lab run`"
# results.json begins with who ran what and when: this many bytes of it hold the instant.
_HEAD = 4096
_STARTED = re.compile(rb'"started": "([^"\\]{1,40})"')


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


def file_stem(workload: str) -> str:
    """How the files of a workload begin in its cell's folder."""
    return workload.replace("/", "__")


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
    """The folder of the run that ``name`` means.

    That is ``latest`` or ``@1``, the runs that began before it as ``@2``, ``@3`` and so on,
    ``last-failed``, an id, the path of a run, the start of an id, or what fits one id alone
    (:func:`orchestrator.model.lookup.fits`; the parts of an id are divided by dashes).

    :raises UserError: there is none, or several fit.
    """
    found = runs_called(reports, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise several_runs(name, found)
    names = spellings(reports)
    newest = ", ".join(names[2:][-3:])
    raise UserError(
        f"no run {name!r} in {reports}, and no folder of that name with a {RESULTS}",
        f"{lookup.near(name, names) or f'the newest are: {newest}'}" if names else _NO_RUN_YET,
    )


def spellings(reports: Path) -> tuple[str, ...]:
    """What the runs below ``reports`` may be called, the ids last and the newest of them last."""
    ids = tuple(run.name for run in list_runs(reports))
    return (LATEST, LAST_FAILED, *ids) if ids else ()


def runs_called(reports: Path, name: str) -> tuple[Path, ...]:
    """The folders of the runs that ``name`` fits, as :func:`find_run` understands it.

    :raises UserError: ``name`` is ``latest``, ``last-failed`` or of the form ``@N``, and there is
        no such run.
    """
    if name == LATEST:
        return (_latest(reports),)
    if name == LAST_FAILED:
        return (_last_failed(reports),)
    if match := _NTH.fullmatch(name):
        return (_nth(reports, int(match[1])),)
    by_id = {run.name: run for run in list_runs(reports)}
    if name in by_id:
        return (by_id[name],)
    try:
        path = Path(name).expanduser()
        if path.name == RESULTS and path.is_file():
            return (path.resolve().parent,)
        if name and (path / RESULTS).is_file():
            return (path.resolve(),)
    except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, an unknown ~user
        pass
    begun = [run_id for run_id in by_id if name and run_id.startswith(name)]
    return tuple(by_id[run_id] for run_id in begun or lookup.fitting(name, by_id, "-"))


def several_runs(name: str, found: Sequence[Path]) -> UserError:
    """The error where ``name`` fits several runs: the newest ids first."""
    return lookup.ambiguous("runs", name, sorted((run.name for run in found), reverse=True))


def _latest(reports: Path) -> Path:
    link = reports / LATEST
    if (link / RESULTS).is_file():
        return link.resolve()
    runs = list_runs(reports)
    if not runs:
        raise UserError(f"there is no run in {reports} yet", _NO_RUN_YET)
    # The link's run was deleted.
    return max(runs, key=lambda run: ((run / RESULTS).stat().st_mtime, run.name))


def newest_first(reports: Path) -> tuple[Path, ...]:
    """The run that ``latest`` means, and then those that began before it, the newest first.

    :raises UserError: there is no run.
    """
    first = _latest(reports)
    since = _began(first)
    others = (run for run in by_age(reports) if run.resolve() != first.resolve())
    return (first, *(run for run in others if _began(run) <= since))


def by_age(reports: Path) -> list[Path]:
    """The runs below ``reports``, the newest first; what its user has called them tells no age."""
    return sorted(list_runs(reports), key=lambda run: (_began(run), run.name), reverse=True)


def _began(folder: Path) -> str:
    """When a run began; empty where its results.json tells nothing."""
    match = _STARTED.search(_head(folder))
    return match[1].decode(errors="replace") if match else ""


def has_ended(folder: Path) -> bool:
    """Whether a stored run came to its end, or is none of ours."""
    return b'"finished": ""' not in _head(folder)


def _head(folder: Path) -> bytes:
    """The head of a run's results.json, where :mod:`orchestrator.results.store` puts its facts."""
    try:
        with (folder / RESULTS).open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _nth(reports: Path, n: int) -> Path:
    runs = newest_first(reports)
    if not 0 < n <= len(runs):
        raise UserError(
            f"there is no run @{n}: {reports} has {len(runs)} of them",
            "@1 is the latest, @2 the one before it; `lab history` lists them",
        )
    return runs[n - 1]


def _last_failed(reports: Path) -> Path:
    for folder in dict.fromkeys((*by_age(reports), _latest(reports))):
        if has_failed(folder):
            return folder
    raise UserError(f"no run in {reports} has a case that failed", "`lab history` lists the runs")


def has_failed(folder: Path) -> bool:
    """Whether a case of a stored run failed, or could not be judged for the host's failure."""
    try:
        summary = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["summary"]
        return bool(summary["fail"] or summary["error"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False  # what is no run of ours is none that failed


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
