"""One SSH connection that comes back by itself, for controllers made of threads.

All connections live in one asyncio loop in a daemon thread. A lost connection fails the calls on it; the next call
connects again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from ras_runner.errors import RasRunnerError, TransientError, WorkerError
from ras_runner.transports.ssh_login import CONNECT_SECONDS, Hop, Login, asyncssh_module
from ras_runner.transports.ssh_pipe import pump
from ras_runner.transports.ssh_shell import Done, Shell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence

    import asyncssh

Result = TypeVar("Result")

#: sshd lets 10 sessions onto a connection (MaxSessions): 4 shells stay open, and 4 transfers get one each. Programs
#: that may take long leave two shells to the others, above all to the looks at running plans.
_SHELLS, _LONG, TRANSFERS = 4, 2, 4
#: A program that is given more time than this may take long, seconds.
_QUICK_SECONDS = 60.0
#: After a connection could not be made, calls fail at once for so long.
_REST_SECONDS = 2.0
#: A transfer that moves nothing for so long is given up, seconds.
STALL_SECONDS = 60.0
_CHUNK = 1 << 18


class PipeRefusedError(WorkerError):
    """The host does not open a socket of its own to us; sshd does not say why."""


_one_loop = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """The one loop of all connections, whichever thread asks first."""
    with _one_loop:
        return _running_loop()


@functools.cache
def _running_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="ssh", daemon=True).start()
    return loop


class Connection:
    """The way to one host.

    Args:
        login: how to get in.
    """

    def __init__(self, login: Login) -> None:
        self.login = login
        #: Seconds a packet takes to the host and back, as the last TCP handshake took it.
        self.round_trip = 0.0
        self._chain: list[asyncssh.SSHClientConnection] = []
        self._connecting: asyncio.Task[None] | None = None
        self._failed: tuple[float, RasRunnerError] | None = None
        self._idle: list[Shell] = []
        self._shells = asyncio.Semaphore(_SHELLS)
        self._long = asyncio.Semaphore(_LONG)
        self._transfers = asyncio.Semaphore(TRANSFERS)
        #: asyncio forgets tasks that nobody holds.
        self._pumps: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        """The host's name."""
        return self.login.host

    def run(
        self, program: str, *, step: str, limit: float = _QUICK_SECONDS, patience: float = 2 * CONNECT_SECONDS
    ) -> Done:
        """Run a program of sh to its end.

        Args:
            program: fed to a shell that is there already.
            step: what it is for, for messages.
            limit: seconds it may take.
            patience: seconds to wait for a connection that has to be made first.

        Raises:
            TransientError: the connection was lost, or time ran out.
            WorkerError, OperatorError: there is no connection, and why.
        """
        return self._call(self._run(program.encode("utf-8", "surrogateescape"), step, limit, patience), step)

    def send(self, command: str, data: Iterator[bytes], *, step: str) -> Done:
        """Run a command with ``data`` as its stdin; time runs out only when nothing moves. Raises as :meth:`run`, and
        what ``data`` raises.
        """
        return self._call(self._send(command, data, step), step)

    def receive(self, command: str, take: Callable[[bytes], None], *, step: str) -> Done:
        """Run a command and hand its output over piece by piece. Raises as :meth:`run`, and what ``take`` raises."""
        return self._call(self._receive(command, take, step), step)

    def pipe(self, path: str, *, step: str, patience: float = 2.0) -> socket.socket:
        """A socket whose other end is a Unix socket on the host.

        Args:
            path: of the socket there.
            step: what it is for, for messages.
            patience: seconds to wait for a connection that has to be made first.

        Raises:
            PipeRefusedError: nothing answers there, or the host does not allow it.
            TransientError, WorkerError, OperatorError: as :meth:`run`.
        """
        return self._call(self._pipe(path, step, patience), step)

    def close(self) -> None:
        """End the connection; the next call makes a new one."""
        _loop().call_soon_threadsafe(self._abort)

    def use(
        self, work: Callable[[asyncssh.SSHClientConnection], Coroutine[None, None, Result]], *, step: str
    ) -> Result:
        """Do something with asyncssh's own connection, as one of the transfers. Raises as :meth:`run`."""
        return self._call(self._use(work, step), step)

    def _call(self, work: Coroutine[None, None, Result], step: str) -> Result:
        asyncssh = asyncssh_module()
        future = asyncio.run_coroutine_threadsafe(work, _loop())
        try:
            return future.result()
        except RasRunnerError:
            raise
        except (TimeoutError, concurrent.futures.CancelledError) as error:
            raise self._lost(step, "no answer in time") from error
        except (asyncssh.Error, ConnectionError) as error:
            raise self._lost(step, str(error) or type(error).__name__) from error
        except BaseException:
            future.cancel()
            raise

    def _lost(self, step: str, cause: str) -> TransientError:
        return TransientError(
            f"the connection was lost: {cause}", step=step, host=self.login.host, action="it is made again by itself"
        )

    async def _run(self, program: bytes, step: str, limit: float, patience: float) -> Done:
        connection = await self._connected(step, patience)
        async with (
            asyncio.timeout(limit),
            self._long if limit > _QUICK_SECONDS else contextlib.nullcontext(),
            self._shells,
        ):
            shell = await self._shell(connection)
            try:
                done = await shell.run(program)
            except BaseException:
                shell.close()
                raise
            self._idle.append(shell)
            return done

    async def _shell(self, connection: asyncssh.SSHClientConnection) -> Shell:
        while self._idle:
            shell = self._idle.pop()
            if shell.connection is connection:
                return shell
        return await Shell.open(connection)

    async def _send(self, command: str, data: Iterator[bytes], step: str) -> Done:
        connection = await self._connected(step, 2 * CONNECT_SECONDS)
        process: asyncssh.SSHClientProcess[bytes]
        async with self._transfers, connection.create_process(command, encoding=None) as process:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its exit code and errors say why
                async with contextlib.aclosing(_ahead(data)) as pieces:
                    async for piece in pieces:
                        process.stdin.write(piece)
                        async with asyncio.timeout(STALL_SECONDS):
                            await process.stdin.drain()
                        if process.exit_status is not None:
                            break
                process.stdin.write_eof()
            async with asyncio.timeout(STALL_SECONDS):
                result = await process.wait(check=False)
        if result.returncode is None:
            raise self._lost(step, "it ended during a transfer")
        return Done(result.returncode, _bytes(result.stdout), _text(result.stderr))

    async def _receive(self, command: str, take: Callable[[bytes], None], step: str) -> Done:
        connection = await self._connected(step, 2 * CONNECT_SECONDS)
        process: asyncssh.SSHClientProcess[bytes]
        options = {"encoding": None, "stdin": asyncssh_module().DEVNULL}
        async with self._transfers, connection.create_process(command, **options) as process:
            while True:
                async with asyncio.timeout(STALL_SECONDS):
                    piece = await process.stdout.read(_CHUNK)
                if not piece:
                    break
                await asyncio.get_running_loop().run_in_executor(None, take, piece)
            async with asyncio.timeout(STALL_SECONDS):
                result = await process.wait(check=False)
        if result.returncode is None:
            raise self._lost(step, "it ended during a transfer")
        return Done(result.returncode, b"", _text(result.stderr))

    async def _pipe(self, path: str, step: str, patience: float) -> socket.socket:
        connection = await self._connected(step, patience)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await connection.open_unix_connection(path, encoding=None)
        except asyncssh_module().ChannelOpenError as error:
            if connection.is_closed():
                raise
            raise PipeRefusedError(str(error), step=step, host=self.login.host) from error
        ours, theirs = socket.socketpair()
        task = asyncio.create_task(pump(theirs, reader, writer))
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)
        return ours

    async def _use(
        self, work: Callable[[asyncssh.SSHClientConnection], Coroutine[None, None, Result]], step: str
    ) -> Result:
        connection = await self._connected(step, 2 * CONNECT_SECONDS)
        async with self._transfers:
            return await work(connection)

    async def _connected(self, step: str, patience: float) -> asyncssh.SSHClientConnection:
        """The connection; made anew, once for all who wait, when it is gone."""
        if self._chain and not self._chain[-1].is_closed():
            return self._chain[-1]
        if self._connecting is None:
            if self._failed and time.monotonic() - self._failed[0] < _REST_SECONDS:
                raise self._failed[1]
            self._connecting = asyncio.create_task(self._connect())
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(self._connecting)
        except TimeoutError:
            raise TransientError("there is no connection; it is being made", step=step, host=self.login.host) from None
        return self._chain[-1]

    async def _connect(self) -> None:
        self._abort()
        try:
            for hop in self.login.hops:
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._chain.append(await self._through(hop))
            self._failed = None
        except Exception as error:
            self._abort()
            explained = self.login.explain(error, self.login.hops[len(self._chain)])
            self._failed = (time.monotonic(), explained)
            raise explained from error
        finally:
            self._connecting = None

    async def _through(self, hop: Hop) -> asyncssh.SSHClientConnection:
        options = self.login.options(hop)
        if self._chain:
            return await self._chain[-1].connect_ssh(hop.host, hop.port, options=options)
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
        sock = await self._open(addresses)
        made: asyncssh.SSHClientConnection = await asyncssh_module().connect(
            hop.host, hop.port, sock=sock, options=options
        )
        return made

    async def _open(self, addresses: Sequence[tuple[int, int, int, str, tuple[Any, ...]]]) -> socket.socket:
        """A socket to the first address that answers."""
        error: OSError | None = None
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            started = time.monotonic()
            try:
                await asyncio.get_running_loop().sock_connect(sock, address)
            except BaseException as failure:
                sock.close()
                if not isinstance(failure, OSError) or isinstance(failure, TimeoutError):
                    raise
                error = failure
            else:
                self.round_trip = time.monotonic() - started
                return sock
        raise error or ConnectionError("it has no address")

    def _abort(self) -> None:
        for connection in reversed(self._chain):
            connection.abort()
        self._chain.clear()
        self._idle.clear()


async def _ahead(data: Iterator[bytes]) -> AsyncGenerator[bytes]:
    """The pieces, each made in a thread (read, hashed) while the one before it is sent."""
    loop = asyncio.get_running_loop()
    coming = loop.run_in_executor(None, next, data, b"")
    try:
        while piece := await coming:
            coming = loop.run_in_executor(None, next, data, b"")
            yield piece
    finally:  # a thread that is still at it must not meet the next try
        await asyncio.wait([coming])


def _bytes(output: object) -> bytes:
    return output if isinstance(output, bytes) else b""


def _text(output: object) -> str:
    return _bytes(output).decode("utf-8", "replace").strip()
