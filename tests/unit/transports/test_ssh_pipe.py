"""Bytes between a socket and a channel, on any system: a server on loopback stands for the channel."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from ras_runner.transports.ssh_pipe import pump

LARGE = bytes(range(256)) * 8192


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own, as connections have."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


async def piped(server_ends_after: int = 0) -> tuple[socket.socket, asyncio.Task[None], asyncio.Server]:
    """A socket whose other end is an echo; which ends after so many bytes, if any."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = 0
        while data := await reader.read(65536):
            seen += len(data)
            writer.write(data)
            await writer.drain()
            if 0 < server_ends_after <= seen:
                break
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    ours, theirs = socket.socketpair()
    return ours, asyncio.create_task(pump(theirs, reader, writer)), server


def test_much_goes_both_ways_and_our_end_ends_it(loop: asyncio.AbstractEventLoop):
    ours, task, server = asyncio.run_coroutine_threadsafe(piped(), loop).result(20)
    sender = threading.Thread(target=ours.sendall, args=(LARGE,))
    sender.start()
    received = b""
    ours.settimeout(20)
    while len(received) < len(LARGE):
        received += ours.recv(65536)
    sender.join()
    assert received == LARGE
    ours.close()
    asyncio.run_coroutine_threadsafe(ended(task), loop).result(20)
    loop.call_soon_threadsafe(server.close)


def test_what_the_other_side_said_last_arrives_before_its_end(loop: asyncio.AbstractEventLoop):
    ours, task, server = asyncio.run_coroutine_threadsafe(piped(server_ends_after=5), loop).result(20)
    ours.settimeout(20)
    ours.sendall(b"hello")
    said = b""
    while data := ours.recv(65536):
        said += data
    assert said == b"hello"
    asyncio.run_coroutine_threadsafe(ended(task), loop).result(20)
    ours.close()
    loop.call_soon_threadsafe(server.close)


async def ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait_for(task, 20)
