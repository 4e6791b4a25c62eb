"""A late plan runs on two workers at once: one result, one receipt, nothing left behind, whatever happens meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.commands import Runner, wait_until

import ras_runner.campaign.run as run_module
import ras_runner.campaign.work as work
from ras_runner import init_ras_worker
from ras_runner.campaign.campaigns import CampaignSettings, create_campaign, prepare_plans, select_plans
from ras_runner.campaign.controller import Controller
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.run import Mode, run_campaign, stop_campaign
from ras_runner.campaign.scheduler import Policy, Stop
from ras_runner.campaign.winners import SUPERSEDED, Winners
from ras_runner.errors import OperatorError, WorkerError
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result
from ras_runner.transports.local import LocalTransport

#: Seconds that the plan is expected to take, and that a second run must save.
EXPECTED, SAVES = 0.01, 0.2


class Machine(LocalTransport):
    """This machine with engines that have a fault of their own, and launches that may fail."""

    launching = threading.Lock()

    def __init__(self, root: Path, fault: str) -> None:
        super().__init__(root)
        self.fault = fault
        self.refuses = False

    def launch(self, attempt: str, folder, script: str, **marks) -> str:
        if self.refuses:
            raise WorkerError("refused", host="fast", step="launch")
        with self.launching:  # engines inherit the environment of this process
            os.environ["RAS_STANDIN_FAULT"] = self.fault
            try:
                return super().launch(attempt, folder, script, **marks)
            finally:
                del os.environ["RAS_STANDIN_FAULT"]


class Campaign:
    """Plan 1 starts on ``slow``; ``fast`` has nothing to do."""

    def __init__(self, project: Project, folder: Path, journal: Journal) -> None:
        self.project, self.journal, self.said = project, journal, list[str]()
        self.machines = {name: Machine(folder / "worker" / name, "") for name in ("slow", "fast")}
        self.machines["slow"].fault = "hang"
        self.workers = [
            replace(
                init_ras_worker(
                    "local",
                    worker_id=name,
                    engine="standin",
                    worker_folder=folder / "worker" / name,
                    cores_total=1,
                    cores_per_plan=1,
                    queue_priority=priority,
                ),
                transport=machine,
            )
            for priority, (name, machine) in enumerate(self.machines.items())
        ]
        settings = CampaignSettings(num_cores=1, quarantine=0.05)
        prepared = prepare_plans(select_plans(project, "1"), self.workers, settings, journal)
        expected = {number: replace(plan, expected=EXPECTED) for number, plan in prepared.items()}
        self.id = create_campaign(journal, project, expected, self.workers, settings)

    def run(self, mode: Mode = Mode.NEW) -> None:
        run_campaign(self.journal, self.id, self.workers, self.said.append, mode)

    def attempts(self) -> dict[str, tuple[str, str]]:
        """(state, outcome) by worker."""
        rows = self.journal.rows("SELECT * FROM attempts WHERE campaign = ?", self.id)
        return {row["worker"]: (row["state"], row["outcome"]) for row in rows}

    def check(self, winner: str, runner: Runner) -> None:
        """The plan has the winner's result, once; the other attempt is over and leaves nothing."""
        (task,) = self.journal.rows("SELECT outcome, worker, message FROM tasks WHERE campaign = ?", self.id)
        assert tuple(task) == ("completed", winner, "")
        loser = next(name for name in self.machines if name != winner)
        assert self.attempts() == {winner: ("ended", "completed"), loser: ("ended", "cancelled")}
        receipts = self.journal.rows("SELECT worker FROM receipts")
        assert [row["worker"] for row in receipts] == [winner]
        ends = self.journal.rows("SELECT kind FROM events WHERE kind IN ('result-published', 'task-ended')")
        assert sorted(row["kind"] for row in ends) == ["result-published", "task-ended"]
        assert read_result(self.project.file("p01.hdf")).outcome.success
        assert not [folder for machine in self.machines.values() for folder in machine.root.glob("w/*")]
        runner.check_no_engine_runs()


@pytest.fixture
def campaign(project: Project, tmp_path: Path, journal: Journal, runner: Runner, monkeypatch) -> Campaign:
    monkeypatch.setattr(run_module, "Policy", lambda **given: Policy(**given, second_saves=SAVES))
    return Campaign(project, tmp_path, journal)


def interrupt(monkeypatch, method: str, when: Callable[[Controller, tuple], bool]) -> None:
    """The controller is gone once, before a call of its method."""
    call = getattr(Controller, method)
    gone = list[bool]()

    def maybe(controller: Controller, *given):
        if not gone and when(controller, given):
            gone.append(True)
            raise KeyboardInterrupt
        return call(controller, *given)

    monkeypatch.setattr(Controller, method, maybe)


def test_the_second_attempt_makes_the_result_and_the_late_one_is_stopped(campaign: Campaign, runner: Runner):
    campaign.run()
    campaign.check("fast", runner)
    assert "plan 01 starts on fast slot 0 as well, as it is late on slow" in campaign.said


def test_a_second_attempt_that_fails_leaves_the_plan_to_the_first(campaign: Campaign, runner: Runner):
    """Its worker refuses it: the first, whose result is held back until then, completes the plan."""
    slow, fast = campaign.machines["slow"], campaign.machines["fast"]
    slow.fault, fast.refuses = "", True

    def poll(probes):
        refused = any(line.startswith("worker fast rests") for line in campaign.said)
        found = LocalTransport.poll(slow, probes)
        return found if refused else {name: replace(status, alive=True) for name, status in found.items()}

    slow.poll = poll
    campaign.run()
    assert campaign.attempts() == {"slow": ("ended", "completed"), "fast": ("ended", "infrastructure-lost")}
    (task,) = campaign.journal.rows("SELECT outcome, worker FROM tasks")
    assert tuple(task) == ("completed", "slow")
    runner.check_no_engine_runs()


def test_of_two_that_complete_at_once_one_publishes(campaign: Campaign, runner: Runner, monkeypatch):
    """The second claims its plan and publishes only when the first has been told that it may not."""
    campaign.machines["slow"].fault = ""
    refused, both = threading.Event(), threading.Event()
    claim, publish = Winners.claim, work.publish_attempt
    calls = list[str]()

    def slow_to_collect(*given):
        both.wait(60)
        return LocalTransport.collect(campaign.machines["slow"], *given)

    def claimed(self, attempt):
        won = claim(self, attempt)
        (both if won else refused).set()
        return won

    def published(attempt, *given, **options):
        calls.append(attempt.worker.worker_id)
        assert refused.wait(60)
        publish(attempt, *given, **options)

    campaign.machines["slow"].collect = slow_to_collect
    monkeypatch.setattr(Winners, "claim", claimed)
    monkeypatch.setattr(work, "publish_attempt", published)
    campaign.run()
    assert calls == ["fast"]
    campaign.check("fast", runner)


def test_a_result_that_could_not_be_published_gives_way_to_one_that_is(campaign: Campaign, runner: Runner, monkeypatch):
    """The first to end finds the disk full; the other publishes, and no resume brings the first one's result back."""
    campaign.machines["slow"].fault = ""
    publish, full = work.publish_attempt, threading.Event()

    def published(attempt, *given, **options):
        if attempt.worker.worker_id == "fast":
            full.set()
            raise OperatorError("disk full", step="publish")
        publish(attempt, *given, **options)

    def slow_to_collect(*given):
        full.wait(60)
        return LocalTransport.collect(campaign.machines["slow"], *given)

    campaign.machines["slow"].collect = slow_to_collect
    monkeypatch.setattr(work, "publish_attempt", published)
    campaign.run()
    campaign.check("slow", runner)
    campaign.run(Mode.RESUME)
    campaign.check("slow", runner)


def test_of_a_result_to_be_published_and_a_newer_attempt_on_its_worker_the_result_is_taken(
    campaign: Campaign, runner: Runner, monkeypatch
):
    """Nothing could be published, the second run was lost, the plan began anew, and the controller was killed."""
    campaign.machines["slow"].fault = ""

    def full(*_: object, **__: object) -> None:
        raise OperatorError("disk full", step="publish")

    with monkeypatch.context() as patch:
        patch.setattr(work, "publish_attempt", full)
        campaign.run()
    assert campaign.attempts()["slow"][0] == "unpublished"
    newer = {"attempt": "f" * 10, "plan": "01", "number": 3, "worker": "slow", "slot": 0}
    staged = {"attempt": "f" * 10, "staged": 0, "tree": "p", "inputs": "", "prepared_by": ""}
    folder = campaign.workers[0].attempt_folder("f" * 10)
    events = [
        ("attempt-created", {**newer, "folder": str(folder), "stage": "whole"}),
        ("attempt-launching", staged),
        ("attempt-launched", {"attempt": "f" * 10, "native_id": ""}),
    ]
    campaign.journal.record_all(campaign.id, events)
    campaign.run(Mode.RESUME)
    (task,) = campaign.journal.rows("SELECT outcome FROM tasks WHERE campaign = ?", campaign.id)
    assert task["outcome"] == "completed"
    assert {state for state, _ in campaign.attempts().values()} == {"ended"}
    assert not [folder for machine in campaign.machines.values() for folder in machine.root.glob("w/*")]
    runner.check_no_engine_runs()


def test_a_controller_that_is_killed_while_both_run_is_followed_by_one_that_attaches_to_both(
    campaign: Campaign, runner: Runner, monkeypatch
):
    campaign.machines["fast"].fault = "hang"
    interrupt(monkeypatch, "_look", lambda controller, _: len(controller._running) == 2)
    with pytest.raises(KeyboardInterrupt):
        campaign.run()
    assert len(campaign.attempts()) == 2
    interrupt(monkeypatch, "_turn", lambda controller, _: len(controller._running) == 2)
    with pytest.raises(KeyboardInterrupt):  # it knows both, and neither is started again
        campaign.run(Mode.RESUME)
    assert campaign.said.count("plan 01 was launched before: attached") == 2
    campaign.run(Mode.CANCEL)
    assert {outcome for _, outcome in campaign.attempts().values()} == {"cancelled"}
    runner.check_no_engine_runs()


def test_both_ended_while_there_was_no_controller_and_one_is_published(campaign: Campaign, runner: Runner, monkeypatch):
    campaign.machines["slow"].fault = ""
    for machine in campaign.machines.values():  # the controller sees neither of them end
        machine.poll = lambda probes, machine=machine: {
            name: replace(status, alive=True) for name, status in LocalTransport.poll(machine, probes).items()
        }
    interrupt(monkeypatch, "_look", lambda controller, _: len(controller._running) == 2)
    with pytest.raises(KeyboardInterrupt):
        campaign.run()
    for machine in campaign.machines.values():
        del machine.poll
    wait_until(lambda: not runner.engines(), "both end by themselves")
    campaign.run(Mode.RESUME)
    (winner,) = [name for name, (_, outcome) in campaign.attempts().items() if outcome == "completed"]
    campaign.check(winner, runner)


def test_a_controller_that_is_killed_before_it_stops_the_loser_is_followed_by_one_that_does(
    campaign: Campaign, runner: Runner, monkeypatch
):
    interrupt(monkeypatch, "_act", lambda _, given: isinstance(given[0], Stop))
    with pytest.raises(KeyboardInterrupt):
        campaign.run()
    assert campaign.attempts()["slow"][0] == "running"
    campaign.run(Mode.RESUME)
    campaign.check("fast", runner)
    (row,) = campaign.journal.rows("SELECT message FROM attempts WHERE worker = 'slow'")
    assert row["message"] == SUPERSEDED


def test_a_campaign_that_is_stopped_without_a_controller_keeps_the_one_result(
    campaign: Campaign, runner: Runner, monkeypatch
):
    """The loser has ended well too, which no one has seen: no later controller takes its result."""
    slow = campaign.machines["slow"]
    slow.fault = ""
    slow.poll = lambda probes: {
        name: replace(status, alive=True) for name, status in LocalTransport.poll(slow, probes).items()
    }
    interrupt(monkeypatch, "_act", lambda _, given: isinstance(given[0], Stop))
    with pytest.raises(KeyboardInterrupt):
        campaign.run()
    del slow.poll
    wait_until(lambda: not runner.engines(), "both end by themselves")
    stop_campaign(campaign.journal, campaign.id, campaign.workers)
    campaign.run(Mode.RESUME)
    campaign.check("fast", runner)


def test_a_loser_whose_files_cannot_be_read_is_not_looked_at_again(campaign: Campaign, runner: Runner, monkeypatch):
    """What it left may be a result, but the plan has one."""

    def gone(*_: object) -> None:
        raise WorkerError("the share is gone", host="slow", step="collect")

    monkeypatch.setattr(work, "retrying", lambda call, *_, **__: call())
    campaign.machines["slow"].collect = gone
    campaign.run()
    campaign.check("fast", runner)
    campaign.run(Mode.RESUME)
    campaign.check("fast", runner)


def test_a_plan_that_runs_twice_is_cancelled_on_both(campaign: Campaign, runner: Runner):
    campaign.machines["fast"].fault = "hang"
    say = campaign.said.append

    def cancel(line: str) -> None:
        say(line)
        if "as well" in line:
            campaign.journal.record(campaign.id, "cancel-requested", plan=None)

    run_campaign(campaign.journal, campaign.id, campaign.workers, cancel)
    assert {outcome for _, outcome in campaign.attempts().values()} == {"cancelled"}
    runner.check_no_engine_runs()
