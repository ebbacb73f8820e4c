# SPDX-License-Identifier: GPL-2.0-only
"""The example of docs/python.md, run as it stands, on a real kernel in a real guest."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from labrun import HOME

pytestmark = pytest.mark.guest


def test_the_example_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    page = (HOME / "docs" / "python.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    # In a folder of its own, so that the lab's own reports stay as they are.
    home = tmp_path_factory.mktemp("python")
    for name in ("lab.yaml", "guest-tests", "kernel-configs", "patches"):
        (home / name).symlink_to(HOME / name)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=home, capture_output=True, text=True, timeout=3000, check=False,
        env={**os.environ, "PYTHONPATH": str(HOME)}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("0 ")
    assert "passed; see " in lines[-1]
    assert any(line.startswith("pass ") and ":uffd-move/basic:" in line for line in lines)
    assert (home / "reports" / "latest" / "index.html").exists()
