# SPDX-License-Identifier: GPL-2.0-only
"""The cache: who uses it, what is removed first, and what never is."""

import fcntl
import shutil
from pathlib import Path

import pytest
from cache_files import DAY, KIB, NOW, names, put, put_build, set_age

from orchestrator.host.cache import locks, trim
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.survey import Entry, survey, survey_kind
from orchestrator.host.cache.trim import Wish, choose, keep_budget
from orchestrator.model.errors import UserError


def test_no_cache_is_nothing_to_trim(tmp_path):
    assert survey(Cache(tmp_path / "none")) == ()
    assert trim.trim(Cache(tmp_path / "none"), Wish(everything=True)).freed == 0
    assert not (tmp_path / "none").exists()


# ---------------------------------------------------------------- what goes first


def entries(*sizes_and_ages: tuple[int, float], kind: str = "builds") -> tuple[Entry, ...]:
    return tuple(
        Entry(kind, str(n), Path(str(n)), size, NOW - age)
        for n, (size, age) in enumerate(sizes_and_ages)
    )


def test_down_to_a_size_and_no_further():
    three = entries((10, 1), (20, 3), (30, 2))
    assert names(choose(three, Wish(max_size=60), NOW)) == []
    assert names(choose(three, Wish(max_size=59), NOW)) == ["builds/1"]
    assert names(choose(three, Wish(max_size=40), NOW)) == ["builds/1"]
    assert names(choose(three, Wish(max_size=39), NOW)) == ["builds/1", "builds/2"]
    assert len(choose(three, Wish(max_size=0), NOW)) == 3


def test_by_age():
    three = entries((10, 1 * DAY), (20, 3 * DAY), (30, 2 * DAY))
    assert names(choose(three, Wish(max_age=2.5 * DAY), NOW)) == ["builds/1"]
    assert names(choose(three, Wish(max_age=2.5 * DAY, max_size=10), NOW)) == [
        "builds/1",
        "builds/2",
    ]


def test_leftovers_always_go_and_go_first():
    left = Entry("tmp", "kernel-x", Path("kernel-x"), 5, NOW)
    assert choose((*entries((10, DAY)), left), Wish(max_size=12), NOW) == (left,)
    unfinished = Entry("builds", "abc.new", Path("abc.new"), 5, NOW - 2 * DAY)
    at_work = Entry("builds", "abd.new", Path("abd.new"), 5, NOW - 60)
    assert choose((unfinished, at_work), Wish(max_size=100), NOW) == (unfinished,)


# ---------------------------------------------------------------- trimming


def test_the_least_recently_used_goes_and_the_rest_stays(cache):
    total = sum(entry.size for entry in survey(cache))
    done = trim.trim(cache, Wish(max_size=total - 1))
    assert names(done.removed) == ["builds/old"]
    assert done.freed == total - done.left > 0
    assert not (cache.folder / "builds" / "old").exists()
    assert (cache.folder / "builds" / "young" / "image").exists()
    assert list((cache.folder / "tmp").iterdir()) == []


def test_a_workloads_lock_goes_with_it(cache):
    kept = put(cache.folder / "workloads" / "x86_64-other-0123", 0)
    compiling = put(cache.folder / "workloads" / "x86_64-third-0123.lock", 0, 0)
    for path in (kept, kept.with_suffix(".lock")):
        path.touch()
    with compiling.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        trim.trim(cache, Wish(max_age=3 * DAY))
    left = sorted(path.name for path in (cache.folder / "workloads").iterdir())
    assert left == [kept.name, f"{kept.name}.lock", compiling.name]


def test_a_dry_run_removes_nothing(cache):
    before = survey(cache)
    done = trim.trim(cache, Wish(everything=True), dry_run=True)
    assert names(done.removed) == names(before)
    assert survey(cache) == before


def test_everything(cache):
    done = trim.trim(cache, Wish(everything=True))
    assert done.in_use == ()
    assert done.left == 0
    assert survey(cache) == ()
    assert not (cache.folder / "records").exists()
    assert not (cache.folder / "trees" / "debian-6.12.tree").exists()


def test_what_a_lab_at_work_may_have_used_stays(cache):
    with locks.using(cache):
        (cache.folder / "builds" / "young" / "build.json").touch()
        (cache.folder / "obj" / "debian-6.12-default-x86_64" / ".lab-lock").touch()
        done = trim.trim(cache, Wish(everything=True))
    assert set(names(done.in_use)) == {
        "builds/young",
        "obj/debian-6.12-default-x86_64",
        "trees/debian-6.12",
        "sources/kernels.git",
    }
    assert not (cache.folder / "roots" / "arm64-0123.ext2").exists()
    assert (cache.folder / "kernels.git").is_dir()


def test_what_is_looked_up_after_the_survey_stays(cache, monkeypatch):
    """Between looking and removing a lab may have found and marked an entry."""
    seen = trim.survey

    def then_used(where: Path) -> tuple[Entry, ...]:
        found = seen(where)
        (cache.folder / "builds" / "old" / "build.json").touch()
        return found

    monkeypatch.setattr(trim, "survey", then_used)
    with locks.using(cache):
        done = trim.trim(cache, Wish(max_age=5 * DAY))
    assert "builds/old" in names(done.in_use)
    assert (cache.folder / "builds" / "old" / "image").exists()


def test_a_build_under_way_keeps_its_folder(cache):
    folder = cache.folder / "obj" / "debian-6.1-default-x86_64"
    with (folder / ".lab-lock").open("w") as lock:
        set_age(folder / ".lab-lock", 8 * DAY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = trim.trim(cache, Wish(everything=True))
    assert "obj/debian-6.1-default-x86_64" in names(done.in_use)
    assert (folder / "mm" / "x.o").exists()


def test_a_tree_that_is_read_stays(cache):
    with (cache.folder / "trees" / "debian-6.1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        done = trim.trim(cache, Wish(everything=True))
    assert "trees/debian-6.1" in names(done.in_use)
    assert (cache.folder / "trees" / "debian-6.1" / "Makefile").exists()


def test_scratch_of_a_killed_lab_goes_and_of_a_living_one_stays(cache):
    for name in ("kernel-dead", "kernel-alive"):
        put(cache.folder / "tmp" / name / "swap.raw", 0)
        put(cache.folder / "tmp" / f"{name}.lock", 0, 0)
    put(cache.folder / "tmp" / "rubbish-builds-x-1" / "image", 0)
    with (cache.folder / "tmp" / "kernel-alive.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sorted(names(survey_kind(cache, "tmp"))) == [
            "tmp/kernel-dead",
            "tmp/rubbish-builds-x-1",
        ]
        done = trim.trim(cache, Wish(max_size=1 << 40))
    assert len(done.removed) == 2
    left = sorted(path.name for path in (cache.folder / "tmp").iterdir())
    assert left == ["kernel-alive", "kernel-alive.lock"]


@pytest.mark.skipif(not shutil.which("ccache"), reason="ccache is not installed")
def test_ccache_trims_itself(cache):
    put(cache.folder / "ccache" / "a" / "b" / "some.o", 0, 256 * KIB)
    put(cache.folder / "ccache" / "a" / "stats", 0, 1)
    total = sum(entry.size for entry in survey(cache))
    done = trim.trim(cache, Wish(max_size=total))
    assert done.removed == ()
    done = trim.trim(cache, Wish(everything=True))
    assert "ccache/ccache" in names(done.removed)
    assert not (cache.folder / "ccache" / "a" / "b" / "some.o").exists()


# ---------------------------------------------------------------- the budget


def test_the_budget_is_kept_once_an_hour(cache):
    first = keep_budget(cache, 0)
    assert first is not None
    assert first.left == 0
    put_build(cache, "another", DAY)
    assert keep_budget(cache, 0) is None
    set_age(cache.folder / "locks" / "budget-checked", 3700)
    again = keep_budget(cache, 0)
    assert again is not None
    assert names(again.removed) == ["builds/another"]


def test_within_the_budget_nothing_is_touched(cache):
    done = keep_budget(cache)
    assert done is not None
    assert done.removed == done.in_use == ()


def test_the_budget_of_the_environment(monkeypatch):
    assert trim.budget() == 30 << 30
    monkeypatch.setenv("LAB_CACHE_BUDGET", "500M")
    assert trim.budget() == 500 << 20
    monkeypatch.setenv("LAB_CACHE_BUDGET", "lots")
    with pytest.raises(UserError, match="LAB_CACHE_BUDGET=lots"):
        trim.budget()


def test_trouble_with_the_budget_costs_no_run(cache, monkeypatch, caplog):
    monkeypatch.setenv("LAB_CACHE_BUDGET", "lots")
    assert keep_budget(cache) is None
    assert "LAB_CACHE_BUDGET" in caplog.text
