"""What a campaign has cost, from its journal, and each plan's part."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ras_runner.campaign.costs import (
    CostRecord,
    MachineCost,
    campaign_cost,
    check_currency,
    plan_shares,
    record_cost,
    recorded_costs,
)
from ras_runner.campaign.events import attempt_ended
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.view import AttemptView, campaign_view
from ras_runner.cli import listing
from ras_runner.cli.live import render
from ras_runner.cli.output import cost_words
from ras_runner.engines.base import Stage
from ras_runner.errors import InputError
from ras_runner.outcomes import Outcome

START = 1_790_000_000.0


def attempt(plan: str, worker: str, begin: float, end: float | None) -> AttemptView:
    ended = None if end is None else START + end
    last = (ended, Outcome.COMPLETED, "", 0, None, Stage.WHOLE)
    return AttemptView(f"{plan}-{begin}", plan, 1, worker, 0, "ended", "", START + begin, START + begin, *last)


def machine(worker: str, cost: str) -> MachineCost:
    return MachineCost(worker, f"i-{worker}", "c7i.2xlarge", "eu-central-1", True, START, START + 100, Decimal(cost))


def record(*machines: MachineCost, others: str = "0.00", **changes: object) -> CostRecord:
    lines = {"machines": sum((one.cost for one in machines), Decimal(0)), "disks": Decimal(others)}
    about = {"burst": "b-1", "cloud": "aws", "currency": "USD", "prices": "p", "final": True, "at": START + 100}
    return CostRecord(**{**about, "lines": lines, "machines": machines, **changes})


def test_a_machine_is_paid_by_the_plans_on_it_and_all_else_by_all() -> None:
    cost = record(machine("a", "6.00"), machine("b", "4.00"), machine("idle", "2.00"), others="1.00")
    attempts = [
        attempt("01", "a", 0, 20),  # lost; it is paid for too
        attempt("01", "b", 20, 60),
        attempt("02", "a", 20, 60),
        attempt("03", "office", 0, 100),
    ]
    # a: 2.00 and 4.00; b: 4.00; the idle machine and the disks 3.00 by 60 and 40 of 100 seconds
    assert plan_shares(cost, attempts) == {"01": Decimal("7.80"), "02": Decimal("5.20")}


def test_cents_that_do_not_divide_go_to_the_largest_remainders() -> None:
    attempts = [attempt(plan, "a", 0, 10) for plan in ("01", "02", "03")]
    parts = plan_shares(record(machine("a", "1.00")), attempts)
    assert parts == {"01": Decimal("0.34"), "02": Decimal("0.33"), "03": Decimal("0.33")}


def test_a_plan_that_runs_is_paid_for_until_the_time_of_the_record() -> None:
    parts = plan_shares(record(machine("a", "1.00")), [attempt("01", "a", 0, 25), attempt("02", "a", 25, None)])
    assert parts == {"01": Decimal("0.25"), "02": Decimal("0.75")}


cents = st.integers(0, 100_000).map(lambda n: Decimal(n) / 100)
runs = st.tuples(st.integers(1, 6), st.sampled_from(["a", "b", "c", "office"]), st.floats(-10, 90), st.floats(-20, 200))


@given(st.tuples(cents, cents, cents, cents), st.lists(runs, max_size=12))
def test_parts_make_up_the_whole_and_are_never_negative(amounts: tuple, rows: list) -> None:
    cost = record(*(machine(name, str(amounts[i])) for i, name in enumerate("abc")), others=str(amounts[3]))
    parts = plan_shares(cost, [attempt(f"{plan:02}", worker, begin, end) for plan, worker, begin, end in rows])
    assert not parts or sum(parts.values()) == cost.total
    assert all(part >= 0 and part * 100 % 1 == 0 for part in parts.values())
    assert bool(parts) == any(worker != "office" and end > begin for _, worker, begin, end in rows)


def run_campaign(journal: Journal) -> None:
    events: list = [("campaign-created", {"project": "/p/x.prj", "title": "", "workers": "[]", "settings": "{}"})]
    for seq, plan in enumerate(("01", "02")):
        events.append(("task-added", {"plan": plan, "seq": seq, "title": "", "flow_type": "steady", "expected": None}))
        row = {"attempt": f"a-{plan}", "plan": plan, "number": 1, "worker": "a", "slot": seq, "folder": "f"}
        events.append(("attempt-created", {**row, "stage": "whole"}))
    journal.record_all("c-1", events, at=START)
    for plan, end in (("01", 30), ("02", 10)):
        kind, data = attempt_ended(f"a-{plan}", Outcome.COMPLETED, "")
        journal.record("c-1", kind, at=START + end, **data)


def test_the_latest_record_of_each_burst_counts_and_comes_back_as_it_was_written(journal: Journal) -> None:
    run_campaign(journal)
    assert campaign_cost(journal, campaign_view(journal, "c-1")) is None
    first, last = record(machine("a", "0.50"), final=False), record(machine("a", "4.00"), others="0.10")
    second = record(machine("z", "1.00"), burst="b-2", final=False)
    for one in (first, second, last):
        record_cost(journal, "c-1", one)
    assert recorded_costs(journal, "c-1") == (last, second)
    cost = campaign_cost(journal, campaign_view(journal, "c-1"))
    assert cost is not None
    assert (cost.total, cost.unassigned, cost.final) == (Decimal("5.10"), Decimal("1.00"), False)
    assert cost.plans == {"01": Decimal("3.08"), "02": Decimal("1.02")}
    assert cost.as_dict()["bursts"][0] == {
        "burst": "b-1",
        "total": 4.1,
        "final": True,
        "lines": {"machines": 4.0, "disks": 0.1},
    }


def test_a_campaign_is_paid_for_in_one_currency(journal: Journal) -> None:
    record_cost(journal, "c-1", record(machine("a", "1.00")))
    check_currency(journal, "c-1", "USD")
    with pytest.raises(InputError, match="paid for in USD so far, and the prices are in EUR"):
        check_currency(journal, "c-1", "EUR")
    with pytest.raises(InputError, match="--prices FILE"):
        record_cost(journal, "c-1", record(machine("a", "1.00"), currency="EUR"))
    assert [one.currency for one in recorded_costs(journal, "c-1")] == ["USD"]


def test_status_watch_and_report_show_what_it_cost(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    run_campaign(journal)
    record_cost(journal, "c-1", record(machine("a", "4.00"), others="0.10", final=False))
    listing.status("c-1", journal.state_dir, as_json=True)
    status = json.loads(capsys.readouterr().out)
    assert (status["cost"]["total"], status["cost"]["final"]) == (4.1, False)
    assert [task["cost"] for task in status["tasks"]] == [3.08, 1.02]
    listing.status("c-1", journal.state_dir, as_json=False)
    assert ", 4.10 USD so far" in capsys.readouterr().out
    view = campaign_view(journal, "c-1")
    shown = Console(width=100)
    with shown.capture() as screen:
        shown.print(render(view, cost=cost_words(campaign_cost(journal, view))))
    assert ", 4.10 USD so far" in screen.get()
    page = listing.write_campaign_report(journal, view, None).read_text(encoding="utf-8")
    for words in ("4.10 USD", "3.08 USD", "1.02 USD", "machines 4.00, disks 0.10"):
        assert words in page


def test_a_campaign_on_machines_of_ones_own_has_no_cost(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    run_campaign(journal)
    listing.status("c-1", journal.state_dir, as_json=True)
    status = json.loads(capsys.readouterr().out)
    assert (status["cost"], [task["cost"] for task in status["tasks"]]) == (None, [None, None])
