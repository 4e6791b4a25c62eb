"""How many machines a group should have, and what becomes of each. A pure state machine: looks in, actions out.

A machine's way::

    asked for -> joins when it can be used -> takes plans -> idle for too long -> leaves, is ended
        |                                         |
        +-> cannot be used in time: ended         +-> notice, or taken away: leaves, its plans are preempted

No I/O and no clock: times are unix seconds on the caller's clock. What runs plans is never ended.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.campaign.group_actions import Action, End, Gone, Join, Leave, Protect, Resize
from ras_runner.campaign.group_health import TRIES, Health
from ras_runner.workers.group import MachineState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ras_runner.campaign.group_actions import Look
    from ras_runner.workers.group import GroupSpec, Machine

#: A machine that the cloud does not list is gone after so many looks: one list may be short of it.
_MISSING_LOOKS = 2
#: Looks after which all that have joined are protected again: the cloud may not have been ready for it.
_PROTECT_LOOKS = 30
_DOWN = (MachineState.ENDING, MachineState.GONE)


class Elastic:
    """One group of a campaign: feed it looks, carry out its actions in their order.

    Args:
        spec: what the group was told.
    """

    def __init__(self, spec: GroupSpec) -> None:
        self.spec = spec
        self._health = Health(spec)
        #: Machine -> since when nothing has run on it.
        self._idle: dict[str, float] = {}
        self._missing: dict[str, int] = {}
        self._notices: dict[str, str] = {}
        #: Machines that take no plans any more.
        self._left: set[str] = set()
        self._protected: set[str] = set()
        self._protected_at = math.inf
        #: Machine -> when it was to be ended.
        self._ended: dict[str, float] = {}
        self._asked = Resize(-1, 0)
        #: When it was asked, and when for more than there are.
        self._asked_at = self._asked_more_at = -math.inf
        self._alive = 0
        self._closing = False

    def failed(self, error: Exception, now: float) -> None:
        """The cloud could not be asked, or did not do as it was told."""
        self._health.failed(error, now)
        self._asked_at = -math.inf
        self._protected.clear()

    def cannot_use(self, machine: str, reason: str) -> None:
        """A machine that was to join cannot be used yet."""
        self._health.problems[machine] = reason

    def noticed(self, machine: str, notice: str) -> None:
        """A machine says itself that it will be taken away: it takes no more plans."""
        self._notices[machine] = notice
        self._left.add(machine)

    def is_noticed(self, machine: str) -> bool:
        """Whether it is known that a machine will be taken away."""
        return machine in self._notices

    def leave(self, machine: str) -> None:
        """A machine is to take no more plans, now or later."""
        self._left.add(machine)

    def may_join(self, machine: str) -> bool:
        """Whether a machine that was to join is still wanted."""
        return machine not in self._left and not self._closing

    def close(self) -> None:
        """Nothing is wanted of the group any more: what runs goes on, the rest is given back down to its minimum."""
        self._closing = True

    def room(self, now: float) -> int:
        """How many machines it can be counted on to have: fewer than its limit while the cloud is short of them."""
        limit = 0 if self._closing else self.spec.max_machines
        return min(self._alive, limit) if self._health.holds_back(now) else limit

    def hopeless(self, now: float) -> str:
        """Why no machine will come from it; empty while some may."""
        return "drained" if self._closing else self._health.hopeless(now)

    def brings_steady(self, now: float) -> bool:
        """Whether machines that are not taken away may be had from it."""
        return self._health.gives_steady and not self._closing and not self._health.holds_back(now)

    def decide(self, look: Look) -> list[Action]:
        """What is to be done after a look."""
        self._ended = {name: at for name, at in self._ended.items() if look.now - at < TRIES * self.spec.look_seconds}
        alive = [m for m in look.view.machines if m.state not in _DOWN and m.id not in self._ended]
        self._alive = len(alive)
        actions: list[Action] = [*self._health.looked(look, alive, self._asked_more_at), *self._farewells(look)]
        staying = [machine for machine in alive if machine.id not in self._left]
        unready, said = self._health.unready(look, staying)
        staying = [machine for machine in staying if machine.id not in unready]
        size = self._size(look, staying)
        idle = self._to_give_back(look, staying, size)
        staying = [machine for machine in staying if machine.id not in idle]
        useless = [m.id for m in alive if m.id in self._left and not _runs(look, m.id)]
        ends = self._ends({**dict.fromkeys(useless, "it takes no more plans"), **unready, **idle}, size - len(staying))
        actions += [*said, *self._end(look, ends), *self._joins(look, staying)]
        return [*actions, *self._resize(look, len(alive), size + len(alive) - len(staying) - len(ends), ends)]

    def _farewells(self, look: Look) -> Iterator[Action]:
        """Machines that are gone, will be, or take no more plans; and since when the others are idle."""
        there = {machine.id: machine for machine in look.view.machines}
        for name, joined in look.joined.items():
            machine = there.get(name)
            self._missing[name] = 0 if machine else self._missing.get(name, 0) + 1
            if (machine and machine.state in _DOWN) or self._missing[name] >= _MISSING_LOOKS:
                self._idle.pop(name, None)
                yield Gone(name, self._why_gone(name, machine))
                continue
            if machine and (machine.notice or joined.out):
                if machine.notice:
                    self._notices[name] = machine.notice
                self._left.add(name)
                if not joined.out:
                    yield Leave(name, machine.notice)
            if joined.plans:
                self._idle.pop(name, None)
            else:
                self._idle.setdefault(name, look.now)

    def _why_gone(self, name: str, machine: Machine | None) -> str:
        if name in self._ended:
            return f"machine {name} was given back"
        told = self._notices.get(name) or (machine.notice if machine else "")
        return f"the cloud has taken machine {name} away" + (f" ({told})" if told else "")

    def _size(self, look: Look, staying: Sequence[Machine]) -> int:
        """How many machines there should be that take plans."""
        if self._closing:
            return self.spec.min_machines
        wanted = max(look.wanted, self.spec.min_machines)
        if lacking := self._health.lacking_steady(look, staying):
            wanted = max(wanted, len(staying) + lacking)
        if self._health.holds_back(look.now):
            wanted = min(wanted, len(staying))
        return min(wanted, self.spec.max_machines)

    def _to_give_back(self, look: Look, staying: Sequence[Machine], size: int) -> dict[str, str]:
        """Idle machines that are too many, or that keep those out which are not taken away; each with why."""
        free = [m for m in staying if m.id in look.joined and not _runs(look, m.id)]
        free.sort(key=lambda machine: (self._idle[machine.id], machine.id))
        patience = 0.0 if self._closing else self.spec.idle_minutes * 60.0
        bored = [m.id for m in free if look.now - self._idle[m.id] >= patience]
        reasons = dict.fromkeys(bored[: max(len(staying) - size, 0)], "nothing is left for it to do")
        if len(staying) >= self.spec.max_machines and not self._health.holds_back(look.now):
            spots = [m.id for m in free if m.spot and m.id not in reasons]
            lacking = self._health.lacking_steady(look, staying)
            reasons |= dict.fromkeys(spots[:lacking], "one that is not taken away is to take its place")
        return reasons

    def _ends(self, reasons: Mapping[str, str], lacking: int) -> list[End]:
        """The ends of machines; of these as many are replaced as are ``lacking``."""
        return [End(name, number < lacking, reason) for number, (name, reason) in enumerate(reasons.items())]

    def _end(self, look: Look, ends: Sequence[End]) -> Iterator[Action]:
        """First no plan starts there any more, then it is ended."""
        names = {end.machine for end in ends}
        for end in ends:
            if end.machine in look.joined and end.machine not in self._left:
                yield Leave(end.machine, end.reason)
        self._left |= names
        if protected := names & self._protected:
            self._protected -= protected
            yield Protect(frozenset(protected), on=False)
        self._ended |= dict.fromkeys(names, look.now)
        yield from ends

    def _joins(self, look: Look, staying: Sequence[Machine]) -> Iterator[Action]:
        """Try what runs; protect what has joined."""
        taken = {machine.id for machine in staying} & {*look.joined, *look.making}
        room = 0 if self._closing else self.spec.max_machines - len(taken)
        for machine in staying:
            if machine.state is MachineState.RUNNING and not machine.notice and machine.id not in taken and room > 0:
                room -= 1
                yield Join(machine)
        ours = {machine.id for machine in staying if machine.id in look.joined}
        again = look.now - self._protected_at >= _PROTECT_LOOKS * self.spec.look_seconds
        if new := ours if again else ours - self._protected:
            self._protected_at = look.now
            yield Protect(frozenset(new), on=True)
        self._protected = ours

    def _resize(self, look: Look, alive: int, size: int, ends: Sequence[End]) -> Iterator[Action]:
        """Ask for what is lacking, and no longer for what has not come; nothing that is there is taken by it."""
        left = alive - len(ends)
        size = max(min(size, self.spec.max_machines), left)
        on_demand = min(size, look.on_demand) if self._health.gives_steady else 0
        asked = Resize(size, on_demand)
        after = look.view.wanted - sum(not end.replace for end in ends)
        if size == after and on_demand == self._asked.on_demand:
            return
        if asked == self._asked and look.now - self._asked_at < TRIES * self.spec.look_seconds:
            return
        if size > left:
            self._asked_more_at = look.now
        if on_demand:
            self._health.asked_steady(look.now)
        self._asked, self._asked_at = asked, look.now
        yield asked


@dataclass(slots=True)
class Offer:
    """What a group could bring, for :func:`share`.

    Attributes:
        group: its name.
        room: plans that it could run besides those that run there.
    """

    group: str
    room: int


def share(waiting: Mapping[frozenset[str], int], offers: Sequence[Offer], limit: int | None) -> dict[str, int]:
    """For how many waiting plans each group is to have machines: the first takes what it can, the next the rest.

    Args:
        waiting: how many plans wait, by which of the groups cannot run them.
        offers: in their order.
        limit: how many plans may be started in all; None for any number.
    """
    left = dict(sorted(waiting.items(), key=lambda item: -len(item[0])))  # those first that fewest can run
    budget = math.inf if limit is None else limit
    shares = {}
    for offer in offers:
        taken = 0
        for unable, count in left.items():
            part = 0 if offer.group in unable else int(min(count, offer.room - taken, budget))
            left[unable] -= part
            taken, budget = taken + part, budget - part
        shares[offer.group] = taken
    return shares


def _runs(look: Look, machine: str) -> bool:
    return machine in look.joined and look.joined[machine].plans > 0
