# SPDX-License-Identifier: GPL-2.0-only
"""A history is looked through where it is not as the lab left it, and once a day."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path

import damage
import pytest
from sample_run import broken_run, good_run

from orchestrator.results import history, mended
from orchestrator.results.history_left import GOOD_FOR, is_good, leave, looked_through


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A history that was looked through."""
    db = tmp_path / "history.sqlite"
    history.record(db, good_run())
    assert looked_through(db) is None
    assert mended.mended(db, tmp_path) == ""
    return db


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each look at the whole of a history."""
    seen: list[Path] = []
    real = mended.check

    def look(db: Path) -> None:
        seen.append(db)
        real(db)

    monkeypatch.setattr(mended, "check", look)
    return seen


def test_one_as_the_lab_left_it_is_not_looked_through_again(db: Path, looks: list[Path]) -> None:
    before = looked_through(db)
    history.record(db, broken_run())
    history.runs(db)
    assert looked_through(db) == before
    assert mended.mended(db, db.parent) == ""
    assert not looks


def test_one_that_something_else_wrote_to_is(db: Path, looks: list[Path]) -> None:
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE runs SET command = 'lab'")
        connection.commit()
    assert not is_good(db)
    history.record(db, broken_run())  # makes nothing good
    assert not is_good(db)
    assert mended.mended(db, db.parent) == ""
    assert looks == [db]
    assert is_good(db)


def test_so_is_a_copy_and_one_whose_time_was_set_back(db: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other" / db.name
    copy.parent.mkdir()
    for name in (db.name, f"{db.name}-checked"):
        shutil.copy2(db.with_name(name), copy.with_name(name))
    assert not is_good(copy)
    stat = db.stat()
    time.sleep(0.02)  # a tick of the kernel's clock, which files are stamped with
    db.write_bytes(db.read_bytes())
    os.utime(db, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not is_good(db)


def test_once_a_day_it_is_looked_through_all_the_same(db: Path, looks: list[Path]) -> None:
    leave(db, time.time() - GOOD_FOR + 60)
    assert is_good(db)
    for when in (time.time() - GOOD_FOR - 1, time.time() + 60):
        leave(db, when)
        assert not is_good(db)
    assert mended.mended(db, db.parent) == ""
    assert looks == [db]
    assert is_good(db)


@pytest.mark.parametrize("text", [b"", b"\n", b"1 2 3 4 nan", b"1 2 3 4 x\n", b"\xff\xfe 3"])
def test_a_line_that_says_nothing_makes_nothing_good(text: bytes, db: Path) -> None:
    db.with_name(f"{db.name}-checked").write_bytes(text)
    assert not is_good(db)
    assert mended.mended(db, db.parent) == ""
    assert is_good(db)


def test_no_place_for_the_line_is_no_harm(db: Path) -> None:
    line = db.with_name(f"{db.name}-checked")
    line.unlink()
    line.mkdir()
    assert mended.mended(db, db.parent) == ""
    assert not is_good(db)


def test_what_is_damaged_is_not_taken_for_good(db: Path) -> None:
    time.sleep(0.02)
    damage.cut(db)
    assert mended.mended(db, db.parent).startswith(f"the history {db} was damaged (")
    assert [run.id for run in history.runs(db)] == []  # no run is stored here
