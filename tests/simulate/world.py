"""A world for the production scheduler on a virtual clock: plans that take their time, workers that come and go.

Nothing of the scheduler is modelled: it is the one that campaigns run on. The world only carries out what it decides.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ras_runner.campaign.scheduler import (
    AttemptEnded,
    Blame,
    Decision,
    Event,
    Start,
    Stop,
    TaskAdded,
    Tick,
    WorkerJoined,
)
from ras_runner.outcomes import Outcome

#: Speeds of workers, each as frequent as the others.
SPEEDS = (0.5, 0.7, 1.0, 1.4, 2.0)
#: Fraction of the workers that are spot machines, where there are preemptions.
SPOT = 0.7
#: Virtual seconds after which a plan on a lost worker is given up, and between two ticks.
LOST_AFTER, TICK = 120.0, 60.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a simulated campaign is like. Times in seconds on a worker of speed 1.

    Attributes:
        plans, workers: how many.
        sigma: of the logarithm of the plans' run times; their median is an hour.
        error: sigma of what a plan takes over what was expected.
        loss: fraction of the workers that are lost for good, at any time of the campaign.
        preemption: fraction of all attempts that are taken off their worker, at any time of their run.
        geometries: each plan has one of so many.
        seed: of the dice.
    """

    plans: int
    workers: int
    sigma: float = 0.8
    error: float = 0.1
    loss: float = 0.0
    preemption: float = 0.0
    geometries: int = 1000
    seed: int = 20261122


class Chooser(Protocol):
    """The scheduler, or what it is compared with."""

    def handle(self, *events: Event) -> list[Decision]:
        """Take events in and decide."""


class World:
    """Plans, workers and their fate, drawn once: every chooser meets the same."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        dice = random.Random(scenario.seed)
        self.expected = [3600.0 * dice.lognormvariate(0.0, scenario.sigma) for _ in range(scenario.plans)]
        self.work = [seconds * dice.lognormvariate(0.0, scenario.error) for seconds in self.expected]
        self.speed = [dice.choice(SPEEDS) for _ in range(scenario.workers)]
        self.spot = [scenario.preemption > 0.0 and dice.random() < SPOT for _ in range(scenario.workers)]
        lost = dice.sample(range(scenario.workers), round(scenario.loss * scenario.workers))
        self.lost_at = {worker: dice.random() * self.bound for worker in lost}
        self._geometry = [dice.randrange(scenario.geometries) for _ in range(scenario.plans)]

    @property
    def bound(self) -> float:
        """No campaign of these plans on these workers can be shorter, faults or none."""
        return max(sum(self.work) / sum(self.speed), max(self.work) / max(self.speed))

    def workers(self) -> Iterable[WorkerJoined]:
        """The workers as they join."""
        return (WorkerJoined(str(n), 1, steady=not spot) for n, spot in enumerate(self.spot))

    def tasks(self) -> Iterable[TaskAdded]:
        """The plans as they are added."""
        pairs = zip(self.expected, self._geometry, strict=True)
        return (TaskAdded(str(n), seconds, f"g{geometry}") for n, (seconds, geometry) in enumerate(pairs))


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a simulated campaign.

    Attributes:
        makespan: virtual seconds to the end of the last plan.
        completed: plans with a result; each has one.
        starts: attempts.
        second: of these, attempts of plans that ran on another worker.
        preempted, lost: attempts that ended so.
        deciding: CPU seconds in the scheduler.
    """

    makespan: float
    completed: int
    starts: int
    second: int
    preempted: int
    lost: int
    deciding: float


class Play:
    """One campaign in a world."""

    def __init__(self, world: World, chooser: Chooser) -> None:
        self._world, self._chooser = world, chooser
        self._dice = random.Random(world.scenario.seed + 1)
        #: (when, number, task, worker, outcome): what will end.
        self._ends: list[tuple[float, int, str, str, Outcome]] = []
        #: Attempts under way: (task, worker) -> (number, since).
        self._running: dict[tuple[str, str], tuple[int, float]] = {}
        self._runs: dict[str, int] = {}
        self._over: set[str] = set()
        self._now = self._last = self._deciding = 0.0
        self._number = 0
        self._counts = dict.fromkeys(("starts", "second", "preempted", "lost"), 0)

    def run(self) -> Told:
        """To its end.

        Raises:
            RuntimeError: plans are left that nothing runs: a fault of the chooser.
        """
        self._tell(*self._world.workers(), *self._world.tasks(), Tick(0.0))
        tick = TICK
        while len(self._over) < self._world.scenario.plans or self._running:
            if self._ends and self._ends[0][0] <= tick:
                self._now, number, task, worker, outcome = heapq.heappop(self._ends)
                if self._running.get((task, worker), (0, 0.0))[0] == number:
                    self._end(task, worker, outcome)
                continue
            if not self._ends and tick > self._last + 1e5:
                raise RuntimeError(f"{self._world.scenario.plans - len(self._over)} plans are left and nothing runs")
            self._now = tick
            tick += TICK
            self._tell(Tick(self._now))
        return Told(self._last, len(self._over), **self._counts, deciding=self._deciding)

    def _tell(self, *events: Event) -> None:
        """Let the chooser decide, and carry that out."""
        before = time.thread_time()
        decisions = self._chooser.handle(*events)
        self._deciding += time.thread_time() - before
        for decision in decisions:
            if isinstance(decision, Start):
                self._start(decision.task, decision.worker)
            elif isinstance(decision, Stop):
                self._plan_end(self._now, decision.task, decision.worker, Outcome.CANCELLED)

    def _end(self, task: str, worker: str, outcome: Outcome) -> None:
        _, since = self._running.pop((task, worker))
        self._runs[task] -= 1
        self._last = self._now
        blame, seconds = Blame.NOBODY, None
        if outcome is Outcome.COMPLETED:
            if task in self._over:
                raise RuntimeError(f"plan {task} completes twice")
            self._over.add(task)
            seconds = self._now - since
        elif outcome is Outcome.INFRASTRUCTURE_LOST:
            blame = Blame.WORKER
            self._counts["lost"] += 1
        elif outcome is Outcome.PREEMPTED:
            self._counts["preempted"] += 1
        self._tell(AttemptEnded(task, outcome, self._now, "", blame, worker=worker, seconds=seconds))

    def _start(self, task: str, worker: str) -> None:
        self._counts["starts"] += 1
        running = self._runs.get(task, 0)
        self._counts["second"] += running
        self._runs[task] = running + 1
        world, number = self._world, int(worker)
        seconds = world.work[int(task)] / world.speed[number]
        outcome, at = Outcome.COMPLETED, self._now + seconds
        if world.spot[number] and self._dice.random() < world.scenario.preemption / SPOT:
            outcome, at = Outcome.PREEMPTED, self._now + seconds * self._dice.random()
        lost = world.lost_at.get(number, math.inf)
        if at > lost:
            outcome, at = Outcome.INFRASTRUCTURE_LOST, max(lost, self._now) + LOST_AFTER
        self._plan_end(at, task, worker, outcome)

    def _plan_end(self, at: float, task: str, worker: str, outcome: Outcome) -> None:
        """An attempt will end so; whatever was to come of it before."""
        since = self._running.get((task, worker), (0, self._now))[1]
        self._number += 1
        self._running[task, worker] = (self._number, since)
        heapq.heappush(self._ends, (at, self._number, task, worker, outcome))


class FirstCome:
    """First come, first served: the next plan of the list to the next free worker."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._free: deque[str] = deque()

    def handle(self, *events: Event) -> list[Decision]:
        """Take events in and decide."""
        for event in events:
            if isinstance(event, WorkerJoined):
                self._free.append(event.worker)
            elif isinstance(event, TaskAdded):
                self._waiting.append(event.task)
            elif isinstance(event, AttemptEnded):
                if not event.outcome.success:
                    self._waiting.append(event.task)
                if event.blame is Blame.NOBODY:
                    self._free.append(event.worker)
        starts: list[Decision] = []
        while self._free and self._waiting:
            starts.append(Start(self._waiting.popleft(), self._free.popleft(), 0))
        return starts


class RoundRobin:
    """Each plan is dealt to a worker beforehand, one after the other; what a worker loses is dealt anew."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[str]] = {}
        self._idle: set[str] = set()
        #: Workers that may have a plan to start.
        self._asked: list[str] = []
        self._turn: deque[str] = deque()

    def handle(self, *events: Event) -> list[Decision]:
        """Take events in and decide."""
        for event in events:
            if isinstance(event, WorkerJoined):
                self._queues[event.worker] = deque()
                self._idle.add(event.worker)
                self._turn.append(event.worker)
            elif isinstance(event, TaskAdded):
                self._deal(event.task)
            elif isinstance(event, AttemptEnded):
                self._ended(event)
        starts: list[Decision] = []
        for worker in self._asked:
            if worker in self._idle and self._queues[worker]:
                self._idle.discard(worker)
                starts.append(Start(self._queues[worker].popleft(), worker, 0))
        self._asked.clear()
        return starts

    def _deal(self, task: str) -> None:
        self._turn.rotate(-1)
        self._queues[self._turn[0]].append(task)
        if self._turn[0] in self._idle:
            self._asked.append(self._turn[0])

    def _ended(self, event: AttemptEnded) -> None:
        if event.blame is Blame.NOBODY:
            self._idle.add(event.worker)
            self._asked.append(event.worker)
        else:
            self._turn.remove(event.worker)
            for task in self._queues.pop(event.worker):
                self._deal(task)
        if not event.outcome.success:
            self._deal(event.task)


def play(scenario: Scenario, chooser: Callable[[], Chooser]) -> tuple[Told, float]:
    """A campaign of this kind.

    Returns:
        What came of it, and its makespan over the lower bound.
    """
    world = World(scenario)
    told = Play(world, chooser()).run()
    return told, told.makespan / world.bound
