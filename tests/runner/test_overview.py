# SPDX-License-Identifier: GPL-2.0-only
"""The pages over all runs: written at a run's end, in one step, in no time."""

import time

import pytest
from many_nights import REAL, fill
from sample_run import broken_run, good_run

from orchestrator.results import digests, runs, store
from orchestrator.runner import overview


def stored(reports, run):
    folder = reports / run.run.id
    store.save(run, folder)
    runs.update_latest(reports, folder)
    return folder


def test_a_runs_end_writes_the_page(tmp_path):
    for run in (good_run(), broken_run()):
        overview.after_run(tmp_path, run, stored(tmp_path, run), None)
    page = (tmp_path / "index.html").read_text()
    assert page.index(broken_run().run.id) < page.index(good_run().run.id)
    assert not (tmp_path / "trends.html").exists()  # two runs tell nothing
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_run_elsewhere_has_a_digest_and_no_page(tmp_path):
    folder = stored(tmp_path / "elsewhere", good_run())
    overview.after_run(tmp_path / "reports", good_run(), folder, None)
    assert (folder / digests.DIGEST).exists()
    assert not (tmp_path / "reports").exists()


def test_a_run_never_fails_for_its_page(tmp_path):
    folder = stored(tmp_path, good_run())
    (tmp_path / "index.html").mkdir()
    overview.after_run(tmp_path, good_run(), folder, None)
    assert not list(tmp_path.glob(".*.tmp"))


def test_nights_have_trends(tmp_path):
    fill(tmp_path, good_run(), 6, 2, whole=False)
    done = overview.write(tmp_path)
    assert [path.name for path in done.written] == ["index.html", "trends.html"]
    assert "Timeline of nightly" in done.written[0].read_text()
    assert 'href="trends.html"' in done.written[0].read_text()
    assert "copy+dontneed" in done.written[1].read_text()
    # Without time the trends stay as they were, and are still linked.
    before = done.written[1].read_text()
    assert [path.name for path in overview.write(tmp_path, 0).written] == ["index.html"]
    assert (tmp_path / "trends.html").read_text() == before
    assert 'href="trends.html"' in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_a_hundred_nights_are_told_in_a_blink(tmp_path):
    fill(tmp_path, store.load(REAL / "drift"), 100, 16, whole=False)
    began = time.process_time()
    overview.write(tmp_path, 0.3)
    assert time.process_time() - began < 1.0
