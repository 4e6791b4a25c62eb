"""Fixed PowerShell programs on a Windows host. What they are told travels as JSON through stdin, never in a command.

The programs are the files of ``windows_scripts``, written for Windows PowerShell 5.1, which every Windows has. Each
call is one short powershell.exe: nothing is held open there between two calls.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from ras_runner.errors import DiskFullError, OperatorError, RasRunnerError, TransientError, WorkerError
from ras_runner.retrying import retrying

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Its answer stands behind this word, on a line of its own: profiles and policies may print other lines.
ANSWER = b"ras-runner "
#: Seconds that a call may take when nothing else is said.
CALL_SECONDS = 60.0
_TRIES = 3
#: HRESULTs of a full disk: ERROR_DISK_FULL, ERROR_HANDLE_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED.
_FULL = tuple(code - (1 << 32) for code in (0x80070070, 0x80070027, 0x8007050F))
_DENIED = ("UnauthorizedAccessException", "SecurityException")


@dataclass(frozen=True, slots=True)
class Ran:
    """A program on the host has ended."""

    code: int
    stdout: bytes
    stderr: str


class Shell(Protocol):
    """A way to run programs on a Windows host."""

    @property
    def host(self) -> str:
        """The host's name, for messages."""

    def run(self, command: str, stdin: bytes, *, step: str, limit: float) -> Ran:
        """Run a command line of a program to its end; raises typed errors."""


@cache
def script_text(name: str) -> str:
    """One of our programs."""
    folder = files("ras_runner.transports") / "windows_scripts"
    return (folder / f"{name}.ps1").read_text(encoding="ascii")


@cache
def command_line() -> str:
    """What runs any of them: a program that reads the one that is wanted, and what it is told, from stdin."""
    encoded = base64.b64encode(script_text("bootstrap").encode("utf-16-le")).decode("ascii")
    return f"powershell.exe -NoLogo -NoProfile -NonInteractive -EncodedCommand {encoded}"


@dataclass(frozen=True)
class PowerShell:
    """Our programs on one host.

    Attributes:
        shell: the way there.
        root: the worker folder as the user gave it, for messages.
    """

    shell: Shell
    root: str

    @property
    def host(self) -> str:
        """The host's name."""
        return self.shell.host

    def call(
        self, name: str, parameters: Mapping[str, Any], *, step: str, limit: float = CALL_SECONDS, once: bool = False
    ) -> dict[str, Any]:
        """Run one of our programs.

        Args:
            name: which.
            parameters: what it is told: texts, numbers, lists and mappings of them.
            step: what it is for, for messages.
            limit: seconds it may take.
            once: it must not be run again when its answer is lost.

        Returns:
            What it answers.

        Raises:
            TransientError: the connection was lost, or time ran out.
            OperatorError, WorkerError: it failed there, and why.
        """
        tries = 1 if once else _TRIES
        return retrying(
            lambda: self._call(name, parameters, step, limit), TransientError, attempts=tries, first=0.2, longest=3.0
        )

    def _call(self, name: str, parameters: Mapping[str, Any], step: str, limit: float) -> dict[str, Any]:
        call = json.dumps({"script": script_text(name), "parameters": parameters}).encode("utf-8")
        ran = self.shell.run(command_line(), _lines(base64.b64encode(call)), step=step, limit=limit)
        answer = self._answer(ran, step)
        if not answer.get("ok"):
            raise self._failed(answer, step)
        value = answer.get("value")
        return value if isinstance(value, dict) else {}

    def _answer(self, ran: Ran, step: str) -> dict[str, Any]:
        lines = [line for line in ran.stdout.splitlines() if line.startswith(ANSWER)]
        try:
            answer = json.loads(base64.b64decode(lines[-1].removeprefix(ANSWER), validate=True))
        except (IndexError, binascii.Error, ValueError):
            said = " ".join((ran.stderr or ran.stdout.decode("utf-8", "replace")).split())[-300:]
            raise OperatorError(
                f"PowerShell gave no answer (exit code {ran.code}): {said or 'it said nothing'}",
                step=step,
                host=self.host,
                action="the host must be Windows with Windows PowerShell 5.1, which no policy keeps from running "
                "scripts in full language mode; try there: powershell -Command $PSVersionTable",
            ) from None
        return answer if isinstance(answer, dict) else {}

    def _failed(self, answer: Mapping[str, Any], step: str) -> RasRunnerError:
        cause, where = str(answer.get("message", "")).strip(), {"step": step, "host": self.host}
        if answer.get("code") in _FULL:
            return DiskFullError(self.root, **where)
        if answer.get("type") in _DENIED:
            action = f"give the user that logs on there the right to it: {self.root}"
            return OperatorError(cause, action=action, **where)
        action = f"check that {self.root} exists and can be written"
        return WorkerError(f"{cause} ({answer.get('type')})", action=action, **where)


def _lines(text: bytes) -> bytes:
    """Lines of a length that every reader takes."""
    return b"".join(text[i : i + 32768] + b"\r\n" for i in range(0, len(text), 32768))


@dataclass
class Pace:
    """Looks at a host no more often than they are cheap there: powershell.exe needs half a second to start.

    Attributes:
        share: of the time that may go into looks.
    """

    share: float = 0.2
    _next: float = 0.0

    def due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() >= self._next

    def took(self, seconds: float) -> None:
        """A look has taken so long."""
        self._next = time.monotonic() + seconds * (1.0 / self.share - 1.0)
