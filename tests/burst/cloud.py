"""The AWS of a burst: moto behind TLS, at an address that the controller and the played machines reach alike."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import json
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import FakeBucket
from moto.server import ThreadedMotoServer
from tests.terraform.cloud import REGION, Cloud, running_cloud
from werkzeug.serving import make_server

UNENCRYPTED = {"Bool": {"aws:SecureTransport": "false"}}


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


class _Server(ThreadedMotoServer):
    """moto's server with TLS."""

    def __init__(self, address: str, certificate: Path, key: Path) -> None:
        super().__init__(ip_address=address, port=0, verbose=False)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)

    def _server_entry(self) -> None:
        app = DomainDispatcherApplication(create_backend_app)
        kinds = {"request_handler": MotoRequestHandler, "ssl_context": self._context}
        self._server = make_server(self._ip_address, self._port, app, True, **kinds)
        self._server_ready_event.set()
        self._server.serve_forever()


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


def _permission_over_tls(bucket: FakeBucket, action: str, resource: str) -> Any:
    """moto takes a denial for met whatever its condition says; all connections here are encrypted."""
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(bucket.policy)
    policy["Statement"] = [s for s in policy["Statement"] if s.get("Condition") != UNENCRYPTED]
    return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)


@contextlib.contextmanager
def running_secure_cloud(folder: Path, address: str) -> Iterator[SecureCloud]:
    """An AWS at an address for as long as the block lasts; what it had before is forgotten."""
    certificate, key = _certificate(folder, address)
    original = FakeBucket.get_permission
    FakeBucket.get_permission = _permission_over_tls
    server = _Server(address, certificate, key)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request else
    try:
        with running_cloud(server) as cloud:
            yield SecureCloud(cloud.url.replace("http:", "https:"), certificate)
    finally:
        FakeBucket.get_permission = original
