"""Fixture ``dask_cluster``: a scheduler and two workers for the session. Tests here carry the marker ``dask``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.dask.cluster import DaskCluster, DaskUnavailable, running_cluster
from tests.services import mark_folder, not_here

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, Path(__file__).parent, pytest.mark.dask)


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Two workers with a thread each."""
    try:
        with running_cluster(tmp_path_factory.mktemp("dask")) as cluster:
            cluster.add("a")
            cluster.add("b")
            yield cluster
    except DaskUnavailable as reason:
        not_here(reason)
