"""Certificates for the tests: an authority, and what it signs."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USAGE = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # signs certificates and CRLs


class Pair(NamedTuple):
    """Files of PEM."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; its own is at `cert`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.cert = folder / f"{name}.pem"
        self.cert.write_bytes(self.make(self.name, self.key.public_key(), x509.BasicConstraints(True, None), USAGE))

    def make(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *more: x509.ExtensionType) -> bytes:
        """A certificate, as PEM."""
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder(self.name, name, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        identifiers = (
            x509.SubjectKeyIdentifier.from_public_key(key),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
        )
        for extension in (*identifiers, *more):
            critical = isinstance(extension, (x509.BasicConstraints, x509.KeyUsage))
            builder = builder.add_extension(extension, critical=critical)
        made = builder.sign(self.key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    def sign(self, name: str) -> Pair:
        """A key and a certificate for a name, which is also good for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        pair.cert.write_bytes(self.make(who, key.public_key(), names))
        form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
        return pair
