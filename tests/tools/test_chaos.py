# SPDX-License-Identifier: GPL-2.0-only
"""The campaign of chaos: its table is sound, its harm is what it is called, its judge sees harm."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import chaos
import chaos_check as check
import chaos_harm as harm
import pytest
from chaos_table import HEAVY, LIGHT, MOMENTS, Injection

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.plan.lab_yaml import load_config

ENTRY = Injection("prepare", "host", "before", "lab", "kill", (0, 3))


def test_the_table_has_every_stage_and_no_name_twice() -> None:
    entries = [*LIGHT, *HEAVY]
    assert len(entries) >= 60
    assert len({entry.name for entry in entries}) == len(entries)
    stages = {"prepare", "root", "build", "boot", "workload", "judging", "report"}
    assert stages <= {entry.stage for entry in entries}
    for entry in entries:
        timed = entry.when.replace(".", "").isdigit()
        assert timed or entry.when in {"before", "again", "-", *MOMENTS}, entry.name
        assert entry.status
        assert entry.then in ("again", "resume", "-")
        if ":" in entry.victim:
            assert entry.what in harm.DAMAGE, entry.name


def test_each_run_of_the_table_is_in_its_lab_yaml() -> None:
    config = load_config(HOME / "tests/e2e/chaos/lab.yaml", tuple(ARCHES))
    profiles = {profile.name for profile in config.profiles}
    workloads = {spec.name for spec in config.workloads}
    for entry in (*LIGHT, *HEAVY):
        known = entry.run in profiles or f"chaos/{entry.run}" in workloads
        assert known or entry.run == "build", entry.run


def test_damage_is_what_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    before = path.stat()
    assert harm.damage(tmp_path, "f*", "flip") == 1
    flipped, after = path.read_bytes(), path.stat()
    assert sum(bin(a ^ b).count("1") for a, b in zip(flipped, range(100), strict=True)) == 1
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    harm.damage(tmp_path, "f*", "cut")
    assert path.read_bytes() == flipped[:50]
    harm.damage(tmp_path, "f*", "empty")
    assert path.read_bytes() == b""
    harm.damage(tmp_path, "f*", "rubbish")
    assert path.read_bytes()
    harm.damage(tmp_path, "f*", "remove")
    assert not path.exists()
    assert harm.damage(tmp_path, "f*", "cut") == 0


def test_limits_hold_what_is_started() -> None:
    told = [sys.executable, "-c", "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE)[0])"]
    done = subprocess.run(
        [*harm.limits("", "37"), *told], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "37\n"
    assert harm.limits("", "") == []


def test_whether_a_process_has_a_handler_is_told_by_the_kernel() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert not harm.catches_sigterm(os.getpid())
        signal.signal(signal.SIGTERM, lambda *_: None)
        assert harm.catches_sigterm(os.getpid())
    finally:
        signal.signal(signal.SIGTERM, before)


def results(**more: object) -> dict[str, object]:
    case = {"id": "a", "verdict": "pass", "seconds": 1.0, "rerun": "lab rerun x"}
    run = {"exit_status": 0, "finished": "now", "id": "1"}
    return {"run": run, "kernels": [], "builds": [], "cells": [{"cases": [case]}], **more}


def test_times_are_no_difference_and_all_else_is() -> None:
    later = json.loads(json.dumps(results()).replace("1.0", "2.5").replace("rerun x", "rerun y"))
    assert check.same_results(later, results()) == ""
    failed = json.loads(json.dumps(results()).replace('"pass"', '"fail"'))
    assert "verdict: 'fail', not 'pass'" in check.same_results(failed, results())
    assert "0 entries, not 1" in check.same_results(results(cells=[]), results())
    other = results(run={"exit_status": 3, "finished": "now", "id": "1"})
    assert check.same_results(other, results()) == "exit status 3, not 0"


def test_how_it_ended_is_judged() -> None:
    assert check.wrong_end(ENTRY, 3, "lab: no space") == ""
    assert check.wrong_end(ENTRY, 1, "") == "exit status 1, not 0 or 3"
    assert check.wrong_end(ENTRY, check.NEVER_CAME, "") == "its moment never came"
    bug = "lab: unexpected KeyError: 'x'\n     this is a bug of the lab; LAB_DEBUG=1 shows"
    assert "unexpected KeyError" in check.wrong_end(ENTRY, 3, bug)
    assert "Traceback" in check.wrong_end(ENTRY, 0, "Traceback (most recent call last):\n")
    told = replace(ENTRY, told="Space")
    assert check.wrong_end(told, 3, "lab: no space") == ""
    assert check.wrong_end(told, 3, "lab: no") == "it does not say 'Space'"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"run": {"finished": "", "exit_status": 130}, "cells": []}', False),
        ('{"run": {"finished": "", "exit_status": 0}, "cells": []}', True),
        ('{"run": {"fini', True),
    ],
)
def test_a_run_that_is_cut_does_not_read_as_a_success(
    tmp_path: Path, text: str, wrong: bool
) -> None:
    assert check.half_written(tmp_path) == ""
    (tmp_path / "results.json").write_text(text)
    assert bool(check.half_written(tmp_path)) is wrong


def test_a_lock_that_is_held_is_seen_and_one_that_lies_about_is_not(tmp_path: Path) -> None:
    (tmp_path / "trees").mkdir()
    path = tmp_path / "trees" / "debian.lock"
    with path.open("ab") as file:
        assert list(check.held_locks(tmp_path, 0)) == []
        fcntl.flock(file, fcntl.LOCK_EX)
        assert list(check.held_locks(tmp_path, 0)) == [path]
        os.utime(path, (5, 5))
        assert list(check.held_locks(tmp_path, 10)) == []


def test_scratch_that_is_left_is_seen(tmp_path: Path) -> None:
    assert check.leftovers(tmp_path, tmp_path) == []
    (tmp_path / "builds" / "x.new").mkdir(parents=True)
    assert check.leftovers(tmp_path, tmp_path) == [str(tmp_path / "builds" / "x.new")]


def test_the_page_counts_what_held_and_names_what_did_not() -> None:
    other = replace(ENTRY, what="term")
    third = replace(ENTRY, what="int")
    kept = {"date": "2026-01-01", "commit": "abc", "seconds": 2.0, "told": "exit status 3"}
    told = chaos.table(
        [ENTRY, other, third], [kept | {"wrong": ""}, kept | {"wrong": "left | it"}, None]
    )
    assert told.startswith("1 of 2 injections held, of 3 in the table. 2026-01-01, commit abc.")
    assert "| yes |" in told
    assert "**no**: left \\| it" in told
    assert "| not run |" in told


def test_a_script_is_known_by_its_own_name(tmp_path: Path) -> None:
    script = tmp_path / "unpacks"
    script.write_text("#!/usr/bin/perl\nsleep 60;\n")
    script.chmod(0o755)
    with subprocess.Popen([script]) as child:
        (tmp_path / "cgroup.procs").write_text(f"{child.pid}\n{os.getpid()}\n")
        try:
            for _ in range(100):
                if found := harm.victims(tmp_path, 0, "unpack"):
                    break
                time.sleep(0.1)
            assert found == [child.pid]
            assert harm.victims(tmp_path, child.pid, "unpack") == []
        finally:
            child.kill()
