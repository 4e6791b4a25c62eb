"""Fixture ``runner``: its worker is a simulated Windows host behind WinRM. The folder's marker is ``windows``."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.services import mark_folder
from tests.simulators.windows_host.smbd import PASSWORD, USER
from tests.simulators.winrm.certificates import Issuer
from tests.simulators.winrm.host import Agent, SimulatedHost
from tests.simulators.winrm.wsman import WsmanServer
from tests.windows.conftest import WindowsRunner
from tests.wine.wine import PYTHON, Windows, WindowsMachine

HERE = Path(__file__).parent
PASSWORD_VARIABLE = "RAS_TEST_WINRM_PASSWORD"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.windows)


class WinRmRunner(WindowsRunner):
    """``ras-runner`` whose engines run on the host of these tests."""


@dataclass
class WinRmHost:
    """The host and the way to it."""

    host: SimulatedHost
    server: WsmanServer
    issuer: Issuer
    windows: Windows
    others: list[WsmanServer] = field(default_factory=list)

    def parameters(self, folder: Path, **others: Any) -> dict[str, Any]:
        """Of a worker there, its worker folder at ``folder`` of this machine."""
        return {
            "hostname": "localhost",
            "port": self.server.port,
            "username": USER,
            "password": f"env:{PASSWORD_VARIABLE}",
            "ca_path": str(self.issuer.path),
            "worker_folder": self.windows.path(folder),
            "engine": "standin",
            "standin_command": [PYTHON, "-m", "ras_standin"],
            "cores_total": 2,
            "cores_per_plan": 1,
            **others,
        }

    def listener(self, certificate: Path) -> WsmanServer:
        """One more listener of the host, with another certificate."""
        made = WsmanServer(certificate, self.host.execute, self.server.accounts, self.issuer.path)
        self.others.append(made)
        return made


@contextlib.contextmanager
def running_winrm_host(machine: WindowsMachine, folder: Path) -> Iterator[WinRmHost]:
    """A host whose programs run on a Windows machine."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        accounts = folder / "accounts"  # where spnego's NTLM server looks
        accounts.write_text(f":{USER}:{PASSWORD}\nSIM:{USER}:{PASSWORD}\n", encoding="utf-8")
        patch.setenv("NTLM_USER_FILE", str(accounts))
        patch.setenv(PASSWORD_VARIABLE, PASSWORD)
        windows = Windows(machine, folder, uuid.uuid4().hex)
        patch.setattr(WinRmRunner, "mark", windows.mark)
        stack.callback(windows.end_all)
        agent = Agent(windows)
        stack.callback(agent.stop)
        issuer = Issuer(folder)
        host = SimulatedHost(agent)
        server = WsmanServer(issuer.issue("localhost"), host.execute, {USER: PASSWORD}, issuer.path)
        stack.callback(server.stop)
        yield WinRmHost(host, server, issuer, windows)


@pytest.fixture
def runner(tmp_path: Path, winrm_host: WinRmHost) -> Iterator[WinRmRunner]:
    """``ras-runner`` with its own state and worker folder, and one WinRM worker."""
    variables = {f"ras_{name}": value for name, value in winrm_host.parameters(tmp_path / "worker").items()}
    variables["ras_worker_type"] = "winrm"
    made = WinRmRunner(tmp_path, group="windows_workers", variables=variables)
    yield made
    made.stop_engines()
