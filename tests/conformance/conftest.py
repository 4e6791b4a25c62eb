"""The daemons of the worker types."""

from __future__ import annotations

from tests.docker.conftest import docker_daemon
from tests.ssh.conftest import sshd

__all__ = ["docker_daemon", "sshd"]
