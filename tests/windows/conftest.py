"""Fixture ``plain_host``: a simulated Windows host without programs. Marker: ``windows``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
from tests.commands import Runner
from tests.services import mark_folder, not_here
from tests.simulators.windows_host.host import WindowsHost, plain_host
from tests.simulators.windows_host.smbd import SambaUnavailable
from tests.wine.wine import marked_processes

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.windows)


@pytest.fixture(name="plain_host")
def _plain_host(tmp_path: Path) -> Iterator[WindowsHost]:
    """A host of its own for one test, without programs."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(plain_host(tmp_path))
        except SambaUnavailable as reason:
            not_here(reason)
        yield running
