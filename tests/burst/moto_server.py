"""moto's server as a program: TLS, two faults of moto 5.2 mended. It says its port, and ends with its input.

python -m tests.burst.moto_server ADDRESS CERTIFICATE KEY
"""

from __future__ import annotations

import json
import logging
import ssl
import sys
import threading
from typing import Any

from moto.ec2.models.launch_templates import LaunchTemplateBackend
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import FakeBucket
from tests.terraform.cloud import without_tags_of_its_own
from werkzeug.serving import make_server

UNENCRYPTED = {"Bool": {"aws:SecureTransport": "false"}}


def permission_over_tls(bucket: FakeBucket, action: str, resource: str) -> Any:
    """moto takes a denial for met whatever its condition says; all connections here are encrypted."""
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(bucket.policy)
    policy["Statement"] = [s for s in policy["Statement"] if s.get("Condition") != UNENCRYPTED]
    return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)


def main() -> None:
    """Serve until the parent closes our input, or is gone."""
    address, certificate, key = sys.argv[1:]
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request else
    FakeBucket.get_permission = permission_over_tls
    LaunchTemplateBackend.create_launch_template = without_tags_of_its_own()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(address, 0, app, True, request_handler=MotoRequestHandler, ssl_context=context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
