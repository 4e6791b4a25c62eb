"""The sessions of a Windows host, from what ``query session`` prints: who is logged on, and where runs start.

Pure functions. Column headings and states come in the host's language; what is read is where things stand: the session
name has a place of its own, the user another, and the id is the number before the state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ras_runner.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: ``>console           Administrator             1  Active``
_LINE = re.compile(r"^[ >](?P<name>\S*) +(?P<user>.*?) *(?P<id>\d+) +(?P<state>[^\W\d]\S*)")
#: States with a session name and a user that are not Active all the same, as English Windows has them.
_NOT_ACTIVE = frozenset({"conn", "connq", "shadow", "disc", "idle", "listen", "reset", "down", "init"})


@dataclass(frozen=True, slots=True)
class WindowsSession:
    """One session.

    Attributes:
        id: its number; 0 is that of the services, which has no desktop.
        name: ``console``, ``rdp-tcp#3``; empty while nobody is connected to it.
        user: who is logged on; empty when nobody is.
        state: in the host's language.
    """

    id: int
    name: str
    user: str
    state: str

    @property
    def active(self) -> bool:
        """Whether a user is logged on and connected. A disconnected session has lost its name."""
        return bool(self.id and self.name and self.user) and self.state.lower() not in _NOT_ACTIVE

    def __str__(self) -> str:
        who = self.user or "nobody"
        return f"{self.id} ({who}, {self.name or 'not connected'}, {self.state})"


def read_sessions(output: str) -> list[WindowsSession]:
    """What ``query session`` printed.

    >>> read_sessions(">console           jo                        1  Active")
    [WindowsSession(id=1, name='console', user='jo', state='Active')]
    """
    lines = (line.rstrip() for line in output.splitlines())
    return [
        WindowsSession(int(match["id"]), match["name"], match["user"].strip(), match["state"])
        for line in lines
        if (match := _LINE.match(line))
    ]


def choose_session(
    sessions: Sequence[WindowsSession], wanted: int | Literal["auto"], user: str, host: str
) -> WindowsSession:
    """The session whose desktop runs start on.

    Args:
        sessions: all of the host.
        wanted: its id, or ``auto`` for the Active session of the user.
        user: who runs plans: ``user``, ``DOMAIN\\user`` or ``user@domain``; empty for whoever is logged on.
        host: its name, for messages.

    Raises:
        OperatorError: there is none that would do; shows those that were found.
    """
    shown = "; ".join(str(s) for s in sessions if s.user or s.id == 0) or "none"
    name = _plain(user.rpartition("\\")[2].partition("@")[0])
    if wanted == 0:
        raise OperatorError(
            f"session 0 is that of the services and has no desktop: HEC-RAS hangs there. Sessions: {shown}",
            step="choose session",
            host=host,
            action="give the id of an Active session, or session_id: auto",
        )
    if wanted != "auto":
        for session in sessions:
            if session.id == wanted and session.active:
                return session
        raise OperatorError(
            f"session {wanted} is not Active. Sessions: {shown}",
            step="choose session",
            host=host,
            action="log on there (a disconnected remote desktop is not enough), or give session_id: auto",
        )
    active = [s for s in sessions if s.active and (not name or _plain(s.user) == name)]
    if active:
        return min(active, key=lambda s: (s.name.casefold() != "console", s.id))
    raise OperatorError(
        f"{f'user {user}' if user else 'nobody'} has {'no' if user else 'an'} Active session on the desktop, which "
        f"HEC-RAS needs. Sessions: {shown}",
        step="choose session",
        host=host,
        action="log on there as that user and stay logged on (autologon does it after a restart)",
    )


def _plain(name: str) -> str:
    """A user's name without what depends on the host's code page, which the table does not tell."""
    return re.sub(r"[^\x00-\x7f]", "?", name).casefold()
