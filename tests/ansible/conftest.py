"""Fixture ``windows_collections``. Tests in this folder carry the marker ``ansible``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.services import mark_folder, not_here

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.ansible)


@pytest.fixture(scope="session")
def windows_collections() -> Path:
    """Where ansible.windows and community.windows are."""
    install = HERE.parent / "install-services.sh"
    asked = subprocess.run(["bash", install, "ansible-collections"], capture_output=True, text=True, check=False)
    folder = Path(asked.stdout.strip())
    if not (folder / "complete").exists():
        not_here(f"Ansible's Windows collections are not in {folder}: run {install} ansible")
    return folder
