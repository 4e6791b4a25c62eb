"""What a burst will cost: the example of the docs, and what holds for every estimate."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ras_runner.errors import InputError
from ras_runner.fleet.cost import (
    Estimate,
    Fleet,
    Transfer,
    Work,
    estimate,
    estimate_text,
    measured_work,
    require_affordable,
    stated_work,
)
from ras_runner.fleet.prices import Prices, load_prices

DOCS = Path(__file__).resolve().parents[3] / "docs" / "cloud-cost.md"


def shipped() -> Prices:
    return load_prices(None, Path("no state directory"))


def fleet(machines: int = 10, **changes: object) -> Fleet:
    return Fleet(**{**_FLEET, "machines": machines, **changes})


_FLEET = {"cloud": "aws", "region": "eu-central-1", "kinds": ("c7i.2xlarge",), "system": "linux", "slots": 2}
PRICES = shipped()


def test_the_example_of_the_docs_worked_by_hand(tmp_path: Path) -> None:
    own = tmp_path / "prices.yaml"
    found = re.search(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    own.write_text(found[1] if found else "", encoding="utf-8")
    made = estimate(stated_work(40, 1.5), fleet(on_demand=2), Transfer(5, 7, 20), 8, load_prices(own, tmp_path))
    assert [(line.name, *map(str, (line.low, line.likely, line.high, line.ceiling))) for line in made.lines] == [
        ("machines", "5.32", "7.22", "29.54", "32.59"),
        ("disks", "0.30", "0.41", "0.95", "1.04"),
        ("storage", "0.03", "0.03", "0.03", "0.03"),
        ("transfer out", "1.80", "1.80", "1.80", "1.80"),
    ]
    assert [str(made.low), str(made.likely), str(made.high), str(made.ceiling)] == ["7.45", "9.46", "32.32", "35.46"]
    assert (made.hours.low, made.hours.likely, made.hours.high) == pytest.approx((2 + 1 / 3, 3 + 1 / 6, 7.25))
    assert made.basis == ("run times: 1.5 h a plan, as stated", f"prices: own rates ({own}) of 2026-01-31")
    for amount in ("7.45", "9.46 USD", "32.32", "35.46"):
        assert amount in DOCS.read_text(encoding="utf-8")
        assert amount in estimate_text(made)


hours = st.floats(0.01, 200, allow_nan=False)
works = st.lists(hours, max_size=30).map(lambda each: Work(tuple(stated_work(1, h).hours[0] for h in each), "drawn"))
fleets = st.builds(
    fleet,
    machines=st.integers(1, 40),
    slots=st.integers(1, 8),
    kinds=st.lists(st.sampled_from(PRICES.kinds("aws", "eu-central-1")), min_size=1, max_size=4).map(tuple),
    system=st.sampled_from(["linux", "windows"]),
    on_demand=st.sampled_from([0, 1000]),
    disk_gb=st.floats(0, 2000),
    public_ip=st.booleans(),
)
transfers = st.builds(Transfer, st.floats(0, 1e4), st.floats(0, 365), st.floats(0, 1e4))
ttls = st.floats(0.1, 500)


def amounts(made: Estimate) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return made.low, made.likely, made.high, made.ceiling


@given(works, fleets, transfers, ttls)
def test_amounts_are_in_order_never_negative_in_cents_and_add_up(
    work: Work, bought: Fleet, transfer: Transfer, ttl: float
) -> None:
    made = estimate(work, bought, transfer, ttl, PRICES)
    for low, likely, high, ceiling in [amounts(made), *((x.low, x.likely, x.high, x.ceiling) for x in made.lines)]:
        assert 0 <= low <= likely <= high <= ceiling
    for name in ("low", "likely", "high", "ceiling"):
        assert getattr(made, name) == sum(getattr(line, name) for line in made.lines)
        assert getattr(made, name) * 100 % 1 == 0
    assert made.machines <= bought.machines
    assert made.hours.low <= made.hours.likely <= made.hours.high


@given(works, fleets, transfers, ttls, st.integers(1, 20))
def test_more_machines_never_cost_less(work: Work, bought: Fleet, transfer: Transfer, ttl: float, more: int) -> None:
    larger = fleet(bought.machines + more, **{name: getattr(bought, name) for name in _CHOICES})
    less = amounts(estimate(work, bought, transfer, ttl, PRICES))
    assert all(a <= b for a, b in zip(less, amounts(estimate(work, larger, transfer, ttl, PRICES)), strict=True))


_CHOICES = ("slots", "kinds", "system", "on_demand", "disk_gb", "public_ip")


@given(works, fleets, transfers, ttls, hours, st.floats(1, 3))
def test_longer_or_more_plans_a_longer_life_and_more_transfer_never_cost_less(
    work: Work, bought: Fleet, transfer: Transfer, ttl: float, another: float, factor: float
) -> None:
    less = amounts(estimate(work, bought, transfer, ttl, PRICES))
    longer = Work(tuple(stated_work(1, plan.likely * factor).hours[0] for plan in work.hours), "longer")
    more_plans = Work((*work.hours, stated_work(1, another).hours[0]), "one more")
    more = Transfer(transfer.stored_gb * factor, transfer.stored_days * factor, transfer.out_gb * factor)
    for other in (
        estimate(longer, bought, transfer, ttl, PRICES),
        estimate(more_plans, bought, transfer, ttl, PRICES),
        estimate(work, bought, transfer, ttl * factor, PRICES),
        estimate(work, bought, more, ttl, PRICES),
    ):
        assert all(a <= b for a, b in zip(less, amounts(other), strict=True))


def test_machines_without_work_are_not_bought_and_the_buyer_is_told() -> None:
    made = estimate(stated_work(3, 1), fleet(10), Transfer(), 8, PRICES)
    assert made.machines == 2
    assert made.notes == ("2 of the 10 machines have something to do; the others are never bought",)
    nothing = estimate(stated_work(0, 1), fleet(10), Transfer(), 8, PRICES)
    assert (nothing.machines, nothing.high) == (0, 0)
    assert nothing.ceiling > 0


def test_a_life_that_is_too_short_is_told_before() -> None:
    (note,) = estimate(stated_work(40, 10), fleet(10), Transfer(), 8, PRICES).notes
    assert "the plans need about 20.2 h, and the machines end after 8 h" in note
    assert "resume" in note


def test_plans_that_ran_take_as_long_as_they_took_and_others_the_mean_of_them() -> None:
    work = measured_work(["01", "02", "03"], {"01": 3600.0, "02": 3 * 3600.0, "77": 1.0})
    assert [plan.likely for plan in work.hours] == [1.0, 3.0, 2.0]
    assert (work.hours[2].low, work.hours[2].high) == (0.75, 4.5)
    assert work.basis == "receipts of 2 past runs; 1 without one at their mean"
    stated = measured_work(["01", "03"], {"01": 3600.0}, stated=5.0)
    assert [plan.likely for plan in stated.hours] == [1.0, 5.0]
    assert stated.basis == "receipts of 1 past run; 1 without one at 5 h, as stated"


def test_hours_that_nobody_knows_are_asked_for() -> None:
    with pytest.raises(InputError, match=r"none of them has been run before\n.*--hours-per-plan"):
        measured_work(["01"], {"02": 5.0})


def test_a_limit_below_the_likely_cost_is_refused() -> None:
    made = estimate(stated_work(40, 1.5), fleet(10), Transfer(), 8, PRICES)
    require_affordable(made, made.likely)
    with pytest.raises(InputError, match=f"probably cost {made.likely} USD .* may cost 1.00 USD only"):
        require_affordable(made, Decimal("1.00"))


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_impossible_numbers_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="hours per plan"):
        stated_work(1, value)
    with pytest.raises(InputError, match="out_gb"):
        Transfer(out_gb=value)
    with pytest.raises(InputError, match="disks"):
        fleet(disk_gb=value)
    with pytest.raises(InputError, match="time to live"):
        estimate(stated_work(1, 1), fleet(), Transfer(), value, PRICES)


@pytest.mark.parametrize("wrong", [{"machines": 0}, {"slots": 0}, {"kinds": ()}, {"on_demand": -1}])
def test_impossible_fleets_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="estimate: "):
        Fleet(**{**_FLEET, "machines": 1, **wrong})
