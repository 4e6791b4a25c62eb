"""What a burst has cost so far, and when it has to stop."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ras_runner.errors import InputError
from ras_runner.fleet.cost import Fleet
from ras_runner.fleet.prices import load_prices
from ras_runner.fleet.spending import Limits, MachineTime, Stored, hard_stop, spent

PRICES = load_prices(None, Path("no state directory"))
FLEET = Fleet("aws", "eu-central-1", ("c7i.2xlarge",), "linux", machines=10, slots=2, disk_gb=73, public_ip=True)
START = 1_790_000_000.0
HOUR = 3600.0


def machine(name: str = "i-1", begin: float = 0.0, end: float | None = None, **changes: object) -> MachineTime:
    """A spot machine; hours since the start."""
    until = None if end is None else START + end * HOUR
    row = {"machine": name, "worker": f"g-{name}", "kind": "c7i.2xlarge", "spot": True, **changes}
    return MachineTime(since=START + begin * HOUR, until=until, **row)


def test_each_machine_costs_from_its_start_to_its_end_with_disk_and_address() -> None:
    machines = [machine("i-1"), machine("i-2", 1, 3, spot=False), machine("i-3", 0, 2, kind="m7i.4xlarge")]
    now = START + 10 * HOUR
    found = spent(FLEET, machines, Stored(gb=100, since=START, out_gb=10), PRICES, now)
    assert {name: str(amount) for name, amount in found.lines.items()} == {
        "machines": "3.51",  # 10 h at 0.18333, 2 h at 0.4074, 2 h at 0.45 * 0.966
        "disks": "0.13",  # 14 h of 73 GB at 0.0952 / 730
        "public addresses": "0.07",
        "storage": "0.03",
        "transfer out": "0.90",
    }
    assert [str(one.cost) for one in found.machines] == ["1.83", "0.81", "0.87"]
    assert found.total == Decimal("4.64")
    assert float(found.hourly) == pytest.approx(0.18333 + 73 * 0.0952 / 730 + 0.005 + 100 * 0.0245 / 730)
    record = found.record("b-1", "aws", final=False)
    assert (record.total, record.currency, record.at) == (found.total, "USD", now)


times = st.tuples(st.floats(-5, 50), st.one_of(st.none(), st.floats(-5, 60)), st.booleans())


@given(st.lists(times, max_size=8), st.floats(0, 40), st.floats(0, 20), st.floats(0, 100))
def test_spending_never_shrinks_with_time_and_adds_up(rows: list, hours: float, later: float, out: float) -> None:
    machines = [machine(f"i-{i}", begin, end, spot=spot) for i, (begin, end, spot) in enumerate(rows)]
    stored = Stored(50, START, out)
    now, then = (spent(FLEET, machines, stored, PRICES, START + h * HOUR) for h in (hours, hours + later))
    assert 0 <= now.total <= then.total
    assert now.total == sum(now.lines.values())
    assert now.lines["machines"] == sum(one.cost for one in now.machines)
    assert min(now.lines.values()) >= 0
    assert now.hourly >= 0


def test_a_type_that_no_table_knows_is_said() -> None:
    with pytest.raises(InputError, match=r"no price table has c99\.large"):
        spent(FLEET, [machine(kind="c99.large")], Stored(), PRICES, START)


def limits(max_cost: str | None, hours: float = 8.0, **changes: object) -> Limits:
    return Limits(None if max_cost is None else Decimal(max_cost), START + hours * HOUR, **changes)


def test_the_stop_begins_so_early_that_stopping_fits_in_its_time_to_live() -> None:
    found = spent(FLEET, [machine()], Stored(), PRICES, START)
    stop = hard_stop(limits(None, stopping=900), found)
    assert (stop.at, stop.why) == (START + 8 * HOUR - 900, "its time to live is over")
    assert hard_stop(limits("1000000", stopping=900), found) == stop


def test_the_stop_begins_so_early_that_what_stopping_costs_fits_below_the_limit() -> None:
    found = spent(FLEET, [machine()], Stored(), PRICES, START + HOUR)
    hourly = float(found.hourly)
    stop = hard_stop(limits("1.00", hours=1000, stopping=1800, still_to_pay=Decimal("0.25")), found)
    assert stop.why == "it would cost more than 1.00 USD"
    expected = (1.00 - 0.25 - float(found.total) - hourly / 2) / hourly
    assert stop.at == pytest.approx(START + HOUR + expected * HOUR, abs=1)
    over = spent(FLEET, [machine()], Stored(), PRICES, stop.at + 1800)
    assert over.total + Decimal("0.25") <= Decimal("1.01")  # amounts are rounded to the cent


def test_a_burst_above_its_limit_stops_now() -> None:
    now = START + 3 * HOUR
    found = spent(FLEET, [machine()], Stored(), PRICES, now)
    assert hard_stop(limits("0.10"), found).at == now


def test_without_machines_only_the_time_counts() -> None:
    found = spent(FLEET, [machine(end=1.0)], Stored(), PRICES, START + 2 * HOUR)
    assert found.hourly == 0
    assert hard_stop(limits("100"), found).why == "its time to live is over"


@given(st.floats(0.01, 500), st.floats(0.01, 500), st.integers(1, 9))
def test_a_higher_limit_or_fewer_machines_never_stop_earlier(low: float, more: float, count: int) -> None:
    few = spent(FLEET, [machine(f"i-{i}") for i in range(count)], Stored(), PRICES, START + HOUR)
    many = spent(FLEET, [machine(f"i-{i}") for i in range(count + 1)], Stored(), PRICES, START + HOUR)
    small, large = limits(f"{low:.2f}"), limits(f"{low + more:.2f}")
    assert hard_stop(small, few).at <= hard_stop(large, few).at
    assert hard_stop(small, many).at <= hard_stop(small, few).at
