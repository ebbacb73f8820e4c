# SPDX-License-Identifier: GPL-2.0-only
"""What earlier runs came to: a small SQLite index over the stored results.

results.json stays the truth; the database answers "since when does this case fail" without reading
every run, and can be made anew from the stored runs at any time (:func:`rebuild`).  Writers may be
many: each run is one transaction, and recording a run again replaces it.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.judge.noise import Noise, noise_of
from orchestrator.judge.outcome import cases_of
from orchestrator.model import lookup
from orchestrator.model.errors import UserError
from orchestrator.model.evidence import Counter, Measurement
from orchestrator.model.names import GUEST, HANG, RESET, CaseId, CellId, Verdict
from orchestrator.model.past import HistoryCase, HistoryRun
from orchestrator.model.results import CaseResult, RunResult
from orchestrator.results.history_file import Damaged, opened, unwritable
from orchestrator.results.runs import RESULTS, list_runs
from orchestrator.results.store import load

if TYPE_CHECKING:
    from orchestrator.results.history_file import Connection

# Cases that say that a workload did not come to its own end.
_NO_END = (HANG, GUEST, RESET)
# Times of files may be this much older than the clock (s).
_CLOCK_GRAIN = 2.0


def record(db: Path, run: RunResult, folder: Path | None = None) -> None:
    """Put a run into the history, replacing what it knew of it.

    :param folder: where the run is stored, if it is to be found again.
    :raises UserError: the file is no history of ours, or a newer lab's.
    :raises HostError: it cannot be written, or stays locked for 30 s.
    """
    with opened(db) as connection:
        _insert(connection, run, folder)


def runs(db: Path, limit: int = 20) -> tuple[HistoryRun, ...]:
    """The latest runs, newest first.

    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    query = (
        "SELECT r.*, coalesce(s.told, '') FROM runs r LEFT JOIN searches s ON s.run = r.id"
        " ORDER BY started DESC, id DESC LIMIT ?"
    )
    rows = rows_of(db, query, (limit,))
    return tuple(HistoryRun(*row) for row in rows)


def query(
    db: Path, case_glob: str = "*", verdict: Verdict | None = None, limit: int = 100
) -> tuple[HistoryCase, ...]:
    """Cases that ``case_glob`` fits, newest run first, within a run in its own order.

    :param case_glob: whole parts of an id, or a glob (:func:`orchestrator.model.lookup.fits`).
    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    if not db.exists():
        return ()
    with opened(db) as connection:
        every = case_glob == "*"
        fitting = () if every else lookup.fitting(_text(case_glob), _case_ids(connection))
        rows = connection.execute(
            "SELECT c.n, r.id, r.started, c.id, c.verdict, c.reason, c.seconds, c.version,"
            " c.series_digest, c.hits FROM cases c JOIN runs r ON r.id = c.run"
            " WHERE (:every OR c.id IN (SELECT value FROM json_each(:ids)))"
            " AND (:v IS NULL OR c.verdict = :v)"
            " ORDER BY r.started DESC, r.id DESC, c.n LIMIT :limit",
            {"every": every, "ids": json.dumps(fitting), "v": verdict.value if verdict else None,
             "limit": limit},
        ).fetchall()  # fmt: skip
        try:
            return tuple(_case(connection, row) for row in rows)
        except ValueError as error:  # a verdict that is none, titles that are no JSON
            raise Damaged(db, str(error)) from error


def case_ids(db: Path) -> tuple[str, ...]:
    """The ids of all cases in the history, each once.

    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    if not db.exists():
        return ()
    with opened(db) as connection:
        return _case_ids(connection)


def _case_ids(connection: Connection) -> tuple[str, ...]:
    return tuple(row[0] for row in connection.execute("SELECT DISTINCT id FROM cases"))


def rows_of(db: Path, query: str, values: tuple[object, ...] | dict[str, object]) -> list[Any]:
    """What a query finds in a history; nothing where there is none yet.

    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    if not db.exists():
        return []
    with opened(db) as connection:
        return connection.execute(query, values).fetchall()


def noise(db: Path, runs: int = 40) -> dict[tuple[str, str], Noise]:
    """How far each measurement lies apart in runs of one kernel, by case key and name.

    A kernel is its name, version and series: runs of an edited tree under one name widen the noise,
    which hides a change sooner than it invents one.

    :param runs: as many of the newest runs are looked at.
    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    rows = rows_of(
        db,
        "SELECT c.key, m.name, c.kernel || ' ' || c.version || ' ' || c.series_digest, m.value"
        " FROM measurements m JOIN cases c ON c.n = m.n"
        " WHERE c.run IN (SELECT id FROM runs ORDER BY started DESC, id DESC LIMIT ?)"
        " AND c.verdict = ? AND m.value IS NOT NULL",
        (runs, Verdict.PASS.value),
    )
    groups: dict[tuple[str, str], dict[str, list[float]]] = {}
    for key, name, kernel, value in rows:
        groups.setdefault((key, name), {}).setdefault(kernel, []).append(value)
    found = {place: noise_of(kernels.values()) for place, kernels in groups.items()}
    return {place: known for place, known in found.items() if known is not None}


def workload_seconds(db: Path, runs: int = 20) -> dict[tuple[str, str], float]:
    """How long each workload took: the median (s) of its latest five times, whatever the kernel.

    Keys are ``CONFIG/ARCH/SHAPE`` and the workload's name.  Those whose guest was lost or that hung
    tell of a deadline and are left out.

    :param runs: as many of the newest runs are looked at.
    :raises UserError: the file is no history of ours, or a newer lab's.
    """
    rows = rows_of(
        db,
        "SELECT c.run || ' ' || c.kernel, c.key, c.workload, c.name, c.seconds FROM cases c"
        " JOIN (SELECT id, started FROM runs ORDER BY started DESC, id DESC LIMIT ?) r"
        " ON r.id = c.run WHERE c.seconds > 0 OR c.name IN (?,?,?)"
        " ORDER BY r.started DESC, r.id DESC",
        (runs, *_NO_END),
    )
    took: dict[tuple[str, str, str], float] = {}
    for run, key, workload, name, seconds in rows:
        place = (run, key.partition(":")[0], workload)
        lost = name in _NO_END
        took[place] = took.get(place, 0.0) + (float("nan") if lost else seconds)
    found: dict[tuple[str, str], list[float]] = {}
    for (_, cell, workload), total in took.items():
        if total == total:  # not NaN
            found.setdefault((cell, workload), []).append(total)
    return {place: statistics.median(times[:5]) for place, times in found.items()}


def rebuild(db: Path, reports: Path, aside: Path | None = None) -> tuple[str, ...]:
    """Make the history anew from the runs stored below ``reports``.

    :param aside: where the old one is kept, once there is a new one.
    :returns: one line for each stored run that could not be read.
    :raises HostError: the new file cannot be written.
    """
    problems: list[str] = []
    began = time.time() - _CLOCK_GRAIN
    fresh = db.with_name(f".{db.name}.{os.getpid()}.tmp")
    try:
        fresh.unlink(missing_ok=True)
        with opened(fresh) as connection:
            for folder in list_runs(reports):
                try:
                    _insert(connection, load(folder), folder)
                except UserError as error:
                    problems.append(error.message)
        # The old one's journal must not be replayed into the new file.
        for suffix in ("-journal", "-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                old = db.with_name(db.name + suffix)
                if aside is not None:
                    old.rename(aside.with_name(aside.name + suffix))
                elif suffix:
                    old.unlink()
        fresh.replace(db)
        for folder in list_runs(reports):  # those that were stored meanwhile, by other labs
            with suppress(UserError, FileNotFoundError):
                if (folder / RESULTS).stat().st_mtime >= began:
                    record(db, load(folder), folder)
    except OSError as error:
        raise unwritable(db, error) from error
    finally:
        fresh.unlink(missing_ok=True)
    return tuple(problems)


# ---------------------------------------------------------------- inside


def as_history(run: RunResult, folder: Path | None) -> HistoryRun:
    """A run as the history would tell it; ``folder`` is where it is stored."""
    info, total = run.run, run.summary
    return HistoryRun(
        id=_text(info.id),
        started=_text(info.started),
        finished=_text(info.finished),
        profile=_text(info.profile),
        command=_text(info.command),
        exit_status=info.exit_status,
        lab_version=_text(info.lab_version),
        folder=_text(str(folder.resolve()) if folder else ""),
        passed=total.passed,
        failed=total.failed,
        skipped=total.skipped,
        errors=total.errors,
        searched=_text(run.searched.short) if run.searched else "",
    )


def _insert(connection: Connection, run: RunResult, folder: Path | None) -> None:
    info = as_history(run, folder)
    connection.execute("DELETE FROM runs WHERE id = ?", (info.id,))
    connection.execute(
        "INSERT INTO runs VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        astuple(replace(info, exit_status=_whole(info.exit_status) or 0))[:-1],
    )
    if run.searched is not None:
        connection.execute("INSERT INTO searches VALUES (?,?)", (info.id, info.searched))
        return
    connection.executemany(
        "INSERT INTO made_of VALUES (?,?,?)",
        [(info.id, _text(cell), _text(made)) for cell, made in identities(run).items()],
    )
    made_of = {k.name: (_text(k.version), _text(k.series_digest)) for k in run.kernels}
    for placed in cases_of(run, parts=True):
        _insert_case(connection, info.id, placed.case, made_of.get(placed.kernel, ("", "")))


def identities(run: RunResult) -> dict[str, str]:
    """What each cell ran on, as one text for the same: its kernel's sources, and the image booted.

    Not of a cell whose kernel did not build or is of a lab that did not keep its tree.
    """
    trees = {kernel.name: kernel.tree for kernel in run.kernels if kernel.tree}
    images = {build.id: build.image_sha256 for build in run.builds}
    found = {}
    for cell in run.cells:
        build = CellId.parse(cell.id).build
        if cell.kernel in trees and images.get(build) != "":  # on the host there is no build
            found[cell.id] = f"{trees[cell.kernel]} {images.get(build, '')}".strip()
    return found


def _insert_case(
    connection: Connection, run_id: str, case: CaseResult, made_of: tuple[str, str]
) -> None:
    kernel, key = CaseId.parse(case.id).cell.kernel, CaseId.parse(case.id).key
    titles = json.dumps(list(dict.fromkeys(hit.title for hit in case.hits)))
    added = connection.execute(
        "INSERT INTO cases (run, id, key, kernel, version, series_digest, workload, name, verdict,"
        " reason, seconds, hits) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (*map(_text, (run_id, case.id, key, kernel, *made_of, case.workload, case.case,
                      case.verdict.value, case.reason)), case.seconds, titles),
    )  # fmt: skip
    n = added.lastrowid
    connection.executemany(
        "INSERT INTO counters VALUES (?,?,?,?,?,?,?)",
        [(n, _text(c.name), *map(_whole, (c.before, c.peak, c.after, c.walk, c.at_walk)))
         for c in case.counters],
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO measurements VALUES (?,?,?,?)",
        [(n, _text(m.name), m.value, _text(m.unit)) for m in case.measurements],
    )


def _case(connection: Connection, row: tuple[Any, ...]) -> HistoryCase:
    n, run_id, started, case_id, verdict, reason, seconds, version, digest, hits = row
    found = HistoryCase(run_id, started, case_id, Verdict(verdict), reason, seconds, version,
                        digest, tuple(json.loads(hits)))  # fmt: skip
    counters = connection.execute(
        "SELECT name, before, peak, after, walk, at_walk FROM counters WHERE n = ? ORDER BY rowid",
        (n,),
    )
    measurements = connection.execute(
        "SELECT name, value, unit FROM measurements WHERE n = ? ORDER BY rowid", (n,)
    )
    return replace(
        found,
        counters=tuple(Counter(*values) for values in counters),
        measurements=tuple(
            Measurement(name, float("nan") if value is None else value, unit)
            for name, value, unit in measurements
        ),
    )


def _text(value: str) -> str:
    """SQLite takes UTF-8 only; kernel output may hold lone surrogates (undecodable bytes)."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _whole(value: int | None) -> int | None:
    """SQLite's integers have 64 bits; a guest may print any number."""
    return None if value is None else max(-(2**63), min(2**63 - 1, value))
