# SPDX-License-Identifier: GPL-2.0-only
"""The history's file: opened within a transaction; refused where it is damaged, or is not ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.model.errors import HostError, LabError, UserError
from orchestrator.model.names import Verdict
from orchestrator.results import history_left, searches

if TYPE_CHECKING:
    import sqlite3

    Connection = sqlite3.Connection

SCHEMA_VERSION = 1
# "mmlb": tells our file from any other SQLite database (PRAGMA application_id).
_APPLICATION_ID = 0x6D6D6C62
_BUSY_SECONDS = 30.0

_TABLES = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, started TEXT NOT NULL, finished TEXT NOT NULL, profile TEXT NOT NULL,
    command TEXT NOT NULL, exit_status INTEGER NOT NULL, lab_version TEXT NOT NULL,
    folder TEXT NOT NULL,
    passed INTEGER NOT NULL, failed INTEGER NOT NULL, skipped INTEGER NOT NULL,
    errors INTEGER NOT NULL);
CREATE TABLE cases (
    n INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    id TEXT NOT NULL, key TEXT NOT NULL, kernel TEXT NOT NULL, version TEXT NOT NULL,
    series_digest TEXT NOT NULL, workload TEXT NOT NULL, name TEXT NOT NULL,
    verdict TEXT NOT NULL, reason TEXT NOT NULL, seconds REAL, hits TEXT NOT NULL);
CREATE INDEX cases_by_id ON cases(id);
CREATE INDEX cases_by_run ON cases(run);
CREATE TABLE counters (
    n INTEGER NOT NULL REFERENCES cases(n) ON DELETE CASCADE, name TEXT NOT NULL,
    before INTEGER NOT NULL, peak INTEGER NOT NULL, after INTEGER NOT NULL,
    walk INTEGER, at_walk INTEGER);
CREATE INDEX counters_by_case ON counters(n);
CREATE TABLE measurements (
    n INTEGER NOT NULL REFERENCES cases(n) ON DELETE CASCADE, name TEXT NOT NULL,
    value REAL, unit TEXT NOT NULL);
CREATE INDEX measurements_by_case ON measurements(n);
"""
# Came later: a history without it gets one, and knows of no earlier run what it ran on.
_MADE_OF = """
CREATE TABLE IF NOT EXISTS made_of (
    run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    cell TEXT NOT NULL, identity TEXT NOT NULL, PRIMARY KEY (run, cell)) WITHOUT ROWID
"""

# What SQLite's typeof() gives for a column that was declared as such; 2 is a REAL too.
_KINDS = {
    "TEXT": "('text')", "INTEGER": "('integer', 'null')", "REAL": "('real', 'integer', 'null')",
}  # fmt: skip
_UNFIT = f"""
SELECT verdict, hits FROM cases
WHERE verdict NOT IN ({", ".join("?" * len(Verdict))}) OR NOT json_valid(hits) LIMIT 1
"""


class Damaged(UserError):
    """A history that cannot be read: it can be made anew (:mod:`.results.mended`).

    :param why: what is wrong with it.
    """

    def __init__(self, db: Path, why: str) -> None:
        super().__init__(
            f"{db} is damaged or no history of the lab: {why}",
            "delete it; `lab history --rebuild` makes it anew from the stored runs",
        )
        self.why = why


def check(db: Path) -> None:
    """Look whether a history is whole; without one there is nothing to see.

    Tables and their indexes are held against each other, which takes some 25 ms a MB.

    :raises Damaged: it is not.
    :raises UserError: the file is no history of ours, or a newer lab's.
    :raises HostError: it cannot be opened.
    """
    if not db.exists():
        return
    if not db.stat().st_size:
        raise Damaged(db, "it is empty")
    with opened(db) as connection:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise Damaged(db, str(found).strip().replace("\n", ": "))
        for table, columns in _columns().items():
            for _ in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):
                pass  # each text is one
            wrong = " OR ".join(f"typeof({name}) NOT IN {kind}" for name, kind in columns.items())
            if connection.execute(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1").fetchone():
                raise Damaged(db, f"a value in its table {table} is of another kind")
        words = [verdict.value for verdict in Verdict]
        others = connection.execute(_UNFIT, words).fetchone()
        if others is not None:
            raise Damaged(db, f"{others[0]!r} is no verdict, or {others[1]!r} no titles")


def _columns() -> dict[str, dict[str, str]]:
    """What each table has, and of which kinds: both stand in the file too, where a bit may flip."""
    import sqlite3

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _create(connection)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: {
                row[1]: _KINDS[row[2]] for row in connection.execute(f"PRAGMA table_info({name})")
            }
            for (name,) in tables.fetchall()
        }


def _create(connection: sqlite3.Connection) -> None:
    # One by one: executescript() would commit the transaction first.
    for statement in filter(str.strip, (*_TABLES.split(";"), _MADE_OF, searches.TABLE)):
        connection.execute(statement)


@contextmanager
def opened(db: Path) -> Iterator[sqlite3.Connection]:
    """An open history within one transaction, created or checked; commits unless it raises."""
    import sqlite3  # 10 ms that `lab --help` need not pay

    try:
        db.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(db, timeout=_BUSY_SECONDS, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise unwritable(db, error) from error
    looked = history_left.looked_through(db)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # IMMEDIATE takes the write lock at once: two first writers cannot both find an empty file,
        # and no transaction has to be given up halfway because another one was faster.
        connection.execute("BEGIN IMMEDIATE")
        _prepare(connection, db)
        yield connection
        connection.execute("COMMIT")
        if looked is not None and history_left.looked_through(db) is None:
            history_left.leave(db, looked)
    except sqlite3.DatabaseError as error:
        if _is_the_hosts(error, db):
            raise unwritable(db, error) from error
        raise Damaged(db, str(error)) from error
    except UnicodeError as error:
        raise Damaged(db, str(error)) from error
    finally:
        connection.close()  # rolls back what was not committed


def _is_the_hosts(error: sqlite3.DatabaseError, db: Path) -> bool:
    """Whether the host is to blame, and not what the file holds (sqlite.org/rescode.html)."""
    import sqlite3

    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python's own: a text that is none
        return False
    if code & 0xFF == sqlite3.SQLITE_READONLY:  # or its head tells of a newer SQLite's format
        return not all(os.access(path, os.W_OK) for path in (db, db.parent))
    return code & 0xFF in {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT,
    }  # fmt: skip


def _prepare(connection: sqlite3.Connection, db: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner == 0 and version == 0 and empty:
        _create(connection)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        owner, version = _APPLICATION_ID, SCHEMA_VERSION
    if owner == _APPLICATION_ID and version == SCHEMA_VERSION:
        for table in (_MADE_OF, searches.TABLE):
            connection.execute(table)
        return
    if owner != _APPLICATION_ID:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if {"runs", "cases", "counters", "measurements"} <= tables:
            raise Damaged(db, "its tables are those of a history, its application id is not")
        raise UserError(f"{db} is no history of the lab", "name another file, or move it away")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{db} was written by a newer lab (history {version}, this one has {SCHEMA_VERSION})",
            "update this lab, or keep the histories apart",
        )
    raise UserError(
        f"{db} was written by an older lab (history {version}, this one has {SCHEMA_VERSION})",
        "`lab history --rebuild` makes it anew from the stored runs",
    )


def unwritable(db: Path, error: Exception) -> LabError:
    """What is raised where the host does not let a history be used."""
    return HostError(
        f"cannot use the history {db}: {error}", "check the path, its permissions and free space"
    )
