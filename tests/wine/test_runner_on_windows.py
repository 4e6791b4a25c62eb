"""ras-runner as a Windows controller with a local worker: real Windows CPython, cmd.exe run scripts, under wine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.commands import wait_until
from tests.wine.wine import PYTHON, Windows

from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.prepared import has_results, hdf_problem
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result


class Runner:
    """``ras-runner`` on the Windows machine, with folders of one test."""

    def __init__(self, windows: Windows) -> None:
        self.windows, self.folder = windows, windows.folder
        self.state, self.inventory = self.folder / "state", self.folder / "inventory.yml"
        host = {"ras_engine": "standin", "ras_cores_total": 2, "ras_cores_per_plan": 1, "ras_worker_folder": r"C:\R"}
        self.inventory.write_text(json.dumps({"local": {"hosts": {"pc": host}}}), encoding="utf-8")
        self.environment: dict[str, str] = {}

    def run(self, *args: str | Path, code: int = 0):
        done = self.windows.ras_runner(*args, "--state-dir", self.state, env=self.environment)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def execute(self, project: Path, *args: str, code: int = 0) -> list[dict]:
        return json.loads(self.run("execute", project, "-i", self.inventory, "--json", *args, code=code).stdout)

    def states(self) -> list[str]:
        done = self.windows.ras_runner("status", "--json", "--state-dir", self.state)
        return [task["state"] for task in json.loads(done.stdout)["tasks"]] if done.returncode == 0 else []

    def engines(self) -> list[str]:
        """Command lines of the engines that run there."""
        script = (
            "import psutil, json, os\nfound = []\n"
            "for p in psutil.process_iter():\n"
            "    try:\n        line = ' '.join(p.cmdline())\n"
            "    except psutil.Error:\n        continue\n"
            "    if p.pid != os.getpid() and any(w in line for w in ('ras_standin', 'run.cmd', 'Ras.exe')):\n"
            "        found.append(line)\n"
            "print(json.dumps(found))"
        )
        return json.loads(self.windows.python("-c", script).stdout)


@pytest.fixture
def runner(windows: Windows) -> Runner:
    return Runner(windows)


def test_demo(windows: Windows):
    done = windows.ras_runner("demo", "demo")
    assert done.returncode == 0, done.stderr
    assert "7 of 7 plans completed" in done.stdout
    assert "STAND-IN ENGINE - NOT HEC-RAS" in done.stderr
    assert (windows.folder / "demo" / "report" / "index.html").is_file()
    assert "report: demo\\report\\index.html" in done.stdout


def test_execute_skip_and_fail(runner: Runner):
    project = Project.open(write_example_project(runner.folder / "project"))
    results = runner.execute(project.folder, "--plans", "1,2,7")
    assert all(r["success"] and r["attempts"] == 1 for r in results), results
    for number in ("01", "02", "07"):
        assert read_result(project.file(f"p{number}.hdf")).outcome.success
    assert [r["attempts"] for r in runner.execute(project.folder, "--plans", "1,2,7")] == [0, 0, 0]
    runner.environment["RAS_STANDIN_FAULT"] = "p03=exit:7"
    (failed,) = runner.execute(project.folder, "--plans", "3", code=1)
    assert failed["outcome"] == "engine-error"
    assert "exit code 7" in failed["error_message"]
    assert not list(project.folder.glob(".ras-runner*"))


def test_hostile_project_name_is_staged_under_a_safe_one(runner: Runner):
    source = Project.open(write_example_project(runner.folder / "project"))
    name = "Río 50% & (a) ^!"
    folder = runner.folder / "häßlich & (b)"
    folder.mkdir()
    for path in source.folder.iterdir():
        shutil.copy(path, folder / path.name.replace(source.name, name))
    (result,) = runner.execute(folder, "--plans", "1")
    assert result["success"], result
    assert (folder / f"{name}.p01.hdf").is_file()
    assert not list(folder.glob("ras.*"))


def test_resume_after_the_controller_was_killed(runner: Runner):
    project = Project.open(write_example_project(runner.folder / "project"))
    env = {"RAS_STANDIN_PACE": "0.05"}
    argv = [
        PYTHON,
        "-m",
        "ras_runner",
        "execute",
        project.folder,
        "-i",
        runner.inventory,
        "--plans",
        "1,2,3",
        "--state-dir",
        runner.state,
    ]
    log = (runner.folder / "controller.log").open("wb")
    controller = runner.windows.popen(argv, env=env, stdout=log, stderr=log)
    wait_until(lambda: runner.states().count("running") == 2, "two plans run")
    controller.kill()
    controller.wait()
    assert runner.engines(), "the engines end with the controller"
    done = runner.run("resume")
    assert "attached" in done.stderr
    results = json.loads(runner.run("results", "--json").stdout)
    assert [(r["success"], r["attempts"]) for r in results] == [(True, 1)] * 3


def test_cancel_and_timeout_end_the_whole_tree(runner: Runner):
    project = Project.open(write_example_project(runner.folder / "project"))
    runner.environment["RAS_STANDIN_FAULT"] = "hang:0.1"
    (result,) = runner.execute(project.folder, "--plans", "1", "--timeout", "0.05", code=1)
    assert result["outcome"] == "timed-out"
    assert runner.engines() == []


def test_a_result_that_hecras_holds_open_is_kept_until_it_can_be_published(runner: Runner):
    project = Project.open(write_example_project(runner.folder / "project"))
    runner.execute(project.folder, "--plans", "7")
    result = runner.windows.path(project.file("p07.hdf"))
    hold = f"import sys; f = open({result!r}, 'rb'); print('open', flush=True); sys.stdin.read()"
    holder = runner.windows.popen([PYTHON, "-c", hold], stdin=subprocess.PIPE)
    assert b"open" in holder.stdout.readline()
    (refused,) = runner.execute(project.folder, "--plans", "7", "--force", code=2)
    assert "cannot be replaced" in refused["error_message"]
    assert "close the program" in refused["error_message"]
    holder.stdin.close()
    holder.wait(30)
    runner.run("resume")
    (published,) = json.loads(runner.run("results", "--json").stdout)
    assert (published["success"], published["attempts"]) == (True, 1)


def test_hecras_is_stopped_with_its_whole_tree_once_a_plan_is_prepared(runner: Runner):
    """A batch file with the stand-in as Ras.exe, which would never end. There is no solver for what it prepares here:
    the controller is killed when it keeps it."""
    project = Project.open(write_example_project(runner.folder / "project"))
    exe = runner.folder / "6.6" / "Ras.cmd"
    exe.parent.mkdir()
    lines = ("@set RAS_STANDIN_FAULT=hang:0.3", f"@{PYTHON} -m ras_standin compute %2 %3", "")
    exe.write_text("\r\n".join(lines), encoding="ascii")
    for name in ("RasUnsteady", "RasGeomPreprocess"):
        (runner.folder / "linux" / "6.6" / "bin" / name).parent.mkdir(parents=True, exist_ok=True)
        (runner.folder / "linux" / "6.6" / "bin" / name).touch()
    slots = {"ras_cores_total": 1, "ras_cores_per_plan": 1}
    hosts = {
        "win": {**slots, "ras_engine": "hecras-windows", "ras_exe_path": runner.windows.path(exe)},
        "linux": {
            **slots,
            "ras_engine": "hecras-linux",
            "ras_hecras_folder": runner.windows.path(runner.folder / "linux" / "6.6"),
            "ras_preprocess_on_host": True,
        },
    }
    for name, host in hosts.items():
        host["ras_worker_folder"] = f"C:\\{name}"
    runner.inventory.write_text(json.dumps({"local": {"hosts": hosts}}), encoding="utf-8")
    command = ["execute", project.folder, "-i", runner.inventory, "--plans", "1", "--state-dir", runner.state]
    log = (runner.folder / "controller.log").open("wb")
    controller = runner.windows.popen([PYTHON, "-m", "ras_runner", *command], stdout=log, stderr=log)
    whole = "[0-9a-f]" * 32  # the folder's name while it is being written is longer
    manifests = wait_until(lambda: list(runner.state.glob(f"prepared/*/01/{whole}/manifest.json")), "it is prepared")
    controller.kill()
    controller.wait()
    prepared = manifests[0].parent
    assert sorted(path.name for path in prepared.iterdir()) == ["b01", "manifest.json", "p01.tmp.hdf", "x01"]
    assert hdf_problem(prepared / "p01.tmp.hdf") == ""
    assert not has_results(prepared / "p01.tmp.hdf")
    assert not [line for line in runner.engines() if "ras_standin" in line]
    assert project.file("p01.tmp.hdf") is None


#: Arithmetic that is the same on every system, and takes long under wine.
PURE = ("test_simulate.py", "campaign/test_scheduler_reference.py", "campaign/test_elastic.py")


@pytest.mark.slow
def test_the_unit_tests_pass_on_windows(windows: Windows):
    left_out = [f"--ignore=tests/unit/{name}" for name in PURE]
    done = windows.pytest("tests/unit", "-q", "-m", "not slow", *left_out, timeout=420)
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"\d{3,} passed", done.stdout)
