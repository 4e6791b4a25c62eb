"""When a campaign will be over, and how sure that is. Pure: what is known of its plans in, seconds out."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ras_runner.campaign.expected import Ratios, Speed

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Standard deviations to both sides of the middle 80 % of a normal distribution.
_SURE = 1.28
#: Spread of the logarithm of plans' times before enough of them have ended to tell.
_UNKNOWN_SPREAD = 0.5
#: A smaller fraction that is done says little of the whole.
_TELLING = 0.02
_RUNS = 501


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until the last plan is over: most likely, and the bounds between which it will be in 4 of 5 cases."""

    seconds: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ran:
    """A plan that has ended well: where, how long that was expected to take (None: unknown), how long it took."""

    worker: str
    expected: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Runs:
    """A plan that runs: where, for how long, its fraction done and expected time (None: unknown)."""

    worker: str
    elapsed: float
    done: float | None
    expected: float | None


@dataclass(slots=True)
class _Pace:
    """What the plans that have ended say of the others."""

    #: Over what was expected; of those without expectation: seconds.
    factors: Ratios = field(default_factory=lambda: Ratios(_RUNS))
    times: Ratios = field(default_factory=lambda: Ratios(_RUNS))
    speeds: dict[str, Speed] = field(default_factory=dict)

    def learn(self, over: Sequence[Ran]) -> None:
        """First how fast each worker is, then, with that left out, how long plans take."""
        for ran in over:
            self.times.add(ran.seconds)
        for ran in over:
            self.speeds.setdefault(ran.worker, Speed()).learn(ran.seconds, self.work(ran.expected) or ran.seconds)
        self.times = Ratios(_RUNS)
        for ran in over:
            seconds = ran.seconds * self.speed(ran.worker)
            self.times.add(seconds)
            if ran.expected:
                self.factors.add(seconds / ran.expected)

    def work(self, expected: float | None) -> float | None:
        """Seconds of a whole plan on a worker of speed 1; None while nothing is known."""
        ratios = self.times if expected is None else self.factors
        if expected is None and not len(ratios):
            return None
        spread = ratios.spread or 0.0  # the mean of what varies so is over its median
        return (1.0 if expected is None else expected) * math.exp(ratios.median + spread**2 / 2.0)

    def spread(self, expected: float | None) -> float:
        """Standard deviation of the logarithm of a plan's time."""
        known = (self.times if expected is None else self.factors).spread
        return _UNKNOWN_SPREAD if known is None else known

    def speed(self, worker: str) -> float:
        return self.speeds[worker].value if worker in self.speeds else 1.0


def campaign_eta(over: Sequence[Ran], running: Sequence[Runs], waiting: Sequence[float | None]) -> Eta | None:
    """When all plans will be over, if what waits goes where plans run now, longest first.

    Args:
        over: the plans that have ended well.
        running: the attempts that are under way.
        waiting: the expected seconds of the plans that wait; None where unknown.

    Returns:
        None while nothing runs, or nothing is known of how long a plan takes.
    """
    pace = _Pace()
    pace.learn([*over, *(_told(run) for run in running if run.done and run.done > _TELLING)])
    lanes: list[tuple[float, float, int]] = []
    spreads: list[float] = []
    for number, run in enumerate(running):
        left = _left(run, pace)
        if left is None:
            return None
        heapq.heappush(lanes, (left[0], left[1], number))
        spreads.append(left[1])
    works = [(pace.work(expected), pace.spread(expected)) for expected in waiting]
    known = [(work, spread) for work, spread in works if work is not None]
    if not lanes or len(known) < len(works):
        return None
    for work, spread in sorted(known, reverse=True):
        at, _, number = lanes[0]
        seconds = work / pace.speed(running[number].worker)
        heapq.heapreplace(lanes, (at + seconds, seconds * spread, number))
        spreads.append(seconds * spread)
    last, of_last, _ = max(lanes)
    # of all plans together, of the last one, and of what is common to all: how long a plan takes as a rule
    together = math.sqrt(sum(spread**2 for spread in spreads)) / len(lanes)
    common = last * _UNKNOWN_SPREAD / math.sqrt(1.0 + len(pace.times))
    sure = _SURE * math.sqrt(together**2 + of_last**2 + common**2) / last if last else 0.0
    return Eta(last, last * math.exp(-sure), last * math.exp(sure))


def _told(run: Runs) -> Ran:
    """What a plan will have taken, by its progress."""
    return Ran(run.worker, run.expected, run.elapsed / (run.done or 1.0))


def _left(run: Runs, pace: _Pace) -> tuple[float, float] | None:
    """(seconds, their standard deviation) that a running plan still needs; None when nothing is known."""
    if run.done and run.done > _TELLING:
        left = run.elapsed * (1.0 - run.done) / run.done
        return left, left * _UNKNOWN_SPREAD * (1.0 - run.done)
    work = pace.work(run.expected)
    if work is None:
        return None
    seconds = work / pace.speed(run.worker)
    # what is overdue is taken to need as long again as it is overdue
    return abs(seconds - run.elapsed), seconds * pace.spread(run.expected)
