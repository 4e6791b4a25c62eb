"""The scheduler's indices against plain scans: whatever happens, both decide the same."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ras_runner.campaign.decisions import Decision
from ras_runner.campaign.places import Worker
from ras_runner.campaign.scheduler import (
    AttemptEnded,
    Blame,
    CancelRequested,
    Finish,
    Policy,
    Scheduler,
    Start,
    TaskAdded,
    Tick,
    WorkerJoined,
    WorkerLeft,
)
from ras_runner.campaign.waiting import Task
from ras_runner.engines.base import Stage
from ras_runner.outcomes import Outcome


class PlainScheduler(Scheduler):
    """Chooses by looking at every task and every worker each time."""

    def _fill(self) -> list[Decision]:
        if not self._placing.two_stages:
            return self._offer(self._whole)
        decisions = self._offer(self._solved)
        lacking = self._count_lacking()
        decisions += self._offer(lambda task: None if task.prepared else self._whole(task, lacking))
        return decisions + self._offer(self._whole)

    def _offer(self, place) -> list[Decision]:
        decisions: list[Decision] = []
        for task in sorted(self._tasks.values(), key=self._rank):
            if task.outcome is not None or task.runs or not self._has_room():
                continue
            placed = place(task)
            if placed is not None:
                decisions.append(self._start(task, *placed))
        return decisions

    def _rank(self, task: Task):
        length = self.expected(task.name)
        return task.losses, -math.inf if length is None else -length, -(task.size or 0.0), task.seq

    def _whole(self, task: Task, lacking: Counter[str] | None = None):
        worker = self._nearest(task, [w for w in self._all() if not w.needs_prepared])
        if worker is None:
            return None
        solvers = [w for w in self._solvers(worker.prepares) if w.name not in task.lane.unable]
        if lacking is None or lacking[worker.prepares] <= 0 or not solvers:
            return worker, Stage.WHOLE
        lacking[worker.prepares] -= 1
        return worker, Stage.PREPARE

    def _solved(self, task: Task):
        worker = self._nearest(task, [w for w in self._all() if w.needs_prepared and w.needs_prepared in task.prepared])
        return None if worker is None else (worker, Stage.SOLVE)

    def _all(self) -> list[Worker]:
        return list(self._places.workers.values())

    def _nearest(self, task: Task, workers: list[Worker]) -> Worker | None:
        workers = [w for w in workers if w.name not in task.lane.unable]
        if task.preemptions >= self.policy.preemptions and any(w.steady for w in workers if not w.out):
            workers = [w for w in workers if w.steady]
        now = self._places.now
        return min(
            (w for w in workers if w.room(now) and w.name not in task.barred),
            key=lambda w: (
                w.name in task.avoid,
                w.priority,
                task.affinity not in w.seen,
                -w.speed.grade,
                -w.room(now),
                w.name,
            ),
            default=None,
        )

    def _solvers(self, kind: str) -> list[Worker]:
        now = self._places.now
        return [w for w in self._all() if kind and w.needs_prepared == kind and not w.out and now >= w.rests_until]

    def _count_lacking(self) -> Counter[str]:
        lacking: Counter[str] = Counter()
        for kind in {w.needs_prepared for w in self._all()}:
            lacking[kind] = sum(1 if w.probing else w.slots for w in self._solvers(kind))
        for task in self._tasks.values():
            if task.outcome is None and not task.runs:
                lacking.subtract(task.prepared)
            lacking.subtract(run.prepares for run in task.runs if run.stage is Stage.PREPARE)
        return lacking

    def _give_up(self) -> list[Decision]:
        usable = [w for w in self._all() if not w.out]
        over = [
            task
            for task in self._tasks.values()
            if task.outcome is None
            and not task.runs
            and not any(
                w.name not in task.lane.unable and (not w.needs_prepared or w.needs_prepared in task.prepared)
                for w in usable
            )
        ]
        return [self._finish(task, Outcome.INFRASTRUCTURE_LOST, self._nobody(task)) for task in over]


def ordered(decisions: list[Decision]) -> tuple[list[Decision], list[Decision]]:
    """Decisions in order, and those that have none among themselves sorted."""
    given_up = [d for d in decisions if isinstance(d, Finish) and d.reason.startswith("no usable")]
    return [d for d in decisions if d not in given_up], sorted(given_up, key=lambda d: d.task)


class Same(RuleBasedStateMachine):
    """Two schedulers are told the same, and must decide the same."""

    @initialize(
        limit=st.none() | st.integers(1, 6),
        losses=st.integers(1, 4),
        saves=st.none() | st.just(1.0),
        preemptions=st.integers(1, 2),
        two_stages=st.booleans(),
    )
    def begin(self, limit: int | None, losses: int, saves: float | None, preemptions: int, two_stages: bool) -> None:
        policy = Policy(
            retries=1,
            losses=losses,
            max_concurrent=limit,
            quarantine=3.0,
            strikes=3,
            preemptions=preemptions,
            second_saves=saves,
        )
        self.scheduler, self.plain = Scheduler(policy), PlainScheduler(policy)
        self.workers: dict[str, tuple[str, str]] = {}
        self.tasks = 0
        self.held: dict[tuple[str, str], Stage] = {}
        self.now = 0.0
        self.does = [("", ""), ("", ""), ("x", ""), ("", "x"), ("", "y")] if two_stages else [("", "")]
        for n in range(4):  # so that there is a choice
            self.workers[f"w{n}"] = ("", "")
            self.feed(WorkerJoined(f"w{n}", 2, n // 3, steady=n != 1))
        for affinity in ("g01", "g02", "g01"):
            self.tasks += 1
            self.feed(TaskAdded(f"p{self.tasks}", affinity=affinity))

    def feed(self, *events) -> None:
        decisions, plain = self.scheduler.handle(*events), self.plain.handle(*events)
        assert ordered(decisions) == ordered(plain)
        assert self.scheduler.done == self.plain.done
        assert self.scheduler.next_wake() == self.plain.next_wake()
        started = {(d.task, d.worker): d.stage for d in decisions if isinstance(d, Start)}
        assert not started.keys() & self.held.keys()
        self.held |= started

    @rule(
        slots=st.integers(1, 3),
        priority=st.integers(0, 1),
        steady=st.booleans(),
        data=st.data(),
    )
    def join(self, slots: int, priority: int, steady: bool, data) -> None:
        does = data.draw(st.sampled_from(self.does))
        out = sorted(name for name in self.workers if not self.scheduler.takes_plans(name))
        name = data.draw(st.sampled_from([*out, f"w{len(self.workers)}"]))
        names = st.frozensets(st.integers(0, self.tasks).map(lambda n: f"p{n}"), max_size=3)
        prepared = data.draw(names) if does[1] else frozenset()
        self.workers[name] = does
        self.feed(WorkerJoined(name, slots, priority, *does, data.draw(names), prepared, steady))

    @rule(
        expected=st.none() | st.sampled_from([5.0, 50.0, 500.0]),
        size=st.none() | st.sampled_from([1.0, 30.0, 900.0]),
        kind=st.sampled_from(["steady", "unsteady"]),
        affinity=st.sampled_from(["g01", "g02", "g03"]),
        unable=st.frozensets(st.sampled_from(["w0", "w1", "w2"]), max_size=2),
        prepared=st.sampled_from([frozenset[str](), frozenset[str](), frozenset("x"), frozenset("xy")]),
        count=st.integers(1, 3),
    )
    def add(self, expected, size, kind, affinity, unable, prepared, count: int) -> None:
        for _ in range(count):
            self.tasks += 1
            task = TaskAdded(
                f"p{self.tasks}", expected, affinity, unable=unable, prepared=prepared, size=size, kind=kind
            )
            self.feed(task)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), seconds=st.none() | st.sampled_from([1.0, 100.0]))
    def complete(self, data, seconds: float | None) -> None:
        task, worker = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[task, worker]
        self.feed(AttemptEnded(task, Outcome.COMPLETED, self.now, worker=worker, seconds=seconds))

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([Outcome.INFRASTRUCTURE_LOST, Outcome.PREEMPTED, *Outcome]),
        blame=st.sampled_from(Blame),
        seconds=st.none() | st.sampled_from([1.0, 10.0, 100.0]),
        later=st.sampled_from([0.0, 0.5, 40.0]),
    )
    def end(self, data, outcome: Outcome, blame: Blame, seconds: float | None, later: float) -> None:
        task, worker = data.draw(st.sampled_from(sorted(self.held)))
        stage = self.held.pop((task, worker))
        self.now += later
        prepared = None
        if stage is Stage.PREPARE and outcome is Outcome.COMPLETED:
            prepared = data.draw(st.sampled_from([True, None]))
        if stage is Stage.SOLVE and outcome is Outcome.INFRASTRUCTURE_LOST:
            prepared = data.draw(st.sampled_from([False, None]))
        blamed = blame if outcome is Outcome.INFRASTRUCTURE_LOST and prepared is None else Blame.NOBODY
        self.feed(AttemptEnded(task, outcome, self.now, "because", blamed, prepared, worker, seconds))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def leave(self, data) -> None:
        name = data.draw(st.sampled_from(sorted(self.workers)))
        self.feed(WorkerLeft(name, "drained"))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        self.feed(CancelRequested(f"p{data.draw(st.integers(1, self.tasks))}"))

    @rule(seconds=st.sampled_from([0.1, 3.0, 60.0, 600.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Tick(self.now))


TestSame = Same.TestCase
TestSame.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
