"""Named pipes behind an smbd: it hands each open of ``\\\\host\\pipe\\NAME`` to the unix socket ``np/name``.

The hand-over is Samba's NPA protocol (source3/librpc/idl/rpc_host.idl, lib/tsocket): a request with who has logged on,
an answer, then messages with a two-byte length before each.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MESSAGE_MODE = 2
#: Device state and allocation size that smbd passes on to the client: a message pipe.
_DEVICE_STATE, _ALLOCATION = 0xFF | 0x400 | 0x100, 4096
_PIECE = 60_000


class Pipe:
    """One open of a pipe; also what impacket takes for a socket.

    Attributes:
        opened_by: all that smbd told of who has opened it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._rest = connection, b""
        request = self._exactly(struct.unpack(">I", self._exactly(4))[0])
        level = request[4:8]
        answer = struct.pack("<HHIQI", _MESSAGE_MODE, _DEVICE_STATE, 0, _ALLOCATION, 0)
        connection.sendall(struct.pack(">I", 32) + b"NPAM" + level + level + answer)
        self.opened_by = request

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def message(self) -> bytes:
        """The next message of the client. Raises EOFError when it has gone."""
        return self._exactly(struct.unpack("<H", self._exactly(2))[0])

    def recv(self, count: int) -> bytes:
        """At most ``count`` bytes of the client; none when it has gone."""
        if not self._rest:
            try:
                self._rest = self.message()
            except (EOFError, OSError):
                return b""
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def send(self, data: bytes) -> int:
        """Send to the client."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._connection.sendall(struct.pack("<H", len(piece)) + piece)
        return len(data)

    sendall = send

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


class PipeServer:
    """Listens for opens of one pipe and serves each in a thread.

    Args:
        folder: where smbd looks for the sockets.
        name: of the pipe.
        serve: what is done with an open.
    """

    def __init__(self, folder: Path, name: str, serve: Callable[[Pipe], None]) -> None:
        self._path, self._serve = folder / name.lower(), serve
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            pipe = Pipe(connection)
        except (EOFError, OSError):
            connection.close()
            return
        with contextlib.suppress(EOFError, OSError):
            self._serve(pipe)
        pipe.close()

    def stop(self) -> None:
        """The pipe is no longer there; what is open goes on."""
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
