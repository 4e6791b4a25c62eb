"""Programs on a Windows host over WinRM, each in a shell of its own that is closed when it has ended."""

from __future__ import annotations

import contextlib
import threading
import time
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from ras_runner.errors import RasRunnerError, TransientError
from ras_runner.transports.windows_powershell import Ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winrm.protocol import Protocol

    from ras_runner.transports.winrm_login import WinRmLogin

#: Programs on one host at a time. Windows gives a user 30 shells.
_SHELLS = 4
#: Of stdin in one request: in base64 it has to stay below the 150 KiB that every host takes.
_SEND_BYTES = 96 * 1024
#: A host closes a shell by itself that we could not close, after so long.
_IDLE = "PT180S"
_UTF8 = 65001


class WinRmShell:
    """A way to run programs on one host: see :class:`~ras_runner.transports.windows_powershell.Shell`.

    Args:
        login: who logs on, and where. Nothing is done before the first call.
    """

    def __init__(self, login: WinRmLogin) -> None:
        self.login = login
        self._idle: list[Protocol] = []
        self._room = threading.BoundedSemaphore(_SHELLS)
        self._mutex, self._logon = threading.Lock(), threading.Lock()
        self._refused: RasRunnerError | None = None

    @property
    def host(self) -> str:
        """The host's name."""
        return self.login.name

    def run(self, command: str, stdin: bytes, *, step: str, limit: float) -> Ran:
        """Run a command line of a program to its end.

        Raises:
            TransientError: the connection was lost, or time ran out.
            WorkerError, OperatorError: the host is not to be reached, or does not let us in.
        """
        with self._room, self._protocol(step) as protocol:
            until = time.monotonic() + limit
            shell = self._open(protocol, step)
            with self._closing(protocol, shell):
                program = protocol.run_command(shell, command, console_mode_stdin=False)
                for at in range(0, len(stdin), _SEND_BYTES):
                    end = at + _SEND_BYTES >= len(stdin)
                    protocol.send_command_input(shell, program, stdin[at : at + _SEND_BYTES], end)
                return self._output(protocol, shell, program, step, until)

    def _open(self, protocol: Protocol, step: str) -> str:
        """Open a shell, one thread at a time: here we log on, and a wrong password is tried once, not once a thread."""
        from winrm.exceptions import AuthenticationError

        with self._logon:
            if self._refused is not None:
                raise self._refused
            try:
                return protocol.open_shell(codepage=_UTF8, idle_timeout=_IDLE)
            except AuthenticationError as error:
                self._refused = self.login.explain(error, step)
                raise self._refused from None

    def _output(self, protocol: Protocol, shell: str, program: str, step: str, until: float) -> Ran:
        from winrm.exceptions import WinRMOperationTimeoutError

        out, err, code, done = bytearray(), bytearray(), -1, False
        while not done:
            if time.monotonic() > until:
                raise TransientError("no answer in time", step=step, host=self.host, action="it is tried again")
            try:
                some_out, some_err, code, done = protocol.get_command_output_raw(shell, program)
            except WinRMOperationTimeoutError:  # it is still at it
                continue
            out += some_out
            err += some_err
        return Ran(code, bytes(out), err.decode("utf-8", "replace"))

    @staticmethod
    @contextlib.contextmanager
    def _closing(protocol: Protocol, shell: str) -> Iterator[None]:
        """Close the shell afterwards, which ends what still runs in it; the host does it itself if we cannot."""
        try:
            yield
        finally:
            with contextlib.suppress(Exception):
                protocol.close_shell(shell, close_session=False)

    @contextlib.contextmanager
    def _protocol(self, step: str) -> Iterator[Protocol]:
        """A connection that nobody else uses meanwhile; one that failed is not used again."""
        import requests
        from winrm.exceptions import WinRMError, WinRMOperationTimeoutError, WinRMTransportError

        with self._mutex:
            protocol = self._idle.pop() if self._idle else self.login.protocol()
        try:
            yield protocol
        except RasRunnerError:
            protocol.transport.close_session()
            raise
        except WinRMOperationTimeoutError:
            raise TransientError("no answer in time", step=step, host=self.host, action="it is tried again") from None
        except (requests.RequestException, WinRMError, WinRMTransportError, ET.ParseError, StopIteration) as error:
            protocol.transport.close_session()
            raise self.login.explain(error, step) from None  # what pywinrm raised may show what was sent
        with self._mutex:
            self._idle.append(protocol)
