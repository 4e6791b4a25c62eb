"""Where a task goes, and which part of it is done there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ras_runner.engines.base import Stage

if TYPE_CHECKING:
    from collections.abc import Collection

    from ras_runner.campaign.decisions import Policy
    from ras_runner.campaign.places import Places, Worker
    from ras_runner.campaign.waiting import Task, Waiting

#: A worker, and what it is to do of the task.
Placed = tuple["Worker", Stage]


@dataclass(slots=True)
class Placing:
    """Finds places for tasks.

    Attributes:
        policy: how often a plan is preempted before it wants a steady worker.
        places: the workers.
        waiting: what waits.
        preparing: what is prepared for -> attempts that prepare it.
        two_stages: whether any worker solves only what is prepared.
    """

    policy: Policy
    places: Places
    waiting: Waiting
    preparing: Counter[str] = field(default_factory=Counter)
    two_stages: bool = False

    def needs_steady(self, task: Task) -> bool:
        """Whether it was taken off workers so often that it wants one which is not taken away."""
        return task.preemptions >= self.policy.preemptions

    def solved(self, task: Task) -> Placed | None:
        """Where a task that is prepared is solved."""
        worker = self._choose(task, task.prepared)
        return None if worker is None else (worker, Stage.SOLVE)

    def whole(self, task: Task, lacking: Counter[str] | None = None) -> Placed | None:
        """Where a task runs whole or, while plans are ``lacking`` for workers that only solve, is prepared for them."""
        worker = self._choose(task, ("",))
        if worker is None:
            return None
        kind = worker.prepares
        solvers = task.lane.sides.get(kind)
        if lacking is None or not kind or lacking[kind] <= 0 or solvers is None or not solvers.active:
            return worker, Stage.WHOLE
        lacking[kind] -= 1
        return worker, Stage.PREPARE

    def elsewhere(self, task: Task) -> Worker | None:
        """The fastest worker with room for a second run of a task."""
        avoid = task.avoid | {run.worker for run in task.runs}
        return self.places.fastest(task.lane, steady=self.needs_steady(task), avoid=avoid)

    def lacking(self) -> Counter[str]:
        """How many plans are to be prepared now, so that one waits for each slot that solves."""
        lacking = Counter(self.places.supply)
        lacking.subtract(self.waiting.prepared_for())
        lacking.subtract(self.preparing)
        return lacking

    def _choose(self, task: Task, sides: Collection[str]) -> Worker | None:
        return self.places.choose(
            task.lane, sides, steady=self.needs_steady(task), avoid=task.avoid, affinity=task.affinity
        )
