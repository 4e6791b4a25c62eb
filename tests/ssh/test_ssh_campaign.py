"""Plans on an SSH worker, through the program as a user runs it, behind a real sshd."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.commands import wait_until
from tests.services import needs_mounts
from tests.ssh.conftest import STANDIN, SshRunner

from ras_runner.campaign.journal import Journal
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result


def test_plans_run_there_and_their_results_come_back(runner: SshRunner, project: Project):
    results = runner.execute(project.folder)
    assert results
    assert all(r["success"] and r["worker_id"] == "there" for r in results)
    for number in project.plan_numbers:
        assert read_result(project.file(f"p{number}.hdf")).outcome.success
    assert runner.workspaces() == []
    store = [path for path in (runner.worker_folder / "store").rglob("*") if path.is_file()]
    assert store
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in store)
    again = runner.execute(project.folder)
    assert [r["attempts"] for r in again] == [0] * len(again)


def test_what_plans_share_travels_once(runner: SshRunner, project: Project):
    runner.execute(project.folder, "--plans", "1,2", "--max-concurrent", "1")
    first, second = (row["staged"] for row in runner.attempts())
    geometry = project.plan("01").project.file(project.plan("01").geometry)
    assert project.plan("01").geometry == project.plan("02").geometry
    assert first > geometry.stat().st_size
    assert second < first - geometry.stat().st_size + 1


def test_a_killed_controller_is_followed_by_one_that_attaches(runner: SshRunner, project: Project):
    runner.write_inventory({"RAS_STANDIN_PACE": "0.02"})
    runner.leave_running(2, project.folder, "--plans", "1,2,3")
    done = runner.run("resume")
    assert "attached" in done.stderr
    rows = runner.attempts()
    assert sorted(row["plan"] for row in rows) == ["01", "02", "03"]
    assert all(row["outcome"] == "completed" for row in rows)
    assert runner.workspaces() == []


def test_a_host_that_lost_its_worker_folders_runs_the_plan_again(runner: SshRunner, project: Project):
    """It restarted, and the folder was on a disk that is emptied then."""
    runner.write_inventory({"RAS_STANDIN_FAULT": "hang"})
    runner.leave_running(1, project.folder, "--plans", "1")
    runner.stop_engines()
    for folder in (runner.worker_folder / "w").iterdir():
        shutil.rmtree(folder)
    journal = Journal(runner.state)  # its next start is without the fault
    (row,) = journal.rows("SELECT workers FROM campaigns")
    spec = json.loads(row["workers"])[0]
    spec["parameters"]["standin_command"] = str(STANDIN)
    journal.record(journal.campaign_id(None), "worker-added", worker="there", spec=json.dumps(spec), request="r")
    journal.close()
    runner.run("resume")
    assert [(r["success"], r["attempts"]) for r in runner.json("results")] == [(True, 2)]


def test_cancel_leaves_no_process(runner: SshRunner, project: Project):
    runner.write_inventory({"RAS_STANDIN_FAULT": "hang"})
    controller = runner.start_running(2, project.folder, "--plans", "1,2")
    wait_until(lambda: len(runner.engine_attempts()) == 2, "two engines run")
    runner.run("cancel")
    assert controller.wait(timeout=60) == 1
    assert runner.engines() == []
    assert {row["outcome"] for row in runner.attempts()} == {"cancelled"}


def test_a_time_limit_leaves_no_process(runner: SshRunner, project: Project):
    runner.write_inventory({"RAS_STANDIN_FAULT": "hang"})
    (result,) = runner.execute(project.folder, "--plans", "1", "--timeout", "0.02", code=1)
    assert result["outcome"] == "timed-out"
    assert runner.engines() == []


def test_connections_that_are_killed_in_mid_run_are_made_again(runner: SshRunner, project: Project):
    runner.write_inventory({"RAS_STANDIN_PACE": "0.02"})
    controller = runner.start_running(2, project.folder, "--plans", "1,2")
    assert runner.sshd is not None
    assert runner.sshd.cut() >= 1
    wait_until(runner.sshd.cut, "it comes back, and is cut again")
    assert controller.wait(timeout=90) == 0, (runner.folder / "started.log").read_text()
    assert len(runner.attempts()) == 2


def test_engine_errors_and_leftovers_are_judged_as_on_this_machine(runner: SshRunner, project: Project):
    for fault, outcome in (("unstable", "unstable"), ("segv", "engine-error"), ("tmp-left", "incomplete")):
        runner.write_inventory({"RAS_STANDIN_FAULT": fault})
        (result,) = runner.execute(project.folder, "--plans", "1", "--force", code=None)
        assert result["outcome"] == outcome, result


def test_a_project_with_hostile_names(runner: SshRunner, tmp_path: Path, example_prj: Path):
    folder = tmp_path / "Río 'one' \"two\" $(touch pwned) `x`; & Ω"
    shutil.copytree(example_prj.parent, folder)
    (result,) = runner.execute(folder, "--plans", "1")
    assert result["success"], result["error_message"]
    assert not list(tmp_path.rglob("pwned"))


def test_a_worker_folder_with_a_hostile_name(runner: SshRunner, project: Project):
    runner.worker_folder = runner.folder / "wörk 'er' \"$HOME\"; -rf &"
    runner.write_inventory()
    (result,) = runner.execute(project.folder, "--plans", "1")
    assert result["success"], result["error_message"]
    assert runner.workspaces() == []


def test_a_host_that_is_away_is_left_out_and_another_runs_the_plans(runner: SshRunner, project: Project):
    inventory = json.loads(runner.inventory.read_text("utf-8"))
    hosts = inventory["ssh_workers"]["hosts"]
    hosts["away"] = {**hosts["there"], "ras_port": 1}
    runner.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    results = runner.execute(project.folder, "--plans", "1,2")
    assert all(r["worker_id"] == "there" and r["success"] for r in results)


def test_plans_that_this_machine_prepares_are_solved_there(runner: SshRunner, project: Project, tmp_path: Path):
    runner.write_inventory(preprocess_on_host=True)
    inventory = json.loads(runner.inventory.read_text("utf-8"))
    here = {"ras_engine": "standin", "ras_cores_total": 1, "ras_cores_per_plan": 1}
    inventory["local"] = {"hosts": {"here": {**here, "ras_worker_folder": str(tmp_path / "here")}}}
    runner.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    results = runner.execute(project.folder, "--plans", "1,7")
    assert [(r["success"], r["worker_id"], r["attempts"]) for r in results] == [(True, "there", 2)] * 2
    assert runner.workspaces() == []


@pytest.mark.disk
def test_a_full_disk_and_a_symlink_that_leads_outside(runner: SshRunner, project: Project, tmp_path: Path):
    """The host with the full disk is left out and named; of the links one is hydraulic data, the other is not."""
    needs_mounts()
    full = tmp_path / "full"
    full.mkdir()
    inventory = json.loads(runner.inventory.read_text("utf-8"))
    hosts = inventory["ssh_workers"]["hosts"]
    hosts["full"] = {**hosts["there"], "ras_worker_folder": str(full), "ras_queue_priority": 0}
    hosts["there"]["ras_queue_priority"] = 1
    runner.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "storm.dss").write_bytes(b"rain")
    (tmp_path / "elsewhere" / "secret.key").write_bytes(b"secret")
    (project.folder / "storm.dss").symlink_to(tmp_path / "elsewhere" / "storm.dss")
    (project.folder / "stolen.dss").symlink_to(tmp_path / "elsewhere" / "secret.key")
    for number, name in (("01", "storm.dss"), ("02", "stolen.dss")):
        flow = project.file(project.plan(number).flow)
        text = flow.read_bytes() + f"Observed DSS Loc=a\r\nObserved DSS Filename={name}\r\n".encode("ascii")
        flow.write_bytes(text)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", full], check=True)
    try:
        done = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "2", code=None)
        assert done.returncode != 0
        assert "secret.key" in done.stderr
        assert "leads out of the project folder" in done.stderr
        (result,) = runner.execute(project.folder, "--plans", "1")
    finally:
        subprocess.run(["umount", "--lazy", full], check=True)
    assert (result["success"], result["worker_id"]) == (True, "there")
    assert not [path for path in runner.worker_folder.rglob("*") if path.is_file() and path.read_bytes() == b"secret"]
    messages = [row["message"] for row in runner.attempts()]
    assert any(
        f"127.0.0.1:{runner.sshd.port}: stage: the disk of the worker folder {full} is full" in m for m in messages
    )
