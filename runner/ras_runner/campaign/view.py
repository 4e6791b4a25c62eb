"""What a campaign looks like now, read from the journal: for status, watch, results, the report and the API."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ras_runner.campaign.eta import Eta, Ran, Runs, campaign_eta
from ras_runner.engines.base import Stage
from ras_runner.errors import InputError
from ras_runner.hecras.project import plan_number
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from sqlite3 import Row

    from ras_runner.campaign.journal import Journal

#: Plans that an error lists at most: a campaign may have tens of thousands.
_NAMED = 50


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt.

    Times are unix times; ``launched`` is the end of its wait, where it waited in its worker's own queue. ``progress``
    is the fraction of the simulated time, 0 to 1.
    """

    id: str
    plan_number: str
    number: int
    worker_id: str
    slot: int
    state: str
    folder: str
    created: float
    launched: float | None
    ended: float | None
    outcome: Outcome | None
    message: str
    bytes_staged: int
    progress: float | None
    stage: Stage

    @property
    def doing(self) -> str:
        """Its state; ``queued`` while it waits in a worker's own queue, ``preparing`` while its first stage runs."""
        if self.state == "running" and self.message:
            return "queued"
        return "preparing" if self.state == "running" and self.stage is Stage.PREPARE else self.state


@dataclass(frozen=True, slots=True)
class TaskView:
    """One plan of the campaign.

    ``plan_number`` is its number, or its name (``Creek.p01``) in a campaign of several projects; ``project`` the path
    of its ``.prj``; ``execution_time`` in seconds; ``result`` the published HDF.
    """

    plan_number: str
    project: Path
    title: str
    flow_type: str
    outcome: Outcome | None
    message: str
    skipped: bool
    worker_id: str
    engine: str
    result: Path | None
    execution_time: float | None
    warnings: tuple[str, ...]
    attempts: tuple[AttemptView, ...]
    #: Seconds, as far as they were known before it ran.
    expected: float | None = None

    @property
    def running(self) -> AttemptView | None:
        """The attempt that is under way; of two, the later one."""
        if self.outcome is not None:
            return None
        return next((attempt for attempt in reversed(self.attempts) if attempt.state != "ended"), None)

    @property
    def state(self) -> str:
        """The outcome, or ``waiting``, ``staging``, ``queued``, ``preparing``, ``running``."""
        if self.outcome is not None:
            return self.outcome.value
        return self.running.doing if self.running else "waiting"


@dataclass(frozen=True, slots=True)
class CampaignView:
    """A campaign. ``state`` is ``running`` (a controller may be at work, or it can be resumed) or ``finished``.

    ``project`` is the path of its ``.prj``, of several the first.
    """

    id: str
    project: Path
    title: str
    created: float
    ended: float | None
    state: str
    tasks: tuple[TaskView, ...]

    @property
    def projects(self) -> tuple[Path, ...]:
        """The ``.prj`` of all its projects."""
        return tuple(dict.fromkeys(task.project for task in self.tasks)) or (self.project,)

    def plan(self, text: str) -> str:
        """A plan as this campaign names it, by ``4``, ``04`` or ``p04``; with several projects by its name.

        Raises:
            InputError: nothing of that kind; lists the plans where a number is not enough.
        """
        names = {task.plan_number.casefold(): task.plan_number for task in self.tasks}
        if text.strip().casefold() in names:
            return names[text.strip().casefold()]
        if len(self.projects) > 1:
            first = ", ".join(task.plan_number for task in self.tasks[:_NAMED])
            more = len(self.tasks) - _NAMED
            raise InputError(
                f"plan {text!r} is not in campaign {self.id}, which has several projects",
                step="choose plan",
                action=f"its plans are {first}" + (f" and {more} more" if more > 0 else ""),
            )
        return plan_number(text)

    @property
    def completed(self) -> int:
        """Plans whose result can be used."""
        return sum(task.outcome is not None and task.outcome.success for task in self.tasks)

    @property
    def over(self) -> int:
        """Plans that have an outcome."""
        return sum(task.outcome is not None for task in self.tasks)

    def eta(self, now: float | None = None) -> Eta | None:
        """When the last plan will be over, and how sure that is; None before anything is known."""
        left = [(task, task.running) for task in self.tasks if task.outcome is None]
        at_work = [(task, a) for task, a in left if a is not None and a.doing != "queued"]
        if not at_work:
            return None
        now = time.time() if now is None else now
        over = [
            Ran(task.worker_id, task.expected, task.execution_time)
            for task in self.tasks
            if task.outcome is not None and task.outcome.success and not task.skipped and task.execution_time
        ]
        running = [Runs(a.worker_id, now - (a.launched or now), a.progress, task.expected) for task, a in at_work]
        waiting = [task.expected for task, a in left if a is None or a.doing == "queued"]
        return campaign_eta(over, running, waiting)


def queued_seconds(attempt: AttemptView, now: float | None = None) -> float | None:
    """For how long an attempt waits in its worker's own queue; None when it does not."""
    if attempt.doing != "queued" or attempt.launched is None:
        return None
    return max((time.time() if now is None else now) - attempt.launched, 0.0)


def attempt_eta(attempt: AttemptView, now: float | None = None) -> float | None:
    """Seconds until an attempt is done, by its progress so far; None when it has told none."""
    if not attempt.progress or not attempt.launched:
        return None
    spent = (time.time() if now is None else now) - attempt.launched
    return spent * (1.0 - attempt.progress) / attempt.progress


def campaign_view(journal: Journal, campaign: str) -> CampaignView:
    """The campaign as the journal has it now."""
    head = journal.rows("SELECT * FROM campaigns WHERE id = ?", campaign)[0]
    attempts: dict[str, list[AttemptView]] = {}
    for row in journal.rows("SELECT * FROM attempts WHERE campaign = ? ORDER BY created, number", campaign):
        attempts.setdefault(row["plan"], []).append(_attempt(row))
    tasks = journal.rows("SELECT * FROM tasks WHERE campaign = ? ORDER BY seq", campaign)
    projects = {text: Path(text) for text in {row["project"] for row in tasks}}
    return CampaignView(
        campaign,
        Path(head["project"]),
        head["title"],
        head["created"],
        head["ended"],
        head["state"],
        tuple(_task(row, projects[row["project"]], tuple(attempts.get(row["plan"], ()))) for row in tasks),
    )


def _attempt(row: Row) -> AttemptView:
    return AttemptView(
        row["id"],
        row["plan"],
        row["number"],
        row["worker"],
        row["slot"],
        row["state"],
        row["folder"],
        row["created"],
        row["launched"],
        row["ended"],
        Outcome(row["outcome"]) if row["outcome"] else None,
        row["message"],
        row["staged"],
        row["progress"],
        Stage(row["stage"]),
    )


def _task(row: Row, project: Path, attempts: tuple[AttemptView, ...]) -> TaskView:
    return TaskView(
        row["plan"],
        project,
        row["title"],
        row["flow_type"],
        Outcome(row["outcome"]) if row["outcome"] else None,
        row["message"],
        bool(row["skipped"]),
        row["worker"],
        row["engine"],
        project.parent / row["result"] if row["result"] else None,
        row["seconds"],
        tuple(json.loads(row["warnings"])),
        attempts,
        row["expected"],
    )
