# SPDX-License-Identifier: GPL-2.0-only
"""`lab logs`: what the kernel and the workload of a case said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample_run

from orchestrator.host import process
from orchestrator.results.cases import files_of, first_failure
from orchestrator.results.runs import cell_folder, file_stem

BROKEN = sample_run.broken_run()
FIRST = first_failure(BROKEN)
assert FIRST is not None
GOOD_RUN = "20240105-112233-smoke"


@pytest.fixture
def cell(stored: Path) -> Path:
    """The folder of the cell of the broken run's first failure, with a console and an output."""
    assert FIRST is not None
    folder = stored / "reports" / BROKEN.run.id / cell_folder(FIRST.id.partition(":")[0])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "console.log").write_text(
        "[    1.000000] booting\n"
        f"[    2.000000] lab-mark abc begin {FIRST.workload}\n"
        "[    3.000000] said \x1b[31mwithin\n"
        f"[    4.000000] lab-mark abc end {FIRST.workload}\n"
        "[    5.000000] afterwards\n"
    )
    (folder / f"{file_stem(FIRST.workload)}.ktap").write_text("KTAP version 1\nnot ok 1 it\n")
    return folder


def test_the_first_failure_of_the_latest_run(cell: Path, lab: Callable[..., Any]) -> None:
    assert FIRST is not None
    done = lab("logs")
    assert done.status == 0, done
    assert done.err == f"lab: {FIRST.id}\n"
    lines = done.out.splitlines()
    assert lines[0] == f"FAIL  {FIRST.id}"
    places = [
        lines.index(f"---- report: {FIRST.hits[0].title}"),
        lines.index(f"---- {cell / 'console.log'}, lines 2 to 4"),
        lines.index("not ok 1 it"),
    ]
    assert places == sorted(places)
    assert "[    3.000000] said \\x1b[31mwithin" in lines
    assert not any("booting" in line or "afterwards" in line for line in lines)


def test_paths_alone(cell: Path, lab: Callable[..., Any]) -> None:
    assert FIRST is not None
    done = lab("logs", "latest", FIRST.id, "--path")
    output = cell / f"{file_stem(FIRST.workload)}.ktap"
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [str(cell / "console.log"), str(output)]


def test_all_of_a_console_without_the_workloads_mark(cell: Path, lab: Callable[..., Any]) -> None:
    (cell / "console.log").write_text("[    1.000000] booting\n[    2.000000] Oops\n")
    done = lab("logs")
    assert f"---- {cell / 'console.log'}, lines 1 to 2" in done.out.splitlines()


def test_no_failure_and_no_log(stored: Path, lab: Callable[..., Any]) -> None:
    assert FIRST is not None
    done = lab("logs", GOOD_RUN)
    assert done.status == 2
    assert f"no case of run {GOOD_RUN} failed" in done.err
    assert BROKEN.run.id in done.err
    for path in files_of(stored / "reports" / BROKEN.run.id, BROKEN, FIRST).consoles:
        path.unlink()
    done = lab("logs")
    assert done.status == 2
    assert "keeps no log of it" in done.err


def test_the_log_of_a_build(stored: Path, lab: Callable[..., Any]) -> None:
    folder = stored / "reports" / BROKEN.run.id
    done = lab("logs", "--build")
    assert done.status == 2
    assert "keeps no build log" in done.err
    build = next(build for build in BROKEN.builds if build.log)
    (folder / build.log).parent.mkdir(parents=True, exist_ok=True)
    (folder / build.log).write_text("make: all done\n")
    case = f"{build.id}/-:build:build"
    assert lab("logs", case, "--build").out.splitlines()[-1] == "make: all done"
    assert lab("logs", "@1", case, "--build", "--path").out == f"{folder / build.log}\n"


def test_a_pager_on_a_terminal(
    cell: Path, lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.commands import logs

    class Terminal:
        def isatty(self) -> bool:
            return True

    seen: list[tuple[list[str], str, dict[str, Any]]] = []

    def run(argv: list[Any], **more: Any) -> None:
        seen.append((list(map(str, argv)), Path(argv[-1]).read_text(), more))

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("PAGER", "cat -v")
    logs._page("one\x1b\n")
    assert seen[0][0][:2] == ["cat", "-v"]
    assert seen[0][1] == "one\\x1b\n"
    assert seen[0][2]["terminal"] is True
