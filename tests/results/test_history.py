# SPDX-License-Identifier: GPL-2.0-only
"""The history of runs."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest
from sample_run import broken_run, good_run

from orchestrator import HOME
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.evidence import Counter, Measurement
from orchestrator.model.names import Verdict
from orchestrator.results import history, store


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "sub" / "history.sqlite"
    history.record(path, good_run())
    history.record(path, broken_run(), tmp_path / "folder")
    return path


def test_runs_newest_first(db, tmp_path):
    found = history.runs(db)
    assert [run.exit_status for run in found] == [3, 0]
    assert found[0].folder == str(tmp_path / "folder")
    assert (found[0].failed, found[0].errors) == (4, 1)
    assert len(history.runs(db, limit=1)) == 1


@pytest.mark.parametrize(
    ("glob", "count"),
    [
        ("cli/default/x86_64/small:ledger/swap:counters", 2),
        ("default/x86_64/small:ledger/swap:counters", 2),
        ("ledger/swap:counters", 4),
        ("counters", 4),
        ("*/arm64/*:ledger/swap:*", 3),
        ("coun[st]ers", 4),
        ("COUNTERS", 0),
        ("", 0),
        ("%", 0),
        ("' OR 1=1 --", 0),
        ("\udcff", 0),
    ],
)
def test_globs(db, glob, count):
    assert len(history.query(db, glob)) == count


def test_what_a_case_was(db):
    new, old = history.query(db, "cli/default/x86_64/small:ledger/swap:counters")
    assert (new.verdict, old.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert new.started > old.started
    assert Counter("RssAnon", 18, 146, 82, 18, 82) in new.counters
    assert Counter("nr_anon_pages", 10412, 10480, 10411) in old.counters
    assert new.version == "6.12.48"
    log = history.query(db, "kernel-log", verdict=Verdict.FAIL)
    assert len(log) == 1
    assert log[0].hits[1] == "BUG: Bad rss-counter state type:MM_ANONPAGES"
    speed = history.query(db, "*throughput", limit=1)[0]
    assert Measurement("move", 1843.2, "MB/s") in speed.measurements


def test_builds_and_series_are_cases_too(db):
    assert [c.verdict for c in history.query(db, "cli/no-thp/*build:build")] == [Verdict.FAIL]
    assert [c.verdict for c in history.query(db, "other/*:series:apply")] == [Verdict.FAIL]


def test_recording_again_replaces(db):
    before = rows(db)
    history.record(db, broken_run())
    assert rows(db) == before
    assert len(history.runs(db)) == 2


def rows(db):
    connection = sqlite3.connect(db)
    tables = ("runs", "cases", "counters", "measurements")
    found = [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables]
    connection.close()
    assert all(found)
    return found


def test_no_history_yet(tmp_path):
    path = tmp_path / "none.sqlite"
    assert history.query(path) == ()
    assert history.runs(path) == ()
    assert not path.exists()


def test_garbage_and_huge_numbers(tmp_path):
    run = good_run()
    cell = run.cells[0]
    nasty = replace(
        cell.cases[0],
        reason="\udcff\x00 ' \";--",
        counters=(Counter("\ud800", -(10**30), 10**30, 0),),
        measurements=(Measurement("nan", float("nan"), "s"),),
    )
    run = replace(run, cells=(replace(cell, cases=(nasty,)),))
    path = tmp_path / "h.sqlite"
    history.record(path, run)
    found = history.query(path, nasty.id)[0]
    assert "\\udcff" in found.reason
    assert found.counters[0].peak == 2**63 - 1
    assert found.measurements[0].value != found.measurements[0].value


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from sample_run import good_run
from orchestrator.results import history
path, *numbers = sys.argv[1:]
run = good_run()
for n in numbers:
    history.record(Path(path), replace(run, run=replace(run.run, id=f"run-{n}")))
"""


def test_many_writers_at_once(tmp_path):
    path = tmp_path / "h.sqlite"
    env = os.environ | {"PYTHONPATH": f"{HOME}:{HOME / 'tests' / 'support'}"}
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, str(path), *map(str, range(n, 12, 4))], env=env
                )
            )
            for n in range(4)
        ]
        assert [writer.wait(60) for writer in writers] == [0] * 4
    assert len(history.runs(path, limit=100)) == 12


def test_rebuilt_from_stored_runs(tmp_path):
    reports = tmp_path / "reports"
    for run in (good_run(), broken_run()):
        store.save(run, reports / run.run.id)
    (reports / "bad").mkdir()
    (reports / "bad" / "results.json").write_text("{")
    path = reports / "history.sqlite"
    path.write_bytes(b"this is no database at all, not even by chance" * 50)
    problems = history.rebuild(path, reports)
    assert len(problems) == 1
    assert "bad/results.json" in problems[0]
    assert [run.id for run in history.runs(path)] == [broken_run().run.id, good_run().run.id]
    assert not [p for p in reports.iterdir() if p.name.startswith(".")]


def test_files_that_are_not_ours(tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"not a database " * 100)
    with pytest.raises(UserError, match="damaged or no history"):
        history.runs(text)
    foreign = tmp_path / "foreign"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match="no history of the lab"):
        history.record(foreign, good_run())


def test_a_damaged_table_that_is_no_text_any_more(db):
    data = db.read_bytes()
    assert b"CREATE TABLE runs" in data
    db.write_bytes(data.replace(b"CREATE TABLE runs", b"CREATE TABLE \x84uns"))
    with pytest.raises(UserError, match="damaged or no history"):
        history.runs(db)


def test_a_verdict_that_is_none_is_damage_and_no_bug_of_the_lab(db):
    data = db.read_bytes()
    db.write_bytes(data.replace(b"counterspass", b"counterspaqs"))
    with pytest.raises(UserError, match="damaged or no history"):
        history.query(db)


@pytest.mark.parametrize(("version", "told"), [(2, "newer lab"), (0, "older lab")])
def test_other_schema_versions(db, version, told):
    connection = sqlite3.connect(db)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match=told) as caught:
        history.query(db)
    assert caught.value.hint


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError):
        history.record(tmp_path / "file" / "h.sqlite", good_run())
    (tmp_path / "folder").mkdir()
    with pytest.raises(HostError):
        history.record(tmp_path / "folder", good_run())


def test_noise_of_a_figure(tmp_path):
    path = tmp_path / "history.sqlite"
    assert history.noise(path) == {}
    for number, factor in enumerate((1.0, 1.02, 0.98, 1.01, 0.99)):
        run = good_run()
        cells = tuple(
            replace(cell, cases=tuple(
                replace(case, measurements=tuple(
                    replace(m, value=m.value * factor) for m in case.measurements))
                for case in cell.cases))
            for cell in run.cells
        )  # fmt: skip
        info = replace(run.run, id=f"run-{number}")
        history.record(path, replace(run, run=info, cells=cells))
    found = {name: noise for (key, name), noise in history.noise(path).items() if "x86_64" in key}
    assert found
    for noise in found.values():
        assert 1 < noise.percent < 3
        assert noise.runs == 5
    assert history.noise(path, runs=3) == {}


def timed(number, seconds, name="counters"):
    """A run in which ledger/swap took so long in each cell."""
    run = good_run()
    cells = []
    for cell in run.cells:
        id = f"{cell.id}:ledger/swap:{name}"
        case = replace(cell.cases[-2], id=id, case=name, seconds=seconds)
        other = replace(cell.cases[-1], seconds=0.0)
        cells.append(replace(cell, cases=(*cell.cases[:-2], case, other)))
    info = replace(run.run, id=f"r{number}", started=f"2026-11-0{number + 1}T00:00:00Z")
    return replace(run, run=info, cells=tuple(cells))


def test_how_long_each_workload_took(tmp_path):
    db = tmp_path / "history.sqlite"
    assert history.workload_seconds(db) == {}
    for number, seconds in enumerate((900.0, 1.0, 2.0, 3.0, 4.0, 5.0)):
        history.record(db, timed(number, seconds))
    took = history.workload_seconds(db)
    assert took["default/x86_64/small", "ledger/swap"] == 3.0  # the latest five count
    assert took["default/x86_64/small", "move/basic"] == 0.5  # the sum of its cases
    assert took["default/arm64/small", "move/compact"] == 2.5
    assert history.workload_seconds(db, runs=1)["default/x86_64/small", "ledger/swap"] == 5.0


def test_what_did_not_end_tells_no_duration(tmp_path):
    db = tmp_path / "history.sqlite"
    history.record(db, timed(0, 600.0, "hang"))
    assert ("default/x86_64/small", "ledger/swap") not in history.workload_seconds(db)
    history.record(db, timed(1, 2.0))
    assert history.workload_seconds(db)["default/x86_64/small", "ledger/swap"] == 2.0
