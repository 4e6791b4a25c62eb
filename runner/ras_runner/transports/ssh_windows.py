"""OpenSSH on Windows: our PowerShell programs as commands, files over SFTP."""

from __future__ import annotations

import asyncio
from typing import IO, TYPE_CHECKING

from ras_runner.errors import TransientError, WorkerError
from ras_runner.transports.ssh_connection import STALL_SECONDS
from ras_runner.transports.ssh_login import asyncssh_module
from ras_runner.transports.windows_powershell import Ran

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import PureWindowsPath

    import asyncssh

    from ras_runner.transports.ssh_connection import Connection

#: Handed to asyncssh at a time; it cuts it up and keeps many requests on their way.
_CHUNK = 4 << 20


class SshWindowsShell:
    """A way to run programs on one host: see :class:`~ras_runner.transports.windows_powershell.Shell`.

    Args:
        connection: the way there.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @property
    def host(self) -> str:
        """The host's name."""
        return self.connection.login.host

    def run(self, command: str, stdin: bytes, *, step: str, limit: float) -> Ran:
        """Run a command line of a program to its end. Raises as :meth:`Connection.run`."""

        async def work(connection: asyncssh.SSHClientConnection) -> Ran:
            async with asyncio.timeout(limit):
                done = await connection.run(command, input=stdin, encoding=None, check=False)
            if done.returncode is None:
                raise TransientError("the connection was lost", step=step, host=self.host, action="it is made again")
            return Ran(done.returncode, _bytes(done.stdout), _bytes(done.stderr).decode("utf-8", "replace"))

        return self.connection.use(work, step=step)


class SftpCarrier:
    """Takes archives there and back over SFTP.

    Args:
        connection: the way there.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, source: IO[bytes], target: PureWindowsPath) -> None:
        """Write a file there, from the beginning of ``source``."""
        source.seek(0)

        async def work(there: asyncssh.SFTPClientFile) -> None:
            while piece := source.read(_CHUNK):
                async with asyncio.timeout(STALL_SECONDS):
                    await there.write(piece)

        self._with_file(target, "wb", work, "stage")

    def fetch(self, source: PureWindowsPath, size: int, target: IO[bytes]) -> None:
        """Read a file of ``size`` bytes from there."""

        async def work(there: asyncssh.SFTPClientFile) -> None:
            while True:
                async with asyncio.timeout(STALL_SECONDS):
                    piece = await there.read(_CHUNK)
                if not isinstance(piece, bytes) or not piece:
                    return
                target.write(piece)

        self._with_file(source, "rb", work, "collect")
        if target.tell() != size:
            cause = f"{source} came with {target.tell()} of {size} bytes"
            raise TransientError(cause, step="collect", host=self._connection.login.host, action="it is tried again")

    def _with_file(
        self,
        path: PureWindowsPath,
        mode: str,
        work: Callable[[asyncssh.SFTPClientFile], Coroutine[None, None, None]],
        step: str,
    ) -> None:
        async def on_connection(connection: asyncssh.SSHClientConnection) -> None:
            async with connection.start_sftp_client() as client, client.open(sftp_path(path), mode) as there:
                await work(there)

        asyncssh = asyncssh_module()
        lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
        try:
            self._connection.use(on_connection, step=step)
        except TransientError as error:
            cause = error.__cause__
            if not isinstance(cause, (asyncssh.SFTPError, asyncssh.ChannelOpenError)) or isinstance(cause, lost):
                raise
            raise WorkerError(
                f"SFTP of {path}: {cause.reason}",
                step=step,
                host=self._connection.login.host,
                action="check that SFTP is switched on there, and that the worker folder can be written",
            ) from cause


def sftp_path(path: PureWindowsPath) -> str:
    """A path as OpenSSH on Windows has it in SFTP.

    >>> from pathlib import PureWindowsPath
    >>> sftp_path(PureWindowsPath("C:/RasRemote/w"))
    '/C:/RasRemote/w'
    """
    return f"/{path.as_posix()}"


def _bytes(output: object) -> bytes:
    return output if isinstance(output, bytes) else b""
