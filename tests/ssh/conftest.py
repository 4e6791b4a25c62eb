"""Fixture ``runner``. Tests in this folder carry the marker ``ssh``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Runner
from tests.services import mark_folder
from tests.ssh.sshd import STANDIN, Sshd

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.ssh)


@dataclass
class SshRunner(Runner):
    """``ras-runner`` whose inventory has one SSH worker.

    Attributes:
        sshd: the worker's.
    """

    sshd: Sshd | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.write_inventory()

    def write_inventory(self, engine: dict[str, str] | None = None, **others: Any) -> None:
        """One host in the group ssh_workers; its stand-in has the environment ``engine``."""
        assert self.sshd is not None
        words = [f"{name}={value}" for name, value in (engine or {}).items()]
        command = " ".join(["env", *words, str(STANDIN)])
        host = self.sshd.parameters(self.worker_folder, standin_command=command, cores_total=self.slots, **others)
        variables = {f"ras_{key}": value for key, value in host.items()}
        self.inventory.write_text(json.dumps({"ssh_workers": {"hosts": {"there": variables}}}), encoding="utf-8")


@pytest.fixture
def runner(tmp_path: Path, sshd: Sshd) -> Iterator[SshRunner]:
    """``ras-runner`` with its own state and worker folder; its engines are ended after the test."""
    made = SshRunner(tmp_path, sshd=sshd)
    yield made
    made.stop_engines()
