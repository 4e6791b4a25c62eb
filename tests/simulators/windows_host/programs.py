"""What starts programs on a simulated Windows host: wine, or where none are needed, answers to the calls we make."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import subprocess
import threading
import zipfile
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import pip
from tests.simulators.windows_host.paexec import StartError
from tests.wine.wine import PYTHON, Windows

from ras_runner.engines.cmdline import quote_cmd
from ras_runner.transports.windows_processes import list_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulators.windows_host.state import HostState

HERE = Path(__file__).parent
#: Programs of Windows that wine has not, written in Python.
SIMULATED = ("query", "powershell")


class WineProgramsError(Exception):
    """The agent has ended."""


class WinePrograms:
    """Programs run for real, on Windows Python's machine under wine.

    Args:
        windows: the machine.
        state: of the host; ``query session`` tells its sessions.
    """

    def __init__(self, windows: Windows, state: HostState) -> None:
        self._windows, self._state = windows, state
        self._lock = threading.Lock()
        self._folder = windows.folder / "system"
        self._folder.mkdir()
        for name in SIMULATED:
            write_program(self._folder / f"{name}.exe", (HERE / f"{name}.py").read_text("utf-8"))
        with (windows.folder / "agent.log").open("wb") as log:
            self._agent = windows.popen(
                [PYTHON, "-u", HERE / "agent.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def start(self, command_line: str, folder: str) -> int:
        """Start a program there."""
        (self._folder / "sessions.txt").write_bytes(self._state.session_table().encode("cp437", "replace"))
        asked = {"command_line": command_line, "folder": folder, "path": self._windows.path(self._folder)}
        with self._lock:
            assert self._agent.stdin is not None
            assert self._agent.stdout is not None
            self._agent.stdin.write(json.dumps(asked).encode("ascii") + b"\n")
            self._agent.stdin.flush()
            line = self._agent.stdout.readline()
        if not line:
            raise WineProgramsError((self._windows.folder / "agent.log").read_text("utf-8", "replace"))
        answer = json.loads(line)
        if "pid" not in answer:
            raise StartError(answer["code"], answer["text"])
        return int(answer["pid"])

    def stop(self) -> None:
        """End the agent and everything it has started."""
        assert self._agent.stdin is not None
        self._agent.stdin.close()
        self._windows.end_all()
        self._agent.wait(30)


class NoPrograms:
    """No programs run: calls of ``query session`` are answered, and lists of processes; a run script may be played.

    Args:
        state: of the host.
        root: the folder of this machine that the host knows as ``C:\\RasRemote``.
        play: what is done with a run script's folder instead of running it; refused when left out.
    """

    def __init__(self, state: HostState, root: Path, play: Callable[[Path], None] | None = None) -> None:
        self._state, self._root, self._play = state, root, play
        self._pids = itertools.count(4000, 4)

    def start(self, command_line: str, folder: str) -> int:
        """Do what the script there would do."""
        path = PureWindowsPath(folder)
        here = self._root.joinpath(*path.parts[2:])
        if [part.lower() for part in path.parts[:2]] != ["c:\\", "rasremote"] or not here.is_dir():
            raise StartError(267, "The directory name is invalid.")
        if r".\run.cmd" in command_line and self._play is not None:
            self._play(here)
        elif r".\call.cmd" in command_line and (said := self._answer((here / "call.cmd").read_text("ascii"))):
            (here / "out").write_bytes(said)
            (here / "end").write_text("0\r\n", encoding="ascii")
        else:
            raise StartError(2, f"not simulated here: {command_line}")
        return next(self._pids)

    def _answer(self, call: str) -> bytes:
        if '"query.exe" "session"' in call:
            return self._state.session_table().encode("cp437", "replace")
        if self._play is not None and quote_cmd(list_command()) in call:
            return b"133000000000000000\r\n4 0 1 0 System\r\n"  # nothing runs that was played
        return b""

    def stop(self) -> None:
        """Nothing runs."""


def write_program(path: Path, source: str) -> None:
    """A Windows program made of a Python script: pip's launcher, the interpreter's path, an archive."""
    launcher = Path(pip.__file__).parent / "_vendor" / "distlib" / "t64.exe"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("__main__.py", source)
    with path.open("wb") as out:
        out.write(launcher.read_bytes() + f"#!{PYTHON}\r\n".encode("ascii"))
        archive.seek(0)
        shutil.copyfileobj(archive, out)
