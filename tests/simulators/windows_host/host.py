"""A simulated Windows host: file sharing by a real smbd, service manager and PAExec by us, programs by wine.

What it hides from the tests stands in docs/testing-windows.md.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.simulators.windows_host.paexec import Paexec
from tests.simulators.windows_host.programs import NoPrograms, WinePrograms
from tests.simulators.windows_host.services import ServiceManager
from tests.simulators.windows_host.smbd import PASSWORD, USER, Smbd, running_smbd
from tests.simulators.windows_host.state import HostState
from tests.ssh.sshd import free_port
from tests.wine.wine import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.wine.wine import Windows

#: Names the password of the account, for references in worker parameters.
PASSWORD_VARIABLE = "RAS_TEST_WINDOWS_PASSWORD"
SHARE = "RasRemote"


@dataclass
class WindowsHost:
    """A running one.

    Attributes:
        smbd: its file sharing.
        state: what it is like; tests change it.
        share: the folder of this machine that it shares.
        worker_folder: what that folder is called on the host.
    """

    smbd: Smbd
    state: HostState
    share: Path
    worker_folder: str

    @property
    def windows(self) -> Path:
        """Its folder C:\\Windows (ADMIN$)."""
        return self.smbd.shares["ADMIN$"]

    def parameters(self, folder: Path | None = None, **others: Any) -> dict[str, Any]:
        """Parameters of a PsExec worker whose worker folder is ``folder``, below the share."""
        tail = ""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            tail = "".join(f"\\{part}" for part in folder.relative_to(self.share).parts)
        return {
            "hostname": "127.0.0.1",
            "port": self.smbd.port,
            "share_path": rf"\\127.0.0.1\{SHARE}{tail}",
            "worker_folder": self.worker_folder + tail,
            "username": USER,
            "password": f"env:{PASSWORD_VARIABLE}",
            "engine": "standin",
            "standin_command": [PYTHON, "-m", "ras_standin"],
            "cores_total": 2,
            "cores_per_plan": 1,
            **others,
        }

    def leftovers(self) -> list[str]:
        """What of PAExec is on the host."""
        return sorted([*self.state.services, *(path.name for path in self.windows.glob("PAExec*"))])


@contextlib.contextmanager
def wine_host(windows: Windows, share: Path) -> Iterator[WindowsHost]:
    """A host whose programs run under wine.

    Args:
        windows: the Windows machine.
        share: a folder that both machines see, which the host shares.
    """
    with _host(windows.folder, share, windows.path(share), lambda state: WinePrograms(windows, state)) as host:
        yield host


@contextlib.contextmanager
def plain_host(folder: Path, play: Callable[[Path], None] | None = None) -> Iterator[WindowsHost]:
    """A host without programs: enough to log on, to send files, and to be refused."""
    share = folder / "share"
    with _host(folder, share, r"C:\RasRemote", lambda state: NoPrograms(state, share, play)) as host:
        yield host


@contextlib.contextmanager
def _host(
    folder: Path, share: Path, worker_folder: str, programs: Callable[[HostState], WinePrograms | NoPrograms]
) -> Iterator[WindowsHost]:
    state = HostState()
    drives = {"C$": folder / "drive"}
    if worker_folder.startswith("Z:"):
        drives["Z$"] = Path("/")
    shares = {SHARE: share, "ADMIN$": folder / "windows", **drives}
    with running_smbd(shares, free_port()) as smbd:
        os.environ[PASSWORD_VARIABLE] = PASSWORD
        running = programs(state)
        manager = ServiceManager(state, smbd.pipes, smbd.shares["ADMIN$"], Paexec(state, running).serve)
        try:
            yield WindowsHost(smbd, state, share, worker_folder)
        finally:
            manager.stop()
            running.stop()
