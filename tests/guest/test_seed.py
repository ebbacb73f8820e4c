# SPDX-License-Identifier: GPL-2.0-only
"""The tar file that makes a guest that guest, and the keys in it."""

from __future__ import annotations

import base64
import struct
import tarfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orchestrator.guest.seed import write_seed
from orchestrator.model.spec import ShapeSpec

SHAPE = ShapeSpec("small", zram_mib=256)


def unpack(folder: Path) -> dict[str, bytes]:
    with tarfile.open(folder / "seed.tar") as tar:
        entries = {entry.name: tar.extractfile(entry) for entry in tar.getmembers()}
        return {name: file.read() for name, file in entries.items() if file}


def strings(data: bytes) -> list[bytes]:
    """Split at SSH strings (RFC 4251, section 5)."""
    found = []
    while data:
        (length,) = struct.unpack(">I", data[:4])
        assert len(data) >= 4 + length
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found


def test_content_and_modes(tmp_path: Path) -> None:
    keys = write_seed(tmp_path, SHAPE)
    files = unpack(tmp_path)
    assert set(files) == {"hostkey", "authorized_keys", "now", "zram_mib"}
    assert files["zram_mib"] == b"256"
    assert abs(int(files["now"]) - time.time()) < 60
    with tarfile.open(tmp_path / "seed.tar") as tar:
        assert {entry.mode for entry in tar.getmembers()} == {0o600}
        assert {entry.uid for entry in tar.getmembers()} == {0}
    assert keys.client_private.stat().st_mode & 0o777 == 0o600


def test_host_key_is_one_that_dropbear_reads(tmp_path: Path) -> None:
    keys = write_seed(tmp_path, SHAPE)
    # Dropbear's file: the type, then 32 bytes of private and 32 of public key as one string.
    kind, both = strings(unpack(tmp_path)["hostkey"])
    assert kind == b"ssh-ed25519"
    assert len(both) == 64
    private = Ed25519PrivateKey.from_private_bytes(both[:32])
    public = private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    assert public == both[32:]
    assert strings(base64.b64decode(keys.host_public)) == [b"ssh-ed25519", public]


def test_client_key_is_the_authorized_one(tmp_path: Path) -> None:
    keys = write_seed(tmp_path, SHAPE)
    private = serialization.load_ssh_private_key(keys.client_private.read_bytes(), None)
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    assert unpack(tmp_path)["authorized_keys"] == public + b"\n"


def test_no_two_guests_share_a_key(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = write_seed(tmp_path, SHAPE)
    one = (first.host_public, first.client_private.read_bytes())
    second = write_seed(tmp_path / "other", SHAPE)
    assert first.host_public != second.host_public
    # A second boot in the same folder has new keys too.
    third = write_seed(tmp_path, SHAPE)
    assert third.host_public != one[0]
    assert third.client_private.read_bytes() != one[1]
    assert third.client_private.stat().st_mode & 0o777 == 0o600
