"""Bytes between a socket of this process and a channel of an SSH connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket

_CHUNK = 1 << 16


class _Source(Protocol):
    async def read(self, n: int, /) -> bytes: ...


class _Sink(Protocol):
    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...


async def pump(sock: socket.socket, reader: _Source, writer: _Sink) -> None:
    """Carry bytes both ways until one side ends, then end both.

    Args:
        sock: one end of a pair of sockets; it is closed at the end.
        reader, writer: the channel.
    """
    sock.setblocking(False)
    local_reader, local_writer = await asyncio.open_connection(sock=sock)
    ways = [asyncio.create_task(_carry(local_reader, writer)), asyncio.create_task(_carry(reader, local_writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)  # a lost connection is an end as well: the reader sees it
        for end in (writer, local_writer):
            with contextlib.suppress(OSError):
                end.close()


async def _carry(reader: _Source, writer: _Sink) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
