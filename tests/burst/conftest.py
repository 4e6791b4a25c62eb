"""Fixtures ``network``, ``cloud``, ``players``, ``archive``. Marks this folder's tests ``burst``."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.burst.cloud import SecureCloud, running_secure_cloud
from tests.burst.network import Network, running_network
from tests.burst.players import Players, playing
from tests.docker.daemon import STANDIN, Daemon
from tests.services import mark_folder, not_here

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for marker in (pytest.mark.docker, pytest.mark.ssh, pytest.mark.terraform):
        mark_folder(items, HERE, marker)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """The network of the cloud."""
    if sys.platform != "linux" or os.geteuid() != 0:
        not_here("machines of a cloud are played by namespaces, which need root on Linux")
    with running_network() as made:
        yield made


@pytest.fixture(scope="module")
def cloud(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureCloud]:
    """The cloud."""
    with running_secure_cloud(tmp_path_factory.mktemp("cloud"), network.gateway) as made:
        yield made


@pytest.fixture(scope="module")
def players(cloud: SecureCloud, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Players]:
    """Who plays its machines."""
    with playing(cloud, network, tmp_path_factory.mktemp("machines")) as made:
        yield made


@pytest.fixture(scope="module")
def archive(docker_daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker image, as ``docker save | gzip`` makes it."""
    path = tmp_path_factory.mktemp("archive") / "worker.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for chunk in docker_daemon.client.get_image(STANDIN):
            file.write(chunk)
    return path
