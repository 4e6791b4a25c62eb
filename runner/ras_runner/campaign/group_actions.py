"""What the elastic part of a campaign is told of a group (looks), and what it does about it (actions): plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ras_runner.workers.group import GroupView, Machine


@dataclass(frozen=True, slots=True)
class Joined:
    """A machine that is a worker of the campaign.

    Attributes:
        plans: attempts there that are not over.
        out: why it takes no plans; empty while it does.
    """

    plans: int
    out: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """A group at one moment.

    Attributes:
        view: what the cloud says.
        now: when, unix seconds.
        joined: the machines that are workers.
        making: those that are being tried.
        wanted: how many machines its plans want, whatever its limits.
        on_demand: how many of them should not be taken away.
    """

    view: GroupView
    now: float
    joined: Mapping[str, Joined] = field(default_factory=dict)
    making: Collection[str] = ()
    wanted: int = 0
    on_demand: int = 0


@dataclass(frozen=True, slots=True)
class Resize:
    """Ask for so many machines, ``on_demand`` of them such that are not taken away."""

    machines: int
    on_demand: int


@dataclass(frozen=True, slots=True)
class Protect:
    """Keep the cloud's own scaling from these machines, or no longer."""

    machines: frozenset[str]
    on: bool


@dataclass(frozen=True, slots=True)
class Join:
    """Try to use a machine."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Leave:
    """A machine takes no more plans; what runs there goes on."""

    machine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The cloud has taken a machine away: what ran there is preempted."""

    machine: str
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """End a machine on which nothing runs; another one comes in its place, or the group has one less."""

    machine: str
    replace: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Something the user should know."""

    text: str


Action = Resize | Protect | Join | Leave | Gone | End | Tell
