"""Which plan runs where and when. A pure state machine: events in, decisions out; no I/O, no clock, no threads.

States of a task::

    ready -> running -> ended            (ended: it has an outcome, for good)
      ^         |
      +---------+   worker lost, preempted, prepared, or a repeat that was asked for

States of a worker::

    healthy -> quarantined -> probing -> healthy
                    ^            |
                    +------------+   lost again: a longer quarantine; after too many, out for good

Some workers only solve what another one has prepared. A plan is then prepared in one attempt, is ready again, and is
solved in the next. A worker that can prepare does so while those that solve have, or soon have, too little to do.

A task that is stopped (cancelled) stays *running* until its attempt is reported as ended, so that a slot is never
given away while something may still run in it.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ras_runner.campaign.decisions import (
    Attached,
    AttemptEnded,
    Blame,
    CancelRequested,
    Decision,
    Event,
    Expecting,
    Finish,
    Policy,
    Quarantine,
    Start,
    Stop,
    TaskAdded,
    Tick,
    WorkerJoined,
    WorkerLeft,
)
from ras_runner.engines.base import Stage
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = [
    "NO_SLOT",
    "Attached",
    "AttemptEnded",
    "Blame",
    "CancelRequested",
    "Decision",
    "Event",
    "Expecting",
    "Finish",
    "Policy",
    "Quarantine",
    "Scheduler",
    "Start",
    "Stop",
    "TaskAdded",
    "Tick",
    "WorkerJoined",
    "WorkerLeft",
]

#: The slot of an attempt that computes no more.
NO_SLOT = -1
#: Of so many workers it is said why they are of no use.
_REASONS = 20


@dataclass(slots=True)
class _Task:
    name: str
    #: Losses, minus the expected length, place in the campaign: a plan that lost its worker lets others go first,
    #: lest one plan that kills workers is the probe of each.
    order: tuple[int, float, int]
    affinity: str
    losses: int
    failures: int
    preemptions: int
    unable: frozenset[str]
    prepared: set[str]
    worker: str | None = None
    slot: int = NO_SLOT
    stage: Stage = Stage.WHOLE
    cancelled: bool = False
    outcome: Outcome | None = None
    avoid: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Worker:
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
    seen: set[str] = field(default_factory=set)

    def may_run(self, task: _Task) -> bool:
        """Whether it may run this task to its end, as the task is now."""
        return self.name not in task.unable and (not self.needs_prepared or self.needs_prepared in task.prepared)

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
        #: Whether any worker solves only what is prepared.
        self._two_stages = False
        self._now = -math.inf
        self._expecting = Expecting({})

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

    @property
    def want_steady(self) -> int:
        """Open tasks that were taken off workers so often that they want one which is not taken away."""
        return sum(task.outcome is None and self._needs_steady(task) for task in self._tasks.values())

    def stranded_without(self, *workers: str) -> list[str]:
        """The waiting tasks that no other worker could take, and no other group."""
        others = [known for name, known in self._workers.items() if not known.out and name not in workers]
        waiting = (task for task in self._tasks.values() if task.outcome is None and task.worker is None)
        left = (task for task in waiting if not any(other.may_run(task) for other in others))
        return [task.name for task in left if not self._comes_for(task, workers)]

    def waiting(self, names: Collection[str]) -> Counter[frozenset[str]]:
        """How many tasks wait, by which of the workers or groups named cannot run them."""
        waiting = (task for task in self._tasks.values() if task.outcome is None and task.worker is None)
        return Counter(task.unable.intersection(names) for task in waiting)

    def held(self) -> Counter[str]:
        """How many attempts each worker has that are not over."""
        return Counter(task.worker for task in self._tasks.values() if task.worker is not None)

    def _take(self, event: Event) -> list[Decision]:
        match event:
            case WorkerJoined():
                self._join(event)
            case WorkerLeft(name, reason):
                self._workers[name].out = reason or "left"
            case Expecting():
                self._expecting = event
            case TaskAdded():
                self._add(event)
            case Attached(task, worker, slot, stage):
                self._occupy(self._tasks[task], self._workers[worker], slot, stage)
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
        worker = _Worker(
            name, event.slots, event.queue_priority, free, event.prepares, event.needs_prepared, event.steady
        )
        if name in self._workers:
            worker.seen = self._workers[name].seen
        self._workers[name] = worker
        self._two_stages = self._two_stages or bool(worker.needs_prepared)
        for unable in event.unable & self._tasks.keys():
            self._tasks[unable].unable |= {name}
            self._some_unable = True
        for prepared in event.prepared & self._tasks.keys():
            self._tasks[prepared].prepared.add(worker.needs_prepared)

    def _add(self, event: TaskAdded) -> None:
        if event.task in self._tasks:
            raise ValueError(f"task {event.task} is there already")
        length = math.inf if event.expected is None else event.expected
        order = (event.losses, -length, len(self._tasks))
        task = _Task(
            event.task,
            order,
            event.affinity,
            event.losses,
            event.failures,
            event.preemptions,
            event.unable,
            set(event.prepared),
        )
        self._tasks[event.task] = task
        self._some_unable = self._some_unable or bool(event.unable)
        heapq.heappush(self._ready, (task.order, task.name))

    def _occupy(self, task: _Task, worker: _Worker, slot: int, stage: Stage) -> None:
        if task.worker is not None or task.outcome is not None:
            raise ValueError(f"task {task.name} is running or over")
        if slot != NO_SLOT:
            if slot not in worker.free:
                raise ValueError(f"slot {slot} of {worker.name} is in use")
            worker.free.remove(slot)
        worker.seen.add(task.affinity)
        task.worker, task.slot, task.stage = worker.name, slot, stage
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
        if event.prepared is not None:
            (task.prepared.add if event.prepared else task.prepared.discard)(worker.prepares or worker.needs_prepared)
        if task.cancelled and (event.prepared or not event.outcome.success):
            return [self._finish(task, Outcome.CANCELLED, event.reason or "cancelled")]
        if self._goes_on(task, worker, event):
            return self._requeue(task)
        return [self._finish(task, event.outcome, event.reason)]

    def _goes_on(self, task: _Task, worker: _Worker, event: AttemptEnded) -> bool:
        """Whether a task is to have another attempt."""
        if event.outcome is Outcome.PREEMPTED:
            task.preemptions += 1
            return True
        if event.prepared:
            return True
        blamed = event.outcome is Outcome.INFRASTRUCTURE_LOST and event.blame is not Blame.NOBODY
        if blamed:
            task.avoid.add(worker.name)
        if blamed or event.prepared is False:
            task.losses += 1
            task.order = (task.losses, *task.order[1:])
            return task.losses < self.policy.losses
        if event.outcome.model_failure:
            task.failures += 1
            return task.failures <= self.policy.retries
        return False

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
        if not self._two_stages:
            return self._give_slots(self._place)
        # what is prepared goes where nothing else can go; what finds no room there takes what the others have left
        decisions = self._give_slots(self._place_prepared)
        lacking = self._lacking()
        decisions += self._give_slots(lambda task: None if task.prepared else self._place(task, lacking))
        return decisions + self._give_slots(self._place)

    def _give_slots(self, place: Callable[[_Task], tuple[_Worker, Stage] | None]) -> list[Decision]:
        decisions: list[Decision] = []
        waiting: list[tuple[tuple[int, float, int], str]] = []
        while self._ready and not self._full() and any(w.room(self._now) for w in self._workers.values()):
            entry = heapq.heappop(self._ready)
            task = self._tasks[entry[1]]
            if task.outcome is not None or task.worker is not None:
                continue  # cancelled, or attached, while it was waiting
            placed = place(task)
            if placed is None:
                waiting.append(entry)
                continue
            worker, stage = placed
            slot = worker.free[0]
            self._occupy(task, worker, slot, stage)
            decisions.append(Start(task.name, worker.name, slot, stage))
        for entry in waiting:
            heapq.heappush(self._ready, entry)
        return decisions

    def _full(self) -> bool:
        limit = self.policy.max_concurrent
        return limit is not None and self._running >= limit

    def _place_prepared(self, task: _Task) -> tuple[_Worker, Stage] | None:
        worker = self._choose(task, [w for w in self._workers.values() if w.needs_prepared and w.may_run(task)])
        return None if worker is None else (worker, Stage.SOLVE)

    def _place(self, task: _Task, lacking: Counter[str] | None = None) -> tuple[_Worker, Stage] | None:
        """Where a task runs whole or, while plans are ``lacking`` for workers that only solve, is prepared for them."""
        worker = self._choose(task, [w for w in self._workers.values() if not w.needs_prepared and w.may_run(task)])
        if worker is None:
            return None
        if lacking is None or lacking[worker.prepares] <= 0 or not self._solvers(worker.prepares, task):
            return worker, Stage.WHOLE
        lacking[worker.prepares] -= 1
        return worker, Stage.PREPARE

    def _choose(self, task: _Task, workers: list[_Worker]) -> _Worker | None:
        """Lowest queue priority first; in it a worker that has not lost this task, has its inputs, has most room."""
        if self._needs_steady(task) and (self._expecting.steady or any(w.steady for w in workers if not w.out)):
            workers = [w for w in workers if w.steady]
        return min(
            (w for w in workers if w.room(self._now)),
            key=lambda w: (w.name in task.avoid, w.priority, task.affinity not in w.seen, -w.room(self._now), w.name),
            default=None,
        )

    def _needs_steady(self, task: _Task) -> bool:
        return task.preemptions >= self.policy.preemptions

    def _solvers(self, kind: str, task: _Task | None = None) -> list[_Worker]:
        """The workers in use that only solve what is prepared for ``kind``, and can run the task."""
        return [
            w
            for w in self._workers.values()
            if w.needs_prepared == kind != ""
            and not w.out
            and self._now >= w.rests_until
            and (task is None or w.name not in task.unable)
        ]

    def _lacking(self) -> Counter[str]:
        """How many plans are to be prepared now, so that one waits for each slot that solves."""
        lacking: Counter[str] = Counter()
        for kind in {w.needs_prepared for w in self._workers.values()}:
            lacking[kind] = sum(1 if w.probing else w.slots for w in self._solvers(kind))
        for task in self._tasks.values():
            if task.outcome is None and task.worker is None:
                lacking.subtract(task.prepared)
            elif task.worker is not None and task.stage is Stage.PREPARE:
                lacking[self._workers[task.worker].prepares] -= 1
        return lacking

    def _give_up(self) -> list[Decision]:
        """Tasks that no worker is left for, that could ever take them, end with the reason."""
        usable = [worker for worker in self._workers.values() if not worker.out]
        all_the_same = not self._two_stages and (not self._some_unable or len(usable) == len(self._workers))
        if usable and all_the_same:
            return []
        decisions: list[Decision] = []
        kept = []
        for entry in self._ready:
            task = self._tasks[entry[1]]
            if task.outcome is not None or task.worker is not None:
                continue
            if any(worker.may_run(task) for worker in usable) or self._comes_for(task):
                kept.append(entry)
            else:
                decisions.append(self._finish(task, Outcome.INFRASTRUCTURE_LOST, self._nobody(task)))
        heapq.heapify(kept)
        self._ready = kept
        return decisions

    def _comes_for(self, task: _Task, without: Collection[str] = ()) -> bool:
        """Whether a worker that could run a task may yet join from a group."""
        groups = self._expecting.groups.items()
        return any(not out and name not in task.unable and name not in without for name, out in groups)

    def _nobody(self, task: _Task) -> str:
        able = [w for w in self._workers.values() if w.name not in task.unable]
        groups = [f"{name}: {out}" for name, out in self._expecting.groups.items() if name not in task.unable]
        reasons = [f"{w.name}: {w.out or f'it only solves what {w.needs_prepared} has prepared'}" for w in able]
        more = [f"and {len(reasons) - _REASONS} others"] if len(reasons) > _REASONS else []
        why = "; ".join([*sorted(groups), *sorted(reasons)[:_REASONS], *more])
        return f"no usable worker is left: {why or 'none has joined that can run it'}"
