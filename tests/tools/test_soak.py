# SPDX-License-Identifier: GPL-2.0-only
"""tools/soak.py: what it judges, keeps and writes; and that it sees what a lab leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soak
import soak_watch as watch

from orchestrator import HOME


def rounds(count: int, part: str = soak.ALONE, **more: float) -> list[soak.Round]:
    """Rounds of which nothing grows; ``more`` is how much a quantity grows a run."""
    flat = {one.key: 0.0 if one.tolerance is None else 50.0
            for one in soak.QUANTITIES if part in one.parts}  # fmt: skip
    return [
        {"status": 0, "seconds": 20.0, **flat, **{key: 50.0 + n * by for key, by in more.items()}}
        for n in range(count)
    ]


def both(count: int, **more: float) -> dict[str, list[soak.Round]]:
    return {soak.ALONE: rounds(count), soak.WORKER: rounds(count, soak.WORKER, **more)}


def test_exit_statuses() -> None:
    assert soak.status_of(both(200), 200) == 0
    assert soak.status_of(both(5), 200) == 3
    assert soak.status_of({soak.ALONE: rounds(200), soak.WORKER: []}, 200) == 3
    assert soak.status_of(both(200, worker_descriptors=1), 200) == 1
    assert soak.status_of(both(60, worker_memory=0.2), 200) == 1  # grows, though not all is done
    assert soak.status_of(both(200, worker_memory=0.04), 200) == 0
    failed = both(5)
    failed[soak.ALONE][-1]["status"] = 3
    assert soak.status_of(failed, 200) == 1


@pytest.mark.parametrize("key", ["processes", "temporary"])
def test_one_thing_left_once_is_one_too_many(key: str) -> None:
    found = both(200)
    found[soak.ALONE][77][key] = 1.0
    assert soak.status_of(found, 200) == 1
    (one,) = (one for one in soak.judge(soak.ALONE, found[soak.ALONE]) if not one.well)
    assert (one.quantity.key, one.verdict) == (key, "left")


def test_what_fills_at_first_is_not_growth() -> None:
    found = rounds(30)
    for number, one in enumerate(found):
        one["cache"] = (10.0, 180.0)[min(number, 1)]
    assert all(one.well for one in soak.judge(soak.ALONE, found))


def test_rounds_are_kept_and_a_workers_end_with_it(tmp_path: Path) -> None:
    for part in soak.PARTS:
        kept = soak.Rounds(tmp_path, part, fresh=False)
        kept.begin()
        kept.add(rounds(1, part)[0])
        again = soak.Rounds(tmp_path, part, fresh=False)
        assert len(again.done) == 1  # to be shown
        again.begin()
        assert len(again.done) == (part == soak.ALONE)
        assert soak.Rounds(tmp_path, part, fresh=True).done == []
    other = soak.Rounds(tmp_path, soak.ALONE, fresh=False)
    other.commit = "another"
    other.begin()
    assert other.done == []


def test_the_page_has_what_is_done_and_says_what_is_not(tmp_path: Path) -> None:
    page = tmp_path / "soak.md"
    (tmp_path / "img").mkdir()
    page.write_text(f"before\n{soak.START}STALE\n{soak.END}\nafter\n")
    kept = {part: soak.Rounds(tmp_path, part, fresh=True) for part in soak.PARTS}
    for one in rounds(40, memory=0.5):
        kept[soak.ALONE].add(one)
    soak.write(page, kept, 200)
    text = page.read_text()
    assert "STALE" not in text
    assert "40 of 200 runs, 0 of them failed; 20 s a run (median)" in text
    assert (
        "| memory of `lab run`, at most | 51.0 MB | 69.5 MB | +50.00 (+50.00 to +50.00) |" in text
    )
    assert "| **grows** |" in text
    assert "| processes and guests left | 0.0 | 0.0 |  | 0 | none |" in text
    assert "To be measured: none of 200 runs is done." in text
    assert (tmp_path / "img" / "soak-alone.svg").read_text().startswith("<svg")
    assert not (tmp_path / "img" / "soak-worker.svg").exists()
    real = (HOME / "docs" / "soak.md").read_text()
    assert soak.START in real
    assert soak.END in real


def test_a_process_that_left_its_parents_is_seen_and_then_gone() -> None:
    script = (
        "import os, sys; sys.path[:0] = sys.argv[1:]\n"
        "import soak_watch as watch, subprocess, time\n"
        "watch.GRACE = 1.0\n"
        "watch.adopt_orphans()\n"
        "subprocess.run(['sh', '-c', 'setsid setsid sleep 300 >/dev/null 2>&1 & exit 0'])\n"
        "left = watch.left_of(())\n"
        "print(sorted(left.values()))\n"
        "print(watch.left_of(left))\n"
        "for pid in left: os.kill(pid, 9)\n"
        "time.sleep(0.2)\n"
        "print(watch.left_of(()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(HOME / "tools"), str(HOME)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["['sleep']", "{}", "{}"]


def test_a_run_of_the_lab_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is refused: what it took, its exit status, and that it left nothing."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "users"))
    (tmp_path / "users" / "records").mkdir(parents=True)
    place = soak.prepare(tmp_path / "lab")
    ran = watch.run(place, ("run", "--kernel", "no-such-kernel"), 60.0, watch.below(os.getpid()))
    assert ran["status"] == 2
    assert 5 < ran["memory"] < 200
    assert (ran["processes"], ran["temporary"]) == (0, 0)
    assert "no-such-kernel" in (place.folder / "soak.log").read_text()
    # What is linked is not counted, what is its own is.
    before = watch.disk(place)["cache"]
    (tmp_path / "users" / "builds").mkdir(exist_ok=True)
    (tmp_path / "users" / "builds" / "x").write_bytes(bytes(5_000_000))
    assert watch.disk(place)["cache"] == before
    place.cache.workloads.mkdir()
    (place.cache.workloads / "x").write_bytes(bytes(5_000_000))
    assert watch.disk(place)["cache"] == pytest.approx(before + 5, abs=0.2)
    (place.tmp / "left").touch()
    assert watch.disk(place)["temporary"] == 1


def test_a_long_living_process_is_counted(tmp_path: Path) -> None:
    from orchestrator.host.cache.files import Cache

    script = "import sys; files = [open('/dev/null') for _ in range(40)]; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as child:
        until = time.monotonic() + 20
        while True:
            found = watch.of_worker(child.pid, Cache(tmp_path), tmp_path / "tmp")
            if found["worker_descriptors"] >= 43 or time.monotonic() > until:
                break
            time.sleep(0.05)
        assert child.stdin is not None
        child.stdin.close()
    assert found["worker_descriptors"] == 43
    assert found["worker_threads"] == 1
    assert 3 < found["worker_memory"] < 100
    assert found["worker_temporary"] == 0
