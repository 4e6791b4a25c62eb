"""Plans that one worker prepares and another solves (``preprocess_on_host``), through the command line."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from tests.commands import Runner, wait_until

from ras_runner import oscalls
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers that only solve are Linux workers")
STANDIN = {"ras_engine": "standin", "ras_cores_per_plan": 1}
BOTH = "stand-in 0.1.0, prepared by stand-in 0.1.0"


@pytest.fixture
def two(runner: Runner) -> Runner:
    """``ras-runner`` with ``win``, which prepares in its one slot, and ``linux``, which solves in two."""
    write_inventory(runner, win=1, linux=2)
    return runner


def write_inventory(runner: Runner, **slots: int) -> None:
    """Hosts with slots; one that is called linux only solves."""
    hosts = {
        name: {
            **STANDIN,
            "ras_cores_total": count,
            "ras_worker_folder": str(runner.worker_folder / name),
            **({"ras_preprocess_on_host": True} if name == "linux" else {}),
        }
        for name, count in slots.items()
    }
    runner.inventory.write_text(json.dumps({"local": {"hosts": hosts}}), encoding="utf-8")


def standin(project: Project, command: str, number: str) -> None:
    """Run the stand-in by hand, in the project folder."""
    names = (f"{project.name}.prj", f"{project.name}.p{number}")
    subprocess.run([sys.executable, "-m", "ras_standin", command, *names], cwd=project.folder, check=True)


def stages(runner: Runner, plan: str) -> list[tuple[str, str, str | None]]:
    return [(row["stage"], row["worker"], row["outcome"]) for row in runner.attempts() if row["plan"] == plan]


def kept(runner: Runner) -> list[Path]:
    """What of first stages is kept."""
    folder = runner.state / "prepared"
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def left_workspaces(runner: Runner) -> list[Path]:
    return list(runner.worker_folder.glob("*/w/*"))


PREPARED_AND_SOLVED = [("prepare", "win", "completed"), ("solve", "linux", "completed")]


def test_one_worker_prepares_and_another_solves(two: Runner, project: Project):
    before = {path.name for path in project.folder.iterdir()}
    preview = two.json("execute", project.folder, "-i", two.inventory, "--plans", "1,7", "--dry-run")
    assert [(row["stage"], row["worker_id"]) for row in preview] == [("prepare", "win"), ("", None)]
    results = two.execute(project.folder, "--plans", "1,7")  # one unsteady, one steady
    assert [(r["success"], r["attempts"], r["worker_id"], r["engine"]) for r in results] == [
        (True, 2, "linux", BOTH),
        (True, 2, "linux", BOTH),
    ]
    assert stages(two, "01") == stages(two, "07") == PREPARED_AND_SOLVED
    assert all(read_result(Path(r["hdf_path"])).outcome.success for r in results)
    new = {path.name for path in project.folder.iterdir()} - before
    assert not [name for name in new if name.endswith((".tmp.hdf", ".b01", ".x01", ".r07"))], new
    assert kept(two) == left_workspaces(two) == []
    again = two.execute(project.folder, "--plans", "1,7")
    assert [(r["success"], r["attempts"]) for r in again] == [(True, 0)] * 2
    page = two.run("report").stdout.strip()
    assert "prepared" in (two.folder / page).read_text(encoding="utf-8")


def test_the_result_is_that_of_a_whole_run(two: Runner, project: Project):
    (solved,) = two.execute(project.folder, "--plans", "1")
    stations = "Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series/Cross Sections/Water Surface"
    with h5py.File(solved["hdf_path"]) as hdf:
        in_two_stages = hdf[stations][()]
    write_inventory(two, win=1)
    (whole,) = two.execute(project.folder, "--plans", "1", "--force")
    assert whole["engine"] == "stand-in 0.1.0"
    with h5py.File(whole["hdf_path"]) as hdf:
        assert (hdf[stations][()] == in_two_stages).all()


def test_a_worker_that_prepares_runs_whole_plans_when_those_that_solve_have_enough(two: Runner, project: Project):
    write_inventory(two, win=1, linux=1)
    two.environment["RAS_STANDIN_PACE"] = "0.004"
    results = two.execute(project.folder, "--plans", "1,2,3,4")
    assert all(r["success"] for r in results)
    assert {r["engine"] for r in results} == {BOTH, "stand-in 0.1.0"}
    rows = two.attempts()
    assert {(row["stage"], row["worker"]) for row in rows} == {("prepare", "win"), ("whole", "win"), ("solve", "linux")}
    assert sorted(row["plan"] for row in rows if row["stage"] != "prepare") == ["01", "02", "03", "04"]


def test_what_lies_prepared_in_the_project_folder_is_used_and_what_does_not_is_named(two: Runner, project: Project):
    write_inventory(two, linux=2)
    standin(project, "prepare", "01")
    before = (project.folder / f"{project.name}.p01.tmp.hdf").read_bytes()
    preview = two.json("execute", project.folder, "-i", two.inventory, "--plans", "1,2", "--dry-run")
    assert [(row["stage"], bool(row["problem"])) for row in preview] == [("solve", False), ("", True)]
    one, other = two.execute(project.folder, "--plans", "1,2", code=1)
    assert one["success"], one
    assert "prepared by RAS stand-in engine" in one["engine"]
    assert stages(two, "01") == [("solve", "linux", "completed")]
    assert other["outcome"] == "incomplete"
    for named in ("p02.tmp.hdf", ".b02 is missing", "linux", "without preprocess_on_host"):
        assert named in other["error_message"]
    assert (project.folder / f"{project.name}.p01.tmp.hdf").read_bytes() == before


def test_prepared_files_that_are_older_than_the_plans_are_not_used(two: Runner, project: Project):
    standin(project, "prepare", "01")
    flow = project.file(project.plan("01").flow)
    os.utime(flow, (time.time() + 60,) * 2)
    two.execute(project.folder, "--plans", "1")
    assert stages(two, "01") == PREPARED_AND_SOLVED
    write_inventory(two, linux=1)
    os.utime(flow, (time.time() + 120,) * 2)
    (result,) = two.execute(project.folder, "--plans", "1", "--force", code=1)
    assert f"p01.tmp.hdf is older than {flow.name}" in result["error_message"]


def test_a_finished_result_gives_its_temporary_file(two: Runner, project: Project):
    write_inventory(two, linux=1)
    standin(project, "compute", "01")
    finished = project.file("p01.hdf")
    result_of_another = finished.read_bytes()
    assert project.file("p01.tmp.hdf") is None
    (result,) = two.execute(project.folder, "--plans", "1", "--force")
    assert result["success"], result
    assert stages(two, "01") == [("solve", "linux", "completed")]
    assert finished.read_bytes() != result_of_another
    assert [r["attempts"] for r in two.execute(project.folder, "--plans", "1")] == [0]


def test_a_plan_that_cannot_be_prepared_ends_with_the_reason(two: Runner, project: Project):
    flow = project.file(project.plan("01").flow)
    text = flow.read_text("latin-1")
    flow.write_text(text.replace("Flow Hydrograph=", "Flow Hydrograph= 4 \nxx", 1), encoding="latin-1")
    bad, good = two.execute(project.folder, "--plans", "1,7", code=1)
    assert good["success"]
    assert (bad["outcome"], bad["attempts"], bad["worker_id"]) == ("engine-error", 1, "win")
    assert "could not be prepared" in bad["error_message"]
    assert "exit code 2" in bad["error_message"]
    assert "log: " in bad["error_message"]
    assert kept(two) == []


def test_cancel_and_time_limit_in_the_first_stage(two: Runner, project: Project):
    two.environment["RAS_STANDIN_FAULT"] = "hang-before"
    controller = two.start("execute", project.folder, "-i", two.inventory, "--plans", "1")
    wait_until(lambda: [t["state"] for t in two.tasks().values()] == ["preparing"], "the plan is being prepared")
    two.run("cancel")
    assert controller.wait(60) == 1
    two.check_no_engine_runs()
    (result,) = two.execute(project.folder, "--plans", "1", "--timeout", "0.02", code=1)
    assert result["outcome"] == "timed-out"
    two.check_no_engine_runs()


def leave_in_first_stage(two: Runner, project: Project) -> None:
    """Start plan 1, kill the controller while it is being prepared."""
    controller = two.start("execute", project.folder, "-i", two.inventory, "--plans", "1")
    wait_until(lambda: [t["state"] for t in two.tasks().values()] == ["preparing"], "the plan is being prepared")
    controller.kill()
    controller.wait()


def test_a_worker_that_is_lost_in_the_first_stage_costs_the_worker_and_not_the_plan(two: Runner, project: Project):
    write_inventory(two, win=1, win2=1, linux=1)
    two.environment["RAS_STANDIN_FAULT"] = "hang-before"
    leave_in_first_stage(two, project)
    (row,) = two.attempts()
    assert oscalls.stop_attempt(row["id"], row["native_id"]) == []
    del two.environment["RAS_STANDIN_FAULT"]
    done = two.run("resume")
    assert "rests for" in done.stderr
    again = [("prepare", "win2", "completed"), ("solve", "linux", "completed")]
    assert stages(two, "01") == [("prepare", "win", "infrastructure-lost"), *again]


def test_a_first_stage_that_went_on_without_a_controller_is_attached_to(two: Runner, project: Project):
    two.environment["RAS_STANDIN_FAULT"] = "hang-before"
    leave_in_first_stage(two, project)
    attached = two.start("resume")
    wait_until(lambda: "attached" in (two.folder / "started.log").read_text(), "it is attached to")
    two.run("cancel")
    assert attached.wait(60) == 1
    assert stages(two, "01") == [("prepare", "win", "cancelled")]
    two.check_no_engine_runs()


def leave_between_the_stages(two: Runner, project: Project) -> None:
    """Start plan 1, kill the controller as soon as it knows that it is prepared."""
    controller = two.start("execute", project.folder, "-i", two.inventory, "--plans", "1")
    wait_until(lambda: two.state.is_dir() and ("prepare", "win", "completed") in stages(two, "01"), "it is prepared")
    controller.send_signal(signal.SIGKILL)
    controller.wait()


def test_a_controller_that_is_killed_between_the_stages_leaves_nothing_to_do_twice(two: Runner, project: Project):
    two.environment["RAS_STANDIN_PACE"] = "0.02"
    leave_between_the_stages(two, project)
    assert {path.name for path in kept(two)} == {"p01.tmp.hdf", "b01", "x01", "manifest.json"}
    two.run("resume")
    launched = [row for row in two.attempts() if row["launched"] and row["outcome"] != "infrastructure-lost"]
    assert [(row["stage"], row["outcome"]) for row in launched] == [("prepare", "completed"), ("solve", "completed")]
    assert kept(two) == left_workspaces(two) == []
    (result,) = two.json("results")
    assert (result["success"], result["engine"]) == (True, BOTH)


def test_inputs_that_change_between_the_stages_are_prepared_again(two: Runner, project: Project):
    two.environment["RAS_STANDIN_FAULT"] = "hang:0.1"
    leave_between_the_stages(two, project)
    two.run("cancel")
    del two.environment["RAS_STANDIN_FAULT"]
    path = project.plan("01").path
    path.write_text(path.read_text("latin-1").replace("Plan Title=01", "Plan Title=changed"), encoding="latin-1")
    two.run("resume")
    done = [stage for stage in stages(two, "01") if stage[2] == "completed"]
    assert done == [("prepare", "win", "completed"), *PREPARED_AND_SOLVED]
    (result,) = two.json("results")
    assert result["success"]


def program(path: Path, *words: str) -> None:
    """A program that is the stand-in by another name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n', encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_windows_hecras_is_stopped_when_its_solver_starts_and_a_linux_solver_goes_on(two: Runner, project: Project):
    """The engines of HEC-RAS with the stand-in as their programs. Ras.exe would never end of plan 1; of the steady plan
    it does, before it could be stopped: that is a whole result."""
    python = f"{sys.executable} -m ras_standin"
    exe = two.folder / "HEC-RAS" / "6.6" / "Ras.exe"
    program(exe, "env RAS_STANDIN_FAULT=p01=hang:0.3", python, "compute")
    for name in ("RasUnsteady", "RasGeomPreprocess", "RasSteady"):
        program(two.folder / "hecras" / "660" / "bin" / name, python, name)
    inventory = {
        "win": {"ras_engine": "hecras-windows", "ras_exe_path": str(exe), "ras_worker_folder": str(two.worker_folder)},
        "linux": {
            "ras_engine": "hecras-linux",
            "ras_hecras_folder": str(two.folder / "hecras" / "660"),
            "ras_worker_folder": str(two.worker_folder / "linux"),
            "ras_preprocess_on_host": True,
        },
    }
    two.inventory.write_text(json.dumps({"local": {"hosts": inventory}}), encoding="utf-8")
    unsteady, steady = two.execute(project.folder, "--plans", "1,7", "--num-cores", "1")
    assert (unsteady["success"], unsteady["engine"]) == (True, "HEC-RAS 660 Linux, prepared by HEC-RAS 6.6")
    assert (steady["success"], steady["engine"]) == (True, "HEC-RAS 6.6")
    assert stages(two, "01") == PREPARED_AND_SOLVED
    assert stages(two, "07") == [("prepare", "win", "completed")]
    with h5py.File(unsteady["hdf_path"]) as hdf:
        assert int(hdf["Plan Data/Plan Parameters"].attrs["1D Cores"]) == 1
    two.check_no_engine_runs()
    assert kept(two) == []


def test_a_stop_that_tears_what_the_solver_writes_costs_another_preparation_and_not_the_plan(
    two: Runner, project: Project
):
    exe, torn = two.folder / "HEC-RAS" / "6.6" / "Ras.exe", two.folder / "torn"
    program(exe, "env RAS_STANDIN_FAULT=hang:0.3", f"{sys.executable} -m ras_standin compute")
    tear = (
        f'if mkdir "{torn}" 2>/dev/null; then for end in p01.tmp.hdf b01 x01; do echo x > "${{2%.prj}}.$end"; done\n'
        'echo "Starting Unsteady Flow Computations" > "${2%.prj}.bco01"; exec sleep 600; fi\n'
    )
    exe.write_text(exe.read_text("utf-8").replace("#!/bin/sh\n", f"#!/bin/sh\n{tear}"), encoding="utf-8")
    for name in ("RasUnsteady", "RasGeomPreprocess"):
        program(two.folder / "hecras" / "6.6" / "bin" / name, sys.executable, "-m ras_standin", name)
    inventory = json.loads(two.inventory.read_text("utf-8"))
    hosts = inventory["local"]["hosts"]
    hosts["win"] |= {"ras_engine": "hecras-windows", "ras_exe_path": str(exe)}
    hosts["linux"] |= {"ras_engine": "hecras-linux", "ras_hecras_folder": str(two.folder / "hecras" / "6.6")}
    two.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    (result,) = two.execute(project.folder, "--plans", "1")
    assert result["success"], result
    assert stages(two, "01") == [("prepare", "win", "infrastructure-lost"), *PREPARED_AND_SOLVED]
    two.check_no_engine_runs()


def test_a_standin_does_not_prepare_for_hecras(two: Runner, project: Project):
    for name in ("RasUnsteady", "RasGeomPreprocess", "RasSteady"):
        program(two.folder / "hecras" / "6.6" / "bin" / name, "false")
    inventory = json.loads(two.inventory.read_text("utf-8"))
    hosts = inventory["local"]["hosts"]
    hosts["linux"] |= {"ras_engine": "hecras-linux", "ras_hecras_folder": str(two.folder / "hecras" / "6.6")}
    two.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    (result,) = two.execute(project.folder, "--plans", "1")
    assert (result["worker_id"], stages(two, "01")) == ("win", [("whole", "win", "completed")])
    standin(project, "prepare", "01")
    del hosts["win"]
    two.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    (result,) = two.execute(project.folder, "--plans", "1", "--force", code=1)
    assert "was made by RAS stand-in engine" in result["error_message"]
    assert "HEC-RAS 6.6" in result["error_message"]


def test_an_engine_that_computes_whole_plans_only_refuses_the_parameter(two: Runner, project: Project):
    exe = two.folder / "6.6" / "Ras.exe"
    program(exe, "false")
    host = {"ras_engine": "hecras-windows", "ras_exe_path": str(exe), "ras_preprocess_on_host": True}
    two.inventory.write_text(json.dumps({"local": {"hosts": {"win": host}}}), encoding="utf-8")
    refused = two.run("execute", project.folder, "-i", two.inventory, code=2)
    assert "worker win cannot have preprocess_on_host" in refused.stderr
