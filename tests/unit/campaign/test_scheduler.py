"""The scheduler: what it promises, under every order of events that hypothesis finds."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ras_runner.campaign.scheduler import (
    NO_SLOT,
    Attached,
    AttemptEnded,
    Blame,
    CancelRequested,
    Expecting,
    Finish,
    Pause,
    Policy,
    Progressed,
    Quarantine,
    Scheduler,
    Start,
    Stop,
    TaskAdded,
    Tick,
    WorkerJoined,
    WorkerLeft,
)
from ras_runner.engines.base import Stage
from ras_runner.outcomes import Outcome

LOST = Outcome.INFRASTRUCTURE_LOST


def starts(decisions: list) -> list[tuple[str, str]]:
    return [(d.task, d.worker) for d in decisions if isinstance(d, Start)]


def finishes(decisions: list) -> dict[str, Outcome]:
    return {d.task: d.outcome for d in decisions if isinstance(d, Finish)}


def tasks(*names: str) -> list[TaskAdded]:
    return [TaskAdded(name) for name in names]


def test_lower_queue_priority_is_filled_first():
    decisions = Scheduler().handle(WorkerJoined("cloud", 4, 2), WorkerJoined("local", 2, 0), *tasks("1", "2", "3"))
    assert starts(decisions) == [("1", "local"), ("2", "local"), ("3", "cloud")]


def test_longest_expected_plan_first_and_unknown_before_known():
    scheduler = Scheduler()
    decisions = scheduler.handle(
        TaskAdded("short", 5.0), TaskAdded("long", 50.0), TaskAdded("unknown"), WorkerJoined("w", 3)
    )
    assert [task for task, _ in starts(decisions)] == ["unknown", "long", "short"]


def test_a_part_of_a_worker_that_fails_costs_the_plan_and_not_the_worker():
    """A node of a queue, say: the queue takes plans as before, and a plan that ends every node it gets is given up."""
    scheduler = Scheduler(Policy(losses=3, quarantine=10.0))
    scheduler.handle(WorkerJoined("queue", 2), *tasks("1", "2", "3"))
    decisions = scheduler.handle(AttemptEnded("1", LOST, 0.0, "its node failed", Blame.PART))
    assert [d for d in decisions if isinstance(d, Quarantine)] == []
    assert starts(decisions) == [("3", "queue")], "it lets others go first"
    scheduler.handle(*[AttemptEnded(name, Outcome.COMPLETED, 1.0) for name in "23"])
    assert starts(scheduler.handle(Tick(10.0))) == [("1", "queue")]
    scheduler.handle(AttemptEnded("1", LOST, 11.0, "its node failed", Blame.PART))
    assert starts(scheduler.handle(Tick(51.0))) == [("1", "queue")]
    decisions = scheduler.handle(AttemptEnded("1", LOST, 52.0, "its node failed", Blame.PART))
    assert finishes(decisions) == {"1": LOST}
    assert scheduler.takes_plans("queue")


def test_a_bad_node_does_not_use_up_in_seconds_what_a_plan_may_lose():
    """The node that fails at once is always the one that is free: it gets the next plan, but not the same again."""
    scheduler = Scheduler(Policy(quarantine=5.0, quarantine_limit=900.0))
    names = [str(n) for n in range(20)]
    decisions = scheduler.handle(WorkerJoined("queue", 1), *tasks(*names), Tick(0.0))
    now, pauses = 0.0, []
    while now < 300.0:  # five minutes until somebody, or Slurm, takes the node out
        for task, _ in starts(decisions):
            now += 1.0
            decisions = scheduler.handle(AttemptEnded(task, LOST, now, "its node failed", Blame.PART))
            pauses += [d.seconds for d in decisions if isinstance(d, Pause) and task == "0"]
        if not starts(decisions):
            wake = scheduler.next_wake()
            assert wake is not None and wake > now
            now = wake
            decisions = scheduler.handle(Tick(now))
        assert finishes(decisions) == {}
    assert pauses == [5.0, 20.0, 80.0, 320.0]
    assert not scheduler.done


def test_meanwhile_another_worker_may_take_what_a_node_has_lost():
    scheduler = Scheduler(Policy(quarantine=5.0))
    scheduler.handle(WorkerJoined("queue", 1), WorkerJoined("desk", 1, 9), *tasks("1", "2"), Tick(0.0))
    assert starts(scheduler.handle(AttemptEnded("1", LOST, 1.0, "its node failed", Blame.PART))) == []
    assert starts(scheduler.handle(AttemptEnded("2", Outcome.COMPLETED, 2.0))) == [("1", "desk")]


def test_what_a_node_has_lost_before_it_began_is_a_quarter_of_a_loss():
    scheduler = Scheduler(Policy(losses=2))
    decisions = scheduler.handle(WorkerJoined("queue", 1), *tasks("1"), Tick(0.0))
    lost = 0
    while not scheduler.done:
        assert starts(decisions) == [("1", "queue")]
        at, lost = scheduler.next_wake() or 0.0, lost + 1
        decisions = scheduler.handle(AttemptEnded("1", LOST, at, "its node did not start", Blame.PART_UNBEGUN))
        if not scheduler.done:
            decisions = scheduler.handle(Tick(scheduler.next_wake()))
    assert lost == 8
    assert finishes(decisions) == {"1": LOST}


def test_a_worker_that_has_the_inputs_is_preferred():
    scheduler = Scheduler()
    scheduler.handle(
        WorkerJoined("a", 1), WorkerJoined("b", 1), TaskAdded("1", affinity="g01"), TaskAdded("2", affinity="g02")
    )
    scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0), AttemptEnded("2", Outcome.COMPLETED, 1.0))
    assert starts(scheduler.handle(TaskAdded("3", affinity="g02"))) == [("3", "b")]


def test_max_concurrent_limits_all_workers_together():
    scheduler = Scheduler(Policy(max_concurrent=2))
    assert len(starts(scheduler.handle(WorkerJoined("a", 4), WorkerJoined("b", 4), *tasks(*"12345")))) == 2
    assert len(starts(scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0)))) == 1


def test_a_model_failure_is_not_repeated_unless_asked():
    for retries, attempts in ((0, 1), (2, 3)):
        scheduler = Scheduler(Policy(retries=retries))
        decisions = scheduler.handle(WorkerJoined("w", 1), *tasks("1"))
        count = 0
        while not scheduler.done:
            assert starts(decisions) == [("1", "w")]
            count += 1
            decisions = scheduler.handle(AttemptEnded("1", Outcome.UNSTABLE, float(count)))
        assert count == attempts
        assert finishes(decisions) == {"1": Outcome.UNSTABLE}


def test_a_loss_costs_the_worker_and_not_the_plan():
    scheduler = Scheduler(Policy(quarantine=10.0))
    scheduler.handle(WorkerJoined("bad", 1), WorkerJoined("good", 1, 1), *tasks("1", "2"))
    decisions = scheduler.handle(AttemptEnded("1", LOST, 0.0, "cut", Blame.WORKER))
    assert [(d.worker, d.seconds, d.for_good) for d in decisions if isinstance(d, Quarantine)] == [("bad", 10.0, False)]
    assert not starts(decisions)
    assert starts(scheduler.handle(AttemptEnded("2", Outcome.COMPLETED, 1.0))) == [("1", "good")]


def test_a_quarantined_worker_is_probed_with_one_plan_and_let_back():
    scheduler = Scheduler(Policy(quarantine=10.0))
    scheduler.handle(WorkerJoined("w", 3), *tasks(*"12345"))
    for task in "123":
        scheduler.handle(AttemptEnded(task, LOST, 0.0, "reboot", Blame.WORKER))
    assert scheduler.next_wake() == 10.0  # one incident, one strike
    assert scheduler.handle(Tick(9.9)) == []
    probe = starts(scheduler.handle(Tick(10.0)))
    assert len(probe) == 1
    assert len(starts(scheduler.handle(AttemptEnded(probe[0][0], Outcome.COMPLETED, 11.0)))) == 3


def test_twenty_plans_one_broken_host():
    scheduler = Scheduler(Policy(quarantine=1.0))
    pending = starts(scheduler.handle(WorkerJoined("broken", 1), WorkerJoined("good", 1), *tasks(*map(str, range(20)))))
    done: dict[str, Outcome] = {}
    now = 0.0
    while not scheduler.done:
        now += 1.0
        decisions = scheduler.handle(Tick(now))
        for task, worker in pending:
            blame = Blame.WORKER if worker == "broken" else Blame.NOBODY
            decisions += scheduler.handle(
                AttemptEnded(task, LOST if worker == "broken" else Outcome.COMPLETED, now, "broken", blame)
            )
        done |= finishes(decisions)
        pending = starts(decisions)
    assert set(done.values()) == {Outcome.COMPLETED}
    assert len(done) == 20


def test_one_plan_that_kills_its_worker_does_not_take_the_others_with_it():
    scheduler = Scheduler(Policy(quarantine=1.0))
    pending = starts(scheduler.handle(WorkerJoined("w", 1), *tasks(*"0123456789")))
    done: dict[str, Outcome] = {}
    now = 0.0
    while not scheduler.done:
        now += 10.0
        decisions = scheduler.handle(Tick(now))
        for task, _ in pending:
            killer = task == "0"
            end = AttemptEnded(
                task, LOST if killer else Outcome.COMPLETED, now, "", Blame.WORKER if killer else Blame.NOBODY
            )
            decisions += scheduler.handle(end)
        done |= finishes(decisions)
        pending = starts(decisions)
    assert [task for task, outcome in done.items() if outcome is Outcome.COMPLETED] == list("123456789")


def test_a_plan_goes_only_to_workers_that_can_run_it():
    scheduler = Scheduler()
    linux_cannot = [TaskAdded(name, unable=frozenset({"linux"})) for name in "12"]
    decisions = scheduler.handle(WorkerJoined("linux", 4), WorkerJoined("windows", 1, 1), *linux_cannot, *tasks("3"))
    assert starts(decisions) == [("1", "windows"), ("3", "linux")]
    decisions = scheduler.handle(AttemptEnded("1", LOST, 1.0, "off", Blame.WORKER_FOR_GOOD))
    assert finishes(decisions) == {"1": LOST, "2": LOST}
    assert "windows: off" in next(d.reason for d in decisions if isinstance(d, Finish))
    assert finishes(scheduler.handle(AttemptEnded("3", Outcome.COMPLETED, 2.0))) == {"3": Outcome.COMPLETED}


def test_with_no_worker_left_the_rest_ends_with_the_reason():
    scheduler = Scheduler()
    scheduler.handle(WorkerJoined("w", 1), *tasks("1", "2"))
    decisions = scheduler.handle(AttemptEnded("1", LOST, 0.0, "disk full", Blame.WORKER_FOR_GOOD))
    assert finishes(decisions) == {"1": LOST, "2": LOST}
    assert all("disk full" in d.reason for d in decisions if isinstance(d, Finish))


def test_without_any_worker_nothing_is_left_hanging():
    decisions = Scheduler().handle(*tasks("1"))
    assert finishes(decisions) == {"1": LOST}


def test_a_worker_that_leaves_finishes_what_it_has_and_gets_no_more():
    scheduler = Scheduler()
    scheduler.handle(WorkerJoined("a", 1), WorkerJoined("b", 1, 1), *tasks("1", "2", "3"))
    assert scheduler.handle(WorkerLeft("a", "drained")) == []
    assert starts(scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0))) == []
    assert starts(scheduler.handle(AttemptEnded("2", Outcome.COMPLETED, 2.0))) == [("3", "b")]


def test_a_worker_that_left_joins_again_and_what_ran_on_keeps_its_slot():
    scheduler = Scheduler()
    scheduler.handle(WorkerJoined("w", 2), WorkerJoined("v", 1, 1), *tasks("1", "2", "3"))
    scheduler.handle(WorkerLeft("w", "drained"))
    assert not scheduler.takes_plans("w")
    scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0), *tasks("4", "5"))
    decisions = scheduler.handle(WorkerJoined("w", 2))
    assert [(d.task, d.worker, d.slot) for d in decisions if isinstance(d, Start)] == [("4", "w", 0)]
    assert starts(scheduler.handle(AttemptEnded("2", Outcome.COMPLETED, 2.0))) == [("5", "w")]


def test_a_worker_that_joins_again_with_fewer_slots_is_not_over_used():
    scheduler = Scheduler()
    scheduler.handle(WorkerJoined("w", 3), WorkerJoined("v", 1, 9), *tasks(*"123456"))
    scheduler.handle(WorkerLeft("w", "drained"))
    assert starts(scheduler.handle(WorkerJoined("w", 1))) == []
    assert starts(scheduler.handle(AttemptEnded("3", Outcome.COMPLETED, 1.0))) == []
    assert starts(scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 2.0))) == [("5", "w")]


def test_a_worker_that_is_out_for_good_is_let_back_by_joining_again():
    scheduler = Scheduler()
    scheduler.handle(WorkerJoined("w", 1), WorkerJoined("v", 1, 1), *tasks("1", "2", "3"))
    scheduler.handle(AttemptEnded("1", LOST, 0.0, "disk full", Blame.WORKER_FOR_GOOD))
    assert not scheduler.takes_plans("w")
    assert starts(scheduler.handle(WorkerJoined("w", 1))) == [("3", "w")]


def test_a_worker_that_joins_late_gets_only_what_it_can_run():
    scheduler = Scheduler()
    scheduler.handle(WorkerJoined("windows", 1), *tasks("1", "2", "3"))
    assert starts(scheduler.handle(WorkerJoined("linux", 2, unable=frozenset({"2"})))) == [("3", "linux")]
    assert scheduler.stranded_without("windows") == ["2"]
    assert scheduler.stranded_without("linux") == []
    scheduler.handle(WorkerLeft("linux", "drained"))
    assert starts(scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0))) == [("2", "windows")]


def test_a_loss_at_a_worker_that_has_left_does_not_bring_it_back():
    scheduler = Scheduler(Policy(quarantine=1.0))
    scheduler.handle(WorkerJoined("w", 1), WorkerJoined("v", 1, 1), *tasks("1", "2"))
    scheduler.handle(WorkerLeft("w", "drained"))
    decisions = scheduler.handle(AttemptEnded("1", LOST, 0.0, "reboot", Blame.WORKER), Tick(100.0))
    assert decisions == []
    assert not scheduler.takes_plans("w")


def staged(decisions: list) -> list[tuple[str, str, str]]:
    return [(d.task, d.worker, d.stage.value) for d in decisions if isinstance(d, Start)]


def two_stages(solving: int, preparing: int = 1) -> tuple[Scheduler, list[WorkerJoined]]:
    joined = [WorkerJoined("linux", solving, needs_prepared="6.6"), WorkerJoined("win", preparing, prepares="6.6")]
    return Scheduler(Policy(quarantine=10.0)), joined


def test_a_plan_is_prepared_on_one_worker_and_solved_on_another():
    scheduler, joined = two_stages(2)
    assert staged(scheduler.handle(*joined, *tasks("1"))) == [("1", "win", "prepare")]
    ready = scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0, prepared=True))
    assert staged(ready) == [("1", "linux", "solve")]
    assert not scheduler.done
    assert finishes(scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 2.0))) == {"1": Outcome.COMPLETED}


def test_a_first_stage_that_computed_the_whole_plan_ends_it():
    scheduler, joined = two_stages(1)
    scheduler.handle(*joined, *tasks("1"))
    assert finishes(scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0))) == {"1": Outcome.COMPLETED}


def test_a_slot_prepares_until_one_plan_waits_for_each_slot_that_solves_and_then_runs_whole_plans():
    scheduler, joined = two_stages(1)
    log = staged(scheduler.handle(*joined, *tasks(*"1234")))
    for task in "12":
        log += staged(scheduler.handle(AttemptEnded(task, Outcome.COMPLETED, 1.0, prepared=True)))
    assert log == [
        ("1", "win", "prepare"),
        ("1", "linux", "solve"),
        ("2", "win", "prepare"),
        ("3", "win", "whole"),  # 2 waits for linux; win does not take it while others wait
    ]
    assert staged(scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 2.0))) == [("2", "linux", "solve")]
    assert staged(scheduler.handle(AttemptEnded("3", Outcome.COMPLETED, 3.0))) == [("4", "win", "prepare")]


def test_a_prepared_plan_is_run_whole_where_nothing_else_waits():
    scheduler, joined = two_stages(1)
    scheduler.handle(*joined, TaskAdded("1", prepared=frozenset({"6.6"})), *tasks("2"))
    decisions = scheduler.handle(AttemptEnded("2", Outcome.COMPLETED, 1.0, prepared=True))
    assert staged(decisions) == [("2", "win", "whole")]


def test_what_is_prepared_already_goes_to_the_worker_that_solves():
    scheduler, joined = two_stages(1)
    decisions = scheduler.handle(*joined, *tasks("1"), TaskAdded("2", prepared=frozenset({"6.6"})))
    assert staged(decisions) == [("2", "linux", "solve"), ("1", "win", "prepare")]


def test_nobody_prepares_for_a_worker_of_another_release_or_that_cannot_run_the_plan():
    for joined, unable in (
        (WorkerJoined("linux", 1, needs_prepared="6.5"), frozenset[str]()),
        (WorkerJoined("linux", 1, needs_prepared="6.6"), frozenset({"linux"})),
    ):
        scheduler = Scheduler()
        decisions = scheduler.handle(joined, WorkerJoined("win", 1, prepares="6.6"), TaskAdded("1", unable=unable))
        assert staged(decisions) == [("1", "win", "whole")]


def test_a_plan_that_nobody_can_prepare_ends_with_the_reason_and_the_prepared_ones_run():
    scheduler, joined = two_stages(1)
    prepared = TaskAdded("2", prepared=frozenset({"6.6"}))
    decisions = scheduler.handle(joined[0], *tasks("1"), prepared)
    assert staged(decisions) == [("2", "linux", "solve")]
    assert finishes(decisions) == {"1": LOST}
    assert "linux: it only solves what 6.6 has prepared" in next(d.reason for d in decisions if isinstance(d, Finish))


def test_losing_the_worker_in_the_first_stage_costs_the_worker():
    scheduler, joined = two_stages(1)
    scheduler.handle(*joined, *tasks("1"))
    decisions = scheduler.handle(AttemptEnded("1", LOST, 0.0, "reboot", Blame.WORKER))
    assert [d.worker for d in decisions if isinstance(d, Quarantine)] == ["win"]
    assert staged(scheduler.handle(Tick(10.0))) == [("1", "win", "prepare")]


def test_a_plan_that_fails_to_be_prepared_ends():
    scheduler, joined = two_stages(1)
    scheduler.handle(*joined, *tasks("1"))
    ends = scheduler.handle(AttemptEnded("1", Outcome.ENGINE_ERROR, 1.0, "bad geometry"))
    assert finishes(ends) == {"1": Outcome.ENGINE_ERROR}


def test_a_plan_that_is_no_longer_prepared_is_prepared_again_but_not_for_ever():
    scheduler, joined = two_stages(1)
    scheduler.handle(*joined, TaskAdded("1", prepared=frozenset({"6.6"})))
    prepared = 0
    while not scheduler.done:
        again = scheduler.handle(AttemptEnded("1", LOST, 1.0, "changed", prepared=False))
        if not scheduler.done:
            assert staged(again) == [("1", "win", "prepare")]
            scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 2.0, prepared=True))
            prepared += 1
    assert prepared == Policy().losses - 1


def test_a_plan_that_is_cancelled_while_it_is_prepared_is_cancelled():
    scheduler, joined = two_stages(1)
    scheduler.handle(*joined, *tasks("1"))
    scheduler.handle(CancelRequested())
    ends = scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0, prepared=True))
    assert finishes(ends) == {"1": Outcome.CANCELLED}


def test_preemption_requeues_at_no_cost():
    scheduler = Scheduler(Policy(losses=1))
    scheduler.handle(WorkerJoined("w", 1), *tasks("1"))
    for at in range(10):
        assert starts(scheduler.handle(AttemptEnded("1", Outcome.PREEMPTED, float(at)))) == [("1", "w")]


def test_a_plan_that_was_preempted_often_waits_for_a_worker_that_is_not_taken_away():
    scheduler = Scheduler(Policy(preemptions=2))
    scheduler.handle(WorkerJoined("spot", 1, steady=False), WorkerJoined("desk", 1, 1), *tasks("1", "2"))
    assert starts(scheduler.handle(AttemptEnded("1", Outcome.PREEMPTED, 1.0))) == [("1", "spot")]
    assert scheduler.want_steady == 0
    assert starts(scheduler.handle(AttemptEnded("1", Outcome.PREEMPTED, 2.0))) == []
    assert scheduler.want_steady == 1
    assert starts(scheduler.handle(AttemptEnded("2", Outcome.COMPLETED, 3.0))) == [("1", "desk")]


def test_where_all_workers_may_be_taken_away_a_preempted_plan_goes_on():
    scheduler = Scheduler(Policy(preemptions=1))
    decisions = scheduler.handle(WorkerJoined("spot", 1, steady=False), TaskAdded("1", preemptions=5))
    assert starts(decisions) == [("1", "spot")]


def test_plans_wait_for_a_worker_that_may_join_from_a_group_that_can_run_them():
    scheduler = Scheduler()
    windows_only = TaskAdded("2", unable=frozenset({"linux"}))
    decisions = scheduler.handle(Expecting({"linux": "", "windows": ""}), *tasks("1"), windows_only)
    assert decisions == []
    assert scheduler.waiting(["linux", "windows"]) == {frozenset(): 1, frozenset({"linux"}): 1}
    assert scheduler.stranded_without("windows") == ["2"]
    ended = scheduler.handle(Expecting({"linux": "", "windows": "quota exceeded"}))
    assert [(d.task, d.outcome) for d in ended if isinstance(d, Finish)] == [("2", LOST)]
    assert "windows: quota exceeded" in ended[0].reason
    assert starts(scheduler.handle(WorkerJoined("linux-1", 1))) == [("1", "linux-1")]
    assert scheduler.held() == {"linux-1": 1}
    assert scheduler.handle(Expecting({"linux": "expired"}), WorkerLeft("linux-1", "notice")) == []
    ended = scheduler.handle(AttemptEnded("1", Outcome.PREEMPTED, 1.0))
    assert finishes(ended) == {"1": LOST}
    assert ended[0].reason == "no usable worker is left: linux: expired; linux-1: notice"


def test_a_plan_that_was_preempted_often_waits_for_the_steady_machine_that_comes():
    scheduler = Scheduler(Policy(preemptions=1))
    scheduler.handle(Expecting({"g": ""}, steady=True), TaskAdded("1", preemptions=1))
    assert scheduler.handle(WorkerJoined("spot", 1, steady=False)) == []
    assert scheduler.want_steady == 1
    assert starts(scheduler.handle(Expecting({"g": ""}))) == [("1", "spot")]


def test_cancel_stops_what_runs_and_ends_what_waits():
    scheduler = Scheduler()
    scheduler.handle(WorkerJoined("w", 1), *tasks("1", "2"))
    decisions = scheduler.handle(CancelRequested())
    assert Stop("1") in decisions
    assert finishes(decisions) == {"2": Outcome.CANCELLED}
    assert not scheduler.done
    assert finishes(scheduler.handle(AttemptEnded("1", Outcome.CANCELLED, 1.0))) == {"1": Outcome.CANCELLED}


def test_a_plan_that_completes_while_it_is_cancelled_keeps_its_result():
    scheduler = Scheduler()
    scheduler.handle(WorkerJoined("w", 1), *tasks("1"))
    scheduler.handle(CancelRequested("1"))
    assert finishes(scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0))) == {"1": Outcome.COMPLETED}


def test_an_attached_attempt_holds_its_slot():
    scheduler = Scheduler()
    decisions = scheduler.handle(WorkerJoined("w", 2), *tasks("1", "2", "3"), Attached("2", "w", 1))
    assert [(d.task, d.slot) for d in decisions if isinstance(d, Start)] == [("1", 0)]
    with pytest.raises(ValueError, match="running"):
        scheduler.handle(Attached("2", "w", 0))


def test_an_attempt_that_computes_no_more_holds_no_slot():
    scheduler = Scheduler()
    attached = [Attached("1", "w", NO_SLOT), Attached("2", "w", NO_SLOT)]
    decisions = scheduler.handle(WorkerJoined("w", 1), *tasks("1", "2", "3"), *attached)
    assert starts(decisions) == [("3", "w")]
    ends = scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 1.0), AttemptEnded("2", Outcome.COMPLETED, 1.0))
    assert finishes(ends) == {"1": Outcome.COMPLETED, "2": Outcome.COMPLETED}
    assert scheduler.running == 1


@pytest.mark.parametrize(
    "event", [WorkerJoined("w", 0), WorkerJoined("v", 1), TaskAdded("1"), AttemptEnded("2", LOST, 0.0)]
)
def test_contradictions_are_refused(event):
    scheduler = Scheduler(Policy(max_concurrent=1))
    scheduler.handle(WorkerJoined("v", 1), *tasks("1", "2"))
    with pytest.raises(ValueError, match=r"."):
        scheduler.handle(event)


def late(saves: float | None = 10.0, unable: frozenset[str] = frozenset()) -> Scheduler:
    """Plan 1, expected to take 100 s, has started on ``slow`` at 0; ``fast`` is free."""
    scheduler = Scheduler(Policy(second_saves=saves))
    workers = [WorkerJoined("slow", 1), WorkerJoined("fast", 1, 1)]
    assert starts(scheduler.handle(Tick(0.0), *workers, TaskAdded("1", 100.0, unable=unable))) == [("1", "slow")]
    return scheduler


def test_a_late_plan_runs_again_on_a_free_worker_and_the_first_to_complete_ends_it():
    scheduler = late()
    assert starts(scheduler.handle(Tick(200.0))) == []
    assert starts(scheduler.handle(Tick(300.0))) == [("1", "fast")]
    assert scheduler.handle(Tick(900.0)) == []
    decisions = scheduler.handle(AttemptEnded("1", Outcome.COMPLETED, 400.0, worker="fast"))
    assert decisions == [Finish("1", Outcome.COMPLETED, "", "fast"), Stop("1", "slow")]
    assert (scheduler.done, scheduler.running) == (True, 1)
    assert scheduler.handle(AttemptEnded("1", Outcome.CANCELLED, 401.0, worker="slow")) == []
    assert scheduler.running == 0


def test_a_plan_that_was_attached_to_is_late_only_when_its_end_would_have_been_seen():
    """It may have ended long ago, while there was no controller: the first look tells."""
    scheduler = Scheduler(Policy(second_saves=10.0))
    workers = [WorkerJoined("slow", 1), WorkerJoined("fast", 1, 1)]
    attached = Attached("1", "slow", 0, at=0.0)
    assert starts(scheduler.handle(*workers, TaskAdded("1", 100.0), Tick(36000.0), attached)) == []
    assert starts(scheduler.handle(Tick(36100.0))) == []
    assert starts(scheduler.handle(Tick(36200.0))) == [("1", "fast")]


def test_of_a_plan_that_runs_twice_the_end_of_one_run_leaves_it_to_the_other():
    for outcome, blame in ((LOST, Blame.WORKER), (Outcome.PREEMPTED, Blame.NOBODY), (Outcome.UNSTABLE, Blame.NOBODY)):
        scheduler = late()
        scheduler.handle(Tick(300.0))
        ends = scheduler.handle(AttemptEnded("1", outcome, 310.0, "why", blame, worker="slow"))
        assert [d for d in ends if not isinstance(d, Quarantine)] == []
        with pytest.raises(ValueError, match="not running on slow"):
            scheduler.handle(AttemptEnded("1", outcome, 310.0, worker="slow"))
        last = scheduler.handle(AttemptEnded("1", Outcome.UNSTABLE, 320.0, "grows", worker="fast"))
        assert last == [Finish("1", Outcome.UNSTABLE, "grows", "fast")]


def test_a_plan_runs_twice_only_where_it_is_worth_it():
    assert starts(late(saves=None).handle(Tick(9e9))) == []
    assert starts(late(unable=frozenset({"fast"})).handle(Tick(9e9))) == []
    scheduler = late()
    assert starts(scheduler.handle(TaskAdded("2", unable=frozenset({"fast"})), Tick(9e9))) == []  # it waits
    scheduler = late()
    assert starts(scheduler.handle(Progressed("1", "slow", 0.5, 1000.0), Tick(1001.0))) == []  # as slow elsewhere


def test_a_plan_that_wants_a_steady_worker_gets_its_second_run_on_the_fastest_of_these():
    """Though a spot machine, which may be taken away once more, is faster still."""
    scheduler = Scheduler(Policy(second_saves=10.0))
    scheduler.handle(Tick(0.0), WorkerJoined("slow", 1))
    for n in range(4):
        scheduler.handle(TaskAdded(f"s{n}", 100.0))
        scheduler.handle(AttemptEnded(f"s{n}", Outcome.COMPLETED, 0.0, seconds=400.0))
    assert starts(scheduler.handle(TaskAdded("late", 100.0, preemptions=2))) == [("late", "slow")]
    free = [WorkerJoined("spot", 1, steady=False), WorkerJoined("near", 1, 1), WorkerJoined("far", 1, 2)]
    assert starts(scheduler.handle(*free)) == [("late", "near")]


def test_progress_tells_that_a_faster_worker_would_be_done_sooner():
    scheduler = Scheduler()
    scheduler.handle(Tick(0.0), WorkerJoined("slow", 1), WorkerJoined("fast", 1, 1))
    for n in range(6):
        scheduler.handle(*[TaskAdded(f"{name}{n}", 100.0) for name in ("s", "f")])
        for name, worker, seconds in (("s", "slow", 200.0), ("f", "fast", 25.0)):
            scheduler.handle(AttemptEnded(f"{name}{n}", Outcome.COMPLETED, 0.0, worker=worker, seconds=seconds))
    assert scheduler.speed("fast") > 2.5 * 1.0 > 2.5 * scheduler.speed("slow")
    assert starts(scheduler.handle(TaskAdded("late"))) == [("late", "slow")]
    half = Progressed("late", "slow", 0.5, 1050.0, began=1000.0)  # until then it was in its worker's queue
    assert starts(scheduler.handle(half, Tick(1050.0))) == []
    assert starts(scheduler.handle(Progressed("late", "slow", 0.6, 1450.0), Tick(1450.0))) == [("late", "fast")]


def test_the_time_of_plans_is_learned_from_their_size_and_puts_them_among_those_that_have_run_before():
    scheduler = Scheduler(Policy(max_concurrent=1))
    sized = [TaskAdded(f"s{size}", size=float(size), kind="unsteady") for size in (1, 30, 90)]
    decisions = scheduler.handle(*sized, TaskAdded("known", 100.0), WorkerJoined("w", 1))
    assert starts(decisions) == [("s90", "w")]  # the largest of which nobody knows how long it takes
    assert scheduler.expected("s30") is None
    decisions = scheduler.handle(AttemptEnded("s90", Outcome.COMPLETED, 1.0, seconds=180.0))
    assert starts(decisions) == [("known", "w")]
    assert scheduler.expected("s30") == pytest.approx(60.0)
    assert starts(scheduler.handle(AttemptEnded("known", Outcome.COMPLETED, 2.0))) == [("s30", "w")]


def test_the_longest_plans_go_to_the_fastest_workers():
    scheduler = Scheduler()
    took = {"a": 10.0, "b": 5.0}
    decisions = scheduler.handle(
        WorkerJoined("a", 1), WorkerJoined("b", 1), *(TaskAdded(f"{n}", 10.0) for n in range(8))
    )
    while pending := starts(decisions):
        decisions = []
        for task, worker in pending:
            decisions += scheduler.handle(AttemptEnded(task, Outcome.COMPLETED, 0.0, seconds=took[worker]))
    assert starts(scheduler.handle(TaskAdded("short", 1.0), TaskAdded("long", 100.0))) == [
        ("long", "b"),
        ("short", "a"),
    ]


class Campaign(RuleBasedStateMachine):
    """Random events; a model of what runs where. No slot over-used, every task in an outcome, and twice at once only
    what may run again elsewhere while nothing waits.
    """

    @initialize(
        retries=st.integers(0, 2),
        losses=st.integers(1, 4),
        limit=st.none() | st.integers(1, 4),
        saves=st.none() | st.just(2.0),
    )
    def begin(self, retries: int, losses: int, limit: int | None, saves: float | None) -> None:
        self.policy = Policy(
            retries=retries, losses=losses, max_concurrent=limit, quarantine=3.0, strikes=3, second_saves=saves
        )
        self.scheduler = Scheduler(self.policy)
        self.slots: dict[str, int] = {}
        #: Workers that left and have not joined again.
        self.left: set[str] = set()
        self.known: set[str] = set()
        #: (task, worker) -> slot and stage.
        self.held: dict[tuple[str, str], tuple[int, Stage]] = {}
        self.twice: set[str] = set()
        self.prepares: dict[str, str] = {}
        self.needs: dict[str, str] = {}
        self.prepared: dict[str, set[str]] = {}
        self.unable: dict[str, frozenset[str]] = {}
        self.ended: dict[str, Outcome] = {}
        self.now = 0.0
        #: (task, worker) -> until when it is not tried there.
        self.pauses: dict[tuple[str, str], float] = {}

    def feed(self, *events) -> None:
        for decision in self.scheduler.handle(*events):
            match decision:
                case Start(task, worker, slot, stage):
                    self.check_twice(task, stage)
                    assert task not in self.ended, "a task runs again after its outcome"
                    used = {(w, s) for (_, w), (s, _) in self.held.items()}
                    assert (worker, slot) not in used, "a slot is used twice"
                    assert (task, worker) not in self.held, "a task runs twice on one worker"
                    assert 0 <= slot < self.slots[worker]
                    assert worker not in self.unable[task], "a task runs where it cannot"
                    assert self.pauses.get((task, worker), self.now) <= self.now, "a task runs where it is to pause"
                    assert worker not in self.left, "a task starts on a worker that has left"
                    running_there = [s for w, s in used if w == worker and s < self.slots[worker]]
                    assert len(running_there) < self.slots[worker]
                    self.check_stage(task, worker, stage)
                    self.held[task, worker] = (slot, stage)
                case Finish(task, outcome, _):
                    assert outcome.success or not self.runs(task)
                    assert task not in self.ended, "a task has two outcomes"
                    self.ended[task] = outcome
                case Stop(task, worker):
                    assert not worker or (self.ended[task].success and self.runs(task) == [worker])
                    assert self.runs(task)
                case Quarantine(worker):
                    assert worker not in self.left
                case Pause(task, worker, seconds):
                    assert task not in self.ended
                    self.pauses[task, worker] = self.now + seconds

    def runs(self, task: str) -> list[str]:
        return [worker for name, worker in self.held if name == task]

    def check_twice(self, task: str, stage: Stage) -> None:
        if not self.runs(task):
            return
        assert self.policy.second_saves is not None
        assert stage is Stage.WHOLE
        assert task not in self.twice, "a second run is repeated"
        self.twice.add(task)
        waiting = self.known - self.ended.keys() - {name for name, _ in self.held}
        assert not waiting, "a task runs twice while another waits"

    def check_stage(self, task: str, worker: str, stage: Stage) -> None:
        needs, prepares = self.needs.get(worker, ""), self.prepares.get(worker, "")
        if needs:
            assert stage is Stage.SOLVE, "a worker that only solves does something else"
            assert needs in self.prepared[task], "a plan is solved that is not prepared"
        if stage is Stage.PREPARE:
            assert prepares, "a worker prepares that cannot"
            assert prepares not in self.prepared[task], "a plan is prepared twice"
            assert any(self.needs.get(w) == prepares and w not in self.unable[task] for w in self.slots), "for nobody"

    @rule(
        slots=st.integers(1, 3),
        priority=st.integers(0, 2),
        does=st.sampled_from([("", ""), ("", ""), ("x", ""), ("", "x"), ("", "y")]),
    )
    def join(self, slots: int, priority: int, does: tuple[str, str]) -> None:
        name = f"w{len(self.slots)}"
        self.slots[name] = slots
        self.prepares[name], self.needs[name] = does
        self.feed(WorkerJoined(name, slots, priority, *does))

    @precondition(lambda self: any(not self.scheduler.takes_plans(name) for name in self.slots))
    @rule(data=st.data(), slots=st.integers(1, 3), priority=st.integers(0, 2))
    def join_again(self, data, slots: int, priority: int) -> None:
        """Those that left, and those that are out for good."""
        name = data.draw(st.sampled_from(sorted(n for n in self.slots if not self.scheduler.takes_plans(n))))
        unable = data.draw(st.frozensets(st.sampled_from(sorted(self.known)))) if self.known else frozenset()
        for task in unable:
            self.unable[task] |= {name}
        self.slots[name] = slots
        self.left.discard(name)
        self.feed(WorkerJoined(name, slots, priority, self.prepares[name], self.needs[name], unable))
        assert self.scheduler.takes_plans(name)

    @rule(
        expected=st.none() | st.floats(0.1, 100.0),
        affinity=st.sampled_from(["", "g01", "g02"]),
        unable=st.frozensets(st.sampled_from(["w0", "w1", "w2"])),
        prepared=st.sampled_from([frozenset[str](), frozenset("x"), frozenset("y")]),
    )
    def add(self, expected: float | None, affinity: str, unable: frozenset[str], prepared: frozenset[str]) -> None:
        name = f"p{len(self.known)}"
        self.known.add(name)
        self.unable[name] = unable
        self.prepared[name] = set(prepared)
        self.feed(TaskAdded(name, expected, affinity, unable=unable, prepared=prepared))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome), blame=st.sampled_from(Blame))
    def end(self, data, outcome: Outcome, blame: Blame) -> None:
        task, worker = data.draw(st.sampled_from(sorted(self.held)))
        _, stage = self.held.pop((task, worker))
        self.now += 0.5
        prepared = None
        if stage is Stage.PREPARE and outcome is Outcome.COMPLETED and data.draw(st.booleans()):
            prepared = True
            self.prepared[task].add(self.prepares[worker])
        if stage is Stage.SOLVE and outcome is LOST and data.draw(st.booleans()):
            prepared, blame = False, Blame.NOBODY
            self.prepared[task].discard(self.needs[worker])
        blame = blame if outcome is LOST else Blame.NOBODY
        seconds = data.draw(st.sampled_from([0.5, 5.0]))
        self.feed(AttemptEnded(task, outcome, self.now, "because", blame, prepared, worker, seconds))

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def leave(self, data) -> None:
        name = data.draw(st.sampled_from(sorted(self.slots)))
        self.left.add(name)
        stranded = set(self.scheduler.stranded_without(name))
        before = self.ended.keys() | {task for task, _ in self.held}
        self.feed(WorkerLeft(name, "drained"))
        assert self.ended.keys() - before == stranded, "it was not told what would be left without a worker"

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        self.feed(CancelRequested(data.draw(st.none() | st.sampled_from(sorted(self.known)))))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), done=st.floats(0.0, 1.0))
    def progress(self, data, done: float) -> None:
        self.feed(Progressed(*data.draw(st.sampled_from(sorted(self.held))), done, self.now))

    @rule(seconds=st.floats(0.1, 10.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Tick(self.now))

    @invariant()
    def consistent(self) -> None:
        assert self.scheduler.running == len(self.held)
        assert self.scheduler.done == (self.known <= self.ended.keys())
        if self.policy.max_concurrent is not None:
            assert len(self.held) <= self.policy.max_concurrent

    def teardown(self) -> None:
        """Let it end: whatever happened, a worker that works brings every task to an outcome."""
        if not self.known:
            return
        self.slots["rescue"] = 2
        self.feed(WorkerJoined("rescue", 2, 9))
        for _ in range(20 * len(self.known) + 20):
            if self.scheduler.done:
                break
            for task, worker in sorted(self.held):
                del self.held[task, worker]
                outcome = Outcome.CANCELLED if task in self.ended else Outcome.COMPLETED
                self.feed(AttemptEnded(task, outcome, self.now, worker=worker))
            wake = self.scheduler.next_wake()
            self.now = max(self.now, wake if wake is not None and math.isfinite(wake) else self.now)
            self.feed(Tick(self.now))
        assert self.known <= self.ended.keys(), "a task was left without an outcome"


TestCampaign = Campaign.TestCase
