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

Near the end a late task may run twice at once, on two workers (see :mod:`ras_runner.campaign.second`). The first that
completes ends it; the other is stopped, and holds its slot until its end is reported.

A decision costs O(log n) of workers and tasks: see :mod:`ras_runner.campaign.places` and
:mod:`ras_runner.campaign.waiting`.
"""

from __future__ import annotations

from collections import Counter
from sys import intern
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
    Pause,
    Policy,
    Progressed,
    Quarantine,
    Start,
    Stop,
    TaskAdded,
    Tick,
    WorkerJoined,
    WorkerLeft,
)
from ras_runner.campaign.expected import Paces
from ras_runner.campaign.pauses import Pauses, pause_after
from ras_runner.campaign.places import Places, Worker
from ras_runner.campaign.placing import Placed, Placing
from ras_runner.campaign.second import Late, run_on
from ras_runner.campaign.waiting import Queue, Run, Task, Waiting
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
    "Pause",
    "Policy",
    "Progressed",
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
#: The kind of tasks of which no size is known.
_NO_KIND = "?"


class Scheduler:
    """The queue of one campaign: feed it events, carry out its decisions, report what came of them."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._paces = Paces()
        self._places = Places()
        self._waiting = Waiting(self._paces)
        self._placing = Placing(self.policy, self._places, self._waiting)
        self._late = Late(self._places, self._paces, self.policy.second_saves or 0.0)
        self._pauses = Pauses()
        self._tasks: dict[str, Task] = {}
        #: Tasks with an attempt under way.
        self._busy: dict[str, Task] = {}
        self._open = self._running = self._want_steady = 0
        #: Whether a worker, a group or a task came or went since it was last seen which tasks no worker is left for.
        self._changed = False

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
        decisions += self._run_twice()
        return decisions

    @property
    def done(self) -> bool:
        """True when every task has an outcome."""
        return not self._open

    @property
    def running(self) -> int:
        """Attempts that hold a slot."""
        return self._running

    def next_wake(self) -> float | None:
        """When a :class:`Tick` may change something: the end of the first rest or pause; None when none is on."""
        ends = (self._places.next_wake(), self._pauses.next_end())
        return min((end for end in ends if end is not None), default=None)

    def takes_plans(self, worker: str) -> bool:
        """False for a worker that has not joined, has left, or is out for good; a quarantine is none of these."""
        return worker in self._places.workers and not self._places.workers[worker].out

    @property
    def want_steady(self) -> int:
        """Open tasks that were taken off workers so often that they want one which is not taken away."""
        return self._want_steady

    def expected(self, task: str) -> float | None:
        """Seconds that a task is expected to take a worker of speed 1; None while unknown."""
        known = self._tasks[task]
        pace = self._paces.pace(known.kind)
        return None if pace is None or known.size is None else known.size * pace

    def guessed(self) -> list[tuple[float, str]]:
        """(expected seconds, name) of the open tasks whose time was learned from others of their kind."""
        guesses = ((self.expected(task.name), task) for task in self._tasks.values() if task.kind)
        return [(seconds, task.name) for seconds, task in guesses if seconds is not None and task.outcome is None]

    def speed(self, worker: str) -> float:
        """How fast a worker is, as far as that is known: 2 when it needs half of what is expected."""
        return self._places.workers[worker].speed.value

    @property
    def learned(self) -> int:
        """From how many runs it has learned how long plans of known size take."""
        return self._paces.learned

    def stranded_without(self, *workers: str) -> list[str]:
        """The waiting tasks that no other worker could take, and no other group."""
        stranded = [queue for queue in self._waiting if not self._placing.has_use_for(queue, workers)]
        return [task.name for queue in stranded for task in queue]

    def waiting(self, names: Collection[str]) -> Counter[frozenset[str]]:
        """How many tasks wait, by which of the workers or groups named cannot run them."""
        counts: Counter[frozenset[str]] = Counter()
        for queue in self._waiting:
            counts[queue.lane.unable.intersection(names)] += queue.live
        return counts

    def held(self) -> Counter[str]:
        """How many attempts each worker has that are not over."""
        return Counter({name: len(worker.held) for name, worker in self._places.workers.items() if worker.held})

    def _take(self, event: Event) -> list[Decision]:
        match event:
            case AttemptEnded():
                return self._end(event)
            case Tick(at):
                self._wake(at)
            case Progressed(task, worker, done, at, began):
                run = run_on(self._tasks[task], worker)
                if run is not None:  # it may have ended meanwhile
                    run.done, run.at = (done, at), run.at if began is None else began
            case WorkerJoined():
                self._join(event)
            case WorkerLeft(name, reason):
                self._put_out(self._places.workers[name], reason or "left")
            case Expecting():
                self._placing.expecting, self._changed = event, True
            case TaskAdded():
                self._add(event)
            case Attached():
                self._attach(event)
            case CancelRequested(name):
                return self._cancel(name)
        return []

    def _wake(self, now: float) -> None:
        """Time has passed."""
        self._places.wake(now)
        for task, worker in self._pauses.over(self._places.now):
            waits = task.queue is not None
            self._waiting.take(task)
            task.barred -= {worker}
            if waits:
                self._wait(task)

    def _join(self, event: WorkerJoined) -> None:
        name = event.worker
        if event.slots < 1:
            raise ValueError(f"worker {name} has no slots")
        if self.takes_plans(name):
            raise ValueError(f"worker {name} has joined already")
        # what has run on since it left holds its slot
        before = self._places.workers.get(name)
        held = set() if before is None else set(before.held.values())
        free = [slot for slot in range(event.slots) if slot not in held]
        worker = Worker(
            name, event.slots, event.queue_priority, free, event.prepares, event.needs_prepared, event.steady
        )
        self._places.join(worker)
        self._changed = True
        self._placing.two_stages = self._placing.two_stages or bool(worker.needs_prepared)
        for known in event.unable & self._tasks.keys():
            self._change(self._tasks[known], unable=name)
        for known in event.prepared & self._tasks.keys():
            self._change(self._tasks[known], prepared=worker.needs_prepared)

    def _change(self, task: Task, *, unable: str | None = None, prepared: str | None = None) -> None:
        """One more worker cannot run a task, or it is prepared for one more kind."""
        if task.outcome is not None:
            return
        waited = task.queue is not None
        self._waiting.take(task)
        if prepared is not None:
            task.prepared |= {prepared}
        if unable is not None and unable not in task.lane.unable:
            before = task.lane
            task.lane = self._places.lane(before.unable | {unable})
            task.lane.tasks += 1
            before.tasks -= 1
        if waited:
            self._wait(task)

    def _add(self, event: TaskAdded) -> None:
        if event.task in self._tasks:
            raise ValueError(f"task {event.task} is there already")
        kind, size = (event.kind or "size", event.size) if event.expected is None else ("", event.expected)
        kind = _NO_KIND if size is None else kind
        lane = self._places.lane(event.unable)
        lane.tasks += 1
        task = Task(
            event.task,
            intern(event.affinity),  # many tasks have the same
            kind,
            size,
            len(self._tasks),
            lane,
            event.losses,
            event.failures,
            event.preemptions,
            event.prepared,
        )
        self._tasks[event.task] = task
        self._open += 1
        self._want_steady += self._placing.needs_steady(task)
        self._wait(task)

    def _wait(self, task: Task) -> None:
        self._waiting.put(task, steady=self._placing.needs_steady(task))
        self._changed = True

    def _attach(self, event: Attached) -> None:
        task, worker = self._tasks[event.task], self._places.workers[event.worker]
        if task.outcome is not None or any(run.worker == worker.name for run in task.runs):
            raise ValueError(f"task {task.name} is running or over")
        if event.slot != NO_SLOT and event.slot not in worker.free:
            raise ValueError(f"slot {event.slot} of {worker.name} is in use")
        task.twice = bool(task.runs)
        self._occupy(task, worker, event.slot, event.stage, self._places.now if event.at is None else event.at)

    def _occupy(self, task: Task, worker: Worker, slot: int, stage: Stage, at: float) -> None:
        self._waiting.take(task)
        self._places.take(worker, task.name, slot, task.affinity)
        prepares = worker.prepares if stage is Stage.PREPARE else ""
        task.runs = (*task.runs, Run(worker.name, stage, at, prepares, watched=self._places.now))
        self._busy[task.name] = task
        self._running += 1
        if prepares:
            self._placing.preparing[prepares] += 1

    def _end(self, event: AttemptEnded) -> list[Decision]:
        task = self._tasks[event.task]
        run = run_on(task, event.worker)
        if run is None:
            raise ValueError(f"task {task.name} is not running{f' on {event.worker}' if event.worker else ''}")
        self._wake(event.at)
        worker = self._places.workers[run.worker]
        self._release(task, run, worker)
        self._learn(task, run, worker, event)
        decisions = self._judge_worker(worker, event)
        self._places.update(worker)
        if task.outcome is not None:  # the other run of it was first
            return decisions
        return decisions + self._judge_task(task, worker, event)

    def _release(self, task: Task, run: Run, worker: Worker) -> None:
        self._places.give_back(worker, task.name)
        task.runs = tuple(other for other in task.runs if other is not run)
        if not task.runs:
            del self._busy[task.name]
        self._running -= 1
        if run.prepares:
            self._placing.preparing[run.prepares] -= 1

    def _learn(self, task: Task, run: Run, worker: Worker, event: AttemptEnded) -> None:
        """How long the plan took says something about plans of its kind, and about the worker."""
        if event.seconds is None or task.size is None or run.stage is Stage.PREPARE or not event.outcome.success:
            return
        speed = worker.speed.value
        self._paces.learn(task.kind, task.size, event.seconds, speed)
        expected = self.expected(task.name)
        if expected is not None:
            worker.speed.learn(event.seconds, expected)

    def _judge_worker(self, worker: Worker, event: AttemptEnded) -> list[Decision]:
        if event.blame is Blame.NOBODY:
            if event.outcome.success or event.outcome.model_failure:  # the machine did its part
                worker.strikes, worker.probing = 0, False
            return []
        if worker.out or event.blame.part:
            return []
        if self._places.now < worker.rests_until and event.blame is Blame.WORKER:
            return []  # one incident (a reboot, say) ends all attempts on a machine: it counts once
        worker.strikes += 1
        worker.probing = True
        if event.blame is Blame.WORKER_FOR_GOOD or worker.strikes >= self.policy.strikes:
            self._put_out(worker, event.reason or "lost too often")
            return [Quarantine(worker.name, 0.0, True, event.reason)]
        rest = min(self.policy.quarantine * 2.0 ** (worker.strikes - 1), self.policy.quarantine_limit)
        self._places.rest(worker, self._places.now + rest)
        return [Quarantine(worker.name, rest, False, event.reason)]

    def _put_out(self, worker: Worker, reason: str) -> None:
        worker.out = reason
        self._places.update(worker)
        self._changed = True

    def _judge_task(self, task: Task, worker: Worker, event: AttemptEnded) -> list[Decision]:
        if event.prepared is not None:
            kind = worker.prepares or worker.needs_prepared
            task.prepared = task.prepared | {kind} if event.prepared else task.prepared - {kind}
        if task.cancelled and (event.prepared or not event.outcome.success):
            goes_on, outcome, reason = False, Outcome.CANCELLED, event.reason or "cancelled"
        else:
            goes_on, outcome, reason = self._goes_on(task, worker, event), event.outcome, event.reason
        if task.runs and not outcome.success:
            return []  # its other run goes on, and decides
        if goes_on:
            paused = self._pause(task, worker, event) if event.blame.part else []
            self._wait(task)
            return paused
        others = [Stop(task.name, run.worker) for run in task.runs]
        return [self._finish(task, outcome, reason, worker.name), *others]

    def _pause(self, task: Task, worker: Worker, event: AttemptEnded) -> list[Decision]:
        """Keep a task off a worker for a while, as the part that has lost it may be the next that is free."""
        task.parts += 1
        seconds = pause_after(task.parts, self.policy.quarantine, self.policy.quarantine_limit)
        self._pauses.add(task, worker.name, self._places.now + seconds)
        return [Pause(task.name, worker.name, seconds, event.reason)]

    def _goes_on(self, task: Task, worker: Worker, event: AttemptEnded) -> bool:
        """Whether a task is to have another attempt."""
        if event.outcome is Outcome.PREEMPTED:
            wanted = self._placing.needs_steady(task)
            task.preemptions += 1
            self._want_steady += self._placing.needs_steady(task) - wanted
            return True
        if event.prepared:
            return True
        blamed = event.outcome is Outcome.INFRASTRUCTURE_LOST and event.blame is not Blame.NOBODY
        if blamed:
            task.avoid |= {worker.name}
        if blamed or event.prepared is False:
            task.losses += event.blame.loss or 1.0
            return task.losses < self.policy.losses
        if event.outcome.model_failure:
            task.failures += 1
            return task.failures <= self.policy.retries
        return False

    def _finish(self, task: Task, outcome: Outcome, reason: str, worker: str = "") -> Finish:
        self._waiting.take(task)
        task.outcome = outcome
        self._open -= 1
        self._want_steady -= self._placing.needs_steady(task)
        task.lane.tasks -= 1
        return Finish(task.name, outcome, reason, worker)

    def _cancel(self, name: str | None) -> list[Decision]:
        chosen = [self._tasks[name]] if name is not None else list(self._tasks.values())
        decisions: list[Decision] = []
        for task in chosen:
            if task.outcome is not None or task.cancelled:
                continue
            task.cancelled = True
            decisions.append(
                Stop(task.name) if task.runs else self._finish(task, Outcome.CANCELLED, "cancelled before it started")
            )
        return decisions

    def _fill(self) -> list[Decision]:
        if not self._waiting.count or not self._has_room():
            return []
        if not self._placing.two_stages:
            return self._give_slots(self._placing.whole)
        # what is prepared goes where nothing else can go; what finds no room there takes what the others have left
        decisions = self._give_slots(self._placing.solved, lambda queue: bool(queue.prepared))
        lacking = self._placing.lacking()
        decisions += self._give_slots(lambda task: self._placing.whole(task, lacking), lambda queue: not queue.prepared)
        return decisions + self._give_slots(self._placing.whole)

    def _give_slots(
        self,
        place: Callable[[Task], Placed | None],
        wanted: Callable[[Queue], bool] = lambda _: True,
    ) -> list[Decision]:
        decisions: list[Decision] = []

        def give(task: Task) -> bool:
            placed = place(task)
            if placed is not None:
                decisions.append(self._start(task, *placed))
            return placed is not None

        self._waiting.give(wanted, give, self._has_room)
        return decisions

    def _start(self, task: Task, worker: Worker, stage: Stage) -> Start:
        slot = worker.free[0]
        self._occupy(task, worker, slot, stage, self._places.now)
        return Start(task.name, worker.name, slot, stage)

    def _has_room(self) -> bool:
        limit = self.policy.max_concurrent
        return bool(self._places.roomy) and (limit is None or self._running < limit)

    def _run_twice(self) -> list[Decision]:
        """Where nothing waits, give free workers the plans that are late on theirs."""
        if self.policy.second_saves is None or self._waiting.count or not self._busy or not self._has_room():
            return []
        if not self._late.due(len(self._busy)):
            return []
        decisions: list[Decision] = []
        free = self._places.fastest_first()
        for task in self._late.candidates(self._busy.values()):
            while free and free[0].place is None:
                del free[0]
            if not free or not self._has_room():
                break
            worker = self._placing.elsewhere(task, free)
            if worker is not None and self._late.gains(task, worker.name):
                task.twice = True
                decisions.append(self._start(task, worker, Stage.WHOLE))
        return decisions

    def _give_up(self) -> list[Decision]:
        """Tasks that no worker is left for, that could ever take them, end with the reason."""
        if not self._changed:
            return []
        self._changed = False
        over = [task for queue in self._waiting if not self._placing.has_use_for(queue) for task in queue]
        return [self._finish(task, Outcome.INFRASTRUCTURE_LOST, self._nobody(task)) for task in over]

    def _nobody(self, task: Task) -> str:
        unable = task.lane.unable
        able = [w for w in self._places.workers.values() if w.name not in unable]
        groups = [f"{name}: {out}" for name, out in self._placing.expecting.groups.items() if name not in unable]
        reasons = [f"{w.name}: {w.out or f'it only solves what {w.needs_prepared} has prepared'}" for w in able]
        more = [f"and {len(reasons) - _REASONS} others"] if len(reasons) > _REASONS else []
        why = "; ".join([*sorted(groups), *sorted(reasons)[:_REASONS], *more])
        return f"no usable worker is left: {why or 'none has joined that can run it'}"
