# SPDX-License-Identifier: GPL-2.0-only
"""A lab folder with two stored runs, and the command line as a user meets it."""

import functools
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sample_run
from in_process import Outcome, run_lab

from orchestrator import HOME
from orchestrator.plan.lab_yaml import init_text
from orchestrator.results import runs, store

GOOD, BROKEN = "20240105-112233-smoke", "20240105-142233-smoke"


Lab = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def lab_log() -> Iterator[None]:
    """A run's log is the process's own; the tests after it must not find it."""
    log = logging.getLogger("lab")
    level, propagate, handlers = log.level, log.propagate, log.handlers[:]
    yield
    for handler in set(log.handlers) - set(handlers):
        log.removeHandler(handler)
        handler.close()
    log.setLevel(level)
    log.propagate = propagate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab's folder, which is the current one; its cache is private."""
    home = tmp_path / "lab"
    home.mkdir()
    (home / "lab.yaml").write_text(init_text())
    monkeypatch.chdir(home)
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    for name in ("LAB_YAML", "LAB_CACHE_BUDGET", "LAB_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def stored(folder: Path) -> Path:
    """The same with two stored runs."""
    for run in (sample_run.good_run(), sample_run.broken_run()):
        where = folder / "reports" / run.run.id
        store.save(run, where)
        sample_run.write_files(run, where)
        runs.update_latest(folder / "reports", where)
    return folder


@pytest.fixture
def lab(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lab:
    """Run ``lab WORDS`` within this process, around it what a real one has."""
    return functools.partial(run_lab, monkeypatch, capsys)


@pytest.fixture
def lab_process(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``lab WORDS`` as a process, for what only a process has: its descriptors and locale."""

    def command(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "orchestrator.cli", *words]
        path = {"PYTHONPATH": str(HOME)}
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            argv, text=True, timeout=30, env=os.environ | path,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
        )  # fmt: skip

    return command
