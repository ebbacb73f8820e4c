# SPDX-License-Identifier: GPL-2.0-only
"""SSH into a guest: one connection per guest, over which everything goes.

Under TCG a handshake costs a good part of a second, a further channel costs next to nothing.
"""

from __future__ import annotations

import base64
import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.guest.seed import Keys
from orchestrator.host import process
from orchestrator.model.errors import LabError

# Seconds for the guest's SSH server to take a command.
ANSWER = 30.0
# Seconds for the first try of a login; each further one gets twice as many.
LOGIN = 15.0
BETWEEN = 0.2
# A workload that prints without end must not fill the host's memory; what is cut has no end and
# so is no pass.
MOST_OUTPUT = 64 << 20


class SshLost(LabError):
    """The connection to the guest broke or was never made; the caller judges whose fault it is."""


@dataclass(frozen=True)
class Answer:
    """What a finished command in the guest printed, and its exit status."""

    status: int
    stdout: str
    stderr: str


class Channel:
    """A command running in the guest, read without ever blocking."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.stdout = bytearray()
        self.stderr = bytearray()

    def pump(self) -> bool:
        """Take what has arrived; tell whether there was anything."""
        got = False
        while self._channel.recv_ready():
            self._keep(self.stdout, self._channel.recv(65536))
            got = True
        while self._channel.recv_stderr_ready():
            self._keep(self.stderr, self._channel.recv_stderr(65536))
            got = True
        return got

    @staticmethod
    def _keep(output: bytearray, data: bytes) -> None:
        output += data[: max(0, MOST_OUTPUT - len(output))]

    def status(self) -> int | None:
        """The exit status once there is one; -1 when the connection broke instead."""
        if self._channel.exit_status_ready():
            self.pump()
            return int(self._channel.recv_exit_status())
        if self._channel.closed:
            return -1
        return None

    def feed(self, data: bytes, deadline: float) -> None:
        """Write to the command's standard input and close it.

        :raises OSError: when the guest takes nothing for ``deadline`` seconds, or is gone.
        """
        self._channel.settimeout(deadline)
        self._channel.sendall(data)
        self._channel.shutdown_write()

    def close(self) -> None:
        """Close the channel; the guest hangs the command up."""
        with contextlib.suppress(Exception):
            self._channel.close()


class Ssh:
    """An open connection.  Use :func:`connected`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def start(self, command: str, deadline: float | None = None) -> Channel:
        """Start a command in the guest.

        :param deadline: seconds for the guest to take it (default: ``ANSWER``).
        :raises SshLost: when the connection is gone.
        """
        limit = ANSWER if deadline is None else min(deadline, ANSWER)
        try:
            channel = self._connection.transport.open_session(timeout=limit)
            # exec_command() waits for the answer without any limit, and a guest that panics just
            # now never gives one: its connection stays open as long as QEMU does.
            watchdog = threading.Timer(limit, Channel(channel).close)
            watchdog.daemon = True
            watchdog.start()
            try:
                channel.exec_command(command)
            finally:
                watchdog.cancel()
        except Exception as error:
            raise SshLost(f"the guest takes no further command: {error}") from error
        return Channel(channel)

    def run(self, command: str, deadline: float, stdin: bytes | None = None) -> Answer:
        """Run a command in the guest to its end.

        :raises SshLost: when it does not end in time or the connection breaks.
        """
        status, out, err = self._finished(command, deadline, stdin)
        return Answer(status, out.decode(errors="replace"), err.decode(errors="replace"))

    def read(self, command: str, deadline: float) -> bytes:
        """What a command in the guest writes to its standard output, byte by byte.

        :raises SshLost: when it fails, does not end in time, or the connection breaks.
        """
        status, out, err = self._finished(command, deadline)
        if status != 0:
            raise SshLost(f"{command!r} failed: {err.decode(errors='replace').strip()}")
        return out

    def _finished(
        self, command: str, deadline: float, stdin: bytes | None = None
    ) -> tuple[int, bytes, bytes]:
        channel = self.start(command, deadline)
        until = time.monotonic() + deadline
        try:
            if stdin is not None:
                channel.feed(stdin, deadline)
            while (status := channel.status()) is None:
                channel.pump()
                if time.monotonic() > until:
                    raise SshLost(f"the guest did not end {command!r} within {deadline:.0f} s")
                process.sleep(0.005)
            channel.pump()
        except (OSError, EOFError) as error:
            raise SshLost(f"the connection broke during {command!r}: {error}") from error
        finally:
            channel.close()
        if status == -1:
            raise SshLost(f"the connection broke during {command!r}")
        return status, bytes(channel.stdout), bytes(channel.stderr)

    def close(self) -> None:
        """Close the connection early; the guest hangs up whatever still runs over it."""
        with contextlib.suppress(Exception):
            self._connection.close()

    def unpack(self, archive: bytes, folder: str, deadline: float) -> None:
        """Unpack a tar archive, compressed with xz, below ``folder`` in the guest.

        :raises SshLost: when the guest does not take it.
        """
        words = f"mkdir -p {folder} && busybox tar xJf - -C {folder}"
        answer = self.run(words, deadline, archive)
        if answer.status != 0:
            raise SshLost(f"the guest did not take the workloads: {answer.stderr.strip()}")


@contextlib.contextmanager
def connected(
    port: int, keys: Keys, deadline: float, watch: Callable[[], None] = lambda: None
) -> Iterator[Ssh]:
    """Log in for the length of a with block; the host key must be the one the guest was given.

    :param watch: called many times a second while logging in; what it raises ends the attempt.
    :raises SshLost: when the guest cannot be reached before the deadline (seconds).
    """
    until = time.monotonic() + deadline
    limit = LOGIN
    while True:
        left = max(until - time.monotonic(), 0.1)
        connection = _connection(port, keys, min(limit, left))
        try:
            error = _open(connection, watch)
            if error is None:
                yield Ssh(connection)
                return
        finally:
            # Its client, because a connection that is not open yet closes nothing by itself.
            with contextlib.suppress(Exception):
                connection.client.close()
        if time.monotonic() + BETWEEN >= until or _final(error):
            raise SshLost(f"no SSH login: {error}") from error
        process.sleep(BETWEEN)
        limit *= 2


def _connection(port: int, keys: Keys, limit: float) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography deprecates ciphers paramiko still lists
        import fabric
        import paramiko

    config = fabric.Config(overrides={"load_ssh_configs": False})
    connection = fabric.Connection(
        "127.0.0.1",
        user="root",
        port=port,
        config=config,
        connect_kwargs={
            "key_filename": str(keys.client_private),
            "look_for_keys": False,
            "allow_agent": False,
            "banner_timeout": limit,
            "auth_timeout": limit,
        },
        connect_timeout=int(limit) or 1,
    )
    key = paramiko.Ed25519Key(data=base64.b64decode(keys.host_public))
    connection.client.get_host_keys().add(f"[127.0.0.1]:{port}", "ssh-ed25519", key)
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    return connection


def _open(connection: Any, watch: Callable[[], None]) -> Exception | None:
    """Open a connection in a thread of its own while ``watch`` looks on; what went wrong, if so."""
    came: list[Exception] = []

    def work() -> None:
        try:
            connection.open()
        except Exception as error:  # whatever it is, the caller's thread must learn of it
            came.append(error)

    thread = threading.Thread(target=work, daemon=True, name="ssh-login")
    thread.start()
    while thread.is_alive():
        watch()
        process.sleep(0.02)
    return came[0] if came else None


def _final(error: Exception) -> bool:
    """Whether another try would end the same: the wrong host key, a key that is not taken."""
    from paramiko import AuthenticationException, BadHostKeyException

    return isinstance(error, (AuthenticationException, BadHostKeyException))
