# SPDX-License-Identifier: GPL-2.0-only
"""What makes one guest that guest: fresh keys and its shape, as a tar file on its second disk."""

from __future__ import annotations

import base64
import io
import struct
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.model.spec import ShapeSpec


@dataclass(frozen=True)
class Keys:
    """One guest's keys: the host key it shows (``host_public``, base64) and the client's own."""

    client_private: Path
    host_public: str


def write_seed(folder: Path, shape: ShapeSpec) -> Keys:
    """Write ``seed.tar`` and the client's private key into the folder; give the keys.

    Both key pairs are new: no guest can be mistaken for another, and none takes a password.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    host, client = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    raw, plain = form.Encoding.Raw, form.NoEncryption()
    host_public = host.public_key().public_bytes(raw, form.PublicFormat.Raw)
    host_private = host.private_bytes(raw, form.PrivateFormat.Raw, plain)
    kind = b"ssh-ed25519"
    # Dropbear's own key file: type, then private and public half as one string (its
    # src/ed25519.c, buf_put_ed25519_priv_key).
    dropbear = _string(kind) + _string(host_private + host_public)
    authorized = client.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    key = folder / "id_ed25519"
    key.touch(mode=0o600)
    key.write_bytes(client.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, plain))
    files = {
        "hostkey": dropbear,
        "authorized_keys": authorized + b"\n",
        "now": str(int(time.time())).encode(),
        "zram_mib": str(shape.zram_mib).encode(),
    }
    with tarfile.open(folder / "seed.tar", "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))

    return Keys(key, base64.b64encode(_string(kind) + _string(host_public)).decode())


def _string(data: bytes) -> bytes:
    """An SSH string (RFC 4251, section 5)."""
    return struct.pack(">I", len(data)) + data
