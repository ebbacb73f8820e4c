# SPDX-License-Identifier: GPL-2.0-only
"""A failure again: on the base first, in its capsule, and under a debugger."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from labrun import HOME, LAB, Ran, lab_run, lab_started

pytestmark = pytest.mark.guest

CASE = "cli/default/x86_64/small:uffd-move/swap:kernel-log"
WORDS = ("--series", str(HOME / "patches/rss-drift"), "--arch", "x86_64")


@pytest.fixture(scope="module")
def drift(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The series with one wrong line, and one workload that shows it."""
    out = tmp_path_factory.mktemp("drift") / "run"
    ran = lab_run(out, *WORDS, "--workload", "uffd-move/swap")
    assert ran.status == 1, ran.output
    return ran


def test_the_series_is_to_blame(drift: Ran, tmp_path: Path) -> None:
    argv = [str(LAB), "rerun", str(drift.folder), CASE, "--plain", "--out", str(tmp_path / "run")]
    argv += ["--until-fail", "3"]
    done = subprocess.run(argv, cwd=HOME, capture_output=True, text=True, timeout=900)
    assert done.returncode == 1, done.stdout + done.stderr
    said = "fails with the series and not without it: the series is to blame"
    assert done.stdout.splitlines()[-1] == f"{CASE}: {said}"
    found = json.loads((tmp_path / "run/results.json").read_text())
    base, tested = found["cells"]
    assert (base["kernel"], base["verdict"]) == ("v6.12", "pass")
    assert (tested["kernel"], tested["verdict"]) == ("cli", "fail")
    shas = {build["id"]: build["image_sha256"] for build in drift.results["builds"]}
    again = {build["id"]: build["image_sha256"] for build in found["builds"]}
    assert again["cli/default/x86_64"] == shas["cli/default/x86_64"]
    assert not any("not that of the run" in note for note in tested["notes"])


def test_a_capsule_shows_it_without_the_lab(drift: Ran, tmp_path: Path) -> None:
    (capsule,) = (drift.folder / "capsules").iterdir()
    moved = tmp_path / "far away" / "capsule"
    shutil.copytree(capsule, moved)
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [str(moved / "repro.sh")], cwd="/", env=path, capture_output=True, text=True, timeout=300
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "fails again: the kernel reports" in said
    assert "BUG: Bad rss-counter state" in said
    assert "counters are off the page walk" in said
    assert not list(tmp_path.glob("repro.*"))


def test_a_debugger_stops_the_guest_in_the_workload(drift: Ran, tmp_path: Path) -> None:
    assert shutil.which("gdb-multiarch"), "make setup installs it"
    said = tmp_path / "said"
    argv = ("rerun", drift.folder, CASE, "--gdb")
    with (
        said.open("wb") as sink,
        lab_started(*argv, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL) as child,
    ):
        until = time.monotonic() + 300
        while "lab.gdb" not in said.read_text() and time.monotonic() < until:
            assert child.poll() is None, said.read_text()
            time.sleep(0.1)
        (line,) = [line for line in said.read_text().splitlines() if line.startswith("gdb")]
        words = ["-batch", "-ex", "break userfaultfd_ioctl", "-ex", "lab-run", "-ex", "bt"]
        # A stopped guest is silent for longer than any deadline could be watched here.
        words += ["-ex", "shell sleep 8", "-ex", "info registers", "-ex", "kill"]
        shown = subprocess.run(
            [*line.split(), *words], capture_output=True, text=True, timeout=120
        ).stdout
        assert "hit Breakpoint 1" in shown
        assert "#0 " in shown
        assert "userfaultfd_ioctl" in shown
        assert "rip " in shown
        child.wait(timeout=30)  # QEMU is gone, and the lab with it
    assert not Path(line.split()[-1]).exists()
