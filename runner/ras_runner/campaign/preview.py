"""What a campaign would do: which plan runs where first, and what has to be sent for it. Nothing is run or written."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.scheduler import Policy, Scheduler, Start, TaskAdded, WorkerJoined
from ras_runner.engines.common import staged_name
from ras_runner.hashing import FileHasher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ras_runner.campaign.campaigns import CampaignSettings, PreparedPlan
    from ras_runner.campaign.journal import Journal
    from ras_runner.engines.base import StagedFile
    from ras_runner.workers.base import Worker


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One plan.

    Attributes:
        plan_number, title: which.
        skipped: its results are current.
        worker_id, slot: where it would start at once; None when it would wait for a free slot.
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

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


def preview(
    plans: Mapping[str, PreparedPlan], workers: Sequence[Worker], settings: CampaignSettings, journal: Journal
) -> list[PreviewRow]:
    """What would happen to each plan, in the order given."""
    scheduler = Scheduler(Policy(max_concurrent=settings.max_concurrent))
    joined = [WorkerJoined(w.worker_id, w.spec.slots(settings.num_cores), w.queue_priority) for w in workers]
    tasks = [
        TaskAdded(number, item.expected, item.inputs.plan.geometry, unable=item.unable)
        for number, item in plans.items()
        if item.receipt is None
    ]
    starts = {d.task: d for d in scheduler.handle(*joined, *tasks) if isinstance(d, Start)}
    by_name = {worker.worker_id: worker for worker in workers}
    hasher = FileHasher(journal)
    sent: set[str] = set()
    rows = []
    for number, item in plans.items():
        title = item.inputs.plan.title
        if item.receipt is not None:
            rows.append(PreviewRow(number, title, True, None, None, None, 0, 0, 0))
            continue
        start = starts.get(number)
        worker = by_name[start.worker] if start else next(w for w in workers if w.worker_id not in item.unable)
        run = settings.run_settings(worker)
        with tempfile.TemporaryDirectory() as scratch:
            files = worker.engine.prepare(
                item.inputs, run, staged_name(item.inputs.plan.project.name, worker.engine.system), Path(scratch)
            )
            sizes = [_size(file) for file in files]
            to_send = sum(_to_send(file, worker, hasher, sent) for file in files)
        rows.append(
            PreviewRow(
                number,
                title,
                False,
                start.worker if start else None,
                start.slot if start else None,
                run.cores,
                len(files),
                sum(sizes),
                to_send,
            )
        )
    return rows


def _size(file: StagedFile) -> int:
    return len(file.source) if isinstance(file.source, bytes) else file.source.stat().st_size


def _to_send(file: StagedFile, worker: Worker, hasher: FileHasher, sent: set[str]) -> int:
    """Bytes that must travel: 0 when the worker's store has the content, or an earlier plan sends it."""
    if isinstance(file.source, bytes):
        return len(file.source)
    digest = hasher.digest(file.source)
    stored = worker.store_path(digest)
    if digest in sent or worker.transport.stored([stored]):
        return 0
    sent.add(digest)
    return file.source.stat().st_size
