# SPDX-License-Identifier: GPL-2.0-only
"""What the guest is told, by a shell of this host in its place."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.guest import coverage
from orchestrator.guest.ssh import Answer, SshLost


class Shell:
    """Runs on this host what the guest is to run, below a folder."""

    def run(self, command: str, deadline: float) -> Answer:
        assert deadline > 0
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20)
        return Answer(done.returncode, done.stdout, done.stderr)

    def read(self, command: str, deadline: float) -> bytes:
        assert deadline > 0
        command = command.replace("busybox tar", "tar")
        return subprocess.run(["sh", "-c", command], capture_output=True, timeout=20).stdout


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "gcov/root/obj/mm").mkdir(parents=True)
    (tmp_path / "gcov/root/obj/mm/mmap.gcda").write_bytes(b"adcg")
    (tmp_path / "gcov/root/obj/mm/mmap.gcno").symlink_to("/nowhere/mmap.gcno")
    monkeypatch.setattr(coverage, "FOLDER", str(tmp_path / "gcov"))
    monkeypatch.setattr(coverage, "_COPY", str(tmp_path / "copy"))
    return SimpleNamespace(ssh=Shell(), slowness=1.0)


def test_the_counts_are_set_to_0_and_fetched(guest: Any, tmp_path: Path) -> None:
    coverage.reset(guest)
    assert (tmp_path / "gcov/reset").read_text() == "1\n"
    with tarfile.open(fileobj=io.BytesIO(coverage.fetch(guest))) as archive:
        assert "./root/obj/mm/mmap.gcda" in archive.getnames()
    assert not (tmp_path / "copy").exists()


def test_a_kernel_without_counts_is_told(guest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "FOLDER", "/nowhere/gcov")
    with pytest.raises(SshLost, match="counts nothing"):
        coverage.reset(guest)
