"""``ras-runner execute`` on this machine: plans computed, skipped, failed, stopped, and what is left afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest
from tests.commands import Runner, wait_until
from tests.conftest import shared_data

from ras_runner.hecras.compat import HdfResultsPlan
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result
from ras_runner.outcomes import Outcome

FIELDS = {
    "plan_number",
    "worker_id",
    "success",
    "outcome",
    "hdf_path",
    "error_message",
    "execution_time",
    "attempts",
    "engine",
    "warnings",
}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_all_plans_of_the_example_complete(runner: Runner, project: Project):
    before = snapshot(project.folder)
    results = runner.execute(project.folder)
    assert [r["plan_number"] for r in results] == list(project.plan_numbers)
    for result in results:
        assert set(result) == FIELDS
        assert result["success"], result
        assert result["error_message"] is None
        assert result["worker_id"] == "here"
        assert result["engine"].startswith("stand-in")
        assert result["attempts"] == 1
        assert read_result(Path(result["hdf_path"])).outcome.success
        assert "STAND-IN ENGINE - NOT HEC-RAS" in HdfResultsPlan.get_compute_messages(result["hdf_path"])
    after = snapshot(project.folder)
    assert {name: after[name] for name in before} == before, "a file of the user was changed"
    assert not [name for name in after if "ras-runner" in name or name.endswith(".part")]
    assert runner.workspaces() == []


def test_unchanged_plans_are_skipped_and_changed_ones_run(runner: Runner, project: Project):
    runner.execute(project.folder, "--plans", "1,2,7")
    again = runner.execute(project.folder, "--plans", "1,2,7")
    assert [(r["attempts"], r["success"]) for r in again] == [(0, True)] * 3
    plan = project.file("p02")
    plan.write_text(plan.read_text("latin-1").replace("UNET ZTol= 0.01", "UNET ZTol= 0.02"), "latin-1")
    assert "0.02" in plan.read_text("latin-1")
    project.file("p07.hdf").unlink()
    prj = project.prj.read_text("latin-1")
    project.prj.write_text(
        prj.replace("Current Plan=p01", "Current Plan=p05"), "latin-1"
    )  # HEC-RAS opened another plan
    assert [r["attempts"] for r in runner.execute(project.folder, "--plans", "1,2,7")] == [0, 1, 1]
    assert [r["attempts"] for r in runner.execute(project.folder, "--plans", "1", "--force")] == [1]
    with h5py.File(project.file("p01.hdf"), "r+") as hdf:
        hdf.attrs["touched"] = 1
    assert [r["attempts"] for r in runner.execute(project.folder, "--plans", "1")] == [1]


def test_the_real_muncie_plan(runner: Runner, tmp_path: Path):
    shutil.copytree(shared_data("muncie"), tmp_path / "Muncie")
    (tmp_path / "Muncie").chmod(0o755)
    (result,) = runner.execute(tmp_path / "Muncie" / "Muncie.prj", "--plans", "04")
    assert result["outcome"] == "completed-with-warnings"
    assert any("not modelled" in warning.lower() for warning in result["warnings"])
    summary = read_result(Path(result["hdf_path"]))
    assert summary.volume_error_percent < 0.001


@pytest.mark.parametrize(
    ("fault", "plan", "outcome", "reason"),
    [
        ("crash:0.3", "01", Outcome.ENGINE_ERROR, "157"),
        ("segv:0.3", "01", Outcome.ENGINE_ERROR, "SIGSEGV"),
        ("oom:0.3", "01", Outcome.ENGINE_ERROR, "killed"),
        ("exit:7", "01", Outcome.ENGINE_ERROR, "exit code 7"),
        ("unstable", "01", Outcome.UNSTABLE, "unstable"),
        ("partial-hdf:0.5", "01", Outcome.ENGINE_ERROR, "left no"),
        ("no-results", "01", Outcome.INCOMPLETE, "."),
        ("truncated", "01", Outcome.ENGINE_ERROR, "cannot be read"),
        ("corrupt-bytes", "01", Outcome.ENGINE_ERROR, "not an HDF file"),
        ("tmp-left", "01", Outcome.INCOMPLETE, "temporary"),
        ("rename-fails", "01", Outcome.ENGINE_ERROR, "left no"),
        ("no-finish", "01", Outcome.INCOMPLETE, "."),
        ("failed-to-run", "01", Outcome.ENGINE_ERROR, "failed"),
        ("terminated", "01", Outcome.ENGINE_ERROR, "terminated"),
        ("crash", "07", Outcome.ENGINE_ERROR, "157"),
    ],
)
def test_each_fault_ends_in_its_outcome_with_a_reason(
    runner: Runner, project: Project, fault: str, plan: str, outcome: Outcome, reason: str
):
    runner.environment["RAS_STANDIN_FAULT"] = fault
    before = snapshot(project.folder)
    (result,) = runner.execute(project.folder, "--plans", plan, code=1)
    assert not result["success"]
    assert result["outcome"] == outcome.value, result
    assert reason.lower() in result["error_message"].lower()
    assert "log: " in result["error_message"]
    assert snapshot(project.folder) == before, "something of a failed run was published"
    log = Path(result["error_message"].split("log: ")[1].splitlines()[0])
    assert log.is_file()


def test_one_failing_plan_does_not_stop_the_others(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "p03=crash:0.2,p05=unstable"
    results = runner.execute(project.folder, code=1)
    assert {r["plan_number"]: r["outcome"] for r in results if not r["success"]} == {
        "03": "engine-error",
        "05": "unstable",
    }
    del runner.environment["RAS_STANDIN_FAULT"]
    again = runner.execute(project.folder)
    assert [r["plan_number"] for r in again if r["attempts"]] == ["03", "05"]


def test_retries_repeat_a_model_failure(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "exit:3"
    (result,) = runner.execute(project.folder, "--plans", "1", "--retries", "2", code=1)
    assert result["attempts"] == 3


def test_a_plan_that_takes_too_long_is_stopped_with_its_whole_tree(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "p01=hang:0.2"
    results = runner.execute(project.folder, "--plans", "1,2", "--timeout", "0.06", code=1)
    assert [r["outcome"] for r in results] == ["timed-out", "completed"]
    assert "0.06 min" in results[0]["error_message"]
    runner.check_no_engine_runs()


def test_cancel_stops_what_runs_and_leaves_nothing(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "hang"
    controller = runner.start_running(2, project.folder, "--plans", "1,2,3")
    runner.run("cancel", "--plan", "2")
    wait_until(lambda: runner.tasks()["02"]["state"] == "cancelled", "plan 02 is cancelled")
    runner.run("cancel")
    assert controller.wait(timeout=30) == 1
    assert {t["state"] for t in runner.tasks().values()} == {"cancelled"}
    runner.check_no_engine_runs()
    assert all(r["error_message"] for r in runner.json("results"))


def test_cancel_without_a_controller_stops_what_it_left(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "hang"
    runner.leave_running(2, project.folder, "--plans", "1,2,3")
    wait_until(lambda: len(runner.engine_attempts()) == 2, "two engines run")
    runner.run("cancel")
    runner.check_no_engine_runs()
    assert {t["state"] for t in runner.tasks().values()} == {"cancelled"}


def test_dry_run_shows_and_writes_nothing(runner: Runner, project: Project):
    runner.execute(project.folder, "--plans", "1")
    before = snapshot(project.folder), runner.workspaces()
    rows = runner.json("execute", project.folder, "-i", runner.inventory, "--plans", "1,2,3,4", "--dry-run")
    assert [(r["plan_number"], r["skipped"], r["worker_id"], r["slot"]) for r in rows] == [
        ("01", True, None, None),
        ("02", False, "here", 0),
        ("03", False, "here", 1),
        ("04", False, None, None),
    ]
    assert all(r["files"] >= 4 and r["bytes"] > r["bytes_to_send"] > 0 for r in rows[1:])
    assert (snapshot(project.folder), runner.workspaces()) == before
    assert len(runner.json("status", "--all")) == 1


def test_keep_workspaces(runner: Runner, project: Project):
    runner.execute(project.folder, "--plans", "1", "--keep-workspaces")
    (attempt,) = runner.workspaces()
    names = {p.name for p in (runner.worker_folder / "w" / attempt).iterdir()}
    assert {"p", "claim", "exit.json", "stdout.log", "heartbeat", "run.sh"} <= names


def test_detached_campaign_can_be_watched(runner: Runner, project: Project):
    done = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1,2,7", "--detach")
    campaign = done.stdout.strip()
    watched = runner.run("watch", campaign, code=None)
    assert watched.returncode in (0, 2)  # 2: it was faster than its own start
    wait_until(lambda: runner.json("status", campaign)["state"] == "finished", "the campaign is over")
    assert all(r["success"] for r in runner.json("results", campaign))
    assert "Finished" in runner.run("logs", campaign, "--plan", "1").stdout


def test_clear_geompre_leaves_the_preprocessors_files_out(runner: Runner, project: Project):
    (project.folder / f"{project.name}.c01").write_bytes(b"old preprocessor output")
    for flags, there in (([], True), (["--clear-geompre"], False)):
        runner.execute(project.folder, "--plans", "1", "--keep-workspaces", "--force", *flags)
        newest = max((runner.worker_folder / "w").iterdir(), key=lambda p: p.stat().st_mtime_ns)
        assert (newest / "p" / f"{project.name}.c01").exists() is there
        assert (project.folder / f"{project.name}.c01").exists()


def test_files_outside_the_project_folder_are_staged_where_they_belong(runner: Runner, project: Project):
    (project.folder.parent / "rain").mkdir()
    (project.folder.parent / "rain" / "Storm.dss").write_bytes(b"dss")
    flow = project.file("u01")
    text = flow.read_text("latin-1") + "Observed DSS Loc=a\r\nObserved DSS Filename=..\\RAIN\\storm.dss\r\n"
    flow.write_bytes(text.encode("latin-1"))
    runner.execute(project.folder, "--plans", "1", "--keep-workspaces")
    (attempt,) = runner.workspaces()
    folder = runner.worker_folder / "w" / attempt / "p"
    assert (folder / "d" / project.prj.name).is_file()
    assert (folder / "rain" / "Storm.dss").read_bytes() == b"dss"


def test_a_staged_file_is_not_published_over_the_users(runner: Runner, project: Project):
    """A restart file that the plan reads has the same kind of name as one that it would write."""
    flow = project.file("u01")
    restart = project.folder / f"{project.name}.p01.01JAN2026 2400.rst"
    restart.write_bytes(b"old")
    flow.write_bytes(
        flow.read_bytes() + f"Observed DSS Loc=a\r\nObserved DSS Filename={restart.name}\r\n".encode("latin-1")
    )
    runner.environment["RAS_STANDIN_PACE"] = "0.01"
    process = runner.start_running(1, project.folder, "--plans", "1")
    restart.write_bytes(b"saved by the user meanwhile")
    assert process.wait(60) == 0
    assert restart.read_bytes() == b"saved by the user meanwhile"


def test_two_controllers_on_one_project_do_not_harm_each_other(runner: Runner, project: Project):
    both = [runner.start("execute", project.folder, "-i", runner.inventory, "--force") for _ in range(2)]
    assert [controller.wait(timeout=120) for controller in both] == [0, 0]
    for number in project.plan_numbers:
        assert read_result(project.file(f"p{number}.hdf")).outcome.success
    assert not list(project.folder.glob(".ras-runner*"))


def test_hostile_names_and_titles(runner: Runner, project: Project, tmp_path: Path):
    folder = tmp_path / "a $(touch pwned) & 'b' \"c\" %TEMP% ; ü\nline"
    folder.mkdir()
    name = "Río `id` $HOME & (1) [ab]"
    for path in project.folder.iterdir():
        shutil.copy(path, folder / path.name.replace(project.name, name))
    plan = folder / f"{name}.p01"
    text = plan.read_text("latin-1").split("\n")
    text = [
        "Plan Title=<script>alert(1)</script> \"'&%PATH%$(id)`id`\r" if line.startswith("Plan Title=") else line
        for line in text
    ]
    plan.write_text("\n".join(text), "latin-1", newline="")
    (result,) = runner.execute(folder, "--plans", "1")
    assert result["success"]
    assert Path(result["hdf_path"]).name == f"{name}.p01.hdf"
    assert (folder / f"{name}.p01.computeMsgs.txt").is_file()
    assert not list(tmp_path.rglob("pwned"))
    index = runner.folder / runner.run("report").stdout.strip()
    assert "<script>alert(1)" not in index.read_text("utf-8")


def test_status_results_and_plans_are_tables_too(runner: Runner, project: Project):
    runner.execute(project.folder, "--plans", "1,7")
    for command in (
        ["status"],
        ["results"],
        ["plans", project.folder],
        ["status", "--all"],
        ["workers", "-i", runner.inventory],
    ):
        assert len(runner.run(*command).stdout.splitlines()) >= 3
    listed = runner.json("plans", project.folder)
    assert [p["flow_type"] for p in listed].count("steady") == 1
    assert json.loads(runner.run("workers", "-i", runner.inventory, "--json").stdout)[0]["slots"] == 2
