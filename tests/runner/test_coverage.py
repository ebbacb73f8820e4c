# SPDX-License-Identifier: GPL-2.0-only
"""What a cell's workloads ran, read by the real gcov from counts of a real program."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from covered_run import covered_run
from sample_run import good_run

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import coverage as compiled
from orchestrator.kernel.source import store as sources
from orchestrator.model.coverage import Coverage, CoveredLine, FileCode, Function, Lines
from orchestrator.model.kernel import BuildResult, KernelTree, PatchHunk
from orchestrator.model.names import Verdict
from orchestrator.model.results import CellRecord
from orchestrator.model.spec import Build, Cell, ConfigSpec, KernelSpec, Plan, ShapeSpec
from orchestrator.results import runs
from orchestrator.runner import coverage, coverage_map
from orchestrator.runner.context import Context, Kernel, Machine, RunValues
from orchestrator.runner.state import RunState

SPEC = KernelSpec("k", "x")
CONFIG = ConfigSpec("coverage", coverage=("mm/*.c",))
PROGRAM = """int never(int n)
{
	return n * 2;
}
int main(int count, char **words)
{
	return count > 5 ? never(count) : 0;
}
"""
WORKLOADS = ("uffd-move/basic", "uffd-move/lost")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The counts of a program in the place of a kernel, as a guest gives them; its notes kept."""
    objects = tmp_path / "obj"
    (objects / "mm").mkdir(parents=True)
    source = tmp_path / "tree/mm/x.c"
    source.parent.mkdir(parents=True)
    source.write_text(PROGRAM)
    words = ["gcc", "-O0", "--coverage", "-c", str(source), "-o", "mm/x.o"]
    subprocess.run(words, cwd=objects, check=True, timeout=60)
    subprocess.run(["gcc", "--coverage", "mm/x.o", "-o", "x"], cwd=objects, check=True, timeout=60)
    subprocess.run([str(objects / "x")], cwd=objects, check=True, timeout=60)
    monkeypatch.setattr(sources, "file_names", lambda _tree, _cache: ("mm/x.c",))
    compiled.pack(objects, ("mm/x.c",), tmp_path)
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as packed:
        packed.add(objects / "mm/x.gcda", "./root/obj/mm/x.gcda")
    return found.getvalue()


def go(tmp_path: Path, archives: dict[str, bytes], config: ConfigSpec = CONFIG) -> CellRecord:
    record = replace(good_run().cells[0], arch="x86_64")
    folder = tmp_path / runs.cell_folder(record.id)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in archives.items():
        coverage.keep(folder, runs.file_stem(name), data)
    notes = tmp_path / compiled.ARCHIVE
    built = BuildResult(
        Build("k/coverage/x86_64", SPEC, config, "x86_64"), Verdict.PASS, "", 1.0, False,
        coverage=notes if notes.exists() else None,
    )  # fmt: skip
    text = "\n".join(f"+{PROGRAM.split(chr(10))[n - 1]}" for n in (3, 4, 7))
    hunk = PatchHunk(1, "mm/x.c", "@@ -1 +1,3 @@", text, (3, 4, 7))
    kernel = Kernel(KernelTree(SPEC, "6.12.117", "b", "t", hunks=(hunk,)), "slot", "x", True)
    context = Context(RunValues("r", 2), Machine(Cache(tmp_path / "c"), tmp_path, tmp_path))
    return coverage.with_coverage(record, WORKLOADS, built, kernel, context)


def test_what_ran_is_told_and_remembered(tmp_path: Path, archive: bytes) -> None:
    record = go(tmp_path, {WORKLOADS[0]: archive})
    assert record.notes == good_run().cells[0].notes
    found = coverage.loaded(tmp_path / record.coverage)
    assert list(found.ran) == ["uffd-move/basic"]
    assert found.ran["uffd-move/basic"] == {"mm/x.c": Lines((5, 7))}
    assert found.files["mm/x.c"].lines == Lines((1, 3, 5, 7))
    assert Function("never", 1, 4) in found.files["mm/x.c"].functions
    assert not (tmp_path / runs.cell_folder(record.id) / coverage.COUNTS).exists()
    (reach,) = coverage_map.known(Cache(tmp_path / "c"))
    assert (reach.workload, reach.kernel) == ("uffd-move/basic", "6.12.117")
    assert [one.name for one in reach.functions["mm/x.c"]] == ["main"]


def test_of_a_series_each_line_with_code_is_told(tmp_path: Path, archive: bytes) -> None:
    never, ran = go(tmp_path, {WORKLOADS[0]: archive}).covered  # a brace has no code
    assert never == CoveredLine(1, "mm/x.c", 3, "\treturn n * 2;", function="never")
    assert (ran.line, ran.workloads, ran.by) == (7, 1, ("uffd-move/basic",))
    assert ran.function == "main"
    assert ran.text == "\treturn count > 5 ? never(count) : 0;"


def test_a_run_that_goes_on_keeps_what_was_counted_before(tmp_path: Path, archive: bytes) -> None:
    go(tmp_path, {WORKLOADS[0]: archive})
    record = go(tmp_path, {WORKLOADS[1]: archive})
    assert list(coverage.loaded(tmp_path / record.coverage).ran) == list(WORKLOADS)
    assert [line.workloads for line in record.covered] == [0, 2]
    path = tmp_path / record.coverage
    path.write_text(path.read_text().replace('"never", 1, 4', '"never", 1, 5'))  # another kernel
    record = go(tmp_path, {WORKLOADS[1]: archive})
    assert list(coverage.loaded(path).ran) == [WORKLOADS[1]]


def test_counts_that_cannot_be_read_cost_the_coverage_alone(tmp_path: Path, archive: bytes) -> None:
    record = go(tmp_path, {WORKLOADS[0]: archive, WORKLOADS[1]: b"no archive"})
    assert record.coverage == ""
    assert record.notes[-1].startswith("no coverage: ReadError")
    assert record.cases == good_run().cells[0].cases


def test_a_kernel_that_counts_nothing_is_left_alone(tmp_path: Path) -> None:
    record = go(tmp_path, {WORKLOADS[0]: b""}, ConfigSpec("default"))
    assert record == replace(good_run().cells[0], arch="x86_64")


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    code = {"mm/x.c": FileCode(Lines((1, 2, 9)), (Function("f", 1, 9),))}
    whole = Coverage(code, {"a/b": {"mm/x.c": Lines((2, 9))}, "a/c": {}})
    (tmp_path / "c.json").write_text(coverage.dumped(whole))
    assert coverage.loaded(tmp_path / "c.json") == whole
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(ValueError, match="does not tell what ran"):
        coverage.loaded(tmp_path / "c.json")


def test_the_text_of_the_patches_is_kept_where_it_was_counted_what_ran() -> None:
    run = covered_run()
    shape = ShapeSpec("small")
    builds = {cell.id: Build(cell.id, SPEC, CONFIG, cell.arch) for cell in run.cells}
    plan = Plan("p", (), tuple(Cell(name, one, shape, ()) for name, one in builds.items()))
    state = RunState()
    state.take(run)
    assert state.result(plan, run.run).kernels[0].hunks == run.kernels[0].hunks != ()
    state.kernels["cli"] = replace(run.kernels[0], prefix_of="whole")
    assert state.result(plan, run.run).kernels[0].hunks == ()
    state.take(run)
    state.cells = {cell.id: replace(cell, coverage="") for cell in run.cells}
    assert state.result(plan, run.run).kernels[0].hunks == ()
