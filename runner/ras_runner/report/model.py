"""What a report is made from: rows the campaign's journal can answer, and nothing of the journal itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try of a plan on a worker.

    Attributes:
        attempt_id: id of the attempt, unique in the campaign.
        worker_id: the worker it ran on.
        slot: which slot of that worker.
        started: launch, Unix seconds; None when it was never launched.
        ended: end, Unix seconds; None while it runs.
        outcome: a word of `ras_runner.outcomes.Outcome`; None while it runs.
        message: why it ended so; empty on plain success.
        prepares: it only prepared the plan for another worker.
    """

    attempt_id: str
    worker_id: str
    slot: int
    started: float | None
    ended: float | None
    outcome: str | None
    message: str
    prepares: bool = False


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan of the campaign, with all its attempts.

    Attributes:
        project: name of the project the plan belongs to.
        plan_number: two digits, as in `.p01`.
        title: plan title, as written by the modeller (any text).
        flow_type: steady, unsteady, quasi-unsteady ...
        outcome: a word of `ras_runner.outcomes.Outcome`; None while it waits or runs.
        skipped: the result of an earlier run is still current; not computed again.
        worker_id: the worker of the attempt that counts; empty when there is none.
        engine: name and version of the engine that made the result.
        execution_time: seconds the engine ran; None when unknown.
        warnings: the engine's warnings, one text each.
        message: the reason when it failed; may have several lines (the tail of a log).
        result: the published result HDF; None when there is none.
        attempts: in the order they were made.
        bytes_staged: bytes sent to workers for this plan.
        cost: its part of what rented machines cost; None when it ran on none.
    """

    project: str
    plan_number: str
    title: str
    flow_type: str
    outcome: str | None
    skipped: bool
    worker_id: str
    engine: str
    execution_time: float | None
    warnings: tuple[str, ...]
    message: str
    result: Path | None
    attempts: tuple[AttemptRow, ...]
    bytes_staged: int
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BurstRow:
    """Machines that were rented for the campaign, and what they cost.

    Attributes:
        burst: id of the burst.
        cloud: where it was.
        machines: how many there were.
        machine_seconds: the times that they were paid for, added up.
        lines: amounts by what they were paid for.
        total: their sum.
        final: nothing more will come.
        prices: what the amounts rest on.
    """

    burst: str
    cloud: str
    machines: int
    machine_seconds: float
    lines: Mapping[str, Decimal]
    total: Decimal
    final: bool
    prices: str


@dataclass(frozen=True, slots=True)
class CostRow:
    """What the campaign cost: ``unassigned`` was paid without a plan having run, ``final`` says nothing more comes."""

    currency: str
    total: Decimal
    unassigned: Decimal
    final: bool
    bursts: tuple[BurstRow, ...]


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """A whole campaign as it stands now.

    Attributes:
        campaign_id: id of the campaign.
        project: path of the project, as text.
        title: title of the campaign or of the project.
        created: start, Unix seconds.
        ended: end, Unix seconds; None while it runs or when it was interrupted.
        state: ``running``, ``finished`` or ``interrupted``.
        plans: one row a plan.
        version: version of ras-runner.
        cost: what rented machines cost; None when there were none.
    """

    campaign_id: str
    project: str
    title: str
    created: float
    ended: float | None
    state: str
    plans: tuple[PlanRow, ...]
    version: str
    cost: CostRow | None = None
