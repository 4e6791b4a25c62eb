"""Campaigns: plans dispatched together. Made, resumed, and run here."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from ras_runner.campaign.attempt import Attempt, new_attempt
from ras_runner.campaign.controller import Controller
from ras_runner.campaign.publish import check_writable, remove_leftovers
from ras_runner.campaign.receipts import Receipt, find_receipt, inputs_digest, is_current
from ras_runner.campaign.scheduler import Attached, CancelRequested, Policy, Scheduler, TaskAdded, WorkerJoined
from ras_runner.engines.base import RunSettings
from ras_runner.errors import InputError, OperatorError
from ras_runner.hashing import FileHasher
from ras_runner.hecras.inputs import check_inputs
from ras_runner.hecras.project import Project, plan_number
from ras_runner.oscalls import FileLock
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from sqlite3 import Row

    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.scheduler import Event
    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.workers.base import Worker

#: Outcomes that ``resume`` gives another chance: the plan itself was not at fault.
_REOPENED = (Outcome.INFRASTRUCTURE_LOST, Outcome.PREEMPTED, Outcome.CANCELLED)


class CampaignSettings(BaseModel):
    """How the plans of a campaign are run.

    Attributes:
        num_cores: cores of each plan; each worker's ``cores_per_plan`` when left out.
        max_concurrent: limit of plans running at once over all workers.
        timeout: minutes after which a plan is stopped.
        retries: how often a plan is repeated after a failure of the model itself.
        force_rerun: run plans whose results are current as well.
        clear_geompre: leave the geometry preprocessor's files out, so that the engine makes them anew.
        keep_workspaces: keep all workspaces, not only those of plans that failed.
        quarantine: seconds that a worker rests after its first loss.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_cores: int | None = Field(None, ge=1)
    max_concurrent: int | None = Field(None, ge=1)
    timeout: float | None = Field(None, gt=0)
    retries: int = Field(0, ge=0)
    force_rerun: bool = False
    clear_geompre: bool = False
    keep_workspaces: bool = False
    quarantine: float = Field(5.0, ge=0)


@dataclass(frozen=True)
class PreparedPlan:
    """A plan of a campaign that has not begun: its files, and its receipt when it need not run."""

    inputs: PlanInputs
    receipt: Receipt | None
    expected: float | None


def select_plans(project: Project, plans: Sequence[str] | str | None) -> list[str]:
    """Plan numbers as ``01``: all of the project's when nothing or ``all`` is given; without duplicates, in order.

    Raises:
        InputError: a number that is not a plan of the project; the message lists those that are.
    """
    if plans is None or plans == "all" or list(plans) == ["all"]:
        return [plan.number for plan in project.plans()]
    wanted = plans.split(",") if isinstance(plans, str) else [part for plan in plans for part in str(plan).split(",")]
    numbers = list(dict.fromkeys(plan_number(text) for text in wanted if text.strip()))
    if not numbers:
        raise InputError("no plan was chosen", step="choose plans", action="give plan numbers such as 01,02 or all")
    return [project.plan(number).number for number in numbers]


def prepare_plans(
    project: Project, numbers: Sequence[str], workers: Sequence[Worker], settings: CampaignSettings, journal: Journal
) -> dict[str, PreparedPlan]:
    """Look at every plan before anything is written: it can be read, its files are there, its results are current or not.

    Raises:
        InputError: a plan cannot run; names the file and who refers to it.
    """
    hasher = FileHasher(journal)
    engines = {worker.engine.name: worker.engine for worker in workers}
    prepared = {}
    for number in numbers:
        plan = project.plan(number)
        for engine in engines.values():
            engine.check_plan(plan)
        inputs = next(iter(engines.values())).inputs(plan)
        check_inputs(inputs)
        digest = inputs_digest(inputs, hasher)
        receipt = find_receipt(journal, project, number)
        current = receipt is not None and any(is_current(receipt, project, name, digest, hasher) for name in engines)
        expected = None if receipt is None else receipt.seconds
        prepared[number] = PreparedPlan(inputs, receipt if current and not settings.force_rerun else None, expected)
    return prepared


def check_workers(workers: Sequence[Worker]) -> None:
    """Raise InputError when there is no worker, or when two have one name."""
    if not workers:
        raise InputError(
            "no worker was given",
            step="check workers",
            action="give at least one worker (init_ras_worker, or an inventory)",
        )
    twice = [name for name, count in Counter(worker.worker_id for worker in workers).items() if count > 1]
    if twice:
        raise InputError(
            f"several workers are called {', '.join(twice)}", step="check workers", action="give each its own worker_id"
        )


def create_campaign(
    journal: Journal,
    project: Project,
    prepared: dict[str, PreparedPlan],
    workers: Sequence[Worker],
    settings: CampaignSettings,
) -> str:
    """Write a campaign into the journal; plans with current results are over at once.

    Returns:
        The campaign's id, such as ``20260801-1430-5f3a``.

    Raises:
        InputError: no worker, or two of one name.
        OperatorError: the project folder cannot be written.
    """
    check_workers(workers)
    check_writable(project.folder)
    campaign = f"{time.strftime('%Y%m%d-%H%M')}-{secrets.token_hex(2)}"
    specs = [{"type": w.type, "parameters": w.spec.model_dump(mode="json")} for w in workers]
    head = {
        "project": str(project.prj),
        "title": project.title,
        "workers": json.dumps(specs),
        "settings": settings.model_dump_json(),
    }
    events: list[tuple[str, dict[str, Any]]] = [("campaign-created", head)]
    for seq, (number, item) in enumerate(prepared.items()):
        plan = item.inputs.plan
        events.append(("task-added", {"plan": number, "seq": seq, "title": plan.title, "flow_type": plan.flow_type.value,
                                      "expected": item.expected}))  # fmt: skip
        if item.receipt is not None:
            events.append(("task-ended", _skipped(item.receipt)))
    journal.record_all(campaign, events)
    return campaign


def _skipped(receipt: Receipt) -> dict[str, Any]:
    return {"plan": receipt.plan, "outcome": receipt.outcome, "message": "unchanged since it was computed: not run again", "skipped": 1,
            "worker": receipt.worker, "engine": receipt.engine, "result": receipt.result, "seconds": 0.0, "warnings": receipt.warnings}  # fmt: skip


def campaign_lock(journal: Journal, campaign: str) -> FileLock:
    """The lock that the campaign's controller holds."""
    return FileLock(journal.state_dir / "locks" / f"{campaign}.lock")


def run_campaign(
    journal: Journal, campaign: str, workers: Sequence[Worker], say: Callable[[str], None], *, cancel: bool = False
) -> None:
    """Run, or go on with, a campaign to its end.

    Plans that are running are attached to, not run twice; plans that lost their worker or were cancelled get another
    chance; results that could not be published are published. With ``cancel`` nothing is started: what runs is
    attached to and stopped, what waits is cancelled.

    Raises:
        InputError: a plan's files have gone since the campaign began.
        OperatorError: another controller is running this campaign.
        KeyboardInterrupt: the user interrupted; the campaign can be resumed.
    """
    lock = campaign_lock(journal, campaign)
    if not _acquired(lock):
        raise OperatorError(f"campaign {campaign} is being run by another ras-runner", step="run campaign",
                            action=f"follow it with: ras-runner watch {campaign}")  # fmt: skip
    try:
        _Run(journal, campaign, workers, say).run(cancel=cancel)
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    """Take the lock; tried for a moment, as :func:`is_controlled` of another process may hold it for an instant."""
    for _ in range(10):
        if lock.acquire():
            return True
        time.sleep(0.05)
    return False


def is_controlled(journal: Journal, campaign: str) -> bool:
    """True while a controller, of whatever process, runs this campaign."""
    lock = campaign_lock(journal, campaign)
    if not lock.acquire():
        return True
    lock.release()
    return False


def campaign_workers(journal: Journal, campaign: str) -> list[Worker]:
    """The workers that a campaign was made with.

    Raises:
        InputError, OperatorError: one of them can no longer be made.
    """
    from ras_runner.workers.registry import make_worker

    row = journal.row("SELECT workers FROM campaigns WHERE id = ?", campaign)
    return [make_worker(item["type"], item["parameters"]) for item in json.loads(row["workers"])] if row else []


class _Run:
    """Brings the scheduler and the controller into the state that the journal tells, then runs them."""

    def __init__(self, journal: Journal, campaign: str, workers: Sequence[Worker], say: Callable[[str], None]) -> None:
        self.journal, self.campaign, self.say = journal, campaign, say
        self.workers = {worker.worker_id: worker for worker in workers}
        row = journal.row("SELECT * FROM campaigns WHERE id = ?", campaign)
        if row is None:
            raise InputError(
                f"there is no campaign {campaign}", step="run campaign", action="list them with: ras-runner status"
            )
        self.settings = CampaignSettings.model_validate_json(row["settings"])
        self.project = Project.open(row["project"])
        self.plans: dict[str, Plan] = {}

    def run(self, *, cancel: bool) -> None:
        if not cancel:
            self._reopen()
        tasks = self.journal.rows(
            "SELECT * FROM tasks WHERE campaign = ? AND outcome IS NULL ORDER BY seq", self.campaign
        )
        self.plans = {row["plan"]: self.project.plan(row["plan"]) for row in tasks}
        attached = self._settle_attempts(self.plans)
        policy = Policy(
            retries=self.settings.retries,
            max_concurrent=self.settings.max_concurrent,
            quarantine=self.settings.quarantine,
        )
        events: list[Event] = [
            WorkerJoined(w.worker_id, w.spec.slots(self.settings.num_cores), w.queue_priority)
            for w in self.workers.values()
        ]
        events += [
            TaskAdded(row["plan"], row["expected"], self._affinity(row), *self._behind(row["plan"])) for row in tasks
        ]
        events += [Attached(a.plan_number, a.worker.worker_id, a.slot) for a in attached]
        events += [CancelRequested()] if cancel else []
        controller = Controller(
            self.journal,
            self.campaign,
            self.plans,
            self.workers,
            Scheduler(policy),
            self.settings,
            FileHasher(self.journal),
            self.say,
        )
        controller.run(events, attached, self.journal.last_event(self.campaign))

    def _reopen(self) -> None:
        """Give the plans another chance that lost their worker or were cancelled when the campaign ended."""
        state = self.journal.row("SELECT state FROM campaigns WHERE id = ?", self.campaign)
        if state is None or state["state"] == "running":
            return
        marks = ",".join("?" * len(_REOPENED))
        rows = self.journal.rows(
            f"SELECT plan FROM tasks WHERE campaign = ? AND outcome IN ({marks})", self.campaign, *_REOPENED
        )
        self.journal.record_all(
            self.campaign, [("campaign-resumed", {}), *(("task-reopened", {"plan": row["plan"]}) for row in rows)]
        )

    def _settle_attempts(self, open_plans: Iterable[str]) -> list[Attempt]:
        """Attach to what an earlier controller launched; discard what it never launched; clean what it left."""
        rows = self.journal.rows(
            "SELECT * FROM attempts WHERE campaign = ? AND state != 'ended' ORDER BY created", self.campaign
        )
        remove_leftovers(self.project.folder, [row["id"] for row in rows])
        attached = []
        for row in rows:
            worker = self.workers.get(row["worker"])
            if worker is not None and row["plan"] in self.plans and self._was_launched(row, worker):
                attached.append(self._attach(row, worker))
            else:
                self._discard(row, worker)
        for row in self.journal.rows(
            "SELECT * FROM attempts WHERE campaign = ? AND state = 'ended' AND cleaned = 0 AND outcome IN ('completed', 'completed-with-warnings', 'cancelled')",
            self.campaign,
        ):
            if not self.settings.keep_workspaces:
                self._clean(row)
        return attached

    def _was_launched(self, row: Row, worker: Worker) -> bool:
        """True when the attempt's script runs or ran. A script that has not claimed its workspace never will after this."""
        if row["state"] in ("running", "unpublished"):
            return True
        return row["state"] == "launching" and not worker.transport.claim(worker.attempt_folder(row["id"]))

    def _attach(self, row: Row, worker: Worker) -> Attempt:
        settings = RunSettings(
            worker.spec.cores(self.settings.num_cores), self.settings.clear_geompre, worker.spec.process_priority
        )
        attempt = new_attempt(row["id"], self.plans[row["plan"]], worker, row["slot"], settings)
        attempt.native_id, attempt.launched, attempt.staged = row["native_id"], row["launched"], row["staged"]
        attempt.tree, attempt.inputs = PurePosixPath(row["tree"]), row["inputs"]
        self.journal.record(self.campaign, "attempt-attached", attempt=attempt.id)
        self.say(f"plan {row['plan']} was launched before: attached")
        return attempt

    def _discard(self, row: Row, worker: Worker | None) -> None:
        ended = {"attempt": row["id"], "outcome": Outcome.INFRASTRUCTURE_LOST.value, "blame": "nobody",
                 "message": "the controller ended before the attempt was launched"}  # fmt: skip
        self.journal.record(self.campaign, "attempt-ended", **ended)
        if worker is not None:
            self._clean(row)

    def _clean(self, row: Row) -> None:
        worker = self.workers.get(row["worker"])
        if worker is not None:
            worker.transport.remove(worker.attempt_folder(row["id"]))
            self.journal.record(self.campaign, "attempt-cleaned", attempt=row["id"])

    def _affinity(self, row: Row) -> str:
        return self.plans[row["plan"]].geometry

    def _behind(self, plan: str) -> tuple[int, int]:
        """(losses, failures) that a plan has behind it in this campaign since it was last opened."""
        rows = self.journal.rows(
            "SELECT outcome, blame FROM attempts WHERE campaign = ? AND plan = ? AND state = 'ended'",
            self.campaign,
            plan,
        )
        losses = sum(row["blame"] != "nobody" for row in rows)
        failures = sum(Outcome(row["outcome"]).model_failure for row in rows)
        return min(losses, Policy().losses - 1), failures
