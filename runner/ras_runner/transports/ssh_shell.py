"""A shell on an SSH host that runs one program after the other: what a login costs there is paid once."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncssh

_CHUNK = 1 << 16
#: The longest end of a frame that may come in two pieces, bytes.
_FRAME_BYTES = 64


@dataclass(frozen=True, slots=True)
class Done:
    """A program on the host has ended.

    Attributes:
        code: exit code.
        output, errors: what it wrote.
    """

    code: int
    output: bytes
    errors: str


class Programs(Protocol):
    """A POSIX host that runs programs of sh."""

    @property
    def host(self) -> str:
        """Its name, for messages."""

    def run(self, program: str, *, step: str, limit: float = 60.0) -> Done:
        """Run a program to its end, in at most ``limit`` seconds. Raises RasRunnerError when that is not possible."""


class ShellEndedError(ConnectionError):
    """The shell is gone, and the program's end is not known."""


def framed(program: bytes, boundary: str) -> bytes:
    """A program for a shell that reads on: in a subshell, without stdin, its end marked on both streams."""
    end = f"printf '\\n@{boundary} %d\\n' $?; printf '\\n@{boundary} 0\\n' >&2\n"
    return b"(\n" + program + b"\n) </dev/null\n" + end.encode("ascii")


class Shell:
    """One ``sh`` on a channel of its own.

    Args:
        connection: where it was opened.
        process: the shell.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self.connection = connection
        self._process = process

    @classmethod
    async def open(cls, connection: asyncssh.SSHClientConnection) -> Shell:
        """A new shell. Raises asyncssh's errors."""
        return cls(connection, await connection.create_process("exec sh", encoding=None))

    async def run(self, program: bytes) -> Done:
        """Run a program to its end; after an error the shell must not be used again.

        Raises:
            ShellEndedError: the connection or the shell went away.
        """
        boundary = uuid.uuid4().hex
        self._process.stdin.write(framed(program, boundary))
        pattern = re.compile(rb"\n@" + boundary.encode("ascii") + rb" (\d+)\n\Z")
        output, code = await _until(self._process.stdout, pattern)
        errors, _ = await _until(self._process.stderr, pattern)
        return Done(code, output, errors.decode("utf-8", "replace").strip())

    def close(self) -> None:
        """End it; what it runs in the foreground loses its streams."""
        self._process.close()


async def _until(stream: asyncssh.SSHReader[bytes], pattern: re.Pattern[bytes]) -> tuple[bytes, int]:
    """What comes before the frame's end, and the number in it."""
    pieces = bytearray()
    while True:
        piece = await stream.read(_CHUNK)
        if not piece:
            raise ShellEndedError("the shell on the host has ended")
        pieces += piece
        if match := pattern.search(pieces, max(0, len(pieces) - _FRAME_BYTES)):
            return bytes(pieces[: match.start()]), int(match[1])
