"""What a campaign would do: which plan runs where first, and what has to be sent for it. Nothing is run or written."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.campaigns import affinity, worker_joined
from ras_runner.campaign.prepared import own_files, with_prepared
from ras_runner.campaign.scheduler import Policy, Scheduler, Start, TaskAdded
from ras_runner.engines.base import Stage
from ras_runner.engines.common import staged_name
from ras_runner.hashing import FileHasher
from ras_runner.hecras.size import plan_size
from ras_runner.workers.base import Worker
from ras_runner.workers.group import plan_runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ras_runner.campaign.campaigns import CampaignSettings, PreparedPlan
    from ras_runner.campaign.journal import Journal
    from ras_runner.engines.base import StagedFile
    from ras_runner.workers.base import PlanRunner
    from ras_runner.workers.group import AnyWorker


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One plan.

    Attributes:
        plan_number, title: which.
        skipped: its results are current.
        stage: what is done there at once: ``whole``, ``prepare``, ``solve``; empty when it would wait.
        problem: why it cannot run at all; empty when it can.
        worker_id, slot: where it would start at once; None when it would wait for a free slot. A group without a
            slot: on a machine of it that there is not yet.
        cores: it would get.
        files, bytes: of its workspace.
        bytes_to_send: what the worker's store lacks; files that an earlier row sends are not counted again.
    """

    plan_number: str
    title: str
    skipped: bool
    worker_id: str | None
    slot: int | None
    cores: int | None
    files: int
    bytes: int
    bytes_to_send: int
    stage: str = ""
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


def preview(
    plans: Mapping[str, PreparedPlan], any_workers: Sequence[AnyWorker], settings: CampaignSettings, journal: Journal
) -> list[PreviewRow]:
    """What would happen to each plan, in the order given."""
    scheduler = Scheduler(Policy(max_concurrent=settings.max_concurrent))
    workers = [plan_runner(worker) for worker in any_workers]
    joined = [worker_joined(worker, settings) for worker in any_workers if isinstance(worker, Worker)]
    tasks = [
        _task_added(number, item) for number, item in plans.items() if item.receipt is None and not item.ready.problem
    ]
    starts = {d.task: d for d in scheduler.handle(*joined, *tasks) if isinstance(d, Start)}
    hasher = FileHasher(journal)
    sent: set[str] = set()
    rows = []
    for number, item in plans.items():
        title = item.inputs.plan.title
        if item.receipt is not None or item.ready.problem:
            skipped = item.receipt is not None
            row = PreviewRow(number, title, skipped, None, None, None, 0, 0, 0, problem=item.ready.problem)
        else:
            row = _row(item, _placed(item, starts.get(number), workers), settings, hasher, sent)
        rows.append(row)
    return rows


def _task_added(number: str, item: PreparedPlan) -> TaskAdded:
    plan = item.inputs.plan
    size = plan_size(plan)
    return TaskAdded(
        number,
        item.expected,
        affinity(plan),
        unable=item.unable,
        prepared=item.ready.kinds,
        size=size.amount,
        kind=size.kind,
    )


def _placed(
    item: PreparedPlan, start: Start | None, workers: Sequence[PlanRunner]
) -> tuple[PlanRunner, Stage, int | None]:
    """Where a plan starts at once, or an example of where it will, and its slot; None while it waits."""
    if start is not None:
        return next(w for w in workers if w.worker_id == start.worker), start.stage, start.slot
    able = [w for w in workers if w.worker_id not in item.unable]
    ready = [w for w in able if not w.needs_prepared or w.needs_prepared in item.ready.kinds]
    worker = next((w for w in ready if isinstance(w, Worker)), ready[0])
    return worker, worker.stage, None


def _row(
    item: PreparedPlan,
    placed: tuple[PlanRunner, Stage, int | None],
    settings: CampaignSettings,
    hasher: FileHasher,
    sent: set[str],
) -> PreviewRow:
    worker, stage, slot = placed
    plan, run = item.inputs.plan, settings.run_settings(worker, stage)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        inputs = worker.engine.inputs(plan, worker.stage)
        if stage is Stage.SOLVE:
            own = own_files(worker, inputs, anew=settings.clear_geompre)
            inputs = inputs if isinstance(own, str) else with_prepared(inputs, own, scratch)
        files = worker.engine.prepare(inputs, run, staged_name(plan.project.name, worker.engine.system), scratch)
        sizes = [_size(file) for file in files]
        to_send = sum(_to_send(file, worker, hasher, sent) for file in files)
    where = None if slot is None and isinstance(worker, Worker) else worker.worker_id
    doing = "" if slot is None else stage.value
    return PreviewRow(plan.name, plan.title, False, where, slot, run.cores, len(files), sum(sizes), to_send, doing)


def _size(file: StagedFile) -> int:
    return len(file.source) if isinstance(file.source, bytes) else file.source.stat().st_size


def _to_send(file: StagedFile, worker: PlanRunner, hasher: FileHasher, sent: set[str]) -> int:
    """Bytes that must travel: 0 when the worker's store has the content, or an earlier plan sends it."""
    if isinstance(file.source, bytes):
        return len(file.source)
    digest = hasher.digest(file.source)
    if digest in sent or (isinstance(worker, Worker) and worker.transport.stored([worker.store_path(digest)])):
        return 0
    sent.add(digest)
    return file.source.stat().st_size
