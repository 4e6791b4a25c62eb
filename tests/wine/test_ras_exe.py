"""Windows HEC-RAS as ras-runner runs it, with a Ras.exe that is the stand-in behind a real .exe, under wine."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.wine.ras_exe import write_ras_exe
from tests.wine.test_runner_on_windows import Runner
from tests.wine.wine import Windows

from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result


@pytest.fixture
def runner(windows: Windows) -> Runner:
    """``ras-runner`` there with one worker, its engine Ras.exe."""
    made = Runner(windows)
    exe = write_ras_exe(windows.folder / "HEC RAS (x86)" / "6.6")
    host = {
        "ras_engine": "hecras-windows",
        "ras_exe_path": windows.path(exe),
        "ras_cores_total": 2,
        "ras_cores_per_plan": 1,
        "ras_worker_folder": r"C:\R",
    }
    made.inventory.write_text(json.dumps({"local": {"hosts": {"pc": host}}}), encoding="utf-8")
    return made


def test_plans_are_computed_below_a_hostile_name(runner: Runner):
    source = Project.open(write_example_project(runner.folder / "project", plans=2))
    name = "50% & (a) ^! Río"
    folder = runner.folder / "my & (b) 100%"
    folder.mkdir()
    for path in source.folder.iterdir():
        shutil.copy(path, folder / path.name.replace(source.name, name))
    results = runner.execute(folder)
    assert [r["outcome"] for r in results] == ["completed"] * 2, results
    assert read_result(folder / f"{name}.p01.hdf").outcome.success


def test_a_time_limit_and_a_window_that_waits_end_the_whole_tree(runner: Runner):
    project = Project.open(write_example_project(runner.folder / "project", plans=1))
    runner.environment["RAS_STANDIN_FAULT"] = "hang:0.1"
    (late,) = runner.execute(project.folder, "--timeout", "0.08", code=1)
    assert late["outcome"] == "timed-out"
    assert runner.engines() == []
    (stuck,) = runner.execute(project.folder, "--stuck-after", "0.05", code=1)
    assert stuck["outcome"] == "engine-error"
    assert "Terms and Conditions for Use" in stuck["error_message"]
    assert runner.engines() == []
