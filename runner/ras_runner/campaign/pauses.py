"""Pauses of plans: a plan that a part of a worker has lost (a node of a queue) is tried there again only after a while.

Without them one bad node, which takes whatever comes because it is always free, would use up in seconds what a plan may
lose. Other workers may take the plan at once, and the worker takes other plans.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras_runner.campaign.waiting import Task

#: Each pause of a plan is so many times longer than the one before.
_GROWTH = 4.0


def pause_after(losses: int, first: float, longest: float) -> float:
    """Seconds that a plan waits after so many losses of parts."""
    return min(first * _GROWTH ** (losses - 1), longest)


class Pauses:
    """Which plans keep off which workers until when."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, int, Task, str]] = []

    def add(self, task: Task, worker: str, until: float) -> None:
        """Keep a task off a worker."""
        task.barred |= {worker}
        heapq.heappush(self._ends, (until, task.seq, task, worker))

    def over(self, now: float) -> Iterator[tuple[Task, str]]:
        """The pauses that have ended, each once."""
        while self._ends and self._ends[0][0] <= now:
            _, _, task, worker = heapq.heappop(self._ends)
            yield task, worker

    def next_end(self) -> float | None:
        """When the next pause ends; None when there is none."""
        while self._ends and self._ends[0][2].outcome is not None:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None
