# SPDX-License-Identifier: GPL-2.0-only
"""A history that was damaged is kept under another name and made anew; what is no damage is not."""

from __future__ import annotations

import contextlib
import random
import resource
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import damage
import pytest
from sample_run import broken_run, good_run

from orchestrator.model.errors import HostError, UserError
from orchestrator.results import history, signs, steadiness, store
from orchestrator.results.history_file import Damaged, check
from orchestrator.results.mended import made_anew, mended

IDS = [broken_run().run.id, good_run().run.id]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A history, and beside it the two runs that it is made of."""
    reports = tmp_path / "reports"
    for run in (good_run(), broken_run()):
        store.save(run, reports / run.run.id)
        history.record(reports / "history.sqlite", run, reports / run.run.id)
    return reports / "history.sqlite"


def all_of(db: Path) -> object:
    return history.runs(db), history.query(db, limit=10**6), history.noise(db)


def flip_a_page(path: Path) -> None:
    """A bit in the head of the page that has the first table's rows."""
    data = bytearray(path.read_bytes())
    data[4096 + 3] ^= 1
    path.write_bytes(data)


def other_verdict(path: Path) -> None:
    """A bit in a text: SQLite sees nothing of it."""
    data = path.read_bytes()
    at = data.index(b"counterspass") + len("counters")
    path.write_bytes(data[:at] + b"q" + data[at + 1 :])


def other_id(path: Path) -> None:
    """The mark of our files."""
    data = bytearray(path.read_bytes())
    data[68] ^= 8
    path.write_bytes(data)


HARMS: dict[str, Callable[[Path], None]] = {
    "cut": damage.cut, "empty": damage.empty, "replace": damage.replace, "page": flip_a_page,
    "verdict": other_verdict, "id": other_id,
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_damaged_history_is_kept_and_made_anew(harm: Callable[[Path], None], db: Path) -> None:
    assert mended(db, db.parent) == ""
    before = all_of(db)
    harm(db)
    broken = db.read_bytes()
    told = mended(db, db.parent)
    (aside,) = db.parent.glob("history.sqlite.damaged-*")
    assert aside.read_bytes() == broken
    assert told.startswith(f"the history {db} was damaged (")
    assert told.endswith(f"it is kept as {aside.name}, and made anew from 2 stored runs")
    assert "\n" not in told
    assert all_of(db) == before
    assert mended(db, db.parent) == ""
    # Again in the same second: the other one stays.
    harm(db)
    assert mended(db, db.parent)
    assert len(list(db.parent.glob("history.sqlite.damaged-*"))) == 2
    assert aside.read_bytes() == broken


def test_whatever_bit_flips_it_is_found_or_harmless(db: Path, tmp_path: Path) -> None:
    """No reader and no writer fails on a file that is taken for whole, nor with another error."""
    whole, chance = db.read_bytes(), random.Random(7)
    found = 0
    for at in [*range(0, 100, 3), *(chance.randrange(len(whole)) for _ in range(60))]:
        data = bytearray(whole)
        data[at] ^= 1 << chance.randrange(8)
        db.write_bytes(data)
        refused = UserError if at in range(60, 64) else Damaged  # the number of its schema
        try:
            check(db)
        except refused:
            found += 1
            with contextlib.suppress(UserError):
                all_of(db)
            continue
        all_of(db)
        steadiness.flaky(db)
        signs.signs(db, {"cli"})
        history.record(db, good_run())
    assert found > 20


def test_one_of_a_newer_lab_is_refused_and_stays(db: Path) -> None:
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version = 2")
    before = db.read_bytes()
    with pytest.raises(UserError, match="newer lab") as caught:
        mended(db, db.parent)
    assert not isinstance(caught.value, Damaged)
    assert db.read_bytes() == before
    assert [path.name for path in db.parent.glob("history*")] == ["history.sqlite"]


def test_another_program_s_file_is_refused_and_stays(tmp_path: Path) -> None:
    foreign = tmp_path / "history.sqlite"
    with contextlib.closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE t (x)")
    before = foreign.read_bytes()
    with pytest.raises(UserError, match="no history of the lab"):
        mended(foreign, tmp_path)
    assert foreign.read_bytes() == before


def test_without_a_history_or_runs_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert mended(tmp_path / "history.sqlite", tmp_path) == ""
    assert not list(tmp_path.iterdir())
    (tmp_path / "history.sqlite").touch()  # another lab's first run has just opened it
    assert mended(tmp_path / "history.sqlite", tmp_path) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["history.sqlite"]


def test_runs_that_cannot_be_read_are_counted(db: Path) -> None:
    damage.cut(db.parent / IDS[0] / "results.json")
    damage.cut(db)
    assert mended(db, db.parent).endswith("from 1 stored runs (1 cannot be read)")
    assert [run.id for run in history.runs(db)] == IDS[1:]


def test_where_none_can_be_written_the_damaged_one_stays(db: Path) -> None:
    damage.replace(db)
    broken = db.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, before[1]))  # as a full disk
    try:
        with pytest.raises(HostError, match="cannot use the history"):
            mended(db, db.parent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert db.read_bytes() == broken
    left = {"history.sqlite", "history.sqlite-checked"}
    assert {path.name for path in db.parent.glob("*history*")} <= left


def test_a_journal_goes_with_the_file_that_it_is_of(db: Path) -> None:
    damage.replace(db)
    db.with_name("history.sqlite-journal").write_bytes(b"what was to be undone")
    made_anew(db, db.parent, Damaged(db, "it is"))
    (aside,) = db.parent.glob("history.sqlite.damaged-*-journal")
    assert aside.read_bytes() == b"what was to be undone"
    assert [run.id for run in history.runs(db)] == IDS


def test_a_run_that_is_stored_while_it_is_made_anew_is_in_it(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another lab's run ends after the stored runs were listed, and before the new one stands."""
    late = replace(good_run(), run=replace(good_run().run, id="20990101-000000"))
    real = Path.replace

    def ends_meanwhile(self: Path, target: Path) -> Path:
        if target == db:
            store.save(late, db.parent / late.run.id)
            history.record(db, late, db.parent / late.run.id)
        return real(self, target)

    damage.replace(db)
    monkeypatch.setattr(Path, "replace", ends_meanwhile)
    assert mended(db, db.parent)
    assert {run.id for run in history.runs(db)} == {*IDS, late.run.id}
