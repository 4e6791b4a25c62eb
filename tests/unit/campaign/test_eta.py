"""When a campaign will be over: near the truth, and as sure as it says."""

from __future__ import annotations

import heapq
import random

import pytest

from ras_runner.campaign.eta import Eta, Ran, Runs, campaign_eta
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.view import campaign_view, queued_seconds
from ras_runner.cli.live import left_of, why_waiting

SPEEDS = {"fast": 2.0, "mid": 1.0, "slow": 0.5}


def test_nothing_is_said_before_anything_is_known():
    assert campaign_eta([], [], [10.0]) is None
    assert campaign_eta([], [Runs("w", 5.0, None, None)], []) is None
    assert campaign_eta([], [Runs("w", 5.0, None, 10.0)], [None]) is None


def test_of_one_plan_it_follows_the_progress_and_is_surer_near_the_end():
    early = campaign_eta([], [Runs("w", 10.0, 0.1, None)], [])
    late = campaign_eta([], [Runs("w", 90.0, 0.9, None)], [])
    assert early is not None
    assert late is not None
    assert (early.seconds, late.seconds) == (pytest.approx(90.0), pytest.approx(10.0))
    assert early.low < early.seconds < early.high
    assert late.high / late.low < early.high / early.low


def test_what_waits_goes_where_plans_run_longest_first():
    over = [Ran("w", 10.0, 10.0)] * 50
    eta = campaign_eta(over, [Runs("a", 0.0, None, 10.0), Runs("b", 0.0, None, 30.0)], [10.0, 20.0, 10.0])
    assert eta is not None
    assert eta.seconds == pytest.approx(40.0, rel=0.01)


def test_times_that_were_expected_wrong_are_corrected_by_those_that_have_ended():
    over = [Ran("w", 10.0, 30.0)] * 20
    eta = campaign_eta(over, [Runs("w", 0.0, None, 100.0)], [])
    assert eta is not None
    assert eta.seconds == pytest.approx(300.0, rel=0.1)


def test_a_plan_that_waits_in_the_queue_of_its_worker_is_not_overdue(journal: Journal):
    head = {"project": "/p/a.prj", "title": "", "workers": "[]", "settings": "{}"}
    journal.record("c", "campaign-created", **head)
    staged = {"staged": 0, "tree": "p", "inputs": "", "prepared_by": ""}
    for seq, (plan, launched) in enumerate((("01", 1000.0), ("02", 0.0))):
        task = {"plan": plan, "seq": seq, "title": "", "flow_type": "steady", "expected": 100.0}
        place = {"plan": plan, "number": 1, "worker": "slurm", "slot": seq, "folder": "f", "stage": "whole"}
        journal.record_all("c", [("task-added", task), ("attempt-created", {"attempt": f"a{plan}", **place})])
        journal.record("c", "attempt-launching", at=launched, attempt=f"a{plan}", **staged)
        journal.record("c", "attempt-launched", attempt=f"a{plan}", native_id="")
    journal.set_waiting("a02", "no node has room", 0.0)
    view = campaign_view(journal, "c")
    eta = view.eta(now=1050.0)
    assert eta is not None
    assert eta.seconds == pytest.approx(150.0, rel=0.01)
    waits = [(task.state, queued_seconds(task.attempts[0], now=1050.0)) for task in view.tasks]
    assert waits == [("running", None), ("queued", 1050.0)]
    assert why_waiting(waits[1][1], "no node has room\n  more") == "waiting in queue 18 min: no node has room"
    assert why_waiting(waits[0][1], "") == ""
    # it begins: what it has waited is not what it has computed
    journal.set_waiting("a02", "", 1040.0)
    view = campaign_view(journal, "c")
    eta = view.eta(now=1050.0)
    assert eta is not None
    assert eta.seconds == pytest.approx(90.0, rel=0.01)
    assert [queued_seconds(task.attempts[0], now=1050.0) for task in view.tasks] == [None, None]


def halfway(dice: random.Random) -> tuple[float, float, float, float]:
    """(truth, eta, low, high) in the middle of a campaign of 120 plans on 6 workers, expected with an error of 25 %."""
    workers = [f"{name}{n}" for name in SPEEDS for n in (1, 2)]
    expected = sorted((600.0 * dice.lognormvariate(0.0, 0.6) for _ in range(120)), reverse=True)
    lanes = [(0.0, worker) for worker in workers]
    heapq.heapify(lanes)
    ends = []
    for seconds in expected:
        at, worker = heapq.heappop(lanes)
        took = seconds * dice.lognormvariate(0.0, 0.25) / SPEEDS[worker[:-1]]
        ends.append((at, at + took, worker, seconds))
        heapq.heappush(lanes, (at + took, worker))
    over_at = max(end for _, end, _, _ in ends)
    now = over_at / 2
    eta = campaign_eta(
        [Ran(worker, seconds, end - at) for at, end, worker, seconds in ends if end <= now],
        [Runs(worker, now - at, None, seconds) for at, end, worker, seconds in ends if at <= now < end],
        [seconds for at, _, _, seconds in ends if at > now],
    )
    assert eta is not None
    return over_at - now, eta.seconds, eta.low, eta.high


def test_it_is_near_the_truth_and_right_about_how_sure_it_is():
    dice = random.Random(7)
    found = [halfway(dice) for _ in range(100)]
    within = sum(low <= truth <= high for truth, _, low, high in found)
    assert within >= 75
    errors = sorted(abs(eta / truth - 1.0) for truth, eta, _, _ in found)
    assert errors[50] < 0.1
    widths = sorted(high / low for _, _, low, high in found)
    assert widths[50] < 1.6


@pytest.mark.parametrize(
    ("eta", "said"),
    [
        (Eta(11400.0, 9600.0, 14400.0), "about 3 h 10 min left (2 h 40 min to 4 h)"),
        (Eta(33.0, 21.0, 48.0), "about 35 s left (25 s to 50 s)"),
        (Eta(2000.0, 1990.0, 2005.0), "about 33 min left"),
        (Eta(50000.0, 40000.0, 61000.0), "about 14 h left (11 h to 17 h)"),
        (Eta(59.0, 3590.0, 7199.0), "about 60 s left (1 h to 2 h)"),
    ],
)
def test_it_is_told_in_words(eta: Eta, said: str):
    assert left_of(eta) == said
