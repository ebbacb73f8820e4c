# SPDX-License-Identifier: GPL-2.0-only
"""Cells on the host as a user meets them: a real lab run of a small tree, its report, a rerun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_kernel import commit_all, write_kernel

from orchestrator.model.arch import HOST_ARCH

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
