"""Fixture ``windows``: the Windows machine of tests/wine/wine.py. Tests in this folder carry the marker ``wine``."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.services import mark_folder, not_here
from tests.wine.wine import REPO, Windows, WindowsMachine, WineUnavailable, build_folder, machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = REPO / "tests" / "wine"
#: Real HEC-RAS data, beside the checkout.
DATA = REPO.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.wine)


@pytest.fixture(scope="session")
def windows_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindowsMachine]:
    """One Windows machine for all tests; it sees pytest's folders and, read-only, this checkout and the data."""
    with contextlib.ExitStack() as stack:
        try:
            folders = [folder for folder in (REPO, DATA) if folder.is_dir()]
            scratch = tmp_path_factory.mktemp("wine-machine")
            running = stack.enter_context(
                machine(build_folder(), scratch, writable=[tmp_path_factory.getbasetemp()], readable=folders)
            )
        except WineUnavailable as reason:
            not_here(reason)
        yield running


@pytest.fixture
def windows(windows_machine: WindowsMachine, tmp_path: Path) -> Iterator[Windows]:
    """The Windows machine, with a ``windows.folder`` for this test; what the test started there is ended after it."""
    seen = Windows(windows_machine, tmp_path, uuid.uuid4().hex)
    yield seen
    seen.end_all()
