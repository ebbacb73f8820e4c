# SPDX-License-Identifier: GPL-2.0-only
"""Whether guests can be reached from here: QEMU forwards a port of 127.0.0.1 to each."""

from __future__ import annotations

import socket

from orchestrator.model.errors import HostError

_DEADLINE = 5.0  # seconds; a connection within one machine takes far less than one


def check_loopback(address: str = "127.0.0.1") -> None:
    """Connect to a port of this machine's own.

    :raises HostError: where that fails, as in a network namespace of which ``lo`` is down.
    """
    try:
        with socket.create_server((address, 0)) as server:
            port = server.getsockname()[1]
            socket.create_connection((address, port), _DEADLINE).close()
    except OSError as error:
        raise HostError(
            f"guests are reached over {address}, and nothing is here: {error.strerror or error}",
            "sudo ip link set lo up",
        ) from error
