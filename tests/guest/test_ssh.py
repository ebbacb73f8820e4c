# SPDX-License-Identifier: GPL-2.0-only
"""The SSH connection, against a server in this process that can be told to misbehave."""

from __future__ import annotations

import base64
import contextlib
import io
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import paramiko

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orchestrator.guest import ssh
from orchestrator.guest.seed import Keys
from orchestrator.guest.ssh import SshLost, connected


def new_key() -> tuple[bytes, paramiko.Ed25519Key]:
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return text, paramiko.Ed25519Key.from_private_key(io.StringIO(text.decode()))


class Server(paramiko.ServerInterface):
    """Does what the command says: ``ok``, ``fail``, ``silent``, ``mute``, ``read``, ``flood``."""

    def __init__(self) -> None:
        self.transport: paramiko.Transport | None = None
        self.received = b""

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if command == b"mute":
            time.sleep(3)  # the guest panics between taking the channel and answering
            return False
        threading.Thread(target=self.serve, args=(channel, command), daemon=True).start()
        return command != b"refuse"

    def serve(self, channel: paramiko.Channel, command: bytes) -> None:
        with contextlib.suppress(OSError, EOFError):  # the client may hang up at any time
            self.answer(channel, command)

    def answer(self, channel: paramiko.Channel, command: bytes) -> None:
        time.sleep(0.05)  # after the answer to the request
        if command == b"silent":
            return
        if command == b"drop":
            assert self.transport
            self.transport.close()
            return
        if command == b"gone":
            channel.close()  # no exit status: the command was killed
            return
        if b"tar" in command or command == b"read":
            while data := channel.recv(65536):
                self.received += data
        if command == b"flood":
            channel.sendall(b"x" * 300_000)
        channel.sendall(b"out\xff\n")
        channel.sendall_stderr(b"err\n")
        channel.send_exit_status(7 if command == b"fail" else 0)
        channel.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, int, Keys]]:
    _, host = new_key()
    client_text, _ = new_key()
    private = tmp_path / "id"
    private.write_bytes(client_text)
    private.chmod(0o600)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = Server()

    def accept() -> None:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        serving.transport = paramiko.Transport(connection)
        serving.transport.add_server_key(host)
        try:
            serving.transport.start_server(server=serving)
        except (paramiko.SSHException, EOFError):
            return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    keys = Keys(private, base64.b64encode(host.asbytes()).decode())
    yield serving, listening.getsockname()[1], keys
    listening.close()
    if serving.transport:
        serving.transport.close()
    thread.join(5)


def test_commands_over_one_connection(server: tuple[Server, int, Keys]) -> None:
    _, port, keys = server
    with connected(port, keys, 20.0) as session:
        answer = session.run("ok", 10)
        assert (answer.status, answer.stdout, answer.stderr) == (0, "out\ufffd\n", "err\n")
        assert session.run("fail", 10).status == 7
        assert session.run("read", 10, b"fed").status == 0


def test_bytes_are_read_as_they_are(server: tuple[Server, int, Keys]) -> None:
    _, port, keys = server
    with connected(port, keys, 20.0) as session:
        assert session.read("flood", 10) == b"x" * 300_000 + b"out\xff\n"
        with pytest.raises(SshLost, match="'fail' failed: err"):
            session.read("fail", 10)


def test_an_archive_arrives_whole(server: tuple[Server, int, Keys]) -> None:
    serving, port, keys = server
    with connected(port, keys, 20.0) as session:
        session.unpack(b"\xfd7zXZ" * 100_000, "/tmp/lab", 20)
    assert serving.received == b"\xfd7zXZ" * 100_000


def test_deadline_of_a_command(server: tuple[Server, int, Keys]) -> None:
    _, port, keys = server
    with connected(port, keys, 20.0) as session:
        began = time.monotonic()
        with pytest.raises(SshLost, match="did not end"):
            session.run("silent", 0.5)
        assert time.monotonic() - began < 5


def test_a_guest_that_dies_before_it_answers(
    server: tuple[Server, int, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "ANSWER", 0.5)
    _, port, keys = server
    with connected(port, keys, 20.0) as session:
        began = time.monotonic()
        with pytest.raises(SshLost, match="takes no further command"):
            session.start("mute")
        assert time.monotonic() - began < 2.5


def test_a_dead_guest_is_given_no_more_than_the_commands_time(
    server: tuple[Server, int, Keys],
) -> None:
    _, port, keys = server
    with connected(port, keys, 20.0) as session:
        began = time.monotonic()
        with pytest.raises(SshLost, match="takes no further command"):
            session.run("mute", 0.5)
        assert time.monotonic() - began < 2.5


def test_a_guest_that_stops_reading(server: tuple[Server, int, Keys]) -> None:
    _, port, keys = server
    with connected(port, keys, 20.0) as session:
        began = time.monotonic()
        with pytest.raises(SshLost, match="broke"):
            session.run("silent", 0.5, b"x" * (8 << 20))
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("command", ["drop", "gone"])
def test_a_connection_that_breaks(server: tuple[Server, int, Keys], command: str) -> None:
    _, port, keys = server
    with connected(port, keys, 20.0) as session:
        with pytest.raises(SshLost, match="broke"):
            session.run(command, 10)
        if command == "drop":
            with pytest.raises(SshLost, match="takes no further command"):
                session.run("ok", 10)


def test_a_command_that_is_refused(server: tuple[Server, int, Keys]) -> None:
    _, port, keys = server
    with connected(port, keys, 20.0) as session, pytest.raises(SshLost):
        session.run("refuse", 10)


def test_output_without_end_is_cut(
    server: tuple[Server, int, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "MOST_OUTPUT", 1000)
    _, port, keys = server
    with connected(port, keys, 20.0) as session:
        answer = session.run("flood", 20)
    assert answer.stdout == "x" * 1000
    assert answer.stderr == "err\n"


def test_another_host_key_is_refused(server: tuple[Server, int, Keys]) -> None:
    _, port, keys = server
    _, other = new_key()
    wrong = Keys(keys.client_private, base64.b64encode(other.asbytes()).decode())
    with pytest.raises(SshLost, match="no SSH login"), connected(port, wrong, 20.0):
        pass


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text, key = new_key()
    (tmp_path / "id").write_bytes(text)
    keys = Keys(tmp_path / "id", base64.b64encode(key.asbytes()).decode())
    with pytest.raises(SshLost, match="no SSH login"), connected(port, keys, 2.0):
        pass


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    # QEMU takes the connection at once, whether the guest listens or not.
    text, key = new_key()
    (tmp_path / "id").write_bytes(text)
    keys = Keys(tmp_path / "id", base64.b64encode(key.asbytes()).decode())
    with socket.create_server(("127.0.0.1", 0)) as quiet:
        began = time.monotonic()
        with (
            pytest.raises(SshLost, match="no SSH login"),
            connected(quiet.getsockname()[1], keys, 1.0),
        ):
            pass
        assert time.monotonic() - began < 5


def test_a_login_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LOGIN", 0.3)
    text, _ = new_key()
    (tmp_path / "id").write_bytes(text)
    keys = Keys(tmp_path / "id", base64.b64encode(new_key()[1].asbytes()).decode())
    with socket.create_server(("127.0.0.1", 0)) as quiet:
        quiet.settimeout(5)
        with (
            pytest.raises(SshLost, match="no SSH login"),
            connected(quiet.getsockname()[1], keys, 2.0),
        ):
            pass
        for _ in range(2):
            quiet.accept()[0].close()


def test_a_guest_that_panics_while_logging_in(tmp_path: Path) -> None:
    text, _ = new_key()
    (tmp_path / "id").write_bytes(text)
    keys = Keys(tmp_path / "id", base64.b64encode(new_key()[1].asbytes()).decode())
    began = time.monotonic()

    def watch() -> None:
        if time.monotonic() - began > 0.3:
            raise KeyError("panicked")

    with socket.create_server(("127.0.0.1", 0)) as quiet:
        with (
            pytest.raises(KeyError, match="panicked"),
            connected(quiet.getsockname()[1], keys, 60.0, watch),
        ):
            pass
        assert time.monotonic() - began < 5
