"""What waits: tasks that are alike for placing share a queue, so that one that finds no place speaks for all of it."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from ras_runner.engines.base import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ras_runner.campaign.expected import Paces
    from ras_runner.campaign.places import Lane
    from ras_runner.outcomes import Outcome

#: Losses, then minus the size: a plan that lost its worker lets others go first, lest one plan that kills workers is
#: the probe of each. Then the place in the campaign, of which there is one for each task.
_Entry = tuple[float, float, int, "Task"]
#: So many tasks that came later are kept apart from those in order, and an eighth as many as there are of these.
_LATER = 1024
_NOTHING: frozenset[Any] = frozenset()
#: Of the tasks of a queue: the workers that cannot run them, those that they are kept off, what they are prepared for,
#: the kind of their sizes, and whether they want a worker that is not taken away.
_Key = tuple[frozenset[str], frozenset[str], frozenset[str], str, bool]


@dataclass(slots=True)
class Run:
    """An attempt that is under way: on which worker since when, what it does, for what it prepares, what it has done.

    ``done`` is (fraction, when); None before it has told any. ``watched`` is since when its end would have been seen.
    """

    worker: str
    stage: Stage
    at: float
    prepares: str = ""
    done: tuple[float, float] | None = None
    watched: float = -math.inf


@dataclass(slots=True, eq=False)
class Task:
    """A task, and what is known of it.

    Attributes:
        name, affinity: as it was added.
        kind, size: how much there is to compute, in a unit of the kind (seconds where it is empty); None when unknown.
        seq: its place in the campaign.
        lane: the workers that it can run on.
        losses, failures, preemptions: how often it lost its worker, failed, was taken off a worker.
        prepared: what it is prepared for.
        avoid: workers that have lost it.
        barred: those of them that it is kept off for a while.
        parts: how often a part of a worker has lost it.
        runs: its attempts that are under way.
        cancelled: it is to end.
        twice: it has had a second run.
        outcome: once it is over.
    """

    name: str
    affinity: str
    kind: str
    size: float | None
    seq: int
    lane: Lane
    losses: float
    failures: int
    preemptions: int
    prepared: frozenset[str] = _NOTHING
    avoid: frozenset[str] = _NOTHING
    barred: frozenset[str] = _NOTHING
    parts: int = 0
    runs: tuple[Run, ...] = ()
    cancelled: bool = False
    twice: bool = False
    outcome: Outcome | None = None
    queue: Queue | None = None
    entry: _Entry | None = None


class Queue:
    """Waiting tasks that can go to the same places, and whose sizes can be compared: the largest first.

    Most come at the beginning: they are put in order once, as a heap of a million is slow to take from.

    Attributes:
        key: all that they have in common.
        lane: the workers that they can run on.
        prepared: what they are prepared for.
        kind: of their sizes.
        live: how many wait.
    """

    __slots__ = ("_later", "_ordered", "key", "kind", "lane", "live", "prepared")

    def __init__(self, key: _Key, lane: Lane) -> None:
        self.key, self.lane = key, lane
        _, _, self.prepared, self.kind, _ = key
        self.live = 0
        #: The next one last; and, as a heap, what has come since. Those that wait no longer stay until they come up.
        self._ordered: list[_Entry] = []
        self._later: list[_Entry] = []

    def push(self, task: Task) -> None:
        """Let a task wait."""
        task.queue = self
        task.entry = (task.losses, -(task.size or 0.0), task.seq, task)
        heapq.heappush(self._later, task.entry)
        self.live += 1

    def head(self) -> Task:
        """The task that is next; there is one."""
        ordered, later = self._ordered, self._later
        if len(later) > _LATER + len(ordered) // 8:
            ordered.extend(later)
            ordered.sort(reverse=True)
            later.clear()
        while ordered and ordered[-1][3].entry is not ordered[-1]:
            ordered.pop()
        while later and later[0][3].entry is not later[0]:
            heapq.heappop(later)
        if ordered and not (later and later[0] < ordered[-1]):
            return ordered[-1][3]
        return later[0][3]

    def __iter__(self) -> Iterator[Task]:
        return (entry[3] for entry in chain(self._ordered, self._later) if entry[3].entry is entry)


class Waiting:
    """All that waits.

    Args:
        paces: what makes the sizes of different kinds comparable.
    """

    def __init__(self, paces: Paces) -> None:
        self._paces = paces
        self._queues: dict[_Key, Queue] = {}
        self.count = 0

    def __iter__(self) -> Iterator[Queue]:
        return iter(self._queues.values())

    def put(self, task: Task, *, steady: bool) -> None:
        """Let a task wait for a place."""
        key = (task.lane.unable, task.barred, task.prepared, task.kind, steady)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Queue(key, task.lane)
        queue.push(task)
        self.count += 1

    def take(self, task: Task) -> None:
        """A task waits no longer."""
        queue = task.queue
        if queue is None:
            return
        task.queue = task.entry = None
        queue.live -= 1
        self.count -= 1
        if not queue.live:
            del self._queues[queue.key]

    def give(self, wanted: Callable[[Queue], bool], place: Callable[[Task], bool], more: Callable[[], bool]) -> None:
        """Offer tasks in order of their losses, longest first, to ``place``, which takes what finds a place out.

        A queue whose task has found none is left alone: no other of it would. ``more`` says whether to go on.
        """
        queues = [queue for queue in self._queues.values() if wanted(queue)]
        if len(queues) == 1:
            (queue,) = queues
            while more() and place(queue.head()) and queue.live:
                pass
            return
        heads = [self._rank(queue) for queue in queues]
        heapq.heapify(heads)
        while heads and more():
            _, _, queue = heads[0]
            if place(queue.head()) and queue.live:
                heapq.heapreplace(heads, self._rank(queue))
            else:
                heapq.heappop(heads)

    def prepared_for(self) -> Counter[str]:
        """How many waiting tasks are prepared for what."""
        found: Counter[str] = Counter()
        for queue in self._queues.values():
            for kind in queue.prepared:
                found[kind] += queue.live
        return found

    def _rank(self, queue: Queue) -> tuple[tuple[float, float, float], int, Queue]:
        """Plans of which no length is known go first: they may be the longest."""
        task = queue.head()
        pace = self._paces.pace(queue.kind)
        size = task.size or 0.0
        length = math.inf if pace is None else size * pace
        return (task.losses, -length, -size), task.seq, queue
