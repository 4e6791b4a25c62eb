"""What a simulated Windows host is like: a state that tests read and change while it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulators.windows_host.pipes import PipeServer


@dataclass
class Session:
    """A line of ``query session``.

    Attributes:
        id: its number.
        name: ``console``, ``rdp-tcp#1``; empty when disconnected.
        user: who is logged on.
        state: as Windows prints it.
    """

    id: int
    name: str
    user: str
    state: str

    def line(self) -> str:
        """As ``query session`` prints it."""
        return f" {self.name:<17} {self.user:<20} {self.id:>6}  {self.state:<7}{'':<24}"


SERVICES_SESSION = Session(0, "services", "", "Disc")
DESKTOP = Session(2, "console", "Administrator", "Active")
HEADING = " SESSIONNAME       USERNAME                 ID  STATE   TYPE        DEVICE "


@dataclass
class Service:
    """A service.

    Attributes:
        path: its command line.
        running: whether it is started.
        pipe: what it listens on while it is.
    """

    path: str
    running: bool = False
    pipe: PipeServer | None = None


@dataclass
class HostState:
    """The host.

    Attributes:
        sessions: who is logged on.
        admins: accounts whose logon from the network has an administrator's rights. An account that is taken out is a
            local administrator with a filtered token (``LocalAccountTokenFilterPolicy`` 0), or none at all.
        services: by name.
        faults: name of a service call (``StartServiceW``) -> Windows error code that it ends with, once for each entry
            in the list; ``paexec-stall``: the service takes a program's settings and never answers.
        starts: what PAExec was asked to start.
        when_started: called when it has started something, before it answers.
    """

    sessions: list[Session] = field(default_factory=lambda: [SERVICES_SESSION, DESKTOP])
    admins: set[str] = field(default_factory=lambda: {"root"})
    services: dict[str, Service] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    starts: list[dict[str, object]] = field(default_factory=list)
    when_started: Callable[[], None] = lambda: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def session_table(self) -> str:
        """What ``query session`` prints."""
        return "\r\n".join([HEADING, *(session.line() for session in self.sessions), ""])

    def fault(self, name: str) -> int:
        """The error code that this call is to end with now; 0 for none."""
        with self.lock:
            codes = self.faults.get(name)
            return codes.pop(0) if codes else 0

    def has_session(self, number: int) -> bool:
        """Whether somebody is logged on in a session."""
        return any(session.id == number and session.user for session in self.sessions)
