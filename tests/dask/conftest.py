"""Tests in this folder carry the marker ``dask``."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.services import mark_folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, Path(__file__).parent, pytest.mark.dask)
