# SPDX-License-Identifier: GPL-2.0-only
"""What cleans up after a killed lab, and what is left where it was killed too."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.host import reaper


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def ignored(pid: int) -> set[int]:
    """The signals that a process ignores: proc(5), SigIgn."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigIgn:")[2].split()[0], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_what_is_mounted_in_a_folder(tmp_path: Path) -> None:

    table = tmp_path / "mounts"
    table.write_text(
        "none / ext4 rw 0 0\n"
        "none /tmp/a\\040b/root/dev devtmpfs rw 0 0\n"
        "none /tmp/a\\040b/root/dev/pts devpts rw 0 0\n"
        "none /tmp/a\\040bc/x tmpfs rw 0 0\n"
    )
    below = reaper.mounts_below("/tmp/a b", str(table))
    assert below == ["/tmp/a\\040b/root/dev/pts", "/tmp/a\\040b/root/dev"]
    assert reaper._unescaped(below[1]) == "/tmp/a b/root/dev"
    assert reaper.mounts_below("/tmp/c", str(table)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting is for root")
def test_removing_spares_what_is_mounted(tmp_path: Path) -> None:

    precious, folder = tmp_path / "precious", tmp_path / "lab x"
    precious.mkdir()
    (precious / "file").write_text("x")
    (folder / "root" / "dev").mkdir(parents=True)
    done = subprocess.run(
        ["mount", "--bind", precious, folder / "root" / "dev"], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("may not mount")
    reaper.remove(str(folder))
    assert not folder.exists()
    assert (precious / "file").exists()


def test_reaper_spares_others_processes(tmp_path: Path) -> None:
    # The same program with another token, and one with the token as an argument.

    token = secrets.token_hex(16)
    other = subprocess.Popen(
        ["sleep", "50"], env={"PATH": "/usr/bin:/bin", "LAB_TOKEN": secrets.token_hex(16)}
    )
    named = subprocess.Popen(["sleep", "50"], env={"PATH": "/usr/bin:/bin", "XLAB_TOKEN2": token})
    mine = subprocess.Popen(["sleep", "50"], env={"PATH": "/usr/bin:/bin", "LAB_TOKEN": token})
    try:
        until = time.monotonic() + 5
        found: list[int] = []
        while mine.pid not in found and time.monotonic() < until:
            found = reaper.carriers(token)
        assert found == [mine.pid]
    finally:
        for child in (other, named, mine):
            child.kill()
            child.wait()


def test_reaper_ignores_signals_and_ends_with_its_lab() -> None:
    script = HOME / "orchestrator" / "host" / "reaper.py"
    token = secrets.token_hex(16)  # the same tests may run elsewhere on this machine
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    with (
        subprocess.Popen(
            ["sleep", "50"], env={"LAB_TOKEN": token, "PATH": "/usr/bin:/bin"}
        ) as victim,
        subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), token], stdin=subprocess.PIPE
        ) as watcher,
    ):
        try:
            until = time.monotonic() + 20
            while not numbers <= ignored(watcher.pid) and time.monotonic() < until:
                time.sleep(0.02)
            assert numbers <= ignored(watcher.pid)
            for number in numbers:
                watcher.send_signal(number)
            with pytest.raises(subprocess.TimeoutExpired):
                watcher.wait(0.1)
            assert alive(victim.pid)
            assert watcher.stdin
            watcher.stdin.close()
            assert victim.wait(20) == -signal.SIGKILL
            assert watcher.wait(20) == 0
        finally:
            victim.kill()
            watcher.kill()
