"""Fixtures ``docker_runner`` and ``remote_runner``. Marks this folder's tests ``docker``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Runner
from tests.docker.daemon import Daemon
from tests.services import mark_folder
from tests.ssh.sshd import Sshd

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.docker)


@dataclass
class DockerRunner(Runner):
    """``ras-runner`` whose inventory has one Docker worker.

    Attributes:
        daemon: the worker's.
        way: the SSH server before the daemon; None for a daemon on this machine.
    """

    daemon: Daemon | None = None
    way: Sshd | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.write_inventory()

    def write_inventory(self, **parameters: Any) -> None:
        """One host in the group docker_workers."""
        assert self.daemon is not None
        given = {"worker_folder": self.worker_folder, "cores_total": self.slots, **parameters}
        host = self.daemon.remote_parameters(self.way, **given) if self.way else self.daemon.parameters(**given)
        variables = {f"ras_{key}": value for key, value in host.items()}
        self.inventory.write_text(json.dumps({"docker_workers": {"hosts": {"box": variables}}}), encoding="utf-8")


@pytest.fixture
def docker_runner(docker_daemon: Daemon, tmp_path: Path) -> Iterator[DockerRunner]:
    """``ras-runner`` with a Docker worker of its own; its containers are ended after the test."""
    made = DockerRunner(tmp_path, daemon=docker_daemon)
    yield made
    made.stop_engines()
    docker_daemon.end_all()


@pytest.fixture
def remote_runner(docker_daemon: Daemon, sshd: Sshd, tmp_path: Path) -> Iterator[DockerRunner]:
    """The same, with the daemon behind SSH."""
    made = DockerRunner(tmp_path, daemon=docker_daemon, way=sshd)
    yield made
    made.stop_engines()
    docker_daemon.end_all()
