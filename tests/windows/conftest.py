"""Fixtures ``windows_host`` (programs run under wine) and ``plain_host`` (no programs). Marker: ``windows``."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
from tests.commands import Runner
from tests.services import mark_folder, not_here
from tests.simulators.windows_host.host import WindowsHost, plain_host, wine_host
from tests.simulators.windows_host.smbd import SambaUnavailable
from tests.wine.conftest import windows_machine
from tests.wine.wine import Windows, WindowsMachine, marked_processes

HERE = Path(__file__).parent


class WindowsRunner(Runner):
    """``ras-runner`` whose engines run under wine, where only their command lines tell them.

    Attributes:
        mark: of the session's host, in the environment of all that it has started.
    """

    mark: ClassVar[str] = ""

    def engines(self) -> list[psutil.Process]:
        """The engine processes that run on this session's simulated host."""
        found = []
        for pid in marked_processes(self.mark):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if re.search(r"ras_standin|run\.cmd", " ".join(process.cmdline())):
                    found.append(process)
        return found


__all__ = ["windows_machine"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.windows)


@pytest.fixture(scope="session")
def windows_host(windows_machine: WindowsMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindowsHost]:
    """One host for all tests that run plans; each has a folder of its own on it."""
    windows = Windows(windows_machine, tmp_path_factory.mktemp("host"), uuid.uuid4().hex)
    WindowsRunner.mark = windows.mark
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(wine_host(windows, tmp_path_factory.getbasetemp()))
        except SambaUnavailable as reason:
            not_here(reason)
        yield running


@pytest.fixture(name="plain_host")
def _plain_host(tmp_path: Path) -> Iterator[WindowsHost]:
    """A host of its own for one test, without programs."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(plain_host(tmp_path))
        except SambaUnavailable as reason:
            not_here(reason)
        yield running
