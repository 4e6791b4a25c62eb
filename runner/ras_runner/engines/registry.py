"""Engines by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.engines.base import System
from ras_runner.errors import InputError, OperatorError

if TYPE_CHECKING:
    from ras_runner.engines.base import Engine

ENGINE_NAMES = ("hecras-windows", "hecras-linux", "standin")
#: Where the Linux engine is looked for when no folder is given.
LINUX_FOLDERS = ("/opt/hecras", "/opt/HEC-RAS", "/usr/local/hecras")


def this_system() -> System:
    """The operating system family of this machine."""
    return System.WINDOWS if sys.platform == "win32" else System.POSIX


def default_engine_name() -> str:
    """The engine of this machine when none is named: HEC-RAS itself, never the stand-in."""
    return "hecras-windows" if this_system() is System.WINDOWS else "hecras-linux"


def local_engine(name: str, *, ras_exe_path: str = "", hecras_folder: str = "", version: str = "") -> Engine:
    """The engine called ``name``, on this machine, found and checked.

    Args:
        name: one of ``ENGINE_NAMES``.
        ras_exe_path: Ras.exe, for ``hecras-windows``; looked for in HEC's install folders when empty.
        hecras_folder: folder of the unpacked Linux archive, for ``hecras-linux``.
        version: HEC-RAS version, ``6.6``.

    Raises:
        InputError: an unknown name, or a parameter that this engine does not take.
        OperatorError: the engine is not installed; says what was looked for and where.
    """
    if name not in ENGINE_NAMES:
        raise InputError(
            f"unknown engine {name!r}", step="choose engine", action=f"use one of {', '.join(ENGINE_NAMES)}"
        )
    engine: Engine
    if name == "standin":
        from ras_runner.engines.standin import StandinEngine

        engine = StandinEngine(this_system())
    elif name == "hecras-windows":
        from ras_runner.engines.hecras_windows import HecRasWindowsEngine, find_ras_exe

        exe = Path(ras_exe_path).expanduser().absolute() if ras_exe_path else find_ras_exe(version)
        engine = HecRasWindowsEngine(exe, version, this_system())
    else:
        from ras_runner.engines.hecras_linux import HecRasLinuxEngine

        engine = HecRasLinuxEngine(PurePosixPath(_absolute(hecras_folder or find_linux_folder(version))), version)
    engine.check()
    return engine


def _absolute(folder: str) -> str:
    return Path(folder).expanduser().absolute().as_posix()


def find_linux_folder(version: str = "") -> str:
    """The folder of the unpacked HEC-RAS Linux archive on this machine.

    Looked for: ``$RAS_HECRAS_FOLDER``, then the version's folder in ``/opt/hecras`` and its like.

    Raises:
        OperatorError: none is there; says where it was looked for.
    """
    if named := os.environ.get("RAS_HECRAS_FOLDER"):
        return named
    looked = []
    for folder in map(Path, LINUX_FOLDERS):
        candidates = [folder / version] if version else sorted(folder.glob("*"), reverse=True) or [folder / "<version>"]
        looked += [str(c / "bin" / "RasUnsteady") for c in candidates]
        for candidate in candidates:
            if (candidate / "bin" / "RasUnsteady").is_file():
                return str(candidate)
    raise OperatorError(
        f"HEC-RAS is not installed: looked for {', '.join(looked)} and $RAS_HECRAS_FOLDER",
        step="check engine",
        action="unpack HEC's Linux archive and give its folder (hecras_folder / ras_hecras_folder), "
        "or ask for the stand-in engine by name (--engine standin: not for engineering use)",
    )
