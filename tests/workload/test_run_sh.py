# SPDX-License-Identifier: GPL-2.0-only
"""guest-tests/kselftest/run.sh: a program that may be tried again, and how that is read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.evidence import kselftest
from orchestrator.model.names import Verdict

# Fails until it has been run so many times.
PROGRAM = """#!/bin/sh
echo run >>runs
echo "TAP version 13"
echo "1..1"
if [ "$(wc -l <runs)" -ge {good} ]; then
	echo "ok 1 merging"
	exit 0
fi
echo "not ok 1 merging"
exit 1
"""


@pytest.mark.parametrize(
    ("setup", "good", "passes", "runs"),
    [
        ("tries 4", 1, True, 1), ("tries 4", 3, True, 3), ("tries 4", 9, False, 4),
        ("tries 4 'not ok 1'", 3, True, 3), ("tries 4 'not ok 1'", 9, False, 4),
        ("tries 4 'something else'", 3, False, 1), ("tries 4 'something else'", 1, True, 1),
    ],
)  # fmt: skip
def test_only_the_last_try_is_the_result(
    tmp_path: Path, setup: str, good: int, passes: bool, runs: int
) -> None:
    text = (HOME / "guest-tests/kselftest/run.sh").read_text()
    (tmp_path / "commands").mkdir()  # so that none are made
    text = text.replace("/tmp/lab/commands", str(tmp_path / "commands"))
    text = text.replace("/tmp/said", str(tmp_path / "said"))
    (tmp_path / "run.sh").write_text(text)
    (tmp_path / "mm").mkdir()
    program = tmp_path / "mm/prog"
    program.write_text(PROGRAM.format(good=good))
    program.chmod(0o755)
    words = ["sh", str(tmp_path / "run.sh"), "mm", "-s", setup, "--", "./prog"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert done.returncode == (0 if passes else 1)
    assert len((tmp_path / "mm/runs").read_text().splitlines()) == runs
    assert done.stdout.count("it failed, and is tried again") == runs - 1
    report = kselftest.read(done.stdout, done.returncode)
    found = [(case.name, case.verdict) for case in report.cases if "merging" in case.name]
    assert found == [("merging", Verdict.PASS if passes else Verdict.FAIL)]
