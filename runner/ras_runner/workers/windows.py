"""What the workers on remote Windows hosts share: checks of their parameters, and the engine they have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from ras_runner.engines.hecras_windows import INSTALL_FOLDERS, HecRasWindowsEngine, newest_version
from ras_runner.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _share(text: str) -> str:
    if re.match(r"^[A-Za-z]:", text):
        raise ValueError(
            f"{text} is a drive, which only one machine or one user's desktop knows: give \\\\host\\share (net use "
            "shows what is behind a mapped drive)"
        )
    if not re.fullmatch(r"\\\\[^\\/:*?\"<>|\x00-\x1f]+(\\[^\\/:*?\"<>|\x00-\x1f]+)+\\?", text):
        raise ValueError(r"give the share as \\host\share")
    return text.rstrip("\\")


def _folder(text: str) -> str:
    path = PureWindowsPath(text)
    if not path.drive or not path.root or path.drive.startswith("\\") or len(path.parts) < 2 or ".." in path.parts:
        raise ValueError(r"give a folder of the host with its drive: C:\RasRemote")
    if not text.isascii() or re.search(r'[%"<>|?*\x00-\x1f]', text):
        raise ValueError("give a folder of plain ASCII characters without %: cmd.exe cannot be trusted with others")
    return str(path)


def _command(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


#: ``\\host\share``, or a folder in one.
SharePath = Annotated[str, AfterValidator(_share)]
#: An absolute folder of a Windows host.
WindowsFolder = Annotated[str, AfterValidator(_folder)]
#: A program and its first arguments; a text is a program alone.
Command = Annotated[tuple[str, ...], BeforeValidator(_command)]


@dataclass(frozen=True, slots=True)
class RemoteHecRasWindowsEngine(HecRasWindowsEngine):
    """Windows HEC-RAS on another machine."""

    def check(self) -> None:
        """The host was looked at when the worker was made; this machine needs no engine."""


def find_remote_engine(
    host: str, ras_exe_path: str, version: str, listing: Callable[[PureWindowsPath], Sequence[str]]
) -> RemoteHecRasWindowsEngine:
    """HEC-RAS on a host.

    Args:
        host: its name, for messages.
        ras_exe_path: Ras.exe there; looked for in HEC's install folders when empty.
        version: the version wanted; the newest when empty.
        listing: the names in a folder of the host; none when it is not there.

    Raises:
        OperatorError: it is not there; says where it was looked for.
    """
    if ras_exe_path:
        exe = PureWindowsPath(ras_exe_path)
        if exe.name.casefold() in (name.casefold() for name in listing(exe.parent)):
            return RemoteHecRasWindowsEngine(exe, version)
        raise _missing(host, str(exe), {})
    found: Mapping[str, PureWindowsPath] = {
        name: folder / name / "Ras.exe"
        for folder in reversed(INSTALL_FOLDERS)
        for name in listing(folder)
        if "ras.exe" in (inside.casefold() for inside in listing(folder / name))
    }
    wanted = version or newest_version(found)
    if wanted not in found:
        looked = ", ".join(str(folder / (version or "<version>") / "Ras.exe") for folder in INSTALL_FOLDERS)
        raise _missing(host, looked, found)
    return RemoteHecRasWindowsEngine(found[wanted], version)


def _missing(host: str, looked: str, found: Mapping[str, PureWindowsPath]) -> OperatorError:
    also = f"; found {', '.join(sorted(found))}" if found else ""
    return OperatorError(
        f"HEC-RAS is not installed: looked for {looked}{also}",
        step="check engine",
        host=host,
        action="install HEC-RAS there, or give the path of Ras.exe (ras_exe_path) or an installed version",
    )
