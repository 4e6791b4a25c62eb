"""Faults of the machinery itself: launches whose answer is lost, looks that fail, journals that cannot be written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

import pytest
from tests.commands import Runner, wait_until
from tests.services import needs_mounts

from ras_runner import ExecutionResult, compute_parallel_remote, init_ras_project, init_ras_worker
from ras_runner.campaign import run as run_module
from ras_runner.campaign import work
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.scheduler import Policy
from ras_runner.errors import TransientError, WorkerError
from ras_runner.hecras.project import Project
from ras_runner.transports.local import LocalTransport


class Faulty(LocalTransport):
    """This machine, with calls that fail when told."""

    def __init__(self, root: Path, **faults: Callable[[], None]) -> None:
        super().__init__(root)
        self.faults = faults
        self.calls: list[str] = []

    def _maybe(self, call: str) -> None:
        self.calls.append(call)
        if call in self.faults:
            self.faults[call]()

    def launch(self, attempt: str, folder: PurePath, script: str, **marks) -> str:
        self._maybe("before launch")
        native_id = super().launch(attempt, folder, script, **marks)
        if "after launch" in self.faults:
            wait_until((Path(folder) / "claim").exists, "the run script has started")
        self._maybe("after launch")
        return native_id

    def poll(self, probes):
        self._maybe("poll")
        return super().poll(probes)

    def collect(self, *args):
        self._maybe("collect")
        return super().collect(*args)


def failing(error: Exception, times: int) -> Callable[[], None]:
    left = [times]

    def fail() -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    return fail


@pytest.fixture
def compute(project: Project, tmp_path: Path, monkeypatch):
    """Compute plans on a worker with faults; quarantines are short."""
    monkeypatch.setattr(run_module, "Policy", lambda **given: Policy(**{**given, "quarantine": 0.05}))

    def run(
        plans: str = "1", lost_after: float = 120.0, **faults: Callable[[], None]
    ) -> tuple[dict[str, ExecutionResult], Faulty, list[str]]:
        worker = init_ras_worker(
            "local", engine="standin", worker_folder=tmp_path / "worker", cores_total=2, cores_per_plan=1
        )
        transport = Faulty(tmp_path / "worker", **faults)
        said: list[str] = []
        results = compute_parallel_remote(
            plans,
            [replace(worker, transport=transport)],
            ras_object=init_ras_project(project.folder),
            num_cores=1,
            lost_after=lost_after,
            state_dir=tmp_path / "state",
            say=said.append,
        )
        return results, transport, said

    return run


def launches(tmp_path: Path) -> int:
    journal = Journal(tmp_path / "state")
    count = journal.row("SELECT COUNT(*) AS n FROM attempts WHERE launched IS NOT NULL")["n"]
    journal.close()
    return count


def test_a_launch_whose_answer_was_lost_is_not_made_twice(compute, tmp_path: Path):
    results, _, _ = compute(**{"after launch": failing(WorkerError("connection lost", host="h", step="launch"), 1)})
    assert results["01"].success
    assert results["01"].attempts == 1
    assert launches(tmp_path) == 1


def test_a_launch_that_failed_is_made_again_elsewhere_or_later(compute):
    results, _, said = compute(**{"before launch": failing(WorkerError("refused", host="h", step="launch"), 1)})
    assert results["01"].success
    assert results["01"].attempts == 2
    assert any("rests for" in line for line in said)


@pytest.mark.parametrize("error", [WorkerError("x"), TransientError("x"), OSError("x")])
def test_a_look_that_fails_is_repeated(compute, error: Exception):
    results, _, _ = compute(poll=failing(error, 3))
    assert results["01"].success
    assert results["01"].attempts == 1


def test_a_worker_that_cannot_be_looked_at_for_long_has_lost_its_plans(compute):
    results, _, _ = compute(lost_after=0.0, poll=failing(WorkerError("gone"), 10**6))
    assert results["01"].outcome == "infrastructure-lost"
    assert "not to be reached" in results["01"].error_message


def test_a_bug_of_ours_costs_one_plan_and_says_so(compute, tmp_path: Path):
    results, _, _ = compute("1,2", collect=failing(ZeroDivisionError("a bug"), 1))
    assert sorted(r.success for r in results.values()) == [False, True]
    (failed,) = [r for r in results.values() if not r.success]
    assert "internal error of ras-runner: ZeroDivisionError: a bug" in failed.error_message
    assert "a bug" in (tmp_path / "state" / "errors.log").read_text()


@pytest.mark.parametrize("error", [WorkerError("x"), OSError("x")])
def test_a_result_that_cannot_be_fetched_at_once_is_fetched_later(compute, error: Exception):
    results, _, _ = compute(collect=failing(error, 2))
    assert (results["01"].success, results["01"].attempts) == (True, 1)


def test_a_result_that_cannot_be_fetched_is_kept_and_resume_takes_it(compute, runner: Runner, monkeypatch):
    monkeypatch.setattr(work, "retrying", lambda call, *_, **__: call())
    results, _, _ = compute(collect=failing(WorkerError("share is gone"), 1))
    assert "share is gone" in results["01"].error_message
    assert "nothing is computed again" in results["01"].error_message
    runner.run("resume")
    (result,) = runner.json("results")
    assert (result["success"], result["attempts"]) == (True, 1)


def test_a_worker_that_comes_back_does_not_run_a_plan_twice(compute, monkeypatch, runner: Runner):
    """It was out of reach for too long; when it is back, what still runs there is ended before anything starts."""
    monkeypatch.setenv("RAS_STANDIN_FAULT", "hang:0.1")
    most = [0]

    def fail_once() -> None:
        if not calls:
            calls.append(1)
            monkeypatch.setenv("RAS_STANDIN_FAULT", "")
            raise WorkerError("cut", host="h")
        most[0] = max(most[0], sum("ras_standin" in " ".join(p.cmdline()) for p in runner.engines()))

    calls: list[int] = []
    results, _, _ = compute(lost_after=0.0, poll=fail_once)
    assert (results["01"].success, results["01"].attempts) == (True, 2)
    assert most[0] <= 1
    runner.check_no_engine_runs()


def test_a_log_that_cannot_be_kept_is_no_reason_to_lose_a_result(compute, monkeypatch):
    monkeypatch.setattr(work, "keep_log", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    assert compute()[0]["01"].success


def test_cancel_before_a_detached_controller_is_up(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "hang"
    runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1,2", "--detach")
    runner.run("cancel")
    wait_until(lambda: {t["state"] for t in runner.tasks().values()} == {"cancelled"}, "everything is cancelled")
    wait_until(lambda: runner.json("status")["state"] == "finished", "the campaign is over")
    runner.check_no_engine_runs()


def test_a_single_plan_cannot_be_cancelled_without_a_controller(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "hang"
    runner.leave_running(1, project.folder, "--plans", "1")
    assert "cannot be cancelled" in runner.run("cancel", "--plan", "1", code=2).stderr
    runner.run("cancel")
    runner.check_no_engine_runs()


def test_cancel_works_when_the_project_has_gone(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "hang"
    runner.leave_running(2, project.folder, "--plans", "1,2")
    shutil.move(project.folder, runner.folder / "elsewhere")
    assert "elsewhere" not in runner.run("resume", code=2).stderr
    runner.run("cancel")
    runner.check_no_engine_runs()
    assert {t["state"] for t in runner.tasks().values()} == {"cancelled"}


@pytest.mark.disk
def test_a_journal_that_cannot_be_written_stops_the_controller_and_nothing_else(
    runner: Runner, project: Project, tmp_path: Path
):
    needs_mounts()
    runner.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(runner.state)], check=True)
    try:
        runner.environment["RAS_STANDIN_PACE"] = "0.01"
        process = runner.start("execute", project.folder, "-i", runner.inventory, "--plans", "1,2,3,4,5")
        wait_until(lambda: sum(t["state"] == "running" for t in runner.tasks().values()) == 2, "two plans run")
        filler = runner.state / "filler"
        with filler.open("wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"x" * 4096)
            except OSError:
                assert shutil.disk_usage(runner.state).free < 8192
        assert process.wait(timeout=60) == 2
        assert "cannot be written" in (runner.folder / "started.log").read_text()
        filler.unlink()
        runner.run("resume")
        results = runner.json("results")
        assert all(r["success"] for r in results)
    finally:
        subprocess.run(["umount", "--lazy", str(runner.state)], check=True)
