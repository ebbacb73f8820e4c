# SPDX-License-Identifier: GPL-2.0-only
"""A run that ends at its first failure, in a real guest, and goes on later."""

from __future__ import annotations

import json
import subprocess

import pytest
from labrun import HOME, LAB, Ran, lab_run

pytestmark = pytest.mark.guest

WORDS = ("--series", str(HOME / "patches/rss-drift"), "--arch", "x86_64")
# The wrong line shows in the second alone.
WORKLOADS = ("uffd-move/basic", "uffd-move/swap", "uffd-move/mlock", "uffd-move/fork")
LEFT_OUT = "not run: ended at the first failure"


@pytest.fixture(scope="module", params=["smoke", "full"])
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """In a guest that the workloads share, and in copies of one."""
    out = tmp_path_factory.mktemp("ended")
    cell = ["--config", "default", "--shape", "small", "-p", request.param]
    # Whatever ran here before: what failed in its last run comes first.
    lab_run(out / "before", *WORDS, *cell, "--workload", "uffd-move/swap")
    more = [word for name in WORKLOADS for word in ("--workload", name)]
    return lab_run(out / "run", *WORDS, *cell, *more, "-x")


def test_it_ends_with_the_evidence_and_goes_on_with_the_rest(ended: Ran) -> None:
    assert ended.status == 1, ended.output
    failed = {case["workload"] for case in ended.cases().values() if case["verdict"] == "fail"}
    assert failed == {"uffd-move/swap"}, ended.bad()
    left = ended.cases(":not-run")
    assert left
    assert {case["workload"] for case in left.values()} <= set(WORKLOADS) - {"uffd-move/swap"}
    assert {case["reason"] for case in left.values()} == {LEFT_OUT}
    assert LEFT_OUT in ended.output
    log = next(iter(ended.cases(":uffd-move/swap:kernel-log").values()))
    assert any("Bad rss-counter state" in hit["title"] for hit in log["hits"])
    assert len(list((ended.folder / "capsules").iterdir())) == 1
    assert (ended.folder / "junit.xml").stat().st_size

    logs = {path: path.read_bytes() for path in ended.folder.glob("cells/*/console*.log")}
    argv = [str(LAB), "run", "--resume", str(ended.folder), "--plain"]
    done = subprocess.run(argv, cwd=HOME, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 1, done.stdout + done.stderr
    results = json.loads((ended.folder / "results.json").read_text())
    whole = Ran(done.returncode, done.stdout, ended.folder, results)
    assert not whole.cases(":not-run")
    assert {case["workload"] for case in whole.cases(":uffd-move/").values()} == set(WORKLOADS)
    before, after = (
        {name: case["verdict"] for name, case in ran.cases(":uffd-move/swap:").items()}
        for ran in (ended, whole)
    )
    assert before == after
    kept = [path for path in logs if path.name in ("console.log", "console-uffd-move__swap.log")]
    assert kept
    assert all(path.read_bytes() == logs[path] for path in kept)
    assert whole.results["run"]["complete"]
