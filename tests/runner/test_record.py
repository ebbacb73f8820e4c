# SPDX-License-Identifier: GPL-2.0-only
"""What a run leaves, whatever has become of the history."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
import sample_run

from orchestrator.host.cache.files import Cache
from orchestrator.judge.compare import compare
from orchestrator.model.errors import LabError
from orchestrator.results import history, runs
from orchestrator.runner import record
from orchestrator.runner.context import Places


@pytest.mark.parametrize("bad", ["damaged", "newer", "unreadable"])
def test_a_bad_history_does_not_cost_the_reports(tmp_path: Path, bad: str) -> None:
    where = Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)
    run = sample_run.good_run()
    folder = runs.run_folder(where.reports, None)
    if bad == "unreadable":
        where.history.mkdir()
    elif bad == "newer":
        history.record(where.history, run)
        with contextlib.closing(sqlite3.connect(where.history)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        where.history.write_bytes(b"no database" * 100)
    assert record.known_noise(where) == {}
    # It is told all the same, once everything else is kept.
    with pytest.raises(LabError, match="history") as caught:
        record.finish(where, run, folder, compare(run, run))
    assert caught.value.hint
    for name in ("results.json", "junit.xml", "index.html"):
        assert (folder / name).stat().st_size
    assert (where.reports / "latest").resolve() == folder
