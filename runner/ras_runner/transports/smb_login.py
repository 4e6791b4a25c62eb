"""Logging on to a Windows host over SMB: connections that are signed, encrypted where the host can, and watched.

A connection serves one thread at a time; a few are kept for each host. Whatever does not answer in time is cut from
outside, as smbprotocol itself waits for ever. A refused logon is never repeated.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ras_runner.errors import RasRunnerError
from ras_runner.packages import required
from ras_runner.transports.smb_errors import (
    LogonError,
    LostConnectionError,
    SmbStatusError,
    connect_error,
    is_lost,
    logon_error,
    lost_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr
    from smbprotocol.connection import Connection
    from smbprotocol.session import Session
    from smbprotocol.tree import TreeConnect

Result = TypeVar("Result")
#: Seconds to wait for a host to take a connection and log on.
CONNECT_SECONDS = 15.0
#: Connections to one host at a time. A Windows client takes 20 from all machines together.
_LINKS = 4


@dataclass(frozen=True, slots=True)
class SmbLogin:
    """Who logs on, and where.

    Attributes:
        host: name or address.
        username: ``user``, ``DOMAIN\\user`` or ``user@domain``; empty for this machine's own identity (a Kerberos
            ticket, or the Windows user that runs ras-runner).
        password: in memory only.
        port: of the host's SMB service.
    """

    host: str
    username: str = ""
    password: SecretStr | None = None
    port: int = 445


def require_smbprotocol() -> None:
    """Raise OperatorError when the extra ``windows`` is not installed."""
    required("smbprotocol", "Windows workers", "windows")
    # its warnings would go to the user's terminal; what matters in them is in our errors
    for name in ("smbprotocol", "pypsexec", "spnego"):
        logging.getLogger(name).addHandler(logging.NullHandler())


class Link:
    """One connection that somebody has logged on to.

    Attributes:
        connection, session: of smbprotocol.
        cut_after: seconds after which the watchdog has cut it; 0 while it has not.
    """

    def __init__(self, login: SmbLogin) -> None:
        self._login = login
        self._trees: dict[str, TreeConnect] = {}
        self.connection: Connection | None = None
        self.session: Session | None = None
        self.cut_after = 0.0

    @property
    def connected(self) -> bool:
        """Whether it can be used."""
        return self.session is not None and bool(self.connection and self.connection.transport.connected)

    def open(self, step: str) -> None:
        """Connect and log on, once.

        Raises:
            WorkerError, OperatorError: it cannot be; says why.
        """
        from smbprotocol.connection import Connection
        from smbprotocol.exceptions import SMBException
        from smbprotocol.session import Session

        login = self._login
        self.connection = Connection(uuid.uuid4(), login.host, login.port)
        try:
            self.connection.connect(timeout=CONNECT_SECONDS)
        except (SMBException, OSError, ValueError) as error:
            raise connect_error(login.host, login.port, step, error) from error
        secret = login.password.get_secret_value() if login.password else None
        encrypted = bool(self.connection.supports_encryption)
        session = Session(self.connection, login.username or None, secret, require_encryption=encrypted)
        try:
            session.connect()
        except (SMBException, OSError, ValueError) as error:
            lost = not self.connection.transport.connected and getattr(error, "status", None) is None
            self.close()
            if lost or self.cut_after:
                raise lost_error(login.host, step, error) from None
            raise logon_error(login.host, step, login.username, error) from None
        finally:
            session.password = None  # what is logged on needs it no more
        self.session = session

    def tree(self, share: str) -> TreeConnect:
        """A share of the host, connected: ``\\\\host\\share``. Raises smbprotocol's errors."""
        from smbprotocol.tree import TreeConnect

        if share not in self._trees:
            tree = TreeConnect(self.session, share)
            tree.connect()
            self._trees[share] = tree
        return self._trees[share]

    @contextlib.contextmanager
    def watched(self, seconds: float) -> Iterator[None]:
        """Cut the connection when what is done in the ``with`` block takes longer."""
        self.watch(seconds)
        try:
            yield
        finally:
            _WATCHDOG.leave(self)

    def watch(self, seconds: float) -> None:
        """From now on it has so many seconds."""
        _WATCHDOG.watch(self, seconds)

    def cut(self, after: float) -> None:
        """End the connection, whatever another thread waits for on it."""
        self.cut_after = after
        # disconnect() waits for the lock that a stalled send holds: the socket itself has to be shut down
        sock = getattr(getattr(self.connection, "transport", None), "_sock", None)
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget it; the host notices by itself."""
        self.session = None
        if self.connection is not None:
            with contextlib.suppress(Exception):
                self.connection.disconnect(close=False)


class _Watchdog:
    """One thread that cuts connections on which something takes too long; a timer for each call costs more."""

    def __init__(self) -> None:
        self._ends: dict[Link, tuple[float, float]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, link: Link, seconds: float) -> None:
        """Cut it after so many seconds, unless it is left before."""
        end = time.monotonic() + seconds
        with self._changed:
            first = min((at for at, _ in self._ends.values()), default=None)
            self._ends[link] = (end, seconds)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="smb-watchdog", daemon=True)
                self._thread.start()
            elif first is None or end < first:
                self._changed.notify()

    def leave(self, link: Link) -> None:
        """It is done with."""
        with self._changed:
            self._ends.pop(link, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                late = [(link, seconds) for link, (end, seconds) in self._ends.items() if end <= now]
                for link, _ in late:
                    del self._ends[link]
                if not late:
                    self._changed.wait(min((end for end, _ in self._ends.values()), default=now + 60.0) - now)
            for link, seconds in late:
                link.cut(seconds)


_WATCHDOG = _Watchdog()


class SmbLinks:
    """The connections to one host.

    Args:
        login: who logs on, and where.
    """

    def __init__(self, login: SmbLogin) -> None:
        require_smbprotocol()
        self.login = login
        self._idle: list[Link] = []
        self._room = threading.BoundedSemaphore(_LINKS)
        self._mutex, self._logon = threading.Lock(), threading.Lock()
        self._refused: LogonError | None = None

    def call(self, step: str, work: Callable[[Link], Result], *, limit: float = 60.0) -> Result:
        """Do something over a connection that nobody else uses meanwhile.

        Args:
            step: for messages.
            work: what; it may raise smbprotocol's errors, and must not use the connection after ``limit``.
            limit: seconds after which the connection is cut.

        Raises:
            SmbStatusError: the host answered with an NT status that is not a success.
            LostConnectionError: the connection ended or did not answer; a new one is made by the next call.
            WorkerError, OperatorError: there is no connection to be had.
        """
        with self._room:
            link = self._link(step)
            try:
                with link.watched(limit):
                    result = work(link)
            except RasRunnerError:
                self._give_back(link)
                raise
            except Exception as error:
                typed = self._typed(link, step, error)
                if isinstance(typed, SmbStatusError):
                    self._give_back(link)
                else:  # a bug of ours may have left a request half sent: nobody gets this connection
                    link.close()
                if typed is error:
                    raise
                raise typed from error
            self._give_back(link)
            return result

    def _link(self, step: str) -> Link:
        with self._mutex:
            while self._idle:
                link = self._idle.pop()
                if link.connected:
                    return link
                link.close()
        with self._logon:  # one at a time: a wrong password is tried once, not once a thread
            if self._refused is not None:
                raise self._refused
            made = Link(self.login)
            try:
                with made.watched(2 * CONNECT_SECONDS):
                    made.open(step)
            except LogonError as error:
                self._refused = error
                raise
            return made

    def _give_back(self, link: Link) -> None:
        with self._mutex:
            self._idle.append(link)

    def _typed(self, link: Link, step: str, error: Exception) -> Exception:
        from smbprotocol.exceptions import SMBException

        status: Any = getattr(error, "status", None)
        if link.cut_after:
            return LostConnectionError(
                f"no answer within {link.cut_after:.0f} s",
                step=step,
                host=self.login.host,
                action="it is tried again; check the network if it stays so",
            )
        if isinstance(status, int) and not is_lost(status):
            return SmbStatusError(status, getattr(error, "path", "") or "")
        if isinstance(error, (SMBException, OSError)):
            return lost_error(self.login.host, step, error)
        return error
