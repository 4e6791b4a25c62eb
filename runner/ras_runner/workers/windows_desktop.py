"""What Windows workers that run our PowerShell programs share: folder, engine, and somebody who is logged on."""

from __future__ import annotations

import uuid
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ras_runner.engines.base import System
from ras_runner.engines.hecras_windows import INSTALL_FOLDERS, choose_ras_exe
from ras_runner.engines.standin import StandinEngine
from ras_runner.errors import OperatorError
from ras_runner.transports.windows import WindowsTransport
from ras_runner.transports.windows_sessions import choose_session, read_sessions
from ras_runner.workers.base import WorkerSpec
from ras_runner.workers.windows import Command, RemoteHecRasWindowsEngine, WindowsFolder

if TYPE_CHECKING:
    from ras_runner.engines.base import Engine
    from ras_runner.transports.windows import FileHalf
    from ras_runner.transports.windows_powershell import PowerShell

_STEP = "init worker"


class DesktopSpec(WorkerSpec):
    """Parameters of all Windows workers that run our PowerShell programs.

    Attributes:
        hostname: name or address of the host.
        engine: ``hecras-windows`` or ``standin``.
        worker_folder: where workspaces and the store live there.
        desktop_user: who is logged on there, and runs the plans; who we log on as when left out.
        ras_exe_path: Ras.exe there; looked for in HEC's install folders when left out.
        version: HEC-RAS version, when several are installed.
        standin_command: how the stand-in is started there: a program, or a list with its first arguments.
    """

    hostname: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    engine: Literal["hecras-windows", "standin"] = "hecras-windows"
    worker_folder: WindowsFolder = r"C:\RasRemote"
    desktop_user: Annotated[str, Field(pattern=r'^[^\x00-\x1f"]*$')] = ""
    ras_exe_path: str = ""
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]*$")] = ""
    standin_command: Command = ("ras-standin",)


def prepare_host(powershell: PowerShell, spec: DesktopSpec) -> dict[str, Any]:
    """Make the worker folder, write there, and look for the engine: what our program ``prepare`` answers.

    Raises:
        WorkerError, OperatorError: the host or its folder cannot be used.
    """
    program = spec.standin_command[0] if spec.engine == "standin" else spec.ras_exe_path
    patterns = [] if program else [str(folder / (spec.version or "*") / "Ras.exe") for folder in INSTALL_FOLDERS]
    asked = {
        "folder": spec.worker_folder,
        "probe": f"{uuid.uuid4().hex[:12]}.part",
        "patterns": patterns,
        "programs": [program] if program else [],
    }
    return powershell.call("prepare", asked, step=_STEP)


def windows_engine(spec: DesktopSpec, found: dict[str, Any], host: str) -> Engine:
    """The engine, when the host has it.

    Raises:
        OperatorError: it has not; says what was looked for.
    """
    programs = [PureWindowsPath(path) for path in found["engines"]]
    if spec.engine == "standin":
        if not programs:
            raise OperatorError(
                f"the host has no command {spec.standin_command[0]}, the stand-in engine",
                step="check engine",
                host=host,
                action="install ras-runner there, and give the path of its ras-standin (standin_command)",
            )
        return StandinEngine(System.WINDOWS, (str(programs[0]), *spec.standin_command[1:]))
    if spec.ras_exe_path and not programs:
        raise OperatorError(
            f"HEC-RAS is not installed: looked for {spec.ras_exe_path}",
            step="check engine",
            host=host,
            action="install HEC-RAS there, or give the path of Ras.exe (ras_exe_path)",
        )
    exe = programs[0] if spec.ras_exe_path else choose_ras_exe(programs, spec.version, INSTALL_FOLDERS, host)
    return RemoteHecRasWindowsEngine(exe, spec.version)


def desktop_transport(
    powershell: PowerShell, files: FileHalf, spec: DesktopSpec, found: dict[str, Any]
) -> WindowsTransport:
    """Plans on the desktop of the user who is logged on there.

    Raises:
        OperatorError: that user has no Active session.
    """
    user = spec.desktop_user or str(found["user"])
    sessions = read_sessions(str(found["sessions"]))
    if sessions:  # Windows Home has no ``query``: there the launch finds it out
        choose_session(sessions, "auto", user, powershell.host)
    return WindowsTransport(powershell, files, PureWindowsPath(spec.worker_folder), user)
