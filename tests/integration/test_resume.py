"""The controller is killed, and another goes on: nothing lost, nothing run twice."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest
from tests.commands import Runner, wait_until

from ras_runner.campaign.journal import Journal
from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result

KILLS = 20


def test_a_running_plan_is_attached_to_and_not_run_twice(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_PACE"] = "0.02"
    runner.leave_running(2, project.folder, "--plans", "1,2,3")
    done = runner.run("resume")
    assert "attached" in done.stderr
    rows = runner.attempts()
    assert sorted(row["plan"] for row in rows) == ["01", "02", "03"]
    assert all(row["outcome"] == "completed" for row in rows)
    assert runner.workspaces() == []


def test_plans_that_ended_while_there_was_no_controller_are_collected(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_PACE"] = "0.01"
    runner.leave_running(2, project.folder, "--plans", "1,2")
    wait_until(lambda: not runner.engines(), "the engines end by themselves")
    assert project.file("p01.hdf") is None
    runner.run("resume")
    assert {row["outcome"] for row in runner.attempts()} == {"completed"}
    assert read_result(project.file("p01.hdf")).outcome.success


def test_interrupt_leaves_the_campaign_resumable_and_says_how(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_PACE"] = "0.02"
    controller = runner.start_running(2, project.folder, "--plans", "1,2,3")
    controller.send_signal(signal.SIGINT)
    assert controller.wait(timeout=30) == 130
    assert "ras-runner resume" in (runner.folder / "started.log").read_text()
    assert runner.json("status")["state"] == "interrupted"
    runner.run("resume")
    assert len(runner.attempts()) == 3


def test_a_campaign_that_is_being_run_is_not_run_by_another(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "hang"
    controller = runner.start_running(1, project.folder, "--plans", "1")
    refused = runner.run("resume", code=2)
    assert "is being run by another ras-runner" in refused.stderr
    runner.run("cancel")
    assert controller.wait(timeout=30) == 1


def test_a_lost_run_script_is_reported_and_its_plan_runs_again(runner: Runner, project: Project):
    """Everything of an attempt is killed from outside while no controller looks: a reboot."""
    runner.environment["RAS_STANDIN_FAULT"] = "hang"
    runner.leave_running(2, project.folder, "--plans", "1,2")
    for row in runner.attempts():
        from ras_runner import oscalls

        assert oscalls.stop_attempt(row["id"], row["native_id"]) == []
    del runner.environment["RAS_STANDIN_FAULT"]
    done = runner.run("resume")
    assert "left no exit.json" in done.stderr
    assert "rests for" in done.stderr
    assert all(r["success"] and r["attempts"] == 2 for r in runner.json("results"))


def test_a_plan_that_has_gone_ends_with_its_reason_and_the_others_go_on(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "p01=hang"
    runner.leave_running(1, project.folder, "--plans", "1,2,3", "--max-concurrent", "1")
    project.file("p02").unlink()
    project.file("p01").unlink()  # its engine still runs
    del runner.environment["RAS_STANDIN_FAULT"]
    done = runner.run("resume", code=1)
    runner.check_no_engine_runs()
    results = {r["plan_number"]: r for r in runner.json("results")}
    assert results["01"]["outcome"] == results["02"]["outcome"] == "incomplete", done.stderr
    assert "plan 02" in results["02"]["error_message"]
    assert results["03"]["success"]


@pytest.mark.chaos
@pytest.mark.slow
def test_thirty_plans_survive_a_controller_that_is_killed_again_and_again(runner: Runner, tmp_path: Path):
    """SIGKILL at random moments, at least 20 times: every plan completes exactly once, results are whole."""
    project = Project.open(write_example_project(tmp_path / "project", plans=30))
    rng = random.Random(20260801)
    runner.environment["RAS_STANDIN_PACE"] = "0.004"
    kills = 0
    controller = runner.start("execute", project.folder, "-i", runner.inventory)
    while True:
        if kills < KILLS:
            # a random moment: during start-up, staging, running, publishing
            _wait_for_events(runner, controller, rng.randrange(1, 9))
        code = controller.wait() if kills >= KILLS else controller.poll()
        if code is not None and code >= 0:
            assert code == 0, (runner.folder / "started.log").read_text()
            break
        controller.send_signal(signal.SIGKILL)
        controller.wait()
        kills += 1
        started = _events(runner)
        controller = (
            runner.start("resume") if started else runner.start("execute", project.folder, "-i", runner.inventory)
        )
    assert kills >= KILLS
    results = runner.json("results")
    assert len(results) == 30
    assert all(r["success"] for r in results)
    rows = [row for row in runner.attempts() if row["launched"] is not None and row["outcome"] != "infrastructure-lost"]
    assert sorted(row["plan"] for row in rows) == [f"{n:02}" for n in range(1, 31)], "a plan was computed twice"
    for number in project.plan_numbers:
        assert read_result(project.file(f"p{number}.hdf")).outcome.success
    assert not list(project.folder.glob(".ras-runner*"))
    assert runner.workspaces() == []
    runner.check_no_engine_runs()
    journal = Journal(runner.state)
    completed = journal.rows(
        "SELECT json_extract(data, '$.plan') AS plan, COUNT(*) AS n FROM events WHERE kind = 'task-ended' GROUP BY 1"
    )
    journal.close()
    assert {row["n"] for row in completed} == {1}


def _wait_for_events(runner: Runner, controller: subprocess.Popen[bytes], count: int) -> None:
    target = _events(runner) + count
    wait_until(lambda: controller.poll() is not None or _events(runner) >= target, "things happen")


def _events(runner: Runner) -> int:
    if not (runner.state / "journal.sqlite").is_file():
        return 0
    journal = Journal(runner.state)
    row = journal.row("SELECT COUNT(*) AS n FROM events")
    journal.close()
    return int(row["n"])
