"""Whether a group gives what it is asked for: machines that get ready, capacity, answers. Pure, as the rest of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ras_runner.campaign.group_actions import Tell
from ras_runner.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ras_runner.campaign.group_actions import Look
    from ras_runner.workers.group import GroupSpec, Machine

#: So many machines in a row that never get ready, and no more are bought.
NEVER_READY = 3
#: So many machines that may be taken away, where others were asked for, and others are no longer expected.
NEVER_STEADY = 3
#: Looks within which what was asked for should have been begun, and what was told to end should end.
TRIES = 6
#: Looks until a group that was short is tried again; doubled each time, up to the second figure.
_PAUSE, _LONGEST_PAUSE = 12, 96
#: So many times ``ready_minutes`` without any machine, and a group is not counted on; or without a steady one.
_PATIENCE = 4


class Health:
    """What is known of a group's troubles.

    Args:
        spec: what the group was told.
    """

    def __init__(self, spec: GroupSpec) -> None:
        self._spec = spec
        #: Why no more machines are asked for, whatever is wanted; empty while they are.
        self.out = ""
        #: Machine -> why it cannot be used yet.
        self.problems: dict[str, str] = {}
        self._seen: dict[str, float] = {}
        self._failures = 0
        #: When the latest of the machines that could be used was asked for.
        self._good = -math.inf
        #: Why the cloud could not be asked, or did not do as it was told.
        self._trouble: Exception | None = None
        self._trouble_since = 0.0
        #: Why the cloud is short of machines, the pause until it is tried again, and since when there is none at all.
        self._shortage, self._pause, self._paused_until = "", 0.0, -math.inf
        self._none_since: float | None = None
        self._unsteady: set[str] = set()
        self._steady_asked: float | None = None
        self._never_steady = False

    def failed(self, error: Exception, now: float) -> None:
        """The cloud could not be asked, or did not do as it was told."""
        self._trouble_since = self._trouble_since if self._trouble else now
        self._trouble = error

    def holds_back(self, now: float) -> bool:
        """Whether nothing more should be asked for now."""
        return bool(self.out) or isinstance(self._trouble, OperatorError) or now < self._paused_until

    def hopeless(self, now: float) -> str:
        """Why no machine will come; empty while some may."""
        patience = _PATIENCE * self._spec.ready_minutes * 60.0
        if self.out:
            return self.out
        if self._trouble and (isinstance(self._trouble, OperatorError) or now - self._trouble_since > patience):
            return str(self._trouble)
        return self._shortage if self._none_since is not None and now - self._none_since > patience else ""

    def looked(self, look: Look, alive: Sequence[Machine], asked: float) -> list[Tell]:
        """Take a look in.

        Args:
            look: that the cloud has answered.
            alive: its machines that are there and not being ended.
            asked: when more were last asked for.
        """
        self._trouble = None
        for machine in look.view.machines:
            self._seen.setdefault(machine.id, look.now)
        for machine in alive:
            if machine.id in look.joined and self._age_mark(machine) > self._good:
                self._good, self._failures = self._age_mark(machine), 0
        return [*self._look_for_shortage(look, len(alive), asked), *self._look_for_steady(look, alive)]

    def unready(self, look: Look, machines: Sequence[Machine]) -> tuple[dict[str, str], list[Tell]]:
        """Those that could not be used in time, each with why; too many in a row, and no more are asked for."""
        limit = self._spec.ready_minutes * 60.0
        found, said = dict[str, str](), list[Tell]()
        for machine in machines:
            waited = look.now - max(self._age_mark(machine), self._seen[machine.id])
            if machine.id in look.joined or (waited <= limit and not self.out):
                continue
            why = self.problems.pop(machine.id, f"it is {machine.state.value}")
            found[machine.id] = f"it could not be used within {self._spec.ready_minutes:g} min: {why}"
            self._failures += self._age_mark(machine) > self._good
            if not self.out and self._failures >= NEVER_READY:
                self.out = (
                    f"{self._failures} machines in a row were of no use; machine {machine.id}: {found[machine.id]}"
                )
                said.append(Tell(f"no more machines are asked for: {self.out}"))
        return found, said

    @property
    def gives_steady(self) -> bool:
        """False when others were asked for, and only machines came that may be taken away, or none for too long."""
        return not self._never_steady

    def lacking_steady(self, look: Look, machines: Collection[Machine]) -> int:
        """How many machines that are not taken away are still to come."""
        if not self.gives_steady:
            return 0
        return max(0, look.on_demand - sum(not machine.spot for machine in machines))

    def asked_steady(self, now: float) -> None:
        """Machines that are not taken away have been asked for."""
        self._steady_asked = now if self._steady_asked is None else self._steady_asked

    def _age_mark(self, machine: Machine) -> float:
        return machine.since or self._seen[machine.id]

    def _look_for_shortage(self, look: Look, alive: int, asked: float) -> list[Tell]:
        self._none_since = None if alive else self._none_since
        if look.now < self._paused_until:
            return []
        if not look.view.shortage or look.view.wanted <= alive:
            self._pause = 0.0 if alive else self._pause
            return []
        if look.now - asked < TRIES * self._spec.look_seconds:
            return []
        period = self._spec.look_seconds
        self._pause = min(self._pause * 2.0 or _PAUSE * period, _LONGEST_PAUSE * period)
        self._paused_until, self._shortage = look.now + self._pause, look.view.shortage
        if not alive and self._none_since is None:
            self._none_since = look.now
        return [Tell(f"{self._shortage}; it is tried again in {self._pause / 60.0:.1f} min")]

    def _look_for_steady(self, look: Look, alive: Sequence[Machine]) -> list[Tell]:
        if not self.lacking_steady(look, alive):
            self._steady_asked = None
            self._unsteady.clear()
        if self._steady_asked is None:
            return []
        self._unsteady |= {m.id for m in alive if m.spot and self._seen[m.id] > self._steady_asked}
        waited = look.now - self._steady_asked
        if len(self._unsteady) < NEVER_STEADY and waited <= _PATIENCE * self._spec.ready_minutes * 60.0:
            return []
        self._never_steady = True
        return [Tell("no machines come that are not taken away, although they were asked for: plans go to the others")]
