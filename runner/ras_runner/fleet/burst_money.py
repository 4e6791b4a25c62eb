"""What a burst costs, worked out from its order and its record; the arithmetic is in :mod:`ras_runner.fleet.cost`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ras_runner.errors import InputError
from ras_runner.fleet.cost import Estimate, Fleet, Transfer, Work, estimate, require_affordable
from ras_runner.fleet.prices import Prices, load_prices
from ras_runner.fleet.spending import Limits, MachineTime, Stored, hard_stop, spent

if TYPE_CHECKING:
    from ras_runner.fleet.burst_cloud import Place
    from ras_runner.fleet.burst_order import BurstOrder
    from ras_runner.fleet.burst_record import BurstRecord
    from ras_runner.fleet.prices import Cloud
    from ras_runner.fleet.spending import HardStop, Spending


def estimated(order: BurstOrder, place: Place, work: Work | None, out_gb: float, prices: Prices) -> Estimate:
    """What the burst will cost.

    Args:
        order, place: what is asked, and what the cloud said to it.
        work: what is to be computed; nothing known when None: only the ceiling means something then.
        out_gb: what goes out of the cloud, GB.
        prices: what the cloud charges.

    Raises:
        InputError: a price is not known.
    """
    fleet = Fleet(
        order.cloud,
        order.region,
        place.machine_types,
        "linux",
        order.workers,
        max(1, place.cores // order.cores_per_plan),
        order.on_demand,
        order.disk_gib,
        order.public_ip,
    )
    stored = order.image_archive.expanduser().stat().st_size / 1e9
    transfer = Transfer(stored, order.ttl / 86400, out_gb)
    plans = work or Work((), "not known: nothing was said of the plans")
    return estimate(plans, fleet, transfer, order.ttl / 3600, prices)


def check_affordable(found: Estimate, max_cost: Decimal, *, attended: bool) -> None:
    """Refuse a burst that will cost too much; one that nobody watches may not even be able to.

    Raises:
        InputError: says both figures, and what would be cheaper.
    """
    require_affordable(found, max_cost)
    if not attended and found.ceiling > max_cost:
        raise InputError(
            f"the burst may cost up to {found.ceiling} {found.currency} until its machines end, and {max_cost} is the "
            "limit; nobody stops it before that (burst up)",
            step="estimate",
            action="raise --max-cost, shorten --ttl, take fewer workers, or use burst run, which watches the cost",
        )


@dataclass(frozen=True)
class Account:
    """The running account of a burst.

    Args:
        prices: that count for it.
        stopping: seconds that an orderly end takes.
    """

    prices: Prices
    stopping: float

    def spending(self, record: BurstRecord, now: float) -> Spending:
        """What it has cost until now, by the machines in its record."""
        asked = record.parameters
        fleet = Fleet(
            cast("Cloud", record.cloud),
            record.region,
            tuple(record.machine_types),
            "linux",
            record.workers,
            1,
            disk_gb=asked["disk_gib"],
            public_ip=asked["public_ip"],
        )
        times = [
            MachineTime(name, f"{record.id}-{name}", machine.kind, machine.spot, machine.start, machine.end)
            for name, machine in record.machines.items()
        ]
        return spent(fleet, times, Stored(asked["stored_gb"], record.created), self.prices, now)

    def hard_stop(self, record: BurstRecord, spending: Spending) -> HardStop:
        """When the burst has to be stopped at the latest, so that it is over within its limits."""
        return hard_stop(Limits(Decimal(record.max_cost), record.expires_at, self.stopping), spending)


def account_of(record: BurstRecord, state_dir: Path, stopping: float = 0.0) -> Account:
    """The account of a burst that was begun, perhaps by another controller.

    Raises:
        InputError: its file of own rates has gone or is wrong.
    """
    own = record.parameters["prices"]
    return Account(load_prices(Path(own) if own else None, state_dir), stopping)
