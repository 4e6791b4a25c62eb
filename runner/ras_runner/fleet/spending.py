"""What a burst has cost so far, and when it has to stop: plain arithmetic on what is known of its machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from ras_runner.campaign.costs import CostRecord, MachineCost
from ras_runner.fleet.cost import HOURS_A_MONTH, exact, money

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ras_runner.fleet.cost import Fleet
    from ras_runner.fleet.prices import Prices


@dataclass(frozen=True, slots=True)
class MachineTime:
    """When a machine was paid for.

    Attributes:
        machine: the cloud's id of it.
        worker: what it is called as a worker of the campaign; empty when it never was one.
        kind: its type.
        spot: it is a spot machine.
        since: unix time when it was asked for.
        until: unix time when it ended; None while it is there.
        region: where it is; that of the fleet when left out.
    """

    machine: str
    worker: str
    kind: str
    spot: bool
    since: float
    until: float | None = None
    region: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """What has lain in the cloud's storage since (GB, unix time), and what has gone out of the cloud so far (GB)."""

    gb: float = 0.0
    since: float = 0.0
    out_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent until ``at``.

    Attributes:
        at: unix time.
        currency: of all amounts.
        prices: what they rest on, for people.
        lines: amounts to the cent, by what they were paid for.
        machines: each machine's part of the line ``machines``, to the cent.
        hourly: what an hour costs as things are now.
    """

    at: float
    currency: str
    prices: str
    lines: dict[str, Decimal]
    machines: tuple[MachineCost, ...]
    hourly: Decimal

    @property
    def total(self) -> Decimal:
        """The sum of the lines."""
        return sum(self.lines.values(), Decimal(0))

    def record(self, burst: str, cloud: str, *, final: bool) -> CostRecord:
        """What `record_cost` writes into the journal; ``final`` when all machines have ended."""
        return CostRecord(burst, cloud, self.currency, self.prices, final, self.at, self.lines, self.machines)


def spent(fleet: Fleet, machines: Iterable[MachineTime], stored: Stored, prices: Prices, now: float) -> Spending:
    """What a burst has cost.

    Args:
        fleet: what was bought; of it count cloud, region, system, disks and addresses.
        machines: all that ever were; a machine that is there costs until ``now``.
        stored: what lies in storage, and what has gone out.
        prices: what the cloud charges.
        now: unix time.

    Raises:
        InputError: a price is not known.
    """
    lines = dict.fromkeys(("machines", "disks", "public addresses", "storage", "transfer out"), Decimal(0))
    hourly, sources, costs = Decimal(0), set[str](), []
    for machine in machines:
        region = machine.region or fleet.region
        rate = prices.machine(fleet.cloud, region, machine.kind, fleet.system)
        others = prices.region(fleet.cloud, region)
        until = now if machine.until is None else min(machine.until, now)
        hours = exact(max(0.0, until - machine.since) / 3600)
        price = rate.spot if machine.spot else rate.on_demand
        disk = exact(fleet.disk_gb) * others.disk_gb_month / HOURS_A_MONTH
        address = others.public_ip_hour if fleet.public_ip else Decimal(0)
        cost = money(hours * price)
        lines["machines"] += cost
        lines["disks"] += hours * disk
        lines["public addresses"] += hours * address
        hourly += (price + disk + address) if machine.until is None else 0
        sources.add(rate.source)
        costs.append(
            MachineCost(machine.worker, machine.machine, machine.kind, region, machine.spot, machine.since, until, cost)
        )
    home = prices.region(fleet.cloud, fleet.region)
    months = exact(max(0.0, now - stored.since) / 3600) / HOURS_A_MONTH
    lines["storage"] = exact(stored.gb) * months * home.storage_gb_month
    lines["transfer out"] = exact(stored.out_gb) * home.egress_gb
    hourly += exact(stored.gb) * home.storage_gb_month / HOURS_A_MONTH
    amounts = {name: money(amount) for name, amount in lines.items()}
    return Spending(now, prices.currency, ", ".join(sorted(sources)), amounts, tuple(costs), hourly)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a burst may not exceed.

    Attributes:
        max_cost: in the currency of the prices; None for no limit.
        expires_at: unix time when the machines end themselves.
        stopping: seconds that an orderly end takes, from the stop to the last machine gone; they are paid for too.
        still_to_pay: what comes in the end whatever happens, such as results that go out of the cloud.
    """

    max_cost: Decimal | None
    expires_at: float
    stopping: float = 600.0
    still_to_pay: Decimal = field(default=Decimal(0))


@dataclass(frozen=True, slots=True)
class HardStop:
    """When the stop of a burst has to begin (unix time), and why, in words for the user."""

    at: float
    why: str


def hard_stop(limits: Limits, spending: Spending) -> HardStop:
    """When the stop has to begin at the latest, so that it is over within the limits.

    It is asked again with each look at the machines: the answer holds while as many machines are there as now. A time
    that is not after ``spending.at`` means: now.
    """
    by_time = HardStop(limits.expires_at - limits.stopping, "its time to live is over")
    if limits.max_cost is None:
        return by_time
    why = f"it would cost more than {limits.max_cost} {spending.currency}"
    end = spending.hourly * exact(limits.stopping) / 3600 + limits.still_to_pay
    left = limits.max_cost - spending.total - end
    if left <= 0:
        return HardStop(min(spending.at, by_time.at), why)
    if not spending.hourly:
        return by_time
    at = spending.at + float(left / spending.hourly) * 3600
    return HardStop(at, why) if at < by_time.at else by_time
