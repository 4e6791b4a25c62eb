"""What a burst will cost, worked out before anything is bought: plain arithmetic, no cloud is asked.

The formulas and a worked example are in docs/cloud-cost.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ras_runner.fleet.prices import Cloud, MachineRate, Prices, RegionRates, System

#: Clouds bill disks and storage by the month, counted in hours.
HOURS_A_MONTH = 730
#: A plan may take so many parts of the time that was said or measured: machines differ, and so do guesses.
FASTER, SLOWER = 0.75, 1.5
#: Hours of a machine in which it computes nothing: boot, loading the image, waiting until it is given back.
_UNUSED = (5 / 60, 10 / 60, 30 / 60)
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the likeliest and the most that something may be."""

    low: float
    likely: float
    high: float


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be computed.

    Attributes:
        hours: of each plan, in a slot of a machine.
        basis: where they are from, for people.
    """

    hours: tuple[Spread, ...]
    basis: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """The machines of a burst.

    Attributes:
        cloud, region: where they are.
        kinds: machine types that will do, the first choice first.
        system: what runs on them.
        machines: how many at most.
        slots: plans that one machine runs at once.
        on_demand: so many of them are bought at the full price, the rest are spot machines.
        disk_gb: disk of each.
        public_ip: each has a public address.
    """

    cloud: Cloud
    region: str
    kinds: tuple[str, ...]
    system: System
    machines: int
    slots: int
    on_demand: int = 0
    disk_gb: float = 100
    public_ip: bool = False

    def __post_init__(self) -> None:
        _require(bool(self.kinds), "no machine type is named", "name one, such as c7i.2xlarge")
        _require(self.machines >= 1, f"{self.machines} machines", "at least 1")
        _require(self.slots >= 1, f"{self.slots} slots a machine", "at least 1")
        _require(self.on_demand >= 0, f"{self.on_demand} machines at the full price", "0 or more")
        _require(_sound(self.disk_gb), f"disks of {self.disk_gb} GB", "0 or more")


@dataclass(frozen=True, slots=True)
class Transfer:
    """What lies in the cloud's storage (GB), for how many days, and what goes out of the cloud (GB)."""

    stored_gb: float = 0.0
    stored_days: float = 0.0
    out_gb: float = 0.0

    def __post_init__(self) -> None:
        for name in ("stored_gb", "stored_days", "out_gb"):
            value = getattr(self, name)
            _require(_sound(value), f"{name} is {value}", "0 or more")


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that costs: the least, the likeliest, the most, and what it cannot exceed before the end of life."""

    name: str
    low: Decimal
    likely: Decimal
    high: Decimal
    ceiling: Decimal


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a burst will cost.

    Attributes:
        lines: what it is made of; the totals are their sums, to the cent.
        currency: of all amounts.
        hours: from the first machine to the last result.
        machines: that will have something to do.
        basis: what it rests on, a sentence each.
        notes: what the buyer should know before, a sentence each.
    """

    lines: tuple[Line, ...]
    currency: str
    hours: Spread
    machines: int
    basis: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def low(self) -> Decimal:
        """The least it may cost."""
        return sum((line.low for line in self.lines), Decimal(0))

    @property
    def likely(self) -> Decimal:
        """What it will probably cost."""
        return sum((line.likely for line in self.lines), Decimal(0))

    @property
    def high(self) -> Decimal:
        """What it costs when much goes slowly, and spot machines are as dear as others."""
        return sum((line.high for line in self.lines), Decimal(0))

    @property
    def ceiling(self) -> Decimal:
        """What it cannot exceed: all machines at the full price until the end of their life."""
        return sum((line.ceiling for line in self.lines), Decimal(0))

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; amounts are numbers."""
        amounts = ("low", "likely", "high", "ceiling")
        return {
            "currency": self.currency,
            **{name: float(getattr(self, name)) for name in amounts},
            "lines": [
                {"name": line.name, **{name: float(getattr(line, name)) for name in amounts}} for line in self.lines
            ],
            "hours": {"low": self.hours.low, "likely": self.hours.likely, "high": self.hours.high},
            "machines": self.machines,
            "basis": list(self.basis),
            "notes": list(self.notes),
        }


def stated_work(plans: int, hours: float) -> Work:
    """Plans that take as long as somebody says.

    Args:
        plans: how many.
        hours: of each, in a slot of one of the machines.

    Raises:
        InputError: a number is no number of plans or hours.
    """
    _require(plans >= 0, f"{plans} plans", "0 or more")
    _require(_sound(hours) and hours > 0, f"{hours} hours per plan", "more than 0")
    return Work((_about(hours),) * plans, f"{hours:g} h a plan, as stated")


def measured_work(plans: Sequence[str], seconds: Mapping[str, float], stated: float | None = None) -> Work:
    """Plans that take about as long as they took before.

    Args:
        plans: their names.
        seconds: run times of past runs, by plan; plans that are not in it take ``stated`` hours, or else the mean of
            those that are, between the shortest and the longest of them.
        stated: hours of a plan that was never run.

    Raises:
        InputError: no plan was ever run, and nothing is stated.
    """
    known = [seconds[plan] / 3600 for plan in plans if plan in seconds]
    if stated is not None:
        other = stated_work(1, stated).hours[0]
    elif known:
        other = Spread(min(known) * FASTER, sum(known) / len(known), max(known) * SLOWER)
    else:
        raise InputError(
            "how long the plans take is not known: none of them has been run before",
            step="estimate",
            action="say it: --hours-per-plan HOURS",
        )
    hours = tuple(_about(seconds[plan] / 3600) if plan in seconds else other for plan in plans)
    basis = f"receipts of {len(known)} past run{'s' * (len(known) != 1)}"
    if unknown := len(plans) - len(known):
        basis += f"; {unknown} without one at " + (f"{stated:g} h, as stated" if stated is not None else "their mean")
    return Work(hours, basis)


def estimate(work: Work, fleet: Fleet, transfer: Transfer, ttl_hours: float, prices: Prices) -> Estimate:
    """What a burst will cost.

    Args:
        work: the plans.
        fleet: the machines. Those that the plans do not need are never bought.
        transfer: storage, and what goes out of the cloud.
        ttl_hours: after so many hours all machines end, whatever runs.
        prices: what the cloud charges.

    Raises:
        InputError: a price is not known, or a number is impossible.
    """
    _require(_sound(ttl_hours) and ttl_hours > 0, f"a time to live of {ttl_hours} hours", "more than 0")
    rates = [prices.machine(fleet.cloud, fleet.region, kind, fleet.system) for kind in fleet.kinds]
    used = min(fleet.machines, math.ceil(len(work.hours) / fleet.slots))
    time, machine_time = _times(work, fleet.slots, used)
    region = prices.region(fleet.cloud, fleet.region)
    lines = _machine_lines(fleet, used, machine_time, ttl_hours, rates, region) + _transfer_lines(transfer, region)
    sources = sorted({rate.source for rate in rates})
    return Estimate(
        tuple(line for line in lines if line.ceiling),
        prices.currency,
        time,
        used,
        (f"run times: {work.basis}", f"prices: {', '.join(sources)}"),
        tuple(_notes(time, ttl_hours, fleet, used)),
    )


def estimate_text(found: Estimate) -> str:
    """An estimate as people read it before they say yes."""
    rows = [(line.name, line.likely, line.low, line.high) for line in found.lines]
    rows.append(("in all", found.likely, found.low, found.high))
    text = [f"{name:<18}{likely:>10} {found.currency}  ({low} to {high})" for name, likely, low, high in rows]
    text.append(f"never above {found.ceiling} {found.currency}: all machines at the full price until their end")
    hours = found.hours
    text.append(
        f"takes about {hours.likely:.1f} h ({hours.low:.1f} to {hours.high:.1f}) on {found.machines} "
        f"machine{'s' * (found.machines != 1)}"
    )
    return "\n".join([*text, *found.basis, *(f"note: {note}" for note in found.notes)])


def require_affordable(found: Estimate, max_cost: Decimal) -> None:
    """Refuse a burst whose likely cost is above what it may cost.

    Raises:
        InputError: says both, and what would be cheaper.
    """
    if max_cost < found.likely:
        raise InputError(
            f"the burst will probably cost {found.likely} {found.currency} "
            f"({found.low} to {found.high}), and may cost {max_cost} {found.currency} only",
            step="estimate",
            action="raise --max-cost, take fewer plans, or take cheaper machines",
        )


def money(amount: Decimal) -> Decimal:
    """An amount to the cent."""
    return amount.quantize(_CENT, ROUND_HALF_UP)


def exact(value: float) -> Decimal:
    """A measured number for sums of money: the digits that it is printed with, not the binary ones."""
    return Decimal(repr(float(value)))


def _times(work: Work, slots: int, used: int) -> tuple[Spread, Spread]:
    """Hours until the last result, and hours of all machines together.

    No schedule is shorter than the longest plan, or than all hours over all slots; one that never lets a slot stand
    idle while plans wait is at most the sum of both (R. L. Graham, 1969).
    """
    if not used:
        return Spread(0, 0, 0), Spread(0, 0, 0)
    everywhere = used * slots
    shares = [sum(getattr(plan, name) for plan in work.hours) / everywhere for name in ("low", "likely", "high")]
    longest = [max(getattr(plan, name) for plan in work.hours) for name in ("low", "likely", "high")]
    low, likely, high = max(shares[0], longest[0]), max(shares[1], longest[1]), shares[2] + longest[2]
    least = max(shares[0] * used, longest[0])  # the other machines are given back when nothing waits any more
    return (
        Spread(low + _UNUSED[0], likely + _UNUSED[1], high + _UNUSED[2]),
        Spread(least + used * _UNUSED[0], used * (likely + _UNUSED[1]), used * (high + _UNUSED[2])),
    )


def _machine_lines(
    fleet: Fleet, used: int, time: Spread, ttl: float, rates: Sequence[MachineRate], region: RegionRates
) -> list[Line]:
    """Machines, their disks and their addresses; the cheapest type at least, the first likely, the dearest at most."""
    full = exact(min(fleet.on_demand, used) / used) if used else Decimal(0)
    hourly = (
        min(_mixed(rate.on_demand, rate.spot, full) for rate in rates),
        _mixed(rates[0].on_demand, rates[0].spot, full),
        max(rate.on_demand for rate in rates),
    )
    disk = exact(fleet.disk_gb) * region.disk_gb_month / HOURS_A_MONTH
    address = region.public_ip_hour if fleet.public_ip else Decimal(0)
    longest = fleet.machines * ttl
    return [
        _line("machines", time, hourly, longest),
        _line("disks", time, (disk,) * 3, longest),
        _line("public addresses", time, (address,) * 3, longest),
    ]


def _mixed(on_demand: Decimal, spot: Decimal, full: Decimal) -> Decimal:
    return on_demand * full + spot * (1 - full)


def _line(name: str, time: Spread, hourly: tuple[Decimal, ...], longest: float) -> Line:
    """Hours at a price; never above what all machines cost until the end of their life."""
    ceiling = money(exact(longest) * hourly[2])
    low, likely, high = (
        min(ceiling, money(exact(hours) * rate))
        for hours, rate in zip((time.low, time.likely, time.high), hourly, strict=True)
    )
    return Line(name, low, likely, high, ceiling)


def _transfer_lines(transfer: Transfer, region: RegionRates) -> list[Line]:
    months = exact(transfer.stored_days) * 24 / HOURS_A_MONTH
    stored = money(exact(transfer.stored_gb) * months * region.storage_gb_month)
    out = money(exact(transfer.out_gb) * region.egress_gb)
    return [Line("storage", stored, stored, stored, stored), Line("transfer out", out, out, out, out)]


def _notes(time: Spread, ttl: float, fleet: Fleet, used: int) -> list[str]:
    notes = []
    if time.likely > ttl:
        notes.append(
            f"the plans need about {time.likely:.1f} h, and the machines end after {ttl:g} h: "
            "what is not done by then waits for ras-runner resume"
        )
    elif time.high > ttl:
        notes.append(f"it may take {time.high:.1f} h, and the machines end after {ttl:g} h")
    if used < fleet.machines:
        notes.append(f"{used} of the {fleet.machines} machines have something to do; the others are never bought")
    return notes


def _about(hours: float) -> Spread:
    return Spread(hours * FASTER, hours, hours * SLOWER)


def _sound(number: float) -> bool:
    return math.isfinite(number) and number >= 0


def _require(true: bool, cause: str, action: str) -> None:
    if not true:
        raise InputError(cause, step="estimate", action=action)
