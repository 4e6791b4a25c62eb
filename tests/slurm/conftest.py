"""Fixture ``slurm``. Tests in this folder carry the marker ``slurm``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Runner
from tests.services import mark_folder
from tests.slurm.cluster import SlurmCluster

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.slurm)


@dataclass
class SlurmRunner(Runner):
    """``ras-runner`` whose inventory has one Slurm worker.

    Attributes:
        cluster: the worker's.
    """

    cluster: SlurmCluster | None = None

    def write_inventory(self, **others: Any) -> None:
        """One host in the group slurm_workers; ``None`` leaves a parameter out."""
        assert self.cluster is not None
        host = {"worker_folder": str(self.worker_folder), **self.cluster.parameters(self.worker_folder), **others}
        variables = {f"ras_{key}": value for key, value in host.items() if value is not None}
        self.inventory.write_text(json.dumps({"slurm_workers": {"hosts": {"queue": variables}}}), encoding="utf-8")


@pytest.fixture
def slurm(tmp_path: Path, slurm_cluster: SlurmCluster) -> Iterator[SlurmRunner]:
    """``ras-runner`` with its own state and worker folder; its jobs are ended after the test."""
    made = SlurmRunner(tmp_path, cluster=slurm_cluster)
    made.write_inventory()
    yield made
    made.stop_engines()
    slurm_cluster.clear()
