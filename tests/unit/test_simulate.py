"""The simulated campaigns of ``make simulate``, small: nothing lost, nothing twice, near the bound."""

from __future__ import annotations

from dataclasses import replace

from tests.simulate.world import FirstCome, RoundRobin, Scenario, play

from ras_runner.campaign.scheduler import Policy, Scheduler

SMALL = Scenario(plans=10_000, workers=100)


def test_without_faults_the_makespan_is_within_5_percent_of_the_bound():
    told, ratio = play(SMALL, Scheduler)
    assert told.completed == SMALL.plans
    assert 1.0 <= ratio <= 1.05
    assert told.starts == SMALL.plans + told.second
    assert (told.preempted, told.lost) == (0, 0)


def test_with_workers_lost_and_plans_preempted_it_is_within_25_percent():
    told, ratio = play(replace(SMALL, loss=0.05, preemption=0.1), Scheduler)
    assert told.completed == SMALL.plans
    assert told.preempted > 0.08 * SMALL.plans
    assert told.lost >= 5
    assert ratio <= 1.25


def test_second_runs_and_order_are_worth_it():
    scenario = replace(SMALL, plans=500, error=0.5)
    _, ours = play(scenario, Scheduler)
    told, once = play(scenario, lambda: Scheduler(Policy(second_saves=None)))
    assert told.second == 0
    assert ours < once
    for simple in (FirstCome, RoundRobin):
        told, ratio = play(scenario, simple)
        assert told.completed == scenario.plans
        assert ours < ratio
