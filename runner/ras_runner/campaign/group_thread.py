"""One group's cloud is asked, and told what to do, in a thread of its own: one that does not answer holds up nobody."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.campaign.group_actions import Action, End, Protect, Resize
from ras_runner.errors import OperatorError, RasRunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ras_runner.workers.group import GroupView, WorkerGroup

#: Looks that are left out after an error that needs a person, and at most after others.
_SLOWLY, _SLOWEST = 6, 30


@dataclass(frozen=True, slots=True)
class GroupLooked:
    """A look at a group is over, or the cloud did not do as it was told.

    Attributes:
        group: its worker id.
        found: what there is, or the error.
        began: when it was begun, by the monotonic clock.
    """

    group: str
    found: GroupView | RasRunnerError
    began: float


class GroupThread:
    """Asks the cloud every ``look_seconds``, more rarely while that fails, and does what it is ordered in between.

    The thread is a daemon: a call that hangs keeps neither the campaign nor the program from its end.

    Args:
        group: the group.
        report: takes each :class:`GroupLooked`; called from the thread.
    """

    def __init__(self, group: WorkerGroup, report: Callable[[GroupLooked], None]) -> None:
        self._group, self._report = group, report
        #: Actions; nothing for a look at once; None for the end.
        self._inbox: queue.SimpleQueue[Sequence[Action] | None] = queue.SimpleQueue()
        self._failures = 0
        #: Of what was ordered last.
        self._error: RasRunnerError | None = None
        name = group.spec.worker_id
        self._thread = threading.Thread(target=self._run, name=f"group {name}", daemon=True)
        self._thread.start()

    def order(self, actions: Sequence[Action]) -> None:
        """Do this, in order; the next look sees what came of it."""
        if actions:
            self._inbox.put(actions)

    def look_now(self) -> None:
        """Do not wait until the next look is due."""
        self._inbox.put(())

    def close(self, limit: float = 0.0) -> str:
        """Do what was ordered, and end.

        Args:
            limit: seconds to wait for that.

        Returns:
            Why it was not done by then; empty when it was.
        """
        self._inbox.put(None)
        self._thread.join(limit)
        if self._thread.is_alive():
            return f"{self._group.hostname} does not answer"
        return "" if self._error is None else str(self._error)

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            orders: Sequence[Action] | None = ()
            with contextlib.suppress(queue.Empty):
                orders = self._inbox.get(timeout=max(due - time.monotonic(), 0.0))
            if orders is None:
                return
            began = time.monotonic()
            if orders:
                self._error = self._do(orders)
            found = self._error if orders else self._look()
            if found is not None:
                self._report(GroupLooked(self._group.spec.worker_id, found, began))
                due = time.monotonic() + self._pause(found)

    def _look(self) -> GroupView | RasRunnerError:
        try:
            return self._group.look()
        except Exception as error:  # whatever it is, the campaign goes on
            return _typed(error, self._group)

    def _do(self, actions: Sequence[Action]) -> RasRunnerError | None:
        """All of them, whatever comes of one: a right that is missing for one is not missing for all."""
        errors = [error for action in actions if (error := self._done(action))]
        return errors[0] if errors else None

    def _done(self, action: Action) -> RasRunnerError | None:
        try:
            match action:
                case Resize(machines, on_demand):
                    self._group.resize(machines, on_demand)
                case Protect(names, on):
                    self._group.protect(names, on=on)
                case End(machine, replace):
                    self._group.end(machine, replace=replace)
        except Exception as error:  # as above
            return _typed(error, self._group)
        return None

    def _pause(self, found: GroupView | RasRunnerError) -> float:
        period = self._group.spec.look_seconds
        if not isinstance(found, RasRunnerError):
            self._failures = 0
            return period
        self._failures += 1
        first = _SLOWLY if isinstance(found, OperatorError) else 1
        return float(period * min(first * 2 ** min(self._failures - 1, 10), _SLOWEST))


def _typed(error: Exception, group: WorkerGroup) -> RasRunnerError:
    if isinstance(error, RasRunnerError):
        return error
    cause = f"internal error of ras-runner: {type(error).__name__}: {error}"
    return OperatorError(cause, step="ask the cloud", host=group.hostname, action="please report it")
