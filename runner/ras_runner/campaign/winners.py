"""Of two attempts of one plan only one makes its result: who may publish."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ras_runner.campaign.attempt import Attempt

#: Why an attempt ended that was not the first to complete its plan.
SUPERSEDED = "superseded: another attempt of the plan has its result"


@dataclass(frozen=True, slots=True)
class Winners:
    """The attempt of each plan that publishes its result, or has. For the threads that finish attempts.

    A plan's two attempts may be finished by two threads at the same time; one controller at a time runs a campaign, so
    that what these threads agree on holds. After a kill the next controller attaches to both, and they agree anew: what
    the first one may have published is then published again, whole, by whoever wins, and only that is recorded.
    """

    _won: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, attempt: Attempt) -> bool:
        """Whether this attempt is the one to publish; from then on no other of its plan is."""
        with self._lock:
            return self._won.setdefault(attempt.plan_number, attempt.id) == attempt.id

    def release(self, attempt: Attempt) -> None:
        """It could not publish: another attempt of its plan may."""
        with self._lock:
            if self._won.get(attempt.plan_number) == attempt.id:
                del self._won[attempt.plan_number]
