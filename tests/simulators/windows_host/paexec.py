"""PAExec's service, as far as ras-runner uses it: it takes a program's settings and starts it without waiting."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any, Protocol

from pypsexec.paexec import PAExecMsg, PAExecMsgId, PAExecSettingsMsg

if TYPE_CHECKING:
    from tests.simulators.windows_host.pipes import Pipe
    from tests.simulators.windows_host.state import HostState

_NUMBERS = ("asynchronous", "interactive", "interactive_session", "use_system_account", "run_elevated", "priority")
_TEXTS = ("executable", "arguments", "working_dir", "username", "password")


class StartError(Exception):
    """CreateProcess failed.

    Attributes:
        code: Windows error code.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class Programs(Protocol):
    """What starts programs on the host."""

    def start(self, command_line: str, folder: str) -> int:
        """Start one and return its process id. Raises StartError."""


class Paexec:
    """Serves opens of a PAExec service's pipe.

    Args:
        state: of the host.
        programs: starts them.
    """

    def __init__(self, state: HostState, programs: Programs) -> None:
        self._state, self._programs = state, programs

    def serve(self, pipe: Pipe) -> None:
        """One client: settings, start, answer."""
        message = PAExecSettingsMsg()
        message.unpack(pipe.message())
        settings = _read(message["buffer"])
        unique = message["unique_id"].get_value()
        with self._state.lock:
            self._state.starts.append(settings)
        if self._state.fault("paexec-stall"):
            while pipe.recv(1):  # says nothing until the client gives up
                time.sleep(0.01)
            return
        _answer(pipe, unique, PAExecMsgId.MSGID_OK)
        pipe.message()  # start
        try:
            pid = self._start(settings)
        except StartError as error:
            text = f'Failed to start "{settings["executable"]}". {error} [Err={error.code:#x}, {error.code}]'
            _answer(pipe, unique, PAExecMsgId.MSGID_FAILED, struct.pack("<I", len(text)) + text.encode("utf-16-le"))
            return
        self._state.when_started()
        _answer(pipe, unique, PAExecMsgId.MSGID_OK, struct.pack("<I", pid))
        pipe.recv(1)  # until the client has gone

    def _start(self, settings: dict[str, Any]) -> int:
        if not settings["asynchronous"]:
            raise StartError(50, "only programs that nobody waits for are simulated")
        session = settings["interactive_session"]
        if settings["interactive"] and not self._state.has_session(session):
            raise StartError(7022, "there is no such session")
        line = f'"{settings["executable"]}" {settings["arguments"]}'
        return self._programs.start(line, str(settings["working_dir"]))


def _read(buffer: Any) -> dict[str, Any]:
    numbers = {name: buffer[name].get_value() for name in _NUMBERS}
    return {**numbers, **{name: (buffer[name].get_value() or b"").decode("utf-16-le") for name in _TEXTS}}


def _answer(pipe: Pipe, unique: int, kind: int, content: bytes = b"") -> None:
    message = PAExecMsg()
    message["msg_id"], message["unique_id"], message["buffer"] = kind, unique, content
    pipe.send(message.pack())
