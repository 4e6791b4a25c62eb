"""Where there is room: the workers of a campaign, indexed so that the best place for a task is found in O(log n)."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from ras_runner.campaign.expected import Speed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: Inputs that a worker is remembered to have: its latest.
_SEEN = 16
#: Lanes that nothing runs on are kept until there are so many.
_LANES = 8
#: Workers that are looked at for one that has the inputs of a task.
_LOOKS = 64

Key = TypeVar("Key", bound="tuple[int | float, ...]")
#: Queue priority, minus the grade of its speed, minus the room: the first is the best.
_Place = tuple[int, int, int]


class Index(Generic[Key]):
    """Names by key, the smallest first. Entries that were changed or dropped stay in the heap until they come up."""

    __slots__ = ("_heap", "_keys")

    def __init__(self, entries: Iterable[tuple[str, Key]] = ()) -> None:
        self._keys = dict(entries)
        self._sort()

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, name: str, key: Key) -> None:
        """Add a name, or change its key."""
        if self._keys.get(name) == key:
            return
        self._keys[name] = key
        heapq.heappush(self._heap, (key, name))
        if len(self._heap) > 2 * len(self._keys) + 64:
            self._sort()

    def drop(self, name: str) -> None:
        """Take a name out, if it is in."""
        self._keys.pop(name, None)

    def best(self, without: Collection[str] = ()) -> str | None:
        """The name with the smallest key, leaving out a few."""
        return next((name for name in self.first(1, without)), None)

    def first(self, count: int, without: Collection[str] = ()) -> list[str]:
        """The names with the smallest keys, leaving out a few."""
        found: list[str] = []
        aside: list[tuple[Key, str]] = []
        while self._heap and len(found) < count:
            key, name = self._heap[0]
            if self._keys.get(name) != key or name in found:
                heapq.heappop(self._heap)
                continue
            if name not in without:
                found.append(name)
                if len(found) == count:
                    break
            aside.append(heapq.heappop(self._heap))
        for entry in aside:
            heapq.heappush(self._heap, entry)
        return found

    def _sort(self) -> None:
        self._heap = [(key, name) for name, key in self._keys.items()]
        heapq.heapify(self._heap)


@dataclass(slots=True)
class Worker:
    """A worker, and what is known of it.

    Attributes:
        name, slots, priority, prepares, needs_prepared, steady: as it joined.
        free: slots that nothing holds; a heap.
        held: task -> the slot that its attempt here holds.
        strikes, rests_until, probing: see :class:`Policy`.
        out: why it takes no more tasks; empty while it does.
        seen: the latest inputs it was given.
        speed: learned from what has ended there.
    """

    name: str
    slots: int
    priority: int
    free: list[int]
    prepares: str
    needs_prepared: str
    steady: bool
    strikes: int = 0
    rests_until: float = -math.inf
    probing: bool = False
    out: str = ""
    held: dict[str, int] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)
    speed: Speed = field(default_factory=Speed)
    #: What the indices say of it: takes tasks (usable), does not rest either (active), its place; None without room.
    usable: bool = False
    active: bool = False
    place: _Place | None = None
    supply: int = 0

    def room(self, now: float) -> int:
        """Slots that may be given away now: none while resting, one at a time while on probation."""
        if self.out or now < self.rests_until:
            return 0
        if self.probing:
            return 1 if len(self.free) == self.slots else 0
        return len(self.free)


class Side:
    """The workers of a lane that do the same part of a plan: all of it, or the second stage of one kind."""

    __slots__ = ("active", "places", "steady", "steady_places", "usable")

    def __init__(self) -> None:
        self.usable = self.steady = self.active = 0
        self.places: Index[_Place] = Index()
        self.steady_places: Index[_Place] = Index()

    def count(self, worker: Worker, by: int) -> None:
        """Count a worker in (1) or out (-1)."""
        self.usable += by * worker.usable
        self.steady += by * (worker.usable and worker.steady)
        self.active += by * worker.active

    def move(self, worker: Worker) -> None:
        """A worker has more or less room than it had."""
        if worker.place is None:
            self.places.drop(worker.name)
            self.steady_places.drop(worker.name)
            return
        self.places.put(worker.name, worker.place)
        if worker.steady:
            self.steady_places.put(worker.name, worker.place)


class Lane:
    """The workers that tasks with the same ``unable`` can run on.

    Attributes:
        unable: the workers that cannot.
        tasks: open tasks of the lane.
    """

    __slots__ = ("sides", "tasks", "unable")

    def __init__(self, unable: frozenset[str]) -> None:
        self.unable = unable
        self.tasks = 0
        self.sides: dict[str, Side] = {}

    def side(self, needs_prepared: str) -> Side:
        """The workers that need this prepared; those that run whole plans for an empty text."""
        if needs_prepared not in self.sides:
            self.sides[needs_prepared] = Side()
        return self.sides[needs_prepared]


class Places:
    """The workers of a campaign."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.now = -math.inf
        #: Workers with room.
        self.roomy: dict[str, Worker] = {}
        #: What is prepared for -> slots that would solve it now.
        self.supply: Counter[str] = Counter()
        self._lanes: dict[frozenset[str], Lane] = {}
        self._rests: list[tuple[float, str]] = []
        #: Inputs -> the workers that have them.
        self._holders: dict[str, dict[str, Worker]] = {}

    def lane(self, unable: frozenset[str]) -> Lane:
        """The lane of tasks that these workers cannot run."""
        lane = self._lanes.get(unable)
        if lane is None:
            if len(self._lanes) >= _LANES:
                self._lanes = {key: lane for key, lane in self._lanes.items() if lane.tasks}
            lane = self._lanes[unable] = Lane(unable)
            for worker in self.workers.values():
                if worker.name not in unable:
                    side = lane.side(worker.needs_prepared)
                    side.count(worker, 1)
                    side.move(worker)
        return lane

    def join(self, worker: Worker) -> None:
        """Take a worker in; in the place of one of its name that is out."""
        before = self.workers.get(worker.name)
        if before is not None:
            worker.seen, worker.held, worker.speed = before.seen, before.held, before.speed
            for affinity in worker.seen:
                self._holders[affinity][worker.name] = worker
        self.workers[worker.name] = worker
        heapq.heapify(worker.free)
        self.update(worker)

    def rest(self, worker: Worker, until: float) -> None:
        """Give a worker nothing until then."""
        worker.rests_until = until
        heapq.heappush(self._rests, (until, worker.name))

    def wake(self, now: float) -> None:
        """Time has passed."""
        self.now = max(self.now, now)
        while self._rests and self._rests[0][0] <= self.now:
            self.update(self.workers[heapq.heappop(self._rests)[1]])

    def next_wake(self) -> float | None:
        """When the first worker has rested; None when none rests."""
        while self._rests:
            until, name = self._rests[0]
            worker = self.workers[name]
            if worker.rests_until == until > self.now and not worker.out:
                return until
            heapq.heappop(self._rests)
        return None

    def take(self, worker: Worker, task: str, slot: int, affinity: str) -> None:
        """A task holds a slot (less than 0: none) from now on, and its inputs are there."""
        worker.held[task] = slot
        if affinity not in worker.seen:
            worker.seen[affinity] = None
            self._holders.setdefault(affinity, {})[worker.name] = worker
            if len(worker.seen) > _SEEN:
                self._forget(worker, next(iter(worker.seen)))
        if slot >= 0:
            if worker.free[0] == slot:
                heapq.heappop(worker.free)
            else:
                worker.free.remove(slot)
                heapq.heapify(worker.free)
        self.update(worker)

    def give_back(self, worker: Worker, task: str) -> None:
        """A task holds its slot no longer. The worker is to be updated once it is judged."""
        slot = worker.held.pop(task)
        if 0 <= slot < worker.slots:  # it may have joined again with fewer
            heapq.heappush(worker.free, slot)

    def update(self, worker: Worker) -> None:
        """Bring the indices up to date with a worker."""
        room = worker.room(self.now)
        place = (worker.priority, -worker.speed.grade, -room) if room else None
        usable = not worker.out
        active = usable and self.now >= worker.rests_until
        supply = (1 if worker.probing else worker.slots) if active and worker.needs_prepared else 0
        counted = (usable, active) == (worker.usable, worker.active)
        if counted and place == worker.place and supply == worker.supply:
            return
        sides = [lane.side(worker.needs_prepared) for lane in self._lanes.values() if worker.name not in lane.unable]
        if not counted:
            for side in sides:
                side.count(worker, -1)
        self.supply[worker.needs_prepared] += supply - worker.supply
        worker.usable, worker.active, worker.place, worker.supply = usable, active, place, supply
        for side in sides:
            if not counted:
                side.count(worker, 1)
            side.move(worker)
        if place is not None:
            self.roomy[worker.name] = worker
        else:
            self.roomy.pop(worker.name, None)

    def choose(
        self,
        lane: Lane,
        sides: Collection[str],
        *,
        steady: bool,
        patient: bool,
        avoid: Collection[str],
        barred: Collection[str],
        affinity: str,
    ) -> Worker | None:
        """Lowest queue priority first; in it a worker that has the inputs, is faster, has most room.

        Args:
            lane: of the task.
            sides: the parts of plans that it may be.
            steady: where any such worker is steady, only those.
            patient: only those even where there is none yet.
            avoid: workers to be taken only where there is no other.
            barred: those of them that are not to be taken.
            affinity: key of the inputs.
        """
        found = [lane.sides[side] for side in sides if side in lane.sides]
        steady = patient or (steady and any(side.steady for side in found))
        indices = [side.steady_places if steady else side.places for side in found]
        best = self._best(indices, avoid)
        avoided = best is None and bool(avoid)
        if avoided:
            best = self._best(indices, barred)
        if best is None or affinity in best.seen:
            return best
        holders = self._holders.get(affinity, {})
        fewer = holders if len(holders) < len(self.roomy) else self.roomy
        nearer = [
            worker
            for worker in islice(fewer.values(), _LOOKS)
            if worker.place is not None
            and affinity in worker.seen
            and worker.priority == best.priority
            and worker.needs_prepared in sides
            and worker.name not in lane.unable
            and (worker.steady or not steady)
            and (worker.name in avoid) == avoided
            and worker.name not in barred
        ]
        return min(nearer, key=_order, default=best)

    def fastest_first(self) -> list[Worker]:
        """The workers with room that run whole plans."""
        found = [worker for worker in self.roomy.values() if not worker.needs_prepared]
        return sorted(found, key=lambda worker: (-worker.speed.grade, _order(worker)))

    def _best(self, indices: Iterable[Index[_Place]], avoid: Collection[str]) -> Worker | None:
        names = [name for name in (index.best(avoid) for index in indices) if name is not None]
        return min((self.workers[name] for name in names), key=_order, default=None)

    def _forget(self, worker: Worker, affinity: str) -> None:
        """A worker is no longer taken to have these inputs."""
        del worker.seen[affinity]
        holders = self._holders[affinity]
        del holders[worker.name]
        if not holders:
            del self._holders[affinity]


def _order(worker: Worker) -> tuple[_Place, str]:
    assert worker.place is not None  # noqa: S101  only workers with room are asked for
    return worker.place, worker.name
