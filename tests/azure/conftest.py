"""Fixtures ``arm``, an Azure of our own, and ``group``, a group of machines in it. Tests carry the marker ``azure``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.azure.arm import GROUP, SUBSCRIPTION, Arm, running_arm
from tests.services import mark_folder, not_here

from ras_runner.workers.azure import AzureGroup, azure_group
from ras_runner.workers.azure_api import AzureApi
from ras_runner.workers.registry import worker_spec

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.azure)


class Credential:
    """Somebody who has logged on; or has not, with ``error``."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def get_token(self, *scopes: str, **settings: object) -> Any:
        from azure.core.credentials import AccessToken

        assert len(scopes) == 1
        if self.error:
            raise self.error
        return AccessToken("a-token", int(time.time()) + 3600)


@pytest.fixture(scope="session")
def arm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Callable[[], Arm]]]:
    """The server; it serves one subscription after the other."""
    if find_spec("azure") is None:
        not_here("Azure's libraries are not installed: pip install -e '.[azure]'")
    with running_arm(tmp_path_factory.mktemp("arm")) as server:
        yield server


@pytest.fixture
def arm(arm_server: tuple[str, Path, Callable[[], Arm]]) -> Iterator[Arm]:
    """An Azure with an empty scale set of ours; the test fails when it was asked for what Azure would not take."""
    made = arm_server[2]()
    yield made
    made.finish()
    assert made.problems == []


@pytest.fixture
def parameters(arm: Arm, tmp_path: Path) -> dict[str, Any]:
    """Of ``init_ras_worker("azure", ...)``."""
    return {
        "worker_id": "burst",
        "subscription_id": SUBSCRIPTION,
        "resource_group": GROUP,
        "staging_endpoint": arm.url,
        "keys_folder": tmp_path / "keys",
        "docker_image": "hecras:6.6",
        "version": "6.6",
        "max_machines": 6,
        "cores_total": 8,
    }


@pytest.fixture
def make_group(
    arm: Arm, arm_server: tuple[str, Path, Callable[[], Arm]], parameters: dict[str, Any]
) -> Callable[..., AzureGroup]:
    """Makes the group with other parameters, or for somebody else."""

    def made(credential: Credential | None = None, **changes: Any) -> AzureGroup:
        given = {name: value for name, value in (parameters | changes).items() if value is not None}
        spec = worker_spec("azure", given)
        url, certificate, _ = arm_server
        settings = {"base_url": url, "connection_verify": str(certificate), "polling_interval": 0.01}
        return azure_group(spec, AzureApi(spec.names, credential or Credential(), **settings))

    return made


@pytest.fixture
def group(make_group: Callable[..., AzureGroup]) -> AzureGroup:
    """The group."""
    return make_group()
