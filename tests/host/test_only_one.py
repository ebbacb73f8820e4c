# SPDX-License-Identifier: GPL-2.0-only
"""One at a time, and who it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.host.only_one import only_one
from orchestrator.model.errors import EXIT_HOST, HostError

HOLD = """
import pathlib, sys, time
from orchestrator.host.only_one import only_one
with only_one(pathlib.Path(sys.argv[1]), "another", "process 42"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_one_is_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with only_one(path, "another night", "process 7 of root"):
        with (
            pytest.raises(
                HostError, match=r"^another night is at work: process 7 of root$"
            ) as told,
            only_one(path, "another night", "process 8"),
        ):
            pass
        assert told.value.exit_status == EXIT_HOST
        assert "wait for its end" in told.value.hint
        assert "process 7" in path.read_text()
    assert path.read_text() == ""
    with only_one(path, "another night", "process 8"):
        assert path.read_text() == "process 8\n"


def test_it_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    argv = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(HOME)}
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(HostError, match="process 42"), only_one(path, "another", "me"):
            pass
        child.kill()
    with only_one(path, "another", "me"):
        assert path.read_text() == "me\n"  # what the killed one left is gone


def test_where_there_can_be_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot lock"), only_one(tmp_path / "file/l", "a", "b"):
        pass


def test_one_that_does_not_say_who(tmp_path: Path) -> None:
    with only_one(tmp_path / "lock", "another", "me"):
        (tmp_path / "lock").write_text("")
        with pytest.raises(HostError, match="who"), only_one(tmp_path / "lock", "a", "b"):
            pass
