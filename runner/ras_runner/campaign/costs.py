"""What the rented machines of a campaign cost, as its journal has it, and each plan's part of that.

A burst writes ``cost-recorded`` events; the latest of each burst counts. Status and report need nothing of the burst.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.view import AttemptView, CampaignView

KIND = "cost-recorded"
_CENTS = 100


@dataclass(frozen=True, slots=True)
class MachineCost:
    """A rented machine: the worker that it was in the campaign, when it was paid for (unix times), what it cost."""

    worker: str
    machine: str
    kind: str
    region: str
    spot: bool
    since: float
    until: float
    cost: Decimal


@dataclass(frozen=True, slots=True)
class CostRecord:
    """What one burst has cost.

    Attributes:
        burst: its id.
        cloud: where it was.
        currency: of all amounts.
        prices: what the amounts rest on, for people.
        final: its machines have ended; nothing more will come.
        at: unix time that it speaks of.
        lines: amounts by what they were paid for (machines, disks ...), to the cent.
        machines: each of them, with its part of the line ``machines``.
    """

    burst: str
    cloud: str
    currency: str
    prices: str
    final: bool
    at: float
    lines: Mapping[str, Decimal]
    machines: tuple[MachineCost, ...]

    @property
    def total(self) -> Decimal:
        """The sum of the lines."""
        return sum(self.lines.values(), Decimal(0))


@dataclass(frozen=True, slots=True)
class CampaignCost:
    """What a campaign has cost so far.

    Attributes:
        currency: of all amounts.
        records: the latest of each burst.
        plans: each plan's part, by its number; plans that ran on no rented machine are not in it.
    """

    currency: str
    records: tuple[CostRecord, ...]
    plans: Mapping[str, Decimal]

    @property
    def total(self) -> Decimal:
        """What all bursts of the campaign have cost."""
        return sum((record.total for record in self.records), Decimal(0))

    @property
    def final(self) -> bool:
        """Nothing more will come of these bursts."""
        return all(record.final for record in self.records)

    @property
    def unassigned(self) -> Decimal:
        """What was paid without any plan having run in its burst."""
        return self.total - sum(self.plans.values(), Decimal(0))

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, without the plans; amounts are numbers."""
        return {
            "currency": self.currency,
            "total": float(self.total),
            "final": self.final,
            "bursts": [
                {
                    "burst": record.burst,
                    "total": float(record.total),
                    "final": record.final,
                    "lines": {name: float(amount) for name, amount in record.lines.items()},
                }
                for record in self.records
            ],
        }


def check_currency(journal: Journal, campaign: str, currency: str) -> None:
    """Refuse a burst for a campaign that was paid for in another currency: the sum would mean nothing.

    Raises:
        InputError: says which, and what to do.
    """
    other = {record.currency for record in recorded_costs(journal, campaign)} - {currency}
    if other:
        raise InputError(
            f"campaign {campaign} was paid for in {', '.join(sorted(other))} so far, and the prices are in {currency}",
            step="check prices",
            action="give prices in the same currency (--prices FILE), or start another campaign",
        )


def record_cost(journal: Journal, campaign: str, record: CostRecord) -> None:
    """Write what a burst has cost so far, or in the end, into the journal of the campaign that it ran.

    Raises:
        InputError: the campaign was paid for in another currency; see `check_currency`.
    """
    check_currency(journal, campaign, record.currency)
    data = asdict(record)
    data["lines"] = {name: str(amount) for name, amount in record.lines.items()}
    data["machines"] = [{**asdict(machine), "cost": str(machine.cost)} for machine in record.machines]
    del data["at"]
    journal.record(campaign, KIND, at=record.at, **data)


def recorded_costs(journal: Journal, campaign: str) -> tuple[CostRecord, ...]:
    """The latest record of each burst of a campaign, in the order in which the bursts began to cost."""
    rows = journal.rows(
        "SELECT at, data FROM events JOIN (SELECT MIN(id) AS first, MAX(id) AS last FROM events "
        "WHERE campaign = ? AND kind = ? GROUP BY json_extract(data, '$.burst')) ON id = last ORDER BY first",
        campaign,
        KIND,
    )
    return tuple(_record(row["at"], json.loads(row["data"])) for row in rows)


def _record(at: float, data: dict[str, Any]) -> CostRecord:
    machines = tuple(MachineCost(**{**machine, "cost": Decimal(machine["cost"])}) for machine in data.pop("machines"))
    lines = {name: Decimal(amount) for name, amount in data.pop("lines").items()}
    return CostRecord(**data, at=at, lines=lines, machines=machines)


def campaign_cost(journal: Journal, view: CampaignView) -> CampaignCost | None:
    """What a campaign has cost, and each plan's part of it; None when no burst ran it."""
    records = recorded_costs(journal, view.id)
    if not records:
        return None
    attempts = [attempt for task in view.tasks for attempt in task.attempts]
    plans: defaultdict[str, Decimal] = defaultdict(Decimal)
    for record in records:
        for plan, amount in plan_shares(record, attempts).items():
            plans[plan] += amount
    return CampaignCost(records[0].currency, records, dict(plans))


def plan_shares(record: CostRecord, attempts: Iterable[AttemptView]) -> dict[str, Decimal]:
    """Each plan's part of what a burst cost: the parts make up the whole, to the cent.

    A machine is paid by the plans that ran on it, by the seconds of their attempts (lost ones too), and with it its
    idle time. All else (machines on which nothing ran, disks, storage, transfer) is paid by all plans of the burst in
    the same way. Where no plan ran there is nobody to pay, and the answer is empty.
    """
    seconds: dict[str, defaultdict[str, float]] = {machine.worker: defaultdict(float) for machine in record.machines}
    for attempt in attempts:
        if attempt.worker_id in seconds:
            end = record.at if attempt.ended is None else attempt.ended
            seconds[attempt.worker_id][attempt.plan_number] += max(0.0, end - (attempt.launched or attempt.created))
    everywhere: defaultdict[str, float] = defaultdict(float)
    for ran in seconds.values():
        for plan, spent in ran.items():
            everywhere[plan] += spent
    if not sum(everywhere.values()):
        return {}
    parts: defaultdict[str, Decimal] = defaultdict(Decimal)
    rest = record.total
    for machine in record.machines:
        if sum(seconds[machine.worker].values()):
            rest -= machine.cost
            _divide(machine.cost, seconds[machine.worker], parts)
    _divide(rest, everywhere, parts)
    return _to_cents(record.total, parts)


def _divide(amount: Decimal, weights: Mapping[str, float], parts: defaultdict[str, Decimal]) -> None:
    whole = Decimal(sum(weights.values()))
    for name, weight in weights.items():
        parts[name] += amount * Decimal(weight) / whole


def _to_cents(total: Decimal, parts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Parts in whole cents that make up the total: those with the largest remainders get the cents that are left."""
    whole = {name: int(part * _CENTS) for name, part in parts.items()}
    left = int(total * _CENTS) - sum(whole.values())
    for name in sorted(parts, key=lambda name: (whole[name] - parts[name] * _CENTS, name))[:left]:
        whole[name] += 1
    return {name: Decimal(cents) / _CENTS for name, cents in whole.items()}
