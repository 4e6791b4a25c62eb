"""Attempts of which nobody can tell whether they run, and workspaces that cannot be removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath

import pytest
from tests.commands import Runner

from ras_runner import compute_parallel_remote, init_ras_project, init_ras_worker, oscalls
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.run import Mode, run_campaign, stop_campaign
from ras_runner.errors import TransientError, WorkerError
from ras_runner.hecras.project import Project
from ras_runner.transports.local import LocalTransport
from ras_runner.workers.base import Worker


def worker(transport: LocalTransport) -> Worker:
    made = init_ras_worker("local", worker_id="w", engine="standin", worker_folder=transport.root, cores_total=1)
    return replace(made, transport=transport)


class CutAtLaunch(LocalTransport):
    """The network goes with the answer to the first launch, and is back after the next call."""

    cut = False

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        if self.cut:
            return super().launch(attempt, folder, script, cores=cores, campaign=campaign)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAS_STANDIN_FAULT", "hang")
            super().launch(attempt, folder, script, cores=cores, campaign=campaign)
        self.cut, self.first, self.away = True, attempt, True
        raise TransientError("the connection was lost", step="launch", host=self.host)

    def claim(self, folder: PurePath) -> bool:
        if getattr(self, "away", False):
            self.away = False
            raise TransientError("the connection was lost", step="claim", host=self.host)
        return super().claim(folder)


def test_what_was_perhaps_started_is_ended_before_the_next_plan_starts_there(project: Project, tmp_path: Path):
    transport = CutAtLaunch(tmp_path / "worker")
    results = compute_parallel_remote(
        "1", [worker(transport)], init_ras_project(project.folder), 1, state_dir=tmp_path / "state"
    )
    try:
        assert (results["01"].success, results["01"].attempts) == (True, 2)
        assert oscalls.attempt_processes(transport.first) == []
    finally:
        oscalls.stop_attempt(transport.first)


class Stubborn(LocalTransport):
    """Nothing that has run can be removed."""

    def remove(self, path: PurePath) -> None:
        if Path(path, "exit.json").exists():
            raise WorkerError("it is not ours any more", step="clean", host=self.host)
        super().remove(path)


def test_a_workspace_that_cannot_be_removed_does_not_keep_a_campaign_from_going_on(project: Project, tmp_path: Path):
    one = worker(Stubborn(tmp_path / "worker"))
    compute_parallel_remote("1", [one], init_ras_project(project.folder), 1, state_dir=tmp_path / "state")
    journal = Journal(tmp_path / "state")
    said: list[str] = []
    run_campaign(journal, journal.campaign_id(None), [one], said.append, Mode.RESUME)
    journal.close()
    assert any("it is not ours any more" in line for line in said)


def test_what_was_cancelled_out_of_reach_is_ended_when_its_worker_is_back(runner: Runner, project: Project):
    """Its workspace was removed under it, and it ran for ever."""
    runner.environment["RAS_STANDIN_FAULT"] = "hang"
    runner.leave_running(1, project.folder, "--plans", "1")
    journal = Journal(runner.state)
    stop_campaign(journal, journal.campaign_id(None), [])
    journal.close()
    assert runner.engines()
    del runner.environment["RAS_STANDIN_FAULT"]
    runner.run("resume")
    runner.check_no_engine_runs()
    assert [r["success"] for r in runner.json("results")] == [True]
