"""Fixture ``terraform``. Tests in this folder carry the marker ``terraform``."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.services import mark_folder, not_here
from tests.terraform.program import Terraform, TerraformUnavailable, find_plugins

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.terraform)


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform, and a copy of the project's modules and roots."""
    try:
        return Terraform(tmp_path_factory.mktemp("tf") / "terraform", find_plugins())
    except TerraformUnavailable as reason:
        not_here(reason)
