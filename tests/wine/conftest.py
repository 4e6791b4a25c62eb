"""Fixture ``windows``: the Windows machine of tests/wine/wine.py. Tests in this folder carry the marker ``wine``."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from tests.services import mark_folder
from tests.wine.wine import REPO, Windows, WindowsMachine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = REPO / "tests" / "wine"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.wine)


@pytest.fixture
def windows(windows_machine: WindowsMachine, tmp_path: Path) -> Iterator[Windows]:
    """The Windows machine, with a ``windows.folder`` for this test; what the test started there is ended after it."""
    seen = Windows(windows_machine, tmp_path, uuid.uuid4().hex)
    yield seen
    seen.end_all()
