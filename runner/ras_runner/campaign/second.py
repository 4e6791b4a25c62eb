"""Second runs: near the end, a plan that is late on its worker is run once more on one that would be done sooner.

The first attempt that completes makes the result, and the other is stopped. The scheduler looks for such plans only
while nothing waits for a place, and then not at every event: all that runs is looked at each time an eighth of it has
ended, or after a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.engines.base import Stage

if TYPE_CHECKING:
    from collections.abc import Collection

    from ras_runner.campaign.expected import Paces
    from ras_runner.campaign.places import Places
    from ras_runner.campaign.waiting import Run, Task

#: A second run is expected to take so much longer than is thought.
_MARGIN = 1.3
#: A smaller fraction that is done says little of the whole.
_TELLING = 0.05


@dataclass(slots=True)
class Late:
    """Finds the plans that are worth a second run.

    Args:
        places: the workers.
        paces: how long plans take.
        saves: seconds that a second run must save.
    """

    places: Places
    paces: Paces
    saves: float
    _looked: tuple[float, int] = (float("-inf"), 0)

    def due(self, running: int) -> bool:
        """Whether to look again; ``running`` plans run now."""
        at, then = self._looked
        if self.places.now < at + self.saves and running > then - max(then // 8, 1):
            return False
        self._looked = (self.places.now, running)
        return True

    def candidates(self, running: Collection[Task]) -> list[Task]:
        """The plans that may be late, the latest first."""
        found = [(self._time(task)[0], task.seq, task) for task in running if self._may(task)]
        found.sort(key=lambda entry: (-entry[0], entry[1]))
        return [task for remaining, _, task in found if remaining > self.saves]

    def gains(self, task: Task, worker: str) -> bool:
        """Whether ``worker`` would be done with the task so much sooner that it is worth it."""
        remaining, work = self._time(task)
        return remaining - _MARGIN * work / self.places.workers[worker].speed.value >= self.saves

    def _may(self, task: Task) -> bool:
        return len(task.runs) == 1 and task.runs[0].stage is Stage.WHOLE and not (task.twice or task.cancelled)

    def _time(self, task: Task) -> tuple[float, float]:
        """(seconds that the run still needs, seconds that all of it takes a worker of speed 1); (0, 0) when unknown.

        What is overdue is taken to need as long again as it is overdue.
        """
        run = task.runs[0]
        speed = self.places.workers[run.worker].speed.value
        if run.done is not None and run.done[0] >= _TELLING and run.done[1] > run.at:
            total = (run.done[1] - run.at) / run.done[0]
            return self._left(run, run.at + total), total * speed
        pace = self.paces.pace(task.kind)
        if pace is None or task.size is None:
            return 0.0, 0.0
        work = task.size * pace
        return self._left(run, run.at + work / speed), work

    def _left(self, run: Run, end: float) -> float:
        """Seconds until then; what is overdue counts from when it was watched: it may have ended long before."""
        now = self.places.now
        return end - now if end > now else now - max(end, run.watched)


def run_on(task: Task, worker: str) -> Run | None:
    """The run of a task on a worker; its only one where no worker is named; None where there is none such."""
    if not worker:
        return task.runs[0] if len(task.runs) == 1 else None
    return next((run for run in task.runs if run.worker == worker), None)
