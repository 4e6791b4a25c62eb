"""Certificates for the tests: an issuer, and what it issues."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


@dataclass
class Issuer:
    """Vouches for hosts and users.

    Attributes:
        folder: where it writes.
    """

    folder: Path

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("issuer of the tests")
        self._certificate = self._signed(self._name, self._key.public_key(), days=30, issuer=True)
        self.path = self.folder / "issuer.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, days: int = 30) -> Path:
        """A PEM file with a certificate for ``name`` (and for 127.0.0.1 if it is ``localhost``) and its key.

        Args:
            name: of a host or user.
            days: how long it holds; negative: it has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(_name(name), key.public_key(), days=days)
        path = self.folder / f"{name}-{days}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int, issuer: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        name = subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        names: list[x509.GeneralName] = [x509.DNSName(str(name).replace(" ", "-"))]
        if name == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 60 * _DAY)
            .not_valid_after(now + days * _DAY)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=issuer, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
