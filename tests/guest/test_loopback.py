# SPDX-License-Identifier: GPL-2.0-only
"""Whether guests can be reached: here, and in a network namespace of which ``lo`` is down."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys

import pytest

from orchestrator.guest.loopback import check_loopback
from orchestrator.model.errors import HostError

CODE = """
from orchestrator.guest.loopback import check_loopback
from orchestrator.model.errors import HostError
try:
    check_loopback()
except HostError as error:
    print(error.message, "|", error.hint)
"""


def test_this_machine_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = []
    connect = socket.create_connection

    def noted(address: tuple[str, int], deadline: float) -> socket.socket:
        found = connect(address, deadline)
        reached.append(found.getpeername()[0])
        return found

    monkeypatch.setattr(socket, "create_connection", noted)
    check_loopback()
    assert reached == ["127.0.0.1"]


def test_an_address_of_nobody() -> None:
    with pytest.raises(HostError, match=r"reached over 192\.0\.2\.1, and nothing is here"):
        check_loopback("192.0.2.1")  # RFC 5737: for documentation


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare(1)")
def test_a_namespace_without_it() -> None:
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, "-c", CODE],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no namespaces here: {done.stderr[-200:]}")
    assert "guests are reached over 127.0.0.1, and nothing is here" in done.stdout
    assert "sudo ip link set lo up" in done.stdout
