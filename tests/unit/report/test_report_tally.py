"""The sums of a campaign and the timeline of its slots."""

from __future__ import annotations

import pytest
from tests.unit.report.samples import START, attempt, campaign, plan

from ras_runner.report import AttemptRow, tally, text


def test_totals_add_up_by_outcome_and_leave_unchanged_plans_out_of_the_compute_time() -> None:
    report = campaign(
        plan("01", attempts=(attempt(1, 0, 50),)),
        plan("02", outcome="unstable", attempts=(attempt(2, 50, 100, outcome="unstable"),), execution_time=45.0),
        plan("03", skipped=True, attempts=(), execution_time=999.0, bytes_staged=0),
        plan("04", outcome=None, attempts=(), execution_time=None),
        plan("05", attempts=(attempt(5, 0, 50, worker_id="lab-02"),)),
    )
    sums = tally.totals(report, tally.horizon(report, now=0.0))
    assert dict(sums.counts) == {"completed": 3, "unstable": 1, "not-run": 1}
    assert (sums.plans, sums.usable, sums.failed, sums.open, sums.skipped) == (5, 3, 1, 1, 1)
    assert sums.compute_time == 55.0 + 45.0 + 55.0
    assert (sums.wall_time, sums.slots, sums.attempts, sums.bytes_staged) == (100.0, 2, 3, 4000)
    assert sums.slot_use == pytest.approx(150.0 / 200.0)


def test_a_campaign_in_which_nothing_ran_has_no_slot_use() -> None:
    assert tally.totals(campaign(plan(attempts=())), START + 100).slot_use is None


@pytest.mark.parametrize(
    ("state", "ended", "until"),
    [
        ("finished", START + 100, START + 100),
        ("running", None, START + 5000),
        ("interrupted", None, START + 70),  # the last that is known: the standing still afterwards is not wall time
    ],
)
def test_the_report_speaks_of_the_time_until(state: str, ended: float | None, until: float) -> None:
    report = campaign(plan(attempts=(attempt(1, 0, 70),)), state=state, ended=ended)
    assert tally.horizon(report, now=START + 5000) == until


@pytest.mark.parametrize(
    ("state", "attempts", "shown"),
    [
        ("running", (), "waiting"),
        ("running", (attempt(1, None, None),), "waiting"),
        ("running", (attempt(1, 0, None),), "running"),
        ("running", (attempt(1, 0, 9, outcome="preempted"),), "waiting"),
        ("interrupted", (attempt(1, 0, None),), "left"),
        ("interrupted", (), "not-run"),
    ],
)
def test_a_plan_without_outcome(state: str, attempts: tuple[AttemptRow, ...], shown: str) -> None:
    assert tally.plan_state(plan(outcome=None, attempts=attempts), state) == shown


def test_lanes_hold_each_attempt_where_and_when_it_ran() -> None:
    lost = attempt(1, 0, 20, outcome="infrastructure-lost", worker_id="lab-02", slot=1)
    report = campaign(plan("01", attempts=(attempt(3, 70, 90),)), plan("02", attempts=(lost, attempt(2, 20, 70))))
    lanes = tally.lanes(report, START + 100)
    assert [(lane.worker_id, lane.slot) for lane in lanes] == [("lab-01", 0), ("lab-02", 1)]
    places = [(bar.plan.plan_number, bar.number, bar.left, bar.width) for bar in lanes[0].bars]
    assert places == [("02", 2, 20.0, 50.0), ("01", 1, 70.0, 20.0)]
    assert lanes[1].bars[0].state == "infrastructure-lost"


def test_an_attempt_outside_the_axis_stays_visible_on_it() -> None:
    report = campaign(plan(attempts=(attempt(1, -500, -400), attempt(2, 300, 400))))
    for bar in tally.lanes(report, START + 100)[0].bars:
        assert 0 <= bar.left < 100 and bar.width > 0 and bar.left + bar.width <= 100


@pytest.mark.parametrize("seconds", [0, 0.4, 7, 90, 2640, 86400, 40 * 86400, 4000 * 86400])
def test_ticks_are_few_and_on_the_axis(seconds: float) -> None:
    ticks = tally.ticks(seconds)
    assert 1 <= len(ticks) <= 9
    assert all(0 <= left <= 100 for left, _ in ticks)


def test_ticks_are_round() -> None:
    assert [at for _, at in tally.ticks(2640)] == [0, 600, 1200, 1800, 2400]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "\N{EN DASH}"),
        (0, "0.0 s"),
        (4.71, "4.7 s"),
        (59.97, "1 min 00 s"),
        (723, "12 min 03 s"),
        (3599.6, "1 h 00 min"),
        (11100, "3 h 05 min"),
        (187200, "2 d 04 h"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (812, "812 B"), (1000, "1.0 kB"), (4_210_000, "4.2 MB"), (919_000_000, "919 MB")]
)
def test_sizes(count: int, shown: str) -> None:
    assert text.size(count) == shown
