"""How long plans take and how fast workers are, learned from the plans that end. Pure: numbers in, numbers out.

A plan that has run before is expected to take as long again. Another one has a *size*; how many seconds a unit of size
takes is learned for each kind of plan. What a worker needs more or less than expected makes its speed. All are medians
of logarithms, so that one odd run counts as one and no more.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

#: Runs that a worker's speed and a kind's pace are judged by: the latest.
_WORKER_RUNS = 15
_KIND_RUNS = 101
#: A worker's first runs count as if it had done one more at speed 1.
_SHRINK = 1.0
#: Workers whose speeds differ by less than this factor are taken to be equally fast.
_SPEED_STEP = 1.15
_LOG_STEP = math.log(_SPEED_STEP)
#: Half the width of the normal distribution's middle 50 %: what the quartiles of a sample are divided by.
_QUARTILE = 0.6745


class Ratios:
    """The latest of many positive ratios, in order of size."""

    __slots__ = ("_latest", "_ordered", "_size", "total")

    def __init__(self, size: int) -> None:
        self._latest: deque[float] = deque()
        self._ordered: list[float] = []
        self._size = size
        #: How many there have been.
        self.total = 0

    def add(self, ratio: float) -> None:
        """Take one in; what is no positive number is left out."""
        if not (ratio > 0.0 and math.isfinite(ratio)):
            return
        value = math.log(ratio)
        if len(self._latest) == self._size:
            del self._ordered[bisect_left(self._ordered, self._latest.popleft())]
        self._latest.append(value)
        insort(self._ordered, value)
        self.total += 1

    def __len__(self) -> int:
        return len(self._ordered)

    @property
    def median(self) -> float:
        """Median of the logarithms; 0 without any."""
        count = len(self._ordered)
        if not count:
            return 0.0
        return (self._ordered[(count - 1) // 2] + self._ordered[count // 2]) / 2.0

    @property
    def spread(self) -> float | None:
        """Standard deviation of the logarithms, by their quartiles; None of fewer than 4."""
        count = len(self._ordered)
        if count < 4:
            return None
        return (self._ordered[(3 * count) // 4] - self._ordered[count // 4]) / 2.0 / _QUARTILE


@dataclass(slots=True)
class Speed:
    """How fast a worker is: 2 when it needs half of what is expected. 1 until something has ended there."""

    value: float = 1.0
    #: Its place among classes of speed, higher is faster: small differences are none.
    grade: int = 0
    _ratios: Ratios = field(default_factory=lambda: Ratios(_WORKER_RUNS))

    def learn(self, seconds: float, expected: float) -> None:
        """A plan took ``seconds`` where ``expected`` was expected of a worker of speed 1."""
        self._ratios.add(expected / seconds if seconds > 0.0 else 0.0)
        count = len(self._ratios)
        log = self._ratios.median * count / (count + _SHRINK)
        self.value, self.grade = math.exp(log), round(log / _LOG_STEP)


class Paces:
    """Seconds a unit of size, for each kind of plan; a kind without name is in seconds already."""

    def __init__(self) -> None:
        self._kinds: dict[str, Ratios] = {}
        self._paces: dict[str, float] = {"": 1.0}
        #: What plans took, over what was expected on their worker.
        self._errors = Ratios(_KIND_RUNS)

    def pace(self, kind: str) -> float | None:
        """Seconds a unit; None before the first plan of the kind has ended."""
        return self._paces.get(kind)

    def learn(self, kind: str, size: float, seconds: float, speed: float) -> None:
        """A plan took ``seconds`` on a worker of this speed."""
        known = self.pace(kind)
        if known is not None and size > 0.0:
            self._errors.add(seconds * speed / (size * known))
        if kind and size > 0.0:
            ratios = self._kinds.setdefault(kind, Ratios(_KIND_RUNS))
            ratios.add(seconds * speed / size)
            if len(ratios):
                self._paces[kind] = math.exp(ratios.median)

    @property
    def learned(self) -> int:
        """How many runs of sized plans were learned from."""
        return sum(ratios.total for ratios in self._kinds.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation of the logarithm of what plans took over what was expected; None when too few ended."""
        return self._errors.spread
