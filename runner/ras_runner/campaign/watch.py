"""Looks at the workers, each in a thread of its own: a host that is silent holds up nobody but itself."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ras_runner.errors import RasRunnerError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ras_runner.campaign.attempt import Attempt
    from ras_runner.transports.base import Status
    from ras_runner.workers.base import Worker

#: The file in the worker folder of a cloud machine in which it says that it will be taken away, in one line.
NOTICE_FILE = "notice"
_NOTICE_EVERY = 5.0
_NOTICE_LENGTH = 200
#: Bounds of the time between two looks at a worker, seconds: short while things happen there, long while nothing does.
POLL_FIRST, POLL_LAST = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at a worker is over.

    Attributes:
        worker: its id.
        attempts: what was looked at.
        found: a status for each attempt id, or why there is none.
        notice: why the machine will be taken away, by its own word; empty while it has none.
    """

    worker: str
    attempts: tuple[Attempt, ...]
    found: dict[str, Status] | Exception
    notice: str = ""


@dataclass(slots=True)
class _Eye:
    """What is known of the looks at one worker. Used by the deciding thread, but for the inbox."""

    inbox: queue.SimpleQueue[tuple[Worker, tuple[Attempt, ...]] | None] = field(default_factory=queue.SimpleQueue)
    delay: float = POLL_FIRST
    due: float = 0.0
    looking: bool = False
    #: Seconds that the look under way has been waited for.
    waited: float = 0.0
    #: Since when looks have failed.
    blind: float | None = None


class Watch:
    """At most one look at a time at each worker, with a back-off of its own. For one deciding thread.

    The threads are daemons: one that hangs in a look keeps neither the campaign nor the program from its end.

    Args:
        report: takes the :class:`Looked`; called from the threads.
    """

    def __init__(self, report: Callable[[Looked], None]) -> None:
        self._report = report
        self._eyes: dict[str, _Eye] = {}
        self._noticing: set[str] = set()
        self._asked = time.monotonic()

    def look(self, running: Iterable[Attempt]) -> float:
        """Begin the looks that are due, where something runs and no look is under way.

        Returns:
            Seconds until the next one is due, at most ``POLL_LAST``.
        """
        now = time.monotonic()
        soonest = POLL_LAST
        for name, attempts in _by_worker(running).items():
            eye = self._eye(name)
            if eye.looking:
                continue
            if now >= eye.due:
                eye.looking, eye.waited = True, 0.0
                eye.inbox.put((attempts[-1].worker, tuple(attempts)))
            else:
                soonest = min(soonest, eye.due - now)
        return soonest

    def look_for_notices(self, worker: str) -> None:
        """Read the notice of a machine of a group, too, when it is looked at."""
        self._noticing.add(worker)

    def soon(self, worker: str) -> None:
        """Things happen at a worker: look often for a while."""
        eye, now = self._eye(worker), time.monotonic()
        eye.delay = POLL_FIRST
        if not now < eye.due <= now + POLL_FIRST:
            eye.due = now + POLL_FIRST

    def over(self, looked: Looked) -> float:
        """A look has been reported: the next may be made when it is due.

        Returns:
            Seconds since when all looks at this worker have failed; less than 0 when this one did not.
        """
        eye, now = self._eye(looked.worker), time.monotonic()
        eye.looking, eye.due = False, now + eye.delay
        eye.delay = min(eye.delay * 1.5, POLL_LAST)
        if not isinstance(looked.found, Exception):
            eye.blind = None
            return -1.0
        eye.blind = now if eye.blind is None else eye.blind
        return now - eye.blind

    def overdue(self, running: Iterable[Attempt], limit: float) -> list[Looked]:
        """What runs at workers that have not answered a look for ``limit`` seconds. To be asked before each look."""
        now = time.monotonic()
        step = min(now - self._asked, 2 * POLL_LAST)  # this machine may have slept: then nobody has waited
        self._asked = now
        silent = []
        for name, attempts in _by_worker(running).items():
            eye = self._eye(name)
            eye.waited += step
            if eye.looking and eye.waited > limit + POLL_LAST:
                silent.append(Looked(name, tuple(attempts), TransientError("it does not answer")))
                eye.waited = 0.0  # what is started there next, when the host is back, has not been waited for
        return silent

    def close(self) -> None:
        """Let the threads end, each after the look that it is in; nothing waits for them."""
        for eye in self._eyes.values():
            eye.inbox.put(None)

    def _eye(self, worker: str) -> _Eye:
        if worker not in self._eyes:
            eye = self._eyes[worker] = _Eye()
            threading.Thread(target=self._looks, args=(worker, eye), name=f"look {worker}", daemon=True).start()
        return self._eyes[worker]

    def _looks(self, name: str, eye: _Eye) -> None:
        due = 0.0
        while (asked := eye.inbox.get()) is not None:
            worker, attempts = asked
            found, notice = _found(worker, attempts), ""
            if name in self._noticing and not isinstance(found, Exception) and time.monotonic() >= due:
                notice, due = _notice(worker), time.monotonic() + _NOTICE_EVERY
            self._report(Looked(name, attempts, found, notice))


def _by_worker(running: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    by_worker: dict[str, list[Attempt]] = {}
    for attempt in running:
        by_worker.setdefault(attempt.worker.worker_id, []).append(attempt)
    return by_worker


def _found(worker: Worker, attempts: Sequence[Attempt]) -> dict[str, Status] | Exception:
    try:
        return worker.transport.poll([attempt.probe() for attempt in attempts])
    except (RasRunnerError, OSError) as error:
        return error
    except Exception as error:  # a bug of ours costs what runs there, with its reason, and not the campaign
        return RuntimeError(f"internal error of ras-runner: {type(error).__name__}: {error}")


def _notice(worker: Worker) -> str:
    """One line of plain characters, whatever lies there."""
    try:
        data = worker.transport.read(worker.transport.root / NOTICE_FILE, last=4096) or b""
    except (RasRunnerError, OSError):  # the look tells when it is out of reach
        return ""
    line = data.decode("utf-8", "replace").strip().partition("\n")[0]
    return "".join(character for character in line if character.isprintable())[:_NOTICE_LENGTH]
