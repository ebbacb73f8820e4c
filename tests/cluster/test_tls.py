# SPDX-License-Identifier: GPL-2.0-only
"""No open port without certificates, and certificates that others believe."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.cluster.tls import CA, CA_KEY, CERT, KEY, is_loopback, make, parse
from orchestrator.model.errors import UserError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1.2.3"])
def test_the_loopback_needs_no_certificates(host: str) -> None:
    assert parse(f"tcp://{host}:1234", None).port == 1234


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "[::]", "10.0.0.1", "build-1", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_other_addresses_are_refused_with_the_reason(host: str) -> None:
    with pytest.raises(UserError, match="can run any code on every worker") as caught:
        parse(f"tcp://{host}:8786", None)
    assert "lab cluster init" in caught.value.hint
    assert not is_loopback(host.strip("[]"))


@pytest.mark.parametrize(
    "text", ["", "8786", "http://127.0.0.1", "tcp://", "tcp://127.0.0.1:99999", "tcp://127.0.0.1/x"]
)
def test_no_address(text: str) -> None:
    with pytest.raises(UserError, match="is no address"):
        parse(text, None)


def test_certificates(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    assert {path.name for path in make(folder)} == {CA, CA_KEY, CERT, KEY}
    for name in (CA_KEY, KEY):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", CA, CERT],
        cwd=folder, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == f"{CERT}: OK\n", done.stderr
    assert parse("tls://10.0.0.1", folder).url == "tls://10.0.0.1:8786"
    with pytest.raises(UserError, match="already"):
        make(folder)
    (folder / KEY).chmod(0o644)
    with pytest.raises(UserError, match="can be read by others"):
        parse("tls://10.0.0.1", folder)
    (folder / KEY).unlink()
    with pytest.raises(UserError, match=r"no node-key\.pem"):
        parse("tls://10.0.0.1", folder)
    with pytest.raises(UserError, match="needs certificates"):
        parse("tls://10.0.0.1", None)
