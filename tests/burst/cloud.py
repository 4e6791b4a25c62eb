"""The AWS of a burst: moto behind TLS, at an address that the controller and the played machines reach alike."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.terraform.cloud import REGION, Cloud

REPO = Path(__file__).resolve().parents[2]


@functools.cache
def _client(service: str, url: str, authority: str) -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client(service, region_name=REGION, endpoint_url=url, verify=authority, **keys)


@dataclass(frozen=True)
class SecureCloud(Cloud):
    """Where it is.

    Attributes:
        authority: file of the certificate that it is known by.
    """

    authority: Path

    def client(self, service: str) -> Any:
        """boto3's client of a service."""
        return _client(service, self.url, str(self.authority))

    @property
    def environment(self) -> dict[str, str]:
        """What leads programs to it: the variables that boto3 and Terraform's provider know."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_CA_BUNDLE": str(self.authority), "AWS_DEFAULT_REGION": REGION}


def _certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A certificate for an address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=ras-runner tests")
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cloud.pem", folder / "cloud.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    paths[1].write_bytes(pem)
    return paths


@contextlib.contextmanager
def running_secure_cloud(folder: Path, address: str) -> Iterator[SecureCloud]:
    """An AWS at an address for as long as the block lasts."""
    certificate, key = _certificate(folder, address)
    command = [sys.executable, "-m", "tests.burst.moto_server", address, certificate, key]
    with subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        try:
            port = int(server.stdout.readline())
            yield SecureCloud(f"https://{address}:{port}", certificate)
        finally:
            server.kill()
