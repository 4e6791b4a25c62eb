"""Where a task goes, and which part of it is done there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ras_runner.campaign.decisions import Expecting
from ras_runner.engines.base import Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ras_runner.campaign.decisions import Policy
    from ras_runner.campaign.places import Places, Worker
    from ras_runner.campaign.waiting import Queue, Task, Waiting

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
        expecting: the groups that may bring workers.
    """

    policy: Policy
    places: Places
    waiting: Waiting
    preparing: Counter[str] = field(default_factory=Counter)
    two_stages: bool = False
    expecting: Expecting = field(default_factory=lambda: Expecting({}))

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

    def elsewhere(self, task: Task, fastest_first: Iterable[Worker]) -> Worker | None:
        """The first of these workers that has room for a second run of a task and that it may run on."""
        barred = task.lane.unable | task.avoid | {run.worker for run in task.runs}
        steady = self.needs_steady(task)
        able = (w for w in fastest_first if w.place is not None and w.name not in barred and (w.steady or not steady))
        return next(able, None)

    def has_use_for(self, queue: Queue, without: Collection[str] = ()) -> bool:
        """Whether any worker in use, but for some, may run the tasks of a queue to their end, or may yet join."""
        unable, workers = queue.lane.unable, self.places.workers
        others = [workers[name] for name in without if name in workers and name not in unable]
        usable = 0
        for kind in ("", *queue.prepared):
            side = queue.lane.sides.get(kind)
            usable += 0 if side is None else side.usable
            usable -= sum(worker.usable for worker in others if worker.needs_prepared == kind)
        groups = self.expecting.groups.items()
        return usable > 0 or any(not out and name not in unable and name not in without for name, out in groups)

    def lacking(self) -> Counter[str]:
        """How many plans are to be prepared now, so that one waits for each slot that solves."""
        lacking = Counter(self.places.supply)
        lacking.subtract(self.waiting.prepared_for())
        lacking.subtract(self.preparing)
        return lacking

    def _choose(self, task: Task, sides: Collection[str]) -> Worker | None:
        wanted = self.needs_steady(task)
        return self.places.choose(
            task.lane,
            sides,
            steady=wanted,
            patient=wanted and self.expecting.steady,
            avoid=task.avoid,
            barred=task.barred,
            affinity=task.affinity,
        )
