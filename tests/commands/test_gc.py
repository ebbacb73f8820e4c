# SPDX-License-Identifier: GPL-2.0-only
"""`lab gc`: what it prints; what it removes is tested in test_trim.py."""

import json
from pathlib import Path

import pytest

from orchestrator.commands.gc import size_text


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    for name in ("builds/abc/image", "roots/arm64-1.ext2", "workloads/a", "workloads/b"):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(b"x" * 10_000)
    return cache


def test_within_the_budget_there_is_nothing_to_do(lab, cache):
    done = lab("gc")
    assert done.status == 0
    assert done.out.startswith("freed 0 bytes; ")


def test_a_dry_run_tells_and_keeps(lab, cache):
    out = lab("gc", "--all", "--dry-run").out
    assert "would remove builds/abc, " in out
    assert "would remove 2 workload programs, 24.0 KiB\n" in out
    assert "would free " in out
    assert (cache / "builds" / "abc" / "image").exists()


def test_sizes_and_ages(lab, cache):
    assert "freed 0 bytes" in lab("gc", "--older-than", "1").out
    assert "removed" not in lab("gc", "--max-size", "1G").out
    assert "removed builds/abc" in lab("gc", "--max-size", "0").out
    assert not (cache / "builds" / "abc").exists()


def test_the_budget_of_the_environment(lab, cache, monkeypatch):
    monkeypatch.setenv("LAB_CACHE_BUDGET", "0")
    assert "removed builds/abc" in lab("gc").out


def test_no_lab_yaml_is_needed(lab, cache, folder):
    (folder / "lab.yaml").unlink()
    assert lab("gc").status == 0


def test_for_scripts(lab, cache):
    told = json.loads(lab("gc", "--all", "--json").out)
    assert told["left"] == 0
    assert told["freed"] == sum(entry["size"] for entry in told["removed"])
    assert {entry["kind"] for entry in told["removed"]} == {"builds", "roots", "workloads"}
    assert told["in_use"] == []


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"),
     ((7 << 30) + (1 << 29), "7.5 GiB")],
)  # fmt: skip
def test_size_text(size, text):
    assert size_text(size) == text


def test_old_runs_beside_the_cache_or_alone(lab, cache, stored):
    told = lab("gc", "--reports", "--keep-reports", "1", "--dry-run").out
    assert told.startswith("would remove run 20240105-112233-smoke, ") is False
    assert told.endswith("; 2 runs left in " + str(stored / "reports") + "\n")
    for name in ("20240105-112233", "20240105-142233"):
        (stored / "reports" / f"{name}-smoke").rename(stored / "reports" / name)
    told = lab("gc", "--keep-reports", "1", "--dry-run").out
    assert "would remove run 20240105-112233, " in told
    assert told.count("would free ") == 2
    alone = json.loads(lab("gc", "--reports", "--keep-reports", "1", "--json").out)
    assert [one["run"] for one in alone["runs"]] == ["20240105-112233"]
    assert "cache" not in alone
    assert not (stored / "reports" / "20240105-112233").exists()
    assert (cache / "builds" / "abc" / "image").exists()
    both = json.loads(lab("gc", "--keep-reports", "1", "--json").out)
    assert (both["runs"], both["removed"]) == ([], [])
    assert lab("gc", "--reports").out.startswith("freed 0 bytes; 1 run left in ")
    assert lab("gc", "--reports", "--all").status == 2
    assert lab("gc", "--keep-reports", "0").status == 2
