"""HEC-RAS that waits in a window for a person, as seen from outside. Ras.exe is a script that starts the stand-in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.commands import Runner

from ras_runner.hecras.project import Project

#: Computes for a while without a word, then as the stand-in.
RAS_EXE = """#!/bin/sh
shift
{python} -c 'import os, time
while time.process_time() < float(os.environ.get("SILENT_SECONDS", "0")): pass'
exec {python} -m ras_standin compute "$@"
"""


@pytest.fixture
def hecras(tmp_path: Path) -> Runner:
    """``ras-runner`` whose only worker has the engine hecras-windows."""
    if sys.platform == "win32":
        pytest.skip("Ras.exe is a shell script here")
    exe = tmp_path / "6.6" / "Ras.exe"
    exe.parent.mkdir()
    exe.write_text(RAS_EXE.format(python=sys.executable))
    exe.chmod(0o755)
    return Runner(tmp_path, variables={"ras_engine": "hecras-windows", "ras_exe_path": str(exe)})


def test_a_run_that_does_nothing_is_stopped_and_named(hecras: Runner, project: Project):
    hecras.environment["RAS_STANDIN_FAULT"] = "p01=hang:0.2"
    results = hecras.execute(project.folder, "--plans", "1,2", "--stuck-after", "0.04", code=1)
    said = {r["plan_number"]: (r["outcome"], r["error_message"] or "") for r in results}
    assert said["02"][0] == "completed"
    assert said["01"][0] == "engine-error"
    assert "no CPU time and no progress for 0.04 min" in said["01"][1]
    assert "Terms and Conditions for Use" in said["01"][1]
    assert "log: " in said["01"][1]
    hecras.check_no_engine_runs()


def test_a_run_that_computes_in_silence_goes_on(hecras: Runner, project: Project):
    hecras.environment["SILENT_SECONDS"] = "4"
    (result,) = hecras.execute(project.folder, "--plans", "1", "--stuck-after", "0.03")
    assert result["outcome"] == "completed"


def test_an_engine_without_windows_is_never_taken_for_stuck(runner: Runner, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "p01=hang:0.2"
    results = runner.execute(project.folder, "--plans", "1", "--stuck-after", "0.01", "--timeout", "0.06", code=1)
    assert [r["outcome"] for r in results] == ["timed-out"]
