# SPDX-License-Identifier: GPL-2.0-only
"""The cache: who uses it, what is removed first, and what never is."""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.host.cache import locks, trim
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import locked
from orchestrator.host.cache.survey import Entry, disk_size, survey, survey_kind
from orchestrator.host.cache.trim import Wish, choose, keep_budget
from orchestrator.model.errors import HostError, UserError

DAY = 86400.0
NOW = time.time()
KIB = 1024


def put(path: Path, age: float, size: int = 64 * KIB) -> Path:
    """A file of some size and age (seconds)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    set_age(path, age)
    return path


def set_age(path: Path, age: float) -> None:
    os.utime(path, (NOW - age, NOW - age))


def put_build(cache: Cache, name: str, age: float) -> Path:
    folder = cache.folder / "builds" / name
    put(folder / "image", age)
    put(folder / "build.json", age, 10)
    set_age(folder, age)
    return folder


def put_objects(cache: Cache, name: str, age: float) -> Path:
    folder = cache.folder / "obj" / name
    put(folder / "mm" / "x.o", age)
    put(folder / ".lab-lock", age, 0)
    set_age(folder, age)
    return folder


def put_tree(cache: Cache, slot: str, age: float) -> Path:
    folder = cache.folder / "trees" / slot
    put(folder / "Makefile", age)
    put(cache.folder / "trees" / f"{slot}.tree", age, 40)
    set_age(folder, age)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache with something of every kind, each used some days ago."""
    cache = Cache(tmp_path / "cache")
    put_build(cache, "old", 9 * DAY)
    put_build(cache, "young", DAY)
    put_objects(cache, "debian-6.1-default-x86_64", 8 * DAY)
    put_objects(cache, "debian-6.12-default-x86_64", 2 * DAY)
    put_tree(cache, "debian-6.1", 8 * DAY)
    put_tree(cache, "debian-6.12", 7 * DAY)
    put(cache.folder / "roots" / "arm64-0123.ext2", 3 * DAY)
    put(cache.folder / "workloads" / "x86_64-basic-0123", 4 * DAY)
    put(cache.folder / "workloads" / "x86_64-basic-0123.lock", 4 * DAY, 0)
    put(cache.folder / "kernels.git" / "objects" / "x", 5 * DAY)
    put(cache.folder / "records" / "sources" / "x.json", 5 * DAY, 50)
    (cache.folder / "tmp").mkdir()
    (cache.folder / "locks").mkdir()
    return cache


def names(entries) -> list[str]:
    return [f"{entry.kind}/{entry.name}" for entry in entries]


# ---------------------------------------------------------------- what there is


def test_everything_is_found_least_recently_used_first(cache):
    assert names(survey(cache)) == [
        "builds/old",
        "obj/debian-6.1-default-x86_64",
        "trees/debian-6.1",
        "workloads/x86_64-basic-0123",
        "roots/arm64-0123.ext2",
        "obj/debian-6.12-default-x86_64",
        "trees/debian-6.12",  # as used as the last build from it
        "builds/young",
        "sources/kernels.git",  # as used as the last build of all
    ]


def test_sizes_are_those_on_disk(cache, tmp_path):
    sparse = tmp_path / "sparse" / "swap.raw"
    sparse.parent.mkdir()
    with sparse.open("wb") as file:
        file.truncate(1 << 30)
    assert disk_size(tmp_path / "sparse") < 1 << 20
    assert disk_size(cache.folder / "builds" / "old") >= 64 * KIB
    assert disk_size(tmp_path / "nothing") == 0


def test_a_link_out_of_the_cache_is_not_followed(cache, tmp_path):
    put(tmp_path / "precious" / "file", 0, 1 << 20)
    (cache.folder / "obj" / "link").symlink_to(tmp_path / "precious")
    (cache.folder / "builds" / "link").symlink_to(tmp_path / "precious")
    assert disk_size(cache.folder / "builds" / "link") < 64 * KIB
    trim.trim(cache, Wish(everything=True))
    assert (tmp_path / "precious" / "file").exists()


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


def test_who_waits_for_a_lock_that_is_removed_takes_the_new_one(tmp_path):
    path = tmp_path / "lock"
    entered = []

    def wait():
        with locked(path, deadline=10, on_wait=entered.append):
            entered.append(path.stat().st_ino)

    thread = threading.Thread(target=wait)
    with locked(path, deadline=1):
        thread.start()
        while not entered:
            time.sleep(0.01)
        path.unlink()
        with locked(path, deadline=1):
            ino = path.stat().st_ino
            time.sleep(0.3)
            assert len(entered) == 1
    thread.join(10)
    assert entered[1:] == [ino]


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


# ---------------------------------------------------------------- users of the cache


def test_a_users_registration_ends_with_it(cache):
    with locks.using(cache), locks.using(cache):
        assert len(list((cache.folder / "locks" / "labs").iterdir())) == 2
    assert list((cache.folder / "locks" / "labs").iterdir()) == []
    with locks.trimming(cache) as oldest:
        assert oldest is None


def test_the_oldest_lab_counts(cache):
    with locks.using(cache):
        first = next((cache.folder / "locks" / "labs").iterdir())
        set_age(first, 3600)
        with locks.using(cache), locks.trimming(cache) as oldest:
            assert oldest == pytest.approx(NOW - 3600, abs=1)


def test_a_killed_labs_registration_counts_no_more(cache):
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from orchestrator.host.cache.files import Cache\n"
        "from orchestrator.host.cache.locks import using\n"
        "with using(Cache(Path(sys.argv[1]))): os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = {"PYTHONPATH": str(HOME)}
    subprocess.run([sys.executable, "-c", code, cache.folder], timeout=30, env=os.environ | root)
    assert len(list((cache.folder / "locks" / "labs").iterdir())) == 1
    with locks.trimming(cache) as oldest:
        assert oldest is None
    assert list((cache.folder / "locks" / "labs").iterdir()) == []


def test_nobody_looks_things_up_while_trimming_takes_them(cache, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE", 0.0)
    with locks.trimming(cache), pytest.raises(HostError), locks.looking(cache):
        pass
    with locks.looking(cache), pytest.raises(HostError), locks.trimming(cache):
        pass


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
