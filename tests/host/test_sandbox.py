# SPDX-License-Identifier: GPL-2.0-only
"""The sandbox: real programs in what this host has, and without any."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.host import sandbox
from orchestrator.host.sandbox import BUBBLEWRAP, NOTHING, UNSHARE, Limits

LIMITS = Limits(seconds=20, memory_mib=256, processes=32)
KINDS = [BUBBLEWRAP, UNSHARE, NOTHING]


@pytest.fixture(params=KINDS, ids=["bubblewrap", "unshare", "bare"])
def how(request, monkeypatch):
    """One way after the other; what this host has not is skipped."""
    if request.param:
        words = sandbox._shut_in(request.param, Path("/usr"), ("true",))
        try:
            works = sandbox.process.run(words, deadline=20, check=False).status == 0
        except sandbox.HostError:
            works = False
        if not works:
            pytest.skip(f"this host has no {request.param}, or forbids it")
    monkeypatch.setattr(sandbox, "kind", lambda: request.param)
    return request.param


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "programs"
    folder.mkdir()

    def work(script: str, limits: Limits = LIMITS) -> sandbox.Ended:
        program = folder / "p"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return sandbox.run(folder, ["p", "word"], limits, tmp_path / "log")

    return work


def test_status_and_both_outputs_in_order(how, run):
    ended = run("echo $1; echo two >&2; echo three; exit 3")
    assert (ended.status, ended.output) == (3, "word\ntwo\nthree\n")
    ended = run("kill -ABRT $$")
    assert ended.status == 134


def test_it_has_no_network_no_others_processes_and_a_tmp_of_its_own(how, run):
    if not how:
        pytest.skip("nothing shuts it in")
    (mark := Path("/tmp") / f"lab-test-{os.getpid()}").touch()
    try:
        ended = run(f"ls /proc | grep -c '^[0-9]'; grep -c : /proc/net/dev; ls {mark}; "
                    "touch /tmp/mine && ls /tmp")  # fmt: skip
    finally:
        mark.unlink()
    lines = ended.output.splitlines()
    assert int(lines[0]) < 10
    assert lines[1] == "1"  # lo
    assert "No such file" in lines[2]
    assert lines[3:] == ["lab", "mine"]
    assert not Path("/tmp/mine").exists()


def test_bubblewrap_lets_nothing_be_written(how, run):
    if how != BUBBLEWRAP:
        pytest.skip("only bubblewrap keeps the file system as it is")
    new = HOME / "lab-test-of-the-sandbox"
    assert run(f"touch {new}").status == 1
    assert not new.exists()


def test_memory_is_limited(how, run):
    ended = run("exec python3 -c 'x = b\"x\" * (512 << 20)'")
    assert ended.status == 1
    assert "MemoryError" in ended.output


@pytest.mark.skipif(os.geteuid() == 0, reason="RLIMIT_NPROC does not hold for root (setrlimit(2))")
def test_processes_are_limited(how, run):
    if not how:
        pytest.skip("all other processes of the user would count")
    assert "fork" in run("for i in $(seq 60); do sleep 9 & done").output


def test_a_deadline_ends_it_with_all_that_it_started(how, run):
    began = time.monotonic()
    own = "setsid" if how else ""  # a session of its own takes a namespace to end
    ended = run(f"echo begin; {own} sleep 31.5 & sleep 31.5", Limits(1, 256, 32))
    assert ended.status is None
    assert ended.output.startswith("begin\n")
    assert sandbox.PATIENCE <= time.monotonic() - began < 60
    time.sleep(0.3)
    assert not _running("31.5")


def test_processor_time_ends_it_too(how, run):
    ended = run("while :; do :; done", Limits(1, 256, 32))
    assert ended.status is None
    assert ended.seconds < 1 * sandbox.PATIENCE + 1


def _running(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", word.encode()]:
            found.append(path.parent.name)
    return found


def test_this_host_s_kind_is_one_of_them():
    assert sandbox.kind() in KINDS
