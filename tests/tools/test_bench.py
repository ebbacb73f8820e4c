# SPDX-License-Identifier: GPL-2.0-only
"""tools/bench.py: what it can do without a kernel."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench as program
import bench_figures as figures
import bench_growth as growth
import bench_measure as measure
import bench_peers as peers
import pytest
import sample_run

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.results import store
from orchestrator.workload.watch import GUEST_FOLDER, guest_command

FULL = {
    "cli": {"help": 0.1, "plan": 0.4, "python": 0.02},
    "boot-x86_64": {"lab": 4.0, "bare": 3.0},
    "boot-arm64": {"lab": 5.5, "bare": 3.0},
    "second-kernel": {"build": 11.0, "cpu": 10.0, "whole": 14.0},
    "first-build": {
        "lab": 12.0,
        "bare": 10.0,
        "cpu": 14.0,
        "series_cpu": 13.0,
        "whole": 30.0,
        "series_whole": 14.0,
    },
    "edit-loop": {"lab": 20.0, "bare": 18.0, "make": 10.0, "boot": 3.0, "workloads": 5.0},
    "cold-build": {"lab": 550.0, "bare": 500.0, "lab_wall": 280.0, "bare_wall": 250.0},
    "peer-build": {"lab": 400.0, "vng": 500.0, "tuxmake": 900.0},
    "peer-boot": {"lab": 2.0, "restore": 0.6, "vng": 5.0},
    "peer-edit": {"lab": 20.0, "vng": 25.0, "vng_build": 15.0, "vng_run": 10.0},
    "matrix": {"idle": 0.04, "memory": 160.0, "share": 0.05, "wall": 300.0},
    "first-run": {"first": 900.0, "cpu": 1200.0, "again": 25.0, "kernels": 2.0, "other": 0.0},
    "large-report": {"wall": 6.0, "cpu": 4.5, "memory": 510.0, "size": 28.0},
    **{
        f"cells-{n}": {"cells": n, "wall": 20.0 * n, "memory": 60.0 + n, "own": 2.0 * n}
        for n in growth.CELLS
    },
}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> measure.Bench:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    return measure.Bench(work, 2, lambda _: None)


def samples(tmp_path: Path) -> program.Samples:
    return program.Samples(tmp_path / "samples.json", False)


# ---------------------------------------------------------------- measuring


def test_cpu_seconds_of_grandchildren_count(bench: measure.Bench) -> None:
    busy = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.2: pass"
    argv = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, busy]
    spent = measure.timed(argv, bench, 30)
    assert 0.2 <= spent.cpu < 3
    assert spent.wall >= 0.2


def test_a_command_that_fails_is_told_with_its_last_words(bench: measure.Bench) -> None:
    with pytest.raises(measure.BenchError, match=r"status 7(.|\n)*no such thing"):
        measure.timed(["sh", "-c", "echo no such thing; exit 7"], bench, 30)


def test_a_deadline_ends_the_whole_group(bench: measure.Bench) -> None:
    began = time.monotonic()
    with pytest.raises(measure.BenchError, match="status -9"):
        measure.timed(["sh", "-c", "sleep 60; true"], bench, 0.3)
    assert time.monotonic() - began < 10


def test_makes_own_flags_reach_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-j7")
    monkeypatch.setenv("MAKELEVEL", "1")
    found = measure.environment(LAB_CACHE="/x")
    assert {"MAKEFLAGS", "MAKELEVEL", "LAB_TOKEN"}.isdisjoint(found)
    assert found["LAB_CACHE"] == "/x"


def test_a_cache_of_its_own_leaves_the_users_alone(bench: measure.Bench) -> None:
    users = bench.places.cache.folder / "trees" / "debian-6.12"
    users.mkdir(parents=True)
    (users / "Makefile").write_text("all:\n")
    with bench.cache("cold", lambda one: (one.trees, one.records)) as cache:
        assert (cache.folder / "trees" / "debian-6.12" / "Makefile").exists()
        (cache.folder / "obj").mkdir()
    assert not cache.folder.exists()
    assert (users / "Makefile").exists()
    cache.folder.mkdir()
    (cache.folder / "obj").mkdir()  # what an interrupted bench leaves must not warm a cold build
    with bench.cache("cold", lambda one: (one.trees,)) as cache:
        assert sorted(path.name for path in cache.folder.iterdir()) == ["trees"]


@pytest.mark.parametrize("arch", sorted(ARCHES))
def test_bare_programs_are_those_of_the_lab(bench: measure.Bench, arch: str) -> None:
    cell = measure.planned(bench, arch)
    script = measure.script(cell, GUEST_FOLDER)
    for spec in cell.workloads:
        assert guest_command(spec, "token").partition(" -- ")[2] in script
    assert measure.context(bench).cache == bench.places.cache


def test_project_is_a_lab_of_its_own(bench: measure.Bench) -> None:
    folder = bench.project()
    assert bench.project() == folder
    done = subprocess.run(
        [sys.executable, "-c", "from orchestrator.cli import main; main()", "plan", "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["cells"]


def test_what_a_process_takes_is_its_own_and_not_its_childrens() -> None:
    busy = "x = bytearray(60_000_000); t = __import__('time'); t.sleep(0.3)"
    spin = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]); input()"
    child = subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE)
    try:
        time.sleep(1)
        found = peers.itself(child.pid)
    finally:
        child.communicate(b"\n")
    assert found is not None
    memory, seconds = found
    assert 1 < memory < 60
    assert 0 <= seconds < 1
    assert peers.itself(child.pid) is None


def test_idle_time_passes_no_faster_than_the_clock() -> None:
    before, began = peers.idle(), time.monotonic()
    time.sleep(0.3)
    spent = peers.idle() - before
    # It is counted in ticks, by each CPU at its own time.
    assert 0 <= spent <= (time.monotonic() - began + 0.1) * (os.cpu_count() or 1)


# ---------------------------------------------------------------- growth


@pytest.mark.parametrize("count", growth.CELLS)
def test_a_lab_of_many_cells_is_planned(count: int, bench: measure.Bench) -> None:
    project = bench.project()
    text = growth.many_cells((HOME / "lab.yaml").read_text(), count)
    (project / "lab.yaml").write_text(text)
    config = load_config(project / "lab.yaml", tuple(ARCHES))
    plan = make_plan(
        config, Selection(profile="cells", workloads=(growth.WORKLOAD,)), tuple(ARCHES)
    )
    assert len(plan.cells) == count
    assert len({cell.id for cell in plan.cells}) == count
    assert [build.id for build in plan.builds] == ["v6.12/default/x86_64"]
    assert {tuple(spec.name for spec in cell.workloads) for cell in plan.cells} == {
        (growth.WORKLOAD,)
    }


def test_a_large_run_is_made_of_a_real_one(tmp_path: Path) -> None:
    run = sample_run.broken_run()
    store.save(run, tmp_path / "run")
    sample_run.write_files(run, tmp_path / "run")
    growth.multiplied(tmp_path / "run", tmp_path / "large", 5, 6)
    found = store.load(tmp_path / "large")
    assert found.problems == run.problems
    assert len({cell.id for cell in found.cells}) == 5
    assert all(len(cell.cases) == 6 for cell in found.cells)
    ids = [case.id for cell in found.cells for case in cell.cases]
    assert len(set(ids)) == 30
    first = {case.case: case for case in store.load(tmp_path / "run").cells[0].cases}
    for cell in found.cells:
        for case in cell.cases:
            assert case.id.startswith(f"{cell.id}:")
            like = first[case.case]
            assert (case.samples, case.counters, len(case.hits)) == (
                like.samples, like.counters, len(like.hits)
            )  # fmt: skip
    assert any(case.hits for case in found.cells[-1].cases)
    with pytest.raises(measure.BenchError, match="are needed"):
        growth.multiplied(tmp_path / "run", tmp_path / "larger", 1, 600)


def test_growth_is_drawn_once_there_are_two_sizes(tmp_path: Path) -> None:
    kept, page = samples(tmp_path), tmp_path / "docs" / "figures.md"
    (page.parent / "img").mkdir(parents=True)
    page.write_text(f"{program.BEGIN}\n{program.END}\n")
    by_name = {figure.name: figure for figure in figures.FIGURES}
    for size in (1, 4, 16):
        figure = by_name[f"cells-{size}"]
        kept.missing(figure, 1)
        kept.add(figure, FULL[figure.name], 0.1)
        program.write(page, kept)
        assert (page.parent / program.CURVE).exists() is (size > 1)
    root = ElementTree.parse(page.parent / program.CURVE).getroot()
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "memory of the lab, MB" in texts
    assert "16 cells" in texts
    assert page.read_text().count("| to be measured |") == (
        sum(len(figure.rows) for figure in figures.FIGURES) - 3
    )


# ---------------------------------------------------------------- table


def test_table_says_what_was_reached(tmp_path: Path) -> None:
    kept = samples(tmp_path)
    for figure in figures.FIGURES:
        kept.missing(figure, 1)
        kept.add(figure, FULL[figure.name], 0.1)
    text = program.table(kept)
    reached = {
        line.split("|")[1].strip(): line.split("|")[4].strip() for line in text.splitlines()[2:]
    }
    assert reached["`lab --help` answers"] == "yes"
    assert reached["`lab plan` answers"] == "**no**"
    assert reached["boot to a usable SSH session, TCG, x86_64"] == "yes"
    assert reached["boot to a usable SSH session, TCG, arm64"] == "**no**"
    assert reached["the same against bare `make`, CPU seconds"] == "**no**"
    assert reached["the same again, nothing changed"] == ""
    assert reached["boot to a usable guest, TCG, x86_64, against virtme-ng's"] == "yes"
    assert reached["a further workload in a fresh guest, against a boot"] == "**no**"
    assert reached["memory of the lab itself, at most"] == "**no**"
    assert reached["`lab report` of 256 x 200 cases, CPU seconds"] == "yes"
    assert reached["its memory, at most"] == "**no**"
    assert "| 320 s, 20.0 s a cell; the lab itself 76 MB, 2.00 CPU s a cell |" in text
    assert "busy" not in text


def test_make_bench_takes_one_figure_or_several() -> None:
    def told(*words: str) -> str:
        # The suite is itself started by make, which hands its flags and its depth to those below.
        argv = ["make", "-n", "-o", "setup", "bench", *words]
        run = subprocess.run(
            argv, cwd=HOME, env=measure.environment(), capture_output=True, text=True, check=True
        )
        return run.stdout

    assert told("ONLY=first-build edit-loop").strip() == (
        ".venv/bin/python tools/bench.py --only first-build --only edit-loop"
    )
    assert told().strip() == ".venv/bin/python tools/bench.py"


def test_median_and_ratio() -> None:
    taken = [{"lab": 10.0, "bare": 8.0}, {"lab": 90.0, "bare": 9.0}, {"lab": 11.0, "bare": 100.0}]
    assert figures.middle(taken, "lab") == 11.0
    assert figures.ratio(taken) == pytest.approx(11.0 / 9.0)


def test_samples_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figures.FIGURES[0]
    monkeypatch.setattr(program, "_commit", lambda: "abc")
    kept = samples(tmp_path)
    assert kept.missing(figure, 3) == 3
    kept.add(figure, FULL["cli"], 0.1)
    assert samples(tmp_path).missing(figure, 3) == 2
    monkeypatch.setattr(program, "_commit", lambda: "def")
    assert len(samples(tmp_path).of(figure)) == 1  # an older figure is still shown
    assert samples(tmp_path).missing(figure, 3) == 3


def test_partial_results_are_written_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "figures.md"
    page.write_text(f"before\n{program.BEGIN}\nSTALE\n{program.END}\nafter\n")
    taken = [{"help": 0.1, "plan": 0.1, "python": 0.1}]

    @contextlib.contextmanager
    def prepare(_: Any) -> Iterator[Any]:
        yield taken.pop  # the second sample fails

    figure = figures.Figure("cli", "", 2, prepare, figures.FIGURES[0].rows)
    bench: Any = None
    with pytest.raises(IndexError):
        program.measure(figure, 2, bench, samples(tmp_path), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "STALE" not in text
    assert "0.10 s" in text
    assert "Machine: " in text


def test_figures_md_tells_how_each_is_measured() -> None:
    text = (HOME / "docs" / "figures.md").read_text()
    assert program.BEGIN in text
    assert program.END in text
    method = text.partition(program.END)[2]
    for figure in figures.FIGURES:
        assert f"`{figure.name}`" in method, figure.name
        assert f"**{figure.name.removesuffix('-x86_64').removesuffix('-arm64')}**" in method or (
            figure.name == "cli"
        )


def test_list_needs_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(HOME / "tools" / "bench.py"), "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        figure.name for figure in figures.FIGURES
    ]
