"""The SSH worker on Windows: OpenSSH's server there, plans on the desktop of the user who is logged on."""

from __future__ import annotations

from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ras_runner.transports.ssh_connection import Connection
from ras_runner.transports.ssh_login import Hop, asyncssh_module
from ras_runner.transports.ssh_windows import SftpCarrier, SshWindowsShell
from ras_runner.transports.windows_files import WindowsFiles
from ras_runner.transports.windows_powershell import PowerShell
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId
from ras_runner.workers.linux import SshWay
from ras_runner.workers.windows_desktop import DesktopSpec, desktop_transport, prepare_host, windows_engine

if TYPE_CHECKING:
    from collections.abc import Mapping


class SshWindowsSpec(SshWay, DesktopSpec):
    """Parameters of ``init_ras_worker("ssh", os="windows", ...)``; see ``DesktopSpec`` and ``SshWay`` for the others.

    Attributes:
        os: what makes it this worker.
        username: who logs on; ``user``, or ``domain\\user``.
        port: of its SSH server.
    """

    worker_id: WorkerId = "ssh"
    os: Literal["windows"]
    username: Annotated[str, Field(pattern=r"^[^\s@:]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22


def init_ssh_windows_worker(parameters: Mapping[str, Any]) -> Worker:
    """An SSH worker on a Windows host: logged on, its folder made, its engine found, somebody at the desktop.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: the host, its key, ours, its folder, engine or desktop cannot be used; says which.
        WorkerError: the host is not to be reached.
    """
    spec = validated(SshWindowsSpec, parameters, "worker type ssh with os windows")
    connection = ssh_windows_connection(spec)
    powershell = PowerShell(SshWindowsShell(connection), spec.worker_folder)
    found = prepare_host(powershell, spec)
    engine = windows_engine(spec, found, powershell.host)
    files = WindowsFiles(powershell, PureWindowsPath(spec.worker_folder), SftpCarrier(connection))
    return Worker("ssh", spec, engine, desktop_transport(powershell, files, spec, found))


def ssh_windows_connection(spec: SshWindowsSpec) -> Connection:
    """The way to the host, made by the first call; raises OperatorError where asyncssh is not installed."""
    asyncssh_module()
    return Connection(spec.login(Hop(spec.username, spec.hostname, spec.port)))
