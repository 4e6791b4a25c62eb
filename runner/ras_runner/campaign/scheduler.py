"""Which plan runs where and when. A pure state machine: events in, decisions out; no I/O, no clock, no threads.

States of a task::

    ready -> running -> ended            (ended: it has an outcome, for good)
      ^         |
      +---------+   worker lost, preempted, or a repeat that was asked for

States of a worker::

    healthy -> quarantined -> probing -> healthy
                    ^            |
                    +------------+   lost again: a longer quarantine; after too many, out for good

A task that is stopped (cancelled) stays *running* until its attempt is reported as ended, so that a slot is never
given away while something may still run in it.
"""

from __future__ import annotations

import bisect
import heapq
import math
from dataclasses import dataclass, field
from enum import StrEnum

from ras_runner.outcomes import Outcome

#: The slot of an attempt that computes no more.
NO_SLOT = -1


class Blame(StrEnum):
    """Whose fault the end of an attempt was."""

    NOBODY = "nobody"
    WORKER = "worker"
    #: A person must act before this worker can be used again.
    WORKER_FOR_GOOD = "worker-for-good"


@dataclass(frozen=True, slots=True)
class Policy:
    """When work is repeated and workers are left alone.

    Attributes:
        retries: how often a plan is repeated after a failure of the model itself.
        losses: how often a plan may lose its worker before it is given up.
        quarantine: seconds that a worker rests after its first loss; doubled with each further one.
        quarantine_limit: longest rest, seconds.
        strikes: losses in a row after which a worker is out for good.
        max_concurrent: limit of plans running at once over all workers; None for no limit.
    """

    retries: int = 0
    losses: int = 5
    quarantine: float = 5.0
    quarantine_limit: float = 900.0
    strikes: int = 4
    max_concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker can take plans: ``slots`` at once, lower ``queue_priority`` first; again, when it had left or was out.

    ``unable``: those of the tasks that are there already which its engine cannot run.
    """

    worker: str
    slots: int
    queue_priority: int = 0
    unable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker takes no further plans; what runs there goes on."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaskAdded:
    """A plan is to be run.

    Attributes:
        task: its name.
        expected: expected run time in seconds; None when unknown (treated as long).
        affinity: key of its large inputs; workers that have run the same key before are preferred.
        losses, failures: what it has behind it (a resumed campaign).
        unable: workers whose engine cannot run it.
    """

    task: str
    expected: float | None = None
    affinity: str = ""
    losses: int = 0
    failures: int = 0
    unable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Attached:
    """An attempt that was started earlier: it holds its slot, or none (-1) when only its result is left to publish."""

    task: str
    worker: str
    slot: int


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt is over and its slot is free."""

    task: str
    outcome: Outcome
    at: float
    reason: str = ""
    blame: Blame = Blame.NOBODY


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Stop one task, or all when ``task`` is None."""

    task: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: quarantines may be over. ``at`` is in seconds on the caller's clock."""

    at: float


Event = WorkerJoined | WorkerLeft | TaskAdded | Attached | AttemptEnded | CancelRequested | Tick


@dataclass(frozen=True, slots=True)
class Start:
    """Begin an attempt of a task in a slot of a worker."""

    task: str
    worker: str
    slot: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the running attempt of a task; its end is to be reported."""

    task: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The task has its outcome."""

    task: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A worker rests for ``seconds``; with ``for_good`` it is out."""

    worker: str
    seconds: float
    for_good: bool
    reason: str


Decision = Start | Stop | Finish | Quarantine


@dataclass(slots=True)
class _Task:
    name: str
    #: Losses, minus the expected length, place in the campaign: a plan that lost its worker lets others go first,
    #: lest one plan that kills workers is the probe of each.
    order: tuple[int, float, int]
    affinity: str
    losses: int
    failures: int
    unable: frozenset[str]
    worker: str | None = None
    slot: int = NO_SLOT
    cancelled: bool = False
    outcome: Outcome | None = None
    avoid: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Worker:
    name: str
    slots: int
    priority: int
    free: list[int]
    strikes: int = 0
    rests_until: float = -math.inf
    probing: bool = False
    out: str = ""
    seen: set[str] = field(default_factory=set)

    def room(self, now: float) -> int:
        """Slots that may be given away now: none while resting, one at a time while on probation."""
        if self.out or now < self.rests_until:
            return 0
        if self.probing:
            return 1 if len(self.free) == self.slots else 0
        return len(self.free)


class Scheduler:
    """The queue of one campaign: feed it events, carry out its decisions, report what came of them."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._tasks: dict[str, _Task] = {}
        self._workers: dict[str, _Worker] = {}
        self._ready: list[tuple[tuple[int, float, int], str]] = []
        self._running = 0
        self._some_unable = False
        self._now = -math.inf

    def handle(self, *events: Event) -> list[Decision]:
        """Take events in, in order, and decide.

        Raises:
            ValueError: an event that contradicts the state (an unknown task, a slot in use): a programming error.
        """
        decisions: list[Decision] = []
        for event in events:
            decisions += self._take(event)
        decisions += self._fill()
        decisions += self._give_up()
        return decisions

    @property
    def done(self) -> bool:
        """True when every task has an outcome."""
        return all(task.outcome is not None for task in self._tasks.values())

    @property
    def running(self) -> int:
        """Attempts that hold a slot."""
        return self._running

    def next_wake(self) -> float | None:
        """When a :class:`Tick` may change something: the end of the first quarantine; None when none is on."""
        rests = [w.rests_until for w in self._workers.values() if not w.out and w.rests_until > self._now]
        return min(rests, default=None)

    def takes_plans(self, worker: str) -> bool:
        """False for a worker that has not joined, has left, or is out for good; a quarantine is none of these."""
        return worker in self._workers and not self._workers[worker].out

    def stranded_without(self, worker: str) -> list[str]:
        """The waiting tasks that no other worker could take."""
        others = {name for name, known in self._workers.items() if not known.out} - {worker}
        waiting = (task for task in self._tasks.values() if task.outcome is None and task.worker is None)
        return [task.name for task in waiting if not others - task.unable]

    def _take(self, event: Event) -> list[Decision]:
        match event:
            case WorkerJoined():
                self._join(event)
            case WorkerLeft(name, reason):
                self._workers[name].out = reason or "left"
            case TaskAdded():
                self._add(event)
            case Attached(task, worker, slot):
                self._occupy(self._tasks[task], self._workers[worker], slot)
            case AttemptEnded():
                return self._end(event)
            case CancelRequested(name):
                return self._cancel(name)
            case Tick(at):
                self._now = max(self._now, at)
        return []

    def _join(self, event: WorkerJoined) -> None:
        name = event.worker
        if event.slots < 1:
            raise ValueError(f"worker {name} has no slots")
        if self.takes_plans(name):
            raise ValueError(f"worker {name} has joined already")
        # what has run on since it left holds its slot
        held = {task.slot for task in self._tasks.values() if task.worker == name}
        free = [slot for slot in range(event.slots) if slot not in held]
        seen = self._workers[name].seen if name in self._workers else set()
        self._workers[name] = _Worker(name, event.slots, event.queue_priority, free, seen=seen)
        for unable in event.unable & self._tasks.keys():
            self._tasks[unable].unable |= {name}
            self._some_unable = True

    def _add(self, event: TaskAdded) -> None:
        if event.task in self._tasks:
            raise ValueError(f"task {event.task} is there already")
        length = math.inf if event.expected is None else event.expected
        order = (event.losses, -length, len(self._tasks))
        task = _Task(event.task, order, event.affinity, event.losses, event.failures, event.unable)
        self._tasks[event.task] = task
        self._some_unable = self._some_unable or bool(event.unable)
        heapq.heappush(self._ready, (task.order, task.name))

    def _occupy(self, task: _Task, worker: _Worker, slot: int) -> None:
        if task.worker is not None or task.outcome is not None:
            raise ValueError(f"task {task.name} is running or over")
        if slot != NO_SLOT:
            if slot not in worker.free:
                raise ValueError(f"slot {slot} of {worker.name} is in use")
            worker.free.remove(slot)
        worker.seen.add(task.affinity)
        task.worker, task.slot = worker.name, slot
        self._running += 1

    def _end(self, event: AttemptEnded) -> list[Decision]:
        task = self._tasks[event.task]
        if task.worker is None:
            raise ValueError(f"task {task.name} is not running")
        self._now = max(self._now, event.at)
        worker = self._workers[task.worker]
        if task.slot != NO_SLOT and task.slot < worker.slots:  # it may have joined again with fewer
            bisect.insort(worker.free, task.slot)
        task.worker, task.slot = None, NO_SLOT
        self._running -= 1
        decisions = self._judge_worker(worker, event)
        return decisions + self._judge_task(task, worker, event)

    def _judge_worker(self, worker: _Worker, event: AttemptEnded) -> list[Decision]:
        if event.blame is Blame.NOBODY:
            if event.outcome.success or event.outcome.model_failure:  # the machine did its part
                worker.strikes, worker.probing = 0, False
            return []
        if worker.out:
            return []
        if self._now < worker.rests_until and event.blame is Blame.WORKER:
            return []  # one incident (a reboot, say) ends all attempts on a machine: it counts once
        worker.strikes += 1
        worker.probing = True
        if event.blame is Blame.WORKER_FOR_GOOD or worker.strikes >= self.policy.strikes:
            worker.out = event.reason or "lost too often"
            return [Quarantine(worker.name, 0.0, True, event.reason)]
        rest = min(self.policy.quarantine * 2.0 ** (worker.strikes - 1), self.policy.quarantine_limit)
        worker.rests_until = self._now + rest
        return [Quarantine(worker.name, rest, False, event.reason)]

    def _judge_task(self, task: _Task, worker: _Worker, event: AttemptEnded) -> list[Decision]:
        if task.cancelled and not event.outcome.success:
            return [self._finish(task, Outcome.CANCELLED, event.reason or "cancelled")]
        if event.outcome is Outcome.PREEMPTED:
            return self._requeue(task)
        if event.outcome is Outcome.INFRASTRUCTURE_LOST and event.blame is not Blame.NOBODY:
            task.losses += 1
            task.order = (task.losses, *task.order[1:])
            task.avoid.add(worker.name)
            if task.losses < self.policy.losses:
                return self._requeue(task)
        elif event.outcome.model_failure:
            task.failures += 1
            if task.failures <= self.policy.retries:
                return self._requeue(task)
        return [self._finish(task, event.outcome, event.reason)]

    def _requeue(self, task: _Task) -> list[Decision]:
        heapq.heappush(self._ready, (task.order, task.name))
        return []

    def _finish(self, task: _Task, outcome: Outcome, reason: str) -> Finish:
        task.outcome = outcome
        return Finish(task.name, outcome, reason)

    def _cancel(self, name: str | None) -> list[Decision]:
        chosen = [self._tasks[name]] if name is not None else list(self._tasks.values())
        decisions: list[Decision] = []
        for task in chosen:
            if task.outcome is not None or task.cancelled:
                continue
            task.cancelled = True
            decisions.append(
                Stop(task.name)
                if task.worker is not None
                else self._finish(task, Outcome.CANCELLED, "cancelled before it started")
            )
        return decisions

    def _fill(self) -> list[Decision]:
        decisions: list[Decision] = []
        waiting: list[tuple[tuple[int, float, int], str]] = []
        while self._ready and not self._full() and any(w.room(self._now) for w in self._workers.values()):
            entry = heapq.heappop(self._ready)
            task = self._tasks[entry[1]]
            if task.outcome is not None or task.worker is not None:
                continue  # cancelled, or attached, while it was waiting
            worker = self._choose(task)
            if worker is None:
                waiting.append(entry)
                continue
            slot = worker.free[0]
            self._occupy(task, worker, slot)
            decisions.append(Start(task.name, worker.name, slot))
        for entry in waiting:
            heapq.heappush(self._ready, entry)
        return decisions

    def _full(self) -> bool:
        limit = self.policy.max_concurrent
        return limit is not None and self._running >= limit

    def _choose(self, task: _Task) -> _Worker | None:
        """Lowest queue priority first; in it a worker that has not lost this task, has its inputs, has most room."""
        able = [w for w in self._workers.values() if w.name not in task.unable and w.room(self._now)]
        return min(
            able,
            key=lambda w: (w.name in task.avoid, w.priority, task.affinity not in w.seen, -w.room(self._now), w.name),
            default=None,
        )

    def _give_up(self) -> list[Decision]:
        """Tasks that no worker is left for, that could ever take them, end with the reason."""
        usable = {name for name, worker in self._workers.items() if not worker.out}
        if usable and not (self._some_unable and any(w.out for w in self._workers.values())):
            return []
        decisions: list[Decision] = []
        kept = []
        for entry in self._ready:
            task = self._tasks[entry[1]]
            if task.outcome is not None or task.worker is not None:
                continue
            if usable - task.unable:
                kept.append(entry)
            else:
                decisions.append(self._finish(task, Outcome.INFRASTRUCTURE_LOST, self._nobody(task)))
        heapq.heapify(kept)
        self._ready = kept
        return decisions

    def _nobody(self, task: _Task) -> str:
        able = [w for w in self._workers.values() if w.name not in task.unable]
        why = "; ".join(sorted(f"{w.name}: {w.out}" for w in able)) or "none has joined that can run it"
        return f"no usable worker is left: {why}"
