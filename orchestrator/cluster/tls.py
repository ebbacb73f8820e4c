# SPDX-License-Identifier: GPL-2.0-only
"""Who may speak to whom: certificates for a cluster, and no open port without them.

Whoever reaches a scheduler has it run any code on every worker, so that without TLS only this
machine's loopback is listened on and spoken to.  Imports cryptography, to make certificates.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.model.errors import HostError, UserError

PORT = 8786
#: What ``lab cluster init`` leaves in a folder.  Whoever has the node's key may run code.
CA, CA_KEY, CERT, KEY = "ca.pem", "ca-key.pem", "node.pem", "node-key.pem"
DAYS = 825
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True)
class Address:
    """Where a scheduler listens: ``tcp`` on the loopback, or ``tls`` anywhere."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """As Dask writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(text: str, tls: Path | None) -> Address:
    """An address such as ``tcp://127.0.0.1:8786`` or ``tls://build-1:8786``.

    :param tls: the folder with the certificates, if there are any.
    :raises UserError: when it is none, or would be open to others without TLS.
    """
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port or PORT
    except ValueError as error:
        raise UserError(f"{text!r} is no address: {error}", "tls://HOST:8786") from error
    if scheme not in ("tcp", "tls") or not host or parts.path.strip("/") or parts.query:
        raise UserError(
            f"{text!r} is no address of a scheduler", "tcp://127.0.0.1:8786, tls://HOST:8786"
        )
    if scheme == "tls":
        check_folder(tls)
    elif not is_loopback(host):
        raise UserError(
            f"{text} is refused, since whoever reaches a scheduler without TLS can run any code on "
            "every worker",
            "`lab cluster init DIR` makes certificates: then tls://HOST:8786 and --tls DIR, "
            "or stay on this machine with tcp://127.0.0.1:8786",
        )
    return Address(scheme, host, port)


def is_loopback(host: str) -> bool:
    """Whether a host's name or number is this machine's loopback whatever a resolver says."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_folder(folder: Path | None) -> Path:
    """See that a folder has the certificates of a node, its key for its owner alone.

    :raises UserError: when not.
    """
    if folder is None:
        raise UserError("tls:// needs certificates", "--tls DIR; `lab cluster init DIR` makes them")
    for name in (CA, CERT, KEY):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}", f"`lab cluster init {folder}` makes it")
    if (folder / KEY).stat().st_mode & 0o077:
        raise UserError(f"{folder / KEY} can be read by others", f"chmod 600 {folder / KEY}")
    return folder


def make(folder: Path) -> tuple[Path, ...]:
    """Make a certificate authority, and the certificate that every node of the cluster has.

    Dask asks both sides for a certificate of the authority and looks at no host name, so that one
    is enough: copy all but the authority's key.

    :raises UserError: when there are some already.
    :raises HostError: when they cannot be written.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    taken = next((name for name in (CA, CA_KEY, CERT, KEY) if (folder / name).exists()), None)
    if taken:
        raise UserError(f"{folder} has a {taken} already", "name another folder, or remove it")
    now = datetime.now(UTC)

    def signed(
        name: str, key: ec.EllipticCurvePrivateKey, by: str, with_: ec.EllipticCurvePrivateKey
    ) -> bytes:
        authority = name == by

        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        usage = x509.KeyUsage(
            digital_signature=not authority, key_cert_sign=authority, crl_sign=authority,
            content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(by))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))  # clocks differ
            .not_valid_after(now + timedelta(days=DAYS))
            .add_extension(x509.BasicConstraints(authority, 0 if authority else None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(with_.public_key()), False
            )
        )
        if not authority:
            both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(both), False)
        made = builder.sign(with_, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    def private(key: ec.EllipticCurvePrivateKey) -> bytes:
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )  # fmt: skip

    ca, node = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = "lab cluster authority"
    content = {
        CA: signed(authority, ca, authority, ca),
        CA_KEY: private(ca),
        CERT: signed("lab cluster node", node, authority, ca),
        KEY: private(node),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in content.items():
            mode = 0o600 if name in (CA_KEY, KEY) else 0o644
            with os.fdopen(
                os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb"
            ) as file:
                file.write(data)
    except OSError as error:
        raise HostError(f"cannot write {folder}: {error.strerror}") from error
    return tuple(folder / name for name in content)
