# SPDX-License-Identifier: GPL-2.0-only
"""Who uses the cache, and waits for whom."""

import os
import subprocess
import sys
import threading
import time

import pytest
from cache_files import NOW, set_age

from orchestrator import HOME
from orchestrator.host.cache import locks
from orchestrator.host.cache.locks import locked
from orchestrator.model.errors import HostError


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
