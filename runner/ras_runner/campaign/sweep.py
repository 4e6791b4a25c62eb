"""What crashes and hosts that were given up have left on a worker: found, told, and removed when asked.

Only what the journal knows as over goes, and each thing is looked at again right before. What may still be attached to,
and campaigns that a controller is running, are left alone.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from ras_runner.campaign.campaigns import CampaignSettings
from ras_runner.errors import RasRunnerError
from ras_runner.outcomes import Outcome
from ras_runner.transports.base import Found, Probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from sqlite3 import Row

    from ras_runner.campaign.journal import Journal
    from ras_runner.transports.base import Status
    from ras_runner.workers.base import Worker

_DAY = 86400.0
#: An attempt of another controller that has not begun may wait in a queue for so long.
_QUEUE_DAYS = 30.0
#: A look at so many attempts ends well within a transport's time limit.
_AT_ONCE = 50
#: Ids as :mod:`ras_runner.campaign.controller` makes them: other folders are not ours, whatever they are.
_ATTEMPT = re.compile(r"[0-9a-f]{10}")


class Kind(StrEnum):
    """What an attempt has left, by what the journal says of it."""

    #: It is over, and its workspace should have been removed.
    OVER = "over"
    #: It failed, or workspaces were to be kept: its workspace is for somebody to look at.
    KEPT = "kept"
    #: The journal does not know it: it may be another controller's, or of a journal that is lost.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be removed, besides what is over.

    Attributes:
        kept_days: kept workspaces of attempts that ended so many days ago; None for none.
        unknown: what the journal does not know, when nothing of it runs and it did not change for a day; for 30 days
            what never began: it may wait in a queue that this worker does not see.
    """

    kept_days: float | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Leftover:
    """What one attempt has left on a worker.

    Attributes:
        worker_id, attempt: where, and which.
        kind: what the journal says.
        running: its processes or its container still run.
        container: its container is still there.
        due: it is to be ended and removed; else it stays.
        campaign, plan, outcome: of the attempt; empty when it is not known.
        days: since it ended or, for what is not known, was changed.
        done: what was done about it; empty while nothing was.
    """

    worker_id: str
    attempt: str
    kind: Kind
    running: bool
    container: bool
    due: bool
    campaign: str = ""
    plan: str = ""
    outcome: str = ""
    days: float = 0.0
    done: str = ""

    @property
    def to_end(self) -> bool:
        """Its processes or its container are to go, whatever becomes of its workspace."""
        return (self.running or self.container) and self.kind is not Kind.UNKNOWN


def find_leftovers(journal: Journal, worker: Worker, wish: Wish) -> list[Leftover]:
    """What attempts have left on a worker that nobody will come for.

    Raises:
        RasRunnerError: the worker cannot be looked at.
    """
    return list(_leftovers(journal, worker, wish, worker.transport.attempts()))


def remove_leftovers(journal: Journal, worker: Worker, wish: Wish, found: Sequence[Leftover]) -> list[Leftover]:
    """End and remove those that are due, each looked at again right before; returns all, with what was done."""
    return [_removed(journal, worker, wish, item) if item.due or item.to_end else item for item in found]


def trim_transfers(worker: Worker) -> int:
    """Remove what transfers that were cut have left in the store; the bytes that were freed."""
    return worker.transport.trim(sys.maxsize)


def _leftovers(journal: Journal, worker: Worker, wish: Wish, found: Sequence[Found]) -> Iterator[Leftover]:
    rows = {f.attempt: journal.row("SELECT * FROM attempts WHERE id = ?", f.attempt) for f in found}
    controlled = {c for c in {row["campaign"] for row in rows.values() if row} if journal.is_controlled(c)}
    ours = [f for f in found if _may_be_swept(worker, f, rows[f.attempt], controlled)]
    # one with a container is not asked about: that would write into its workspace
    asked = [_probe(worker, f.attempt, rows[f.attempt]) for f in ours if not f.container]
    statuses: dict[str, Status] = {}
    for start in range(0, len(asked), _AT_ONCE):
        statuses |= worker.transport.poll(asked[start : start + _AT_ONCE])
    for f in ours:
        running = f.running if f.container else statuses[f.attempt].alive
        yield _judged(journal, worker, wish, f, rows[f.attempt], running)


def _may_be_swept(worker: Worker, found: Found, row: Row | None, controlled: set[str]) -> bool:
    if row is None:
        return _ATTEMPT.fullmatch(found.attempt) is not None
    return (
        row["state"] == "ended"
        and row["folder"] == str(worker.attempt_folder(found.attempt))
        and row["campaign"] not in controlled
    )


def _probe(worker: Worker, attempt: str, row: Row | None) -> Probe:
    native_id = "" if row is None else row["native_id"]
    return Probe(attempt, worker.attempt_folder(attempt), native_id, whole_tree=True)


def _judged(journal: Journal, worker: Worker, wish: Wish, found: Found, row: Row | None, running: bool) -> Leftover:
    if row is None:
        rests = found.idle >= _DAY and (found.idle >= _QUEUE_DAYS * _DAY or _has_begun(worker, found))
        due = wish.unknown and not running and rests
        days = max(0.0, found.idle) / _DAY
        return Leftover(worker.worker_id, found.attempt, Kind.UNKNOWN, running, found.container, due, days=days)
    days = (time.time() - row["ended"]) / _DAY
    kind = Kind.KEPT if _kept(journal, row) else Kind.OVER
    due = kind is Kind.OVER or (wish.kept_days is not None and days >= wish.kept_days)
    names = (row["campaign"], row["plan"], row["outcome"])
    return Leftover(worker.worker_id, found.attempt, kind, running, found.container, due, *names, days)


def _has_begun(worker: Worker, found: Found) -> bool:
    """Whether its run script was started."""
    files = (worker.attempt_folder(found.attempt) / name for name in ("heartbeat", "stdout.log"))
    return found.container or any(worker.transport.read(file, last=1) is not None for file in files)


def _kept(journal: Journal, row: Row) -> bool:
    """Whether the campaign's controller has left the workspace on purpose."""
    if row["cleaned"]:
        return False
    outcome = Outcome(row["outcome"])
    if row["launched"] is not None and not outcome.success and outcome is not Outcome.CANCELLED:
        return True
    campaign = journal.row("SELECT settings FROM campaigns WHERE id = ?", row["campaign"])
    return campaign is not None and CampaignSettings.model_validate_json(campaign["settings"]).keep_workspaces


def _removed(journal: Journal, worker: Worker, wish: Wish, item: Leftover) -> Leftover:
    try:
        with contextlib.ExitStack() as stack:
            if item.campaign:
                stack.enter_context(journal.lock(item.campaign).held(0.5))
            return replace(item, done=_end_and_remove(journal, worker, wish, item))
    except TimeoutError:
        return replace(item, done="left alone: its campaign is being run")
    except RasRunnerError as error:
        return replace(item, done=f"not removed: {error}")


def _end_and_remove(journal: Journal, worker: Worker, wish: Wish, item: Leftover) -> str:
    """Under the campaign's lock, which keeps controllers away: what the journal says now is what counts."""
    row = journal.row("SELECT * FROM attempts WHERE id = ?", item.attempt)
    folder = worker.attempt_folder(item.attempt)
    if row is None:
        now = [f for f in worker.transport.attempts() if f.attempt == item.attempt]
        if not any(left.due for left in _leftovers(journal, worker, wish, now)):
            return ""
    elif row["state"] != "ended":
        return "left alone: it is not over"
    elif item.to_end:
        worker.transport.stop(_probe(worker, item.attempt, row))
    if not item.due:
        return "ended; its workspace is kept"
    worker.transport.remove(folder)
    if row is not None:
        shutil.rmtree(journal.state_dir / "scratch" / item.attempt, ignore_errors=True)
        journal.record(row["campaign"], "attempt-cleaned", attempt=item.attempt)
    return "ended and removed" if item.to_end else "removed"
