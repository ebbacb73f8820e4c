# SPDX-License-Identifier: GPL-2.0-only
"""Mail to a real server of this machine, and what is said where it does not go."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mail_server import mail_server

from orchestrator.host import mail
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.nightly import MailSpec


def spec_of(port: int, **more: object) -> MailSpec:
    return MailSpec("127.0.0.1", "lab@example.org", ("a@example.org", "b@example.org"),
                    port=port, **more)  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture
def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """That certificate is one that this process trusts."""
    made: Callable[..., ssl.SSLContext] = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: made(cafile=str(certificate[0])))


def test_a_text_arrives_as_it_is() -> None:
    text = "Tested: a\n.\n..dots\nKäse \udcff\n" + "x" * 2000 + "\n"
    with mail_server() as server:
        mail.send(spec_of(server.port), "lab nightly: FAIL:\nBUG", text)
    (message,) = server.messages
    assert message["From"] == "lab@example.org"
    assert message["To"] == "a@example.org, b@example.org"
    assert message["Subject"] == "lab nightly: FAIL: BUG"
    assert message["Date"]
    assert message["Message-ID"].endswith("@example.org>")
    assert message.get_content() == text.replace("\udcff", "\\udcff")
    assert max(map(len, server.mails[0].split(b"\r\n"))) <= 998  # RFC 5322, 2.1.1
    assert sum(command.upper().startswith("RCPT") for command in server.commands) == 2


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_encrypted_and_logged_in(
    security: str, certificate: tuple[Path, Path], trusted: None, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("secret\nmore\n")
    with mail_server(tls=certificate, at_once=security == "tls") as server:
        spec = spec_of(
            server.port, security=security, user="me", password_file=tmp_path / "password"
        )
        mail.send(spec, "s", "t\n")
    assert len(server.mails) == 1
    assert any(command.startswith("AUTH") for command in server.commands)


def told(spec: MailSpec) -> str:
    with pytest.raises(HostError) as caught:
        mail.send(spec, "s", "t\n")
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"rcpt": "550 no such user here"}, "550 no such user here"),
        ({"mail": "530 log in first"}, "530 log in first"),
        ({"data": "451 later"}, "451 later"),
    ],
)
def test_what_the_server_says_is_told(says: dict[str, str], expected: str) -> None:
    with mail_server(**says) as server:
        said = told(spec_of(server.port))
    assert said == f"cannot send mail by 127.0.0.1, port {server.port}: {expected}"


def test_a_wrong_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong")
    with mail_server(auth="535 wrong password") as server:
        spec = spec_of(server.port, user="me", password_file=tmp_path / "password")
        assert told(spec).endswith(": 535 wrong password")


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert told(spec_of(port)).endswith(": Connection refused")


def test_no_such_server() -> None:
    spec = MailSpec("no-such-host.invalid", "lab@example.org", ("a@example.org",))
    assert "no-such-host.invalid, port 25: " in told(spec)


def test_tls_where_there_is_none_and_none_where_there_is(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as server:
        assert "no TLS there" in told(spec_of(server.port, security="tls"))
        assert "STARTTLS" in told(spec_of(server.port, security="starttls"))
    with mail_server(tls=certificate) as server:
        said = told(spec_of(server.port, security="starttls"))
    assert "its certificate is not trusted: self-signed certificate" in said
    monkeypatch.setattr(mail, "PATIENCE", 0.3)
    with mail_server(tls=certificate, at_once=True) as server:  # it waits for the client to begin
        assert "timed out" in told(spec_of(server.port))


def test_a_password_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without password_file"):
        mail.password_of(spec_of(1, user="me"))
    with pytest.raises(UserError, match="No such file"):
        mail.password_of(spec_of(1, user="me", password_file=tmp_path / "none"))
    (tmp_path / "empty").touch()
    assert mail.password_of(spec_of(1, user="me", password_file=tmp_path / "empty")) == ""
    assert mail.password_of(spec_of(1)) == ""
