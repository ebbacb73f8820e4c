# SPDX-License-Identifier: GPL-2.0-only
"""Cells on the host as a user meets them: a real lab run of a small tree, its report, a rerun."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import damage
import pytest
from fake_kernel import commit_all, write_kernel

from orchestrator.model.arch import HOST_ARCH
from orchestrator.results import history

OWN = "tools/testing/shapes"
TREE = {
    "lib/value.c": "static int value(void)\n{\n\treturn 3;\n}\n",
    f"{OWN}/Makefile": "all: value\n",
    f"{OWN}/value.c": '#include <assert.h>\n#include "../../../lib/value.c"\nint main(void)\n{\n'
    "\tassert(value() == 3);\n\treturn 0;\n}\n",
}
LAB_YAML = """\
version: 1
default_profile: host
workload_folders: [tests]
kernels:
  mine: {{ source: "git:{tree}#v1" }}
configs:
  default: {{ fragments: [base] }}
shapes:
  small: {{ cpus: 1 }}
profiles:
  host:
    matrix:
      - workloads: [host]
"""
MANIFEST = """\
family: host
description: Shapes
workloads:
  - { name: shapes, host: shapes.yaml }
"""
TABLE = f"folder: {OWN}\nsources: [lib/value.c]\nprograms: {{ value: {{}} }}\n"
CELL = f"host/{HOST_ARCH}/-"


@pytest.fixture
def tree(folder: Path, tmp_path: Path) -> Path:
    """A kernel with a host test, at v1 right and one commit later wrong; a lab for it."""
    from fake_kernel import user_git

    kernel = write_kernel(tmp_path / "linux")
    for name, text in TREE.items():
        (kernel / name).parent.mkdir(parents=True, exist_ok=True)
        (kernel / name).write_text(text)
    commit_all(kernel, "right")
    user_git(kernel, "tag", "v1")
    (kernel / "lib/value.c").write_text(TREE["lib/value.c"].replace("3", "4"))
    commit_all(kernel, "lib: one more")
    (folder / "tests/host").mkdir(parents=True)
    (folder / "tests/host/manifest.yaml").write_text(MANIFEST)
    (folder / "tests/host/shapes.yaml").write_text(TABLE)
    (folder / "lab.yaml").write_text(LAB_YAML.format(tree=kernel))
    return kernel


def test_a_damaged_history_is_told_in_a_sentence_and_the_run_goes_on(
    tree: Path, lab: Any, folder: Path
) -> None:
    assert lab("run", "--plain").status == 0
    db = folder / "reports/history.sqlite"
    known = {run.id for run in history.runs(db)}
    assert len(known) == 1
    for number, (name, harm) in enumerate(damage.ALL.items(), 2):
        if name == "flip":  # one that is found; tests/results/test_mended.py has them all
            db.write_bytes(db.read_bytes().replace(b"CREATE TABLE runs", b"CREATE TABLE ruos"))
        else:
            harm(db)
        done = lab("run", "--plain")
        assert done.status == 0, done
        (line,) = (line for line in done.err.splitlines() if "was damaged" in line)
        assert line.startswith(f"lab: the history {db} was damaged (")
        assert line.endswith(f"made anew from {number - 1} stored runs")
        assert {run.id for run in history.runs(db)} > known
        assert len(history.runs(db)) == number
    assert len(list(db.parent.glob("history.sqlite.damaged-*"))) == len(damage.ALL)
    # One of a newer lab is refused before anything is done, and stays.
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version = 2")
    before, there = db.read_bytes(), sorted(db.parent.iterdir())
    done = lab("run", "--plain")
    assert done.status == 2
    assert f"{db} was written by a newer lab" in done.err
    assert "update this lab" in done.err
    assert db.read_bytes() == before
    assert sorted(db.parent.iterdir()) == there


def results(folder: Path, name: str = "latest") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "reports" / name / "results.json").read_text())
    return found


def test_a_series_is_told_from_its_base_and_tried_again(folder: Path, tree: Path, lab) -> None:
    ran = lab("run", "--series", f"git:{tree}#v1..main", "--baseline", "mine", "--plain")
    assert ran.status == 1, ran.out + ran.err
    assert f"{OWN}/value.c:5: main(): Assertion `value() == 3' failed" in ran.out
    found = results(folder)
    assert found["builds"] == []
    assert [(cell["id"], cell["verdict"]) for cell in found["cells"]] == [
        (f"cli/{CELL}", "fail"), (f"mine/{CELL}", "pass"),
    ]  # fmt: skip
    page = (folder / "reports/latest/index.html").read_text()
    assert "on the host, no guest" in page
    assert "The guest" not in page
    junit = (folder / "reports/latest/junit.xml").read_text()
    assert f"cli.host.{HOST_ARCH}.host/shapes/value" in junit
    assert "lib: one more" in page
    first = lab("logs", "latest", f"cli/{CELL}:host/shapes/value")
    assert "Assertion `value() == 3' failed." in first.out
    again = lab("rerun", "--plain")
    assert again.status == 1, again.out + again.err
    assert "fails with the series and not without it: the series is to blame" in again.out
    assert lab("rerun", "--gdb").status == 2
    assert lab("shell").status == 2
    assert lab("build").status == 2


def test_a_tree_that_is_right_passes_and_a_cell_is_kept_when_a_run_goes_on(
    folder: Path, tree: Path, lab
) -> None:
    ran = lab("run", "--plain")
    assert ran.status == 0, ran.out + ran.err
    assert "1 pass, 0 fail" in ran.out
    assert lab("history").status == 0
    assert lab("compare", "latest", "latest").status == 0
