# SPDX-License-Identifier: GPL-2.0-only
"""Digests: what a run came to in short, kept beside it, made again where they do not fit."""

import json
import os
from dataclasses import replace

import pytest
from many_nights import REAL
from sample_run import broken_run, good_run

from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import summary_of
from orchestrator.model.names import Verdict
from orchestrator.results import digests, runs, store


def stored(reports, run, latest=True):
    folder = reports / run.run.id
    store.save(run, folder)
    if latest:
        runs.update_latest(reports, folder)
    return folder


def test_a_digest_counts_what_the_run_counts():
    found = digests.digest_of(broken_run())
    total = summary_of(broken_run())
    assert (found.passed, found.failed, found.errors) == (total.passed, total.failed, total.errors)
    assert found.seconds == 637
    assert found.tested.startswith("cli: 2 patches on 6.12.48")
    assert [(cell.place, cell.state) for cell in found.cells] == [
        ("default/x86_64/small", "fail"),
        ("default/arm64/small", "error"),
    ]
    assert found.cells[0].failed == ("ledger/swap:counters", "ledger/swap:kernel-log")
    assert found.regressed is None
    cell = found.cells[0]
    assert [cell.cause(at) for at in range(3)] == [
        "RssAnon and VmSwap do not match the page walk after the move",
        "WARNING at mm/userfaultfd.c in move_swap_pte",
        "",
    ]


def test_regressions_are_those_of_the_comparison():
    against = compare(good_run(), broken_run(), "cli", "cli")
    found = digests.digest_of(broken_run(), against)
    assert found.regressed == len(against.regressed) > 0
    assert found.regressions[0] == against.regressed[0].key


def test_known_failures_are_apart():
    run = good_run()
    cell = run.cells[0]
    known = replace(cell.cases[1], known="mended in 6.13", judged="fail: x")
    met = replace(cell.cases[2], expected="BUG: x")
    left = replace(cell.cases[3], verdict=Verdict.SKIP, known="lost to a known panic")
    cases = (cell.cases[0], known, met, left, *cell.cases[4:])
    run = replace(run, cells=(replace(cell, cases=cases), *run.cells[1:]))
    before, after = digests.digest_of(good_run()), digests.digest_of(run)
    assert (after.known, after.passed) == (3, before.passed - 3)
    assert (after.skipped, after.failed) == (before.skipped, 0)
    assert after.cells[0].known == 3


def test_a_digest_is_kept_and_read(tmp_path, monkeypatch):
    for run in (good_run(), broken_run()):
        digests.keep(stored(tmp_path, run), run, None)
    monkeypatch.setattr(digests, "load", None)  # nothing else is read
    found = digests.read(tmp_path)
    assert [run.id for run in found.runs] == [broken_run().run.id, good_run().run.id]
    assert found.runs[0] == replace(digests.digest_of(broken_run()), folder=broken_run().run.id)
    assert (found.notes, found.left) == ((), 0)


def test_one_that_is_of_another_results_json_is_made_again(tmp_path):
    folder = stored(tmp_path, good_run())
    digests.keep(folder, good_run(), None)
    store.save(replace(broken_run(), run=good_run().run), folder)
    assert digests.read(tmp_path).runs[0].failed == digests.digest_of(broken_run()).failed
    (folder / digests.DIGEST).write_text('{"form": 1, "of": []')
    assert digests.read(tmp_path).runs[0].failed
    (folder / digests.DIGEST).write_text("[1, 2]")
    assert digests.read(tmp_path).runs[0].failed


def test_what_is_broken_or_foreign_is_passed_over(tmp_path):
    stored(tmp_path, good_run())
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "results.json").write_text('{"schema": 1, "run"')
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "results.json").write_text('{"tests": 3}')
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "results.json").write_text('{"schema": 99, "run": {}}')
    (tmp_path / "gdb").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = digests.read(tmp_path)
    assert [run.id for run in found.runs] == [good_run().run.id]
    assert sorted(note.split(":")[0] for note in found.notes) == ["cut", "foreign", "newer"]
    assert digests.read(tmp_path / "none") == digests.Digests()


def test_without_time_runs_are_left_to_another_day(tmp_path):
    digests.keep(stored(tmp_path, good_run()), good_run(), None)
    stored(tmp_path, broken_run())
    found = digests.read(tmp_path, seconds=-1)
    assert ([run.id for run in found.runs], found.left) == ([good_run().run.id], 1)
    assert len(digests.read(tmp_path, most=1).runs) == 1
    assert digests.read(tmp_path, most=1).left == 1


def test_a_run_that_goes_on_leaves_no_digest(tmp_path):
    run = replace(good_run(), run=replace(good_run().run, finished="", exit_status=130))
    folder = stored(tmp_path, run)
    assert digests.read(tmp_path).runs[0].seconds == 0
    assert not (folder / digests.DIGEST).exists()


def test_a_folder_that_cannot_be_written_has_its_run_told_all_the_same(tmp_path, monkeypatch):
    stored(tmp_path, good_run())

    def full(path, data):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(digests, "_write", full)
    assert digests.read(tmp_path).runs[0].id == good_run().run.id


def test_a_stored_baseline_is_compared_with(tmp_path):
    stored(tmp_path, good_run())
    run = broken_run()
    stored(tmp_path, replace(run, run=replace(run.run, baseline=good_run().run.id)))
    found = digests.read(tmp_path).runs[0]
    assert found.regressed
    stored(tmp_path, replace(run, run=replace(run.run, baseline="gone", profile="other")))
    assert digests.read(tmp_path).runs[0].regressed is None


def test_measurements_of_passing_cases_are_kept(tmp_path):
    folder = stored(tmp_path, good_run())
    digests.keep(folder, good_run(), None)
    (pair,) = digests.read_figures(tmp_path, digests.read(tmp_path).runs)
    assert pair[1]["default/arm64/small tcg"] == {
        "move/compact:throughput move (MB/s)": 1843.2,
        "move/compact:throughput copy+dontneed (MB/s)": 611.75,
    }
    (folder / digests.FIGURES).write_text('{"form": 1, "figures": {"a": 1}}')
    assert digests.read_figures(tmp_path, digests.read(tmp_path).runs) == []


@pytest.mark.parametrize("name", ["drift", "hostile", "cross-swap", "compile"])
def test_real_runs_have_digests_that_json_carries(name, tmp_path):
    run = store.load(REAL / name)
    digests.keep(stored(tmp_path, run), run, None)
    assert json.loads((tmp_path / run.run.id / digests.DIGEST).read_text())["run"]["id"]
    assert digests.read(tmp_path).runs[0].cells == digests.digest_of(run).cells
