"""Campaigns: plans dispatched together. Made, resumed, and run here."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from ras_runner.campaign.decisions import WorkerJoined
from ras_runner.campaign.events import task_ended
from ras_runner.campaign.prepared import Readiness, may_have_made, own_files, readiness
from ras_runner.campaign.publish import check_writable
from ras_runner.campaign.receipts import Receipt, find_receipt, inputs_digest, is_current
from ras_runner.engines.base import RunSettings, Stage
from ras_runner.errors import InputError
from ras_runner.hashing import FileHasher
from ras_runner.hecras.inputs import check_inputs
from ras_runner.hecras.project import Project, plan_number
from ras_runner.outcomes import Outcome
from ras_runner.workers.group import plan_runner

if TYPE_CHECKING:
    from ras_runner.campaign.journal import Journal
    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.workers.base import PlanRunner, Worker
    from ras_runner.workers.group import AnyWorker

#: ``1``, ``"01,02"``, a list of such, or all: ``"all"`` or None.
PlanNumbers: TypeAlias = str | int | Sequence[str | int] | None


class CampaignSettings(BaseModel):
    """How the plans of a campaign are run.

    Attributes:
        num_cores: cores of each plan; each worker's ``cores_per_plan`` when left out.
        max_concurrent: limit of plans running at once over all workers.
        timeout: minutes after which a plan is stopped.
        stuck_after: minutes without CPU time and progress after which an engine that shows windows is stopped;
            and after which a job that only a person can help to start is given up.
        retries: how often a plan is repeated after a failure of the model itself.
        force_rerun: run plans whose results are current as well.
        clear_geompre: leave the geometry preprocessor's files out, so that the engine makes them anew.
        keep_workspaces: keep all workspaces, not only those of plans that failed.
        quarantine: seconds that a worker rests after its first loss.
        lost_after: seconds after which a worker that cannot be reached has lost the plans that run there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_cores: int | None = Field(None, ge=1)
    max_concurrent: int | None = Field(None, ge=1)
    timeout: float | None = Field(None, gt=0)
    stuck_after: float = Field(10.0, gt=0)
    retries: int = Field(0, ge=0)
    force_rerun: bool = False
    clear_geompre: bool = False
    keep_workspaces: bool = False
    quarantine: float = Field(5.0, ge=0)
    lost_after: float = Field(120.0, ge=0)

    def run_settings(self, worker: PlanRunner, stage: Stage = Stage.WHOLE) -> RunSettings:
        """How a plan of the campaign is run on a worker."""
        cores, priority = worker.spec.cores(self.num_cores), worker.spec.process_priority
        return RunSettings(cores, self.clear_geompre, priority, stage)


@dataclass(frozen=True)
class PreparedPlan:
    """A plan of a campaign that has not begun.

    Attributes:
        inputs: its files.
        receipt: of its result, when it need not run.
        expected: its run time, seconds; None when unknown.
        unable: the workers that cannot run it.
        ready: how far it is prepared for the workers that only solve.
    """

    inputs: PlanInputs
    receipt: Receipt | None
    expected: float | None
    unable: frozenset[str] = frozenset()
    ready: Readiness = field(default_factory=Readiness)


def select_plans(project: Project, plans: PlanNumbers) -> list[Plan]:
    """The plans meant: all of the project's when nothing or ``all`` is given; without duplicates, in order.

    Raises:
        InputError: a number that is not a plan of the project; the message lists those that are.
    """
    given = plans if isinstance(plans, Iterable) and not isinstance(plans, str) else [plans]
    if plans is None or list(given) == ["all"]:
        return project.plans()
    wanted = [part for plan in given for part in str(plan).split(",")]
    numbers = list(dict.fromkeys(plan_number(text) for text in wanted if text.strip()))
    if not numbers:
        raise InputError("no plan was chosen", step="choose plans", action="give plan numbers such as 01,02 or all")
    return [project.plan(number) for number in numbers]


def prepare_plans(
    plans: Sequence[Plan], any_workers: Sequence[AnyWorker], settings: CampaignSettings, journal: Journal
) -> dict[str, PreparedPlan]:
    """Look at every plan before anything is written: can it be read, are its files there, are its results current?

    Raises:
        InputError: a plan cannot run (names the file and who refers to it); no worker, or two of one name.
    """
    check_workers(any_workers)
    workers = [plan_runner(worker) for worker in any_workers]
    hasher = FileHasher(journal)
    prepared = {}
    for plan in plans:
        project = plan.project
        unable = unable_workers(plan, workers)
        able = [worker for worker in workers if worker.worker_id not in unable]
        receipt = find_receipt(journal, project, plan.number)
        current = False
        for worker in {(w.engine.name, w.stage): w for w in able}.values():
            inputs = worker.engine.inputs(plan, worker.stage)
            check_inputs(inputs)
            digest = inputs_digest(inputs, hasher)
            if receipt is not None and may_have_made(worker, receipt.engine):
                current = current or is_current(receipt, project, digest, hasher)
        expected = None if receipt is None else receipt.seconds
        prepared[plan.name] = PreparedPlan(
            inputs,
            receipt if current and not settings.force_rerun else None,
            expected,
            unable,
            readiness(plan, able, lambda worker, inputs: own_files(worker, inputs, anew=settings.clear_geompre)),
        )
    return prepared


def affinity(plan: Plan) -> str:
    """What plans share that use the same large inputs: they go to workers that have them already."""
    return f"{plan.project.label}{plan.geometry}"


def worker_joined(
    worker: Worker,
    settings: CampaignSettings,
    unable: frozenset[str] = frozenset(),
    prepared: frozenset[str] = frozenset(),
) -> WorkerJoined:
    """What the scheduler is told of a worker.

    Args:
        worker: that takes plans from now on.
        settings: of the campaign.
        unable: the plans that its engine cannot run.
        prepared: the plans that are prepared for it; for one that joins a campaign which runs.
    """
    return WorkerJoined(
        worker.worker_id,
        worker.spec.slots(settings.num_cores),
        worker.queue_priority,
        worker.prepares,
        worker.needs_prepared,
        unable,
        prepared,
    )


def unable_workers(plan: Plan, workers: Iterable[PlanRunner]) -> frozenset[str]:
    """The workers, by id, whose engine cannot run a plan.

    Raises:
        InputError: none of them can; says why the first one cannot.
    """
    refusals: dict[str, InputError] = {}
    able = False
    for worker in workers:
        try:
            worker.engine.check_plan(plan, worker.stage)
            able = True
        except InputError as error:
            refusals[worker.worker_id] = error
    if refusals and not able:
        raise next(iter(refusals.values()))
    return frozenset(refusals)


def check_workers(workers: Sequence[AnyWorker]) -> None:
    """Raise InputError when there is no worker, or when two have one name."""
    if not workers:
        raise InputError(
            "no worker was given",
            step="check workers",
            action="give at least one worker (init_ras_worker, or an inventory)",
        )
    twice = [name for name, count in Counter(worker.spec.worker_id for worker in workers).items() if count > 1]
    if twice:
        raise InputError(
            f"several workers are called {', '.join(twice)}", step="check workers", action="give each its own worker_id"
        )


def create_campaign(
    journal: Journal,
    project: Project,
    prepared: dict[str, PreparedPlan],
    workers: Sequence[AnyWorker],
    settings: CampaignSettings,
) -> str:
    """Write a campaign into the journal; plans with current results are over at once.

    Args:
        journal: where it is written.
        project: its project, or the first of several.
        prepared: its plans by name, from `prepare_plans`.
        workers: that run them.
        settings: how.

    Returns:
        The campaign's id, such as ``20260801-1430-5f3a``.

    Raises:
        OperatorError: a project folder cannot be written.
    """
    projects = {item.inputs.plan.project for item in prepared.values()} | {project}
    for folder in sorted({each.folder for each in projects}):
        check_writable(folder)
    campaign = f"{time.strftime('%Y%m%d-%H%M')}-{secrets.token_hex(2)}"
    specs = [{"type": w.type, "parameters": w.spec.model_dump(mode="json")} for w in workers]
    head = {
        "project": str(project.prj),
        "title": project.title + (f" and {len(projects) - 1} more" if len(projects) > 1 else ""),
        "workers": json.dumps(specs),
        "settings": settings.model_dump_json(),
    }
    events: list[tuple[str, dict[str, Any]]] = [("campaign-created", head)]
    for seq, (number, item) in enumerate(prepared.items()):
        plan = item.inputs.plan
        events.append(
            (
                "task-added",
                {
                    "plan": number,
                    "project": str(plan.project.prj),
                    "seq": seq,
                    "title": plan.title,
                    "flow_type": plan.flow_type.value,
                    "expected": item.expected,
                },
            )
        )
        if item.receipt is not None:
            events.append(_skipped(number, item.receipt))
        elif item.ready.problem:
            events.append(task_ended(number, Outcome.INCOMPLETE, item.ready.problem))
    journal.record_all(campaign, events)
    return campaign


def _skipped(plan: str, receipt: Receipt) -> tuple[str, dict[str, Any]]:
    return task_ended(
        plan,
        receipt.outcome,
        "unchanged since it was computed: not run again",
        skipped=1,
        worker=receipt.worker,
        engine=receipt.engine,
        result=receipt.result,
        seconds=0.0,
        warnings=receipt.warnings,
    )
