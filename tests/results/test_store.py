# SPDX-License-Identifier: GPL-2.0-only
"""Storing, loading and finding runs."""

import json
import math
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sample_run import broken_run, good_run, rss_hit

from orchestrator.model.errors import HostError, UserError
from orchestrator.model.evidence import Excerpt, FrameLines, Measurement, Sample, SourceLine
from orchestrator.results import runs as runs_module
from orchestrator.results import store


def with_case(run, **changes):
    """``run`` with its first cell's first case changed."""
    cell = run.cells[0]
    cases = (replace(cell.cases[0], **changes), *cell.cases[1:])
    return replace(run, cells=(replace(cell, cases=cases), *run.cells[1:]))


@pytest.mark.parametrize("make", [good_run, broken_run])
def test_a_run_comes_back_as_it_was(make, tmp_path):
    run = make()
    path = store.save(run, tmp_path / "r")
    assert store.load(path) == run
    assert store.load(tmp_path / "r") == run


def test_the_contract_names(tmp_path):
    data = json.loads(store.save(broken_run(), tmp_path).read_text())
    assert next(iter(data)) == "schema"
    assert data["schema"] == 1
    assert set(data["summary"]) == {"pass", "fail", "skip", "error"}
    run_keys = "id started finished command exit_status lab_version profile host"
    assert set(run_keys.split()) <= set(data["run"])
    assert {"n", "subject", "author", "sha256", "applied"} <= set(data["kernels"][0]["series"][0])
    build_keys = "id kernel config arch verdict seconds cached image_sha256"
    assert set(build_keys.split()) <= set(data["builds"][0])
    cell = data["cells"][0]
    cell_keys = "id kernel config arch shape accelerator verdict boot_seconds cases page_size"
    assert set(cell_keys.split()) <= set(cell)
    case_keys = "id workload case verdict reason seconds hits counters measurements rerun"
    assert set(case_keys.split()) <= set(cell["cases"][0])
    drift, log = cell["cases"][4:6]
    assert {"name", "before", "peak", "after", "walk"} <= set(drift["counters"][0])
    assert drift["verdict"] == "fail"
    assert {"title", "kind", "signature"} <= set(log["hits"][0])
    assert {"name", "value", "unit"} == set(cell["cases"][3]["measurements"][0])


def test_bulk_lies_beside_and_once(tmp_path):
    run = broken_run()
    same = with_case(run, samples=run.cells[0].cases[4].samples, hits=(rss_hit(), rss_hit()))
    path = store.save(same, tmp_path)
    assert "Call Trace" not in path.read_text()
    beside = tmp_path / "cells/cli__default__x86_64__small/evidence.json"
    data = json.loads(beside.read_text())
    assert len(data["samples"]) == 1
    assert len(data["texts"]) == 2
    assert store.load(path) == same


def with_frames(run):
    text = Excerpt(1182, "\tif (!ptep)\n\t\treturn;\n", (1183,))
    places = (
        SourceLine("put_back", "mm/swap.h", 12, "function"),
        SourceLine("move_swap_pte", "mm/userfaultfd.c", 1187, "line", text),
    )
    frames = (FrameLines(2, "move_swap_pte", 0x1C4, places), FrameLines(3, "f", 1, (), "moved"))
    return with_case(run, hits=(replace(rss_hit(), frames=frames), replace(rss_hit(), line=9)))


def test_the_lines_of_a_trace_come_back_and_their_text_lies_beside(tmp_path):
    run = with_frames(good_run())
    path = store.save(run, tmp_path)
    assert store.load(path) == run
    stored = json.loads(path.read_text())["cells"][0]["cases"][0]["hits"][0]["frames"]
    assert stored[0]["places"][1] == {
        "function": "move_swap_pte", "file": "mm/userfaultfd.c", "line": 1187, "touched": "line",
    }  # fmt: skip
    beside = path.parent / runs_module.cell_folder(run.cells[0].id) / "evidence.json"
    assert list(json.loads(beside.read_text())["excerpts"]) == ["mm/userfaultfd.c:1187"]


@pytest.mark.parametrize("excerpts", [[], {"mm/userfaultfd.c:1187": {"first": "x"}}, "x"])
def test_unfit_pieces_of_source_cost_the_traces_only(excerpts, tmp_path):
    path = store.save(with_frames(good_run()), tmp_path)
    beside = path.parent / runs_module.cell_folder(good_run().cells[0].id) / "evidence.json"
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "excerpts": excerpts}))
    frames = store.load(path).cells[0].cases[0].hits[0].frames
    assert [place.line for place in frames[0].places] == [12, 1187]


def test_saved_again_and_again(tmp_path):
    whole = broken_run()
    partial = replace(whole, run=replace(whole.run, finished=""), cells=whole.cells[:1])
    store.save(partial, tmp_path)
    assert store.load(tmp_path) == partial
    store.save(whole, tmp_path)
    assert store.load(tmp_path) == whole
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_reader_never_sees_a_part(tmp_path):
    runs = good_run(), broken_run()
    store.save(runs[0], tmp_path)
    stop = threading.Event()

    def write():
        for n in range(30):
            store.save(runs[n % 2], tmp_path)
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        assert store.load(tmp_path).run.id in {run.run.id for run in runs}
    writer.join()


def test_garbage_from_the_kernel_survives(tmp_path):
    nasty = "\x00\x1b[31m \udcff\ud800 ]]> <b> \u202e \U0001f4a9 \r\n"
    run = with_case(
        good_run(),
        reason=nasty,
        hits=(replace(rss_hit(), title=nasty, text=nasty),),
        samples=(Sample(0.0, {nasty: 1}), Sample(1.0, {})),
    )
    assert store.load(store.save(run, tmp_path)) == run


def test_numbers_that_json_has_not(tmp_path):
    run = with_case(good_run(), measurements=(Measurement("x", math.inf, "s"),))
    path = store.save(run, tmp_path)
    json.loads(path.read_text(), parse_constant=pytest.fail)
    value = store.load(path).cells[0].cases[0].measurements[0].value
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not valid JSON"),
        (b'{"schema": 1, "run": {"id": "x"', "not valid JSON"),
        (b"\xff\xfe\x00", "not text"),
        (b"[]", "no results.json of this lab"),
        (b'{"name": "package"}', "no results.json of this lab"),
        (b'{"schema": 2, "run": {}}', "newer lab"),
        (b'{"schema": "1", "run": {}}', "expected 1"),
        (b'{"schema": true, "run": {}}', "expected 1"),
        (b'{"schema": 1, "run": {}}', "run: 'id' is missing"),
        (b'{"schema": 1, "run": []}', "run: expected an object, found a list"),
        (b'{"schema":1,"run":' + b"[" * 50_000, "results"),
        (b'{"schema": 1, "run": ' + b"9" * 6000 + b"}", "results"),
    ],
)
def test_bad_files_are_told(content, told, tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told) as caught:
        store.load(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("way", "value", "told"),
    [
        (("cells", 0, "verdict"), "great", r"cells\[0\]\.verdict: expected one of pass, fail"),
        (("cells", 1, "cases", 0, "seconds"), "1", r"cases\[0\]\.seconds: expected a number"),
        (("cells", 0, "page_size"), True, "expected a whole number, found true or false"),
        (("builds",), None, "builds: expected a list, found null"),
        (("summary", "pass"), 1.5, "expected a whole number"),
        (("run", "host"), [], "run.host: expected an object"),
    ],
)
def test_a_wrong_value_is_named_by_its_way(way, value, told, tmp_path):
    path = store.save(good_run(), tmp_path)
    data = json.loads(path.read_text())
    spot = data
    for step in way[:-1]:
        spot = spot[step]
    spot[way[-1]] = value
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=told):
        store.load(path)


def test_fields_of_a_later_lab_are_passed_over(tmp_path):
    path = store.save(good_run(), tmp_path)
    data = json.loads(path.read_text())
    data["cells"][0]["weather"] = "fine"
    del data["cells"][0]["notes"]  # and one with a default may be missing
    path.write_text(json.dumps(data))
    assert store.load(path) == good_run()


def test_every_truncation_is_told_or_read(tmp_path):
    path = store.save(good_run(), tmp_path)
    text = path.read_text()
    for length in range(0, len(text) - 1, 997):
        path.write_text(text[:length])
        with pytest.raises(UserError):
            store.load(path)


@pytest.mark.parametrize(
    "damage", ["", "{}", "[]", '{"schema":1}', '{"schema":1,"texts":[],"samples":[],"cases":[]}']
)
def test_lost_evidence_costs_the_traces_only(damage, tmp_path):
    path = store.save(broken_run(), tmp_path)
    beside = tmp_path / "cells/cli__default__x86_64__small/evidence.json"
    beside.write_text(damage)
    run = store.load(path)
    assert [hit.title for hit in run.cells[0].cases[5].hits][1].startswith("BUG: Bad rss-counter")
    assert any("evidence.json" in problem for problem in run.problems)
    beside.unlink()
    assert store.load(path).problems == run.problems


def test_no_id_leads_outside():
    for name in ("../../etc", "..", "", "/abs", "a/../../b", "a\x00b", ".hidden"):
        folder = runs_module.cell_folder(name)
        assert folder.startswith("cells/")
        parts = folder.removeprefix("cells/")
        assert "/" not in parts
        assert not parts.startswith(".")
    assert runs_module.cell_folder("k/c/arm64/s") == "cells/k__c__arm64__s"


def test_an_unwritable_folder_is_the_hosts_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot write"):
        store.save(good_run(), tmp_path / "file" / "run")


def test_finding_runs(tmp_path, monkeypatch):
    reports = tmp_path / "reports"
    with pytest.raises(UserError, match="no run"):
        runs_module.find_run(reports, "latest")
    for run_id in ("20240101-a", "20240102-b", "20240102-c"):
        store.save(good_run(), reports / run_id)
    (reports / "empty").mkdir()
    assert [run.name for run in runs_module.list_runs(reports)] == [
        "20240101-a",
        "20240102-b",
        "20240102-c",
    ]
    assert runs_module.find_run(reports, "20240102-b").name == "20240102-b"
    assert runs_module.find_run(reports, "20240101").name == "20240101-a"
    with pytest.raises(UserError, match="fits 2 runs:"):
        runs_module.find_run(reports, "20240102")
    outside = tmp_path / "elsewhere"
    store.save(good_run(), outside)
    assert runs_module.find_run(reports, str(outside)) == outside
    assert runs_module.find_run(reports, str(outside / "results.json")) == outside
    monkeypatch.chdir(tmp_path)
    assert runs_module.find_run(reports, "elsewhere") == outside
    for name in ("nonsense", "", "\x00", "~nobody-here/x", "x" * 5000, "../.."):
        with pytest.raises(UserError, match="no run") as caught:
            runs_module.find_run(reports, name)
        assert "20240102-c" in caught.value.hint


def test_latest(tmp_path):
    reports = tmp_path / "reports"
    for run_id in ("one", "two"):
        store.save(good_run(), reports / run_id)
        runs_module.update_latest(reports, reports / run_id)
        assert runs_module.find_run(reports, "latest") == reports / run_id
    assert str((reports / "latest").readlink()) == "two"
    assert [run.name for run in runs_module.list_runs(reports)] == ["one", "two"]

    outside = tmp_path / "out"
    store.save(good_run(), outside)
    runs_module.update_latest(reports, outside)
    assert runs_module.find_run(reports, "latest") == outside

    (outside / "results.json").unlink()  # the newest that is left
    os.utime(reports / "one" / "results.json", (2e9, 2e9))
    assert runs_module.find_run(reports, "latest") == reports / "one"


def test_latest_is_a_real_folder(tmp_path):
    store.save(good_run(), tmp_path / "run")
    (tmp_path / "latest" / "x").mkdir(parents=True)
    with pytest.raises(HostError, match="latest"):
        runs_module.update_latest(tmp_path, tmp_path / "run")
    assert not list(Path(tmp_path).glob(".latest*"))
