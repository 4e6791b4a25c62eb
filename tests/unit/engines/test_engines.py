"""Engines: command lines of each HEC-RAS version, staged edits, run scripts, and how an end is read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import h5py
import numpy as np
import psutil
import pytest
from tests.commands import wait_until

from ras_runner.engines.base import Commands, EngineRun, RunSettings, Stage, System
from ras_runner.engines.common import exit_code_text, staged_name, staged_place, telling_line
from ras_runner.engines.hecras_linux import HecRasLinuxEngine
from ras_runner.engines.hecras_windows import HecRasWindowsEngine, find_ras_exe
from ras_runner.engines.registry import ENGINE_NAMES, local_engine
from ras_runner.engines.scripts import HEARTBEAT_SECONDS, render_script
from ras_runner.engines.standin import StandinEngine
from ras_runner.errors import InputError, OperatorError
from ras_runner.hecras.project import Project
from ras_runner.outcomes import Outcome

RECORDED = Path(__file__).parent / "recorded"
EXE = PureWindowsPath(r"C:\Program Files (x86)\HEC\HEC-RAS\6.6\Ras.exe")


def prepared(
    engine, project: Project, number: str, tmp_path: Path, settings: RunSettings | None = None, name: str | None = None
):
    inputs = engine.inputs(project.plan(number))
    return {str(f.place): f for f in engine.prepare(inputs, settings or RunSettings(3), name or project.name, tmp_path)}


def content(file) -> str:
    return (file.source if isinstance(file.source, bytes) else file.source.read_bytes()).decode("latin-1")


@pytest.mark.parametrize(
    ("version", "step"),
    [
        ("6.6", (str(EXE), "-c", "Bear Creek.prj", "Bear Creek.p01")),
        ("7.0", (str(EXE), "-c", "Bear Creek.prj", "Bear Creek.p01")),
        ("6.0", (str(EXE), "-c", "Bear Creek.prj", "Bear Creek.p01")),
        ("5.0.7", (str(EXE), "Bear Creek.prj", "-c")),
    ],
)
def test_windows_command_line_of_each_version(project: Project, version: str, step: tuple[str, ...]):
    commands = HecRasWindowsEngine(EXE, version).commands(project.plan("1"), RunSettings(), project.name)
    assert commands.steps == (step,)
    assert commands.whole_tree, "Ras.exe may end before its solver"


def test_version_is_the_name_of_the_install_folder():
    assert HecRasWindowsEngine(EXE).name == "HEC-RAS 6.6"


def test_hecras_4_is_refused():
    with pytest.raises(OperatorError, match="COM interface"):
        HecRasWindowsEngine(PureWindowsPath(r"C:\HEC\4.1.0\Ras.exe"))


def test_hecras_5_finds_the_plan_in_the_staged_prj(project: Project, tmp_path: Path):
    before = project.prj.read_bytes()
    files = prepared(HecRasWindowsEngine(EXE, "5.0.7"), project, "3", tmp_path)
    assert "Current Plan=p03" in content(files["Bear Creek.prj"])
    assert project.prj.read_bytes() == before


def test_the_staged_plan_gets_cores_and_detail_and_the_users_stays(project: Project, tmp_path: Path):
    before = project.plan("1").path.read_bytes()
    text = content(prepared(HecRasWindowsEngine(EXE), project, "1", tmp_path)["Bear Creek.p01"])
    assert "UNET D1 Cores= 3" in text.replace("=3", "= 3")
    assert "Write Detailed= 1" in text.replace("=1", "= 1")
    assert project.plan("1").path.read_bytes() == before


BCO = """ HEC-RAS  6.6 - Unsteady Flow
Reading Data...
{}
 01JAN2025 00:00:00   iteration  1
"""


def test_windows_hecras_is_prepared_when_its_solver_starts():
    engine = HecRasWindowsEngine(EXE)
    assert not engine.solver_started([])
    assert not engine.solver_started(["Message  | Writing Geometry", BCO.format("")])
    assert engine.solver_started(["Progress | 0.01", BCO.format(" Starting Unsteady Flow Computations")])


@pytest.mark.parametrize(
    ("version", "kind"),
    [("6.6", "HEC-RAS 6.6"), ("660", "HEC-RAS 6.6"), ("6.4.1", "HEC-RAS 6.4.1"), ("6.10", "HEC-RAS 6.10"), ("bin", "")],
)
def test_which_releases_prepare_for_each_other(version: str, kind: str):
    assert HecRasWindowsEngine(EXE, version).prepares == kind
    assert HecRasLinuxEngine(PurePosixPath("/opt/hecras") / version, version).solves == kind


def test_linux_hecras_starts_only_from_files_of_its_own_release():
    engine = HecRasLinuxEngine(PurePosixPath("/opt/hecras/6.1"))
    assert engine.accepts("HEC-RAS 6.1.0 September 2021")
    for other in (
        "HEC-RAS 6.10 June 2030",
        "HEC-RAS 6.5 February 2024",
        "RAS stand-in engine 6.1",
        "an unknown program",
    ):
        assert not engine.accepts(other)


def test_the_standin_in_two_stages(project: Project):
    engine = StandinEngine(System.POSIX, ("ras-standin",))
    first = engine.commands(project.plan("1"), RunSettings(stage=Stage.PREPARE), "X")
    assert first.steps == (("ras-standin", "prepare", "X.prj", "X.p01"),)
    second = engine.commands(project.plan("7"), RunSettings(stage=Stage.SOLVE), "X")
    assert second.steps == (("ras-standin", "RasSteady", "X.r07"), ("mv", "X.p07.tmp.hdf", "X.p07.hdf"))
    assert StandinEngine(System.WINDOWS).solves == ""


def test_installed_versions_are_found_newest_first(tmp_path: Path):
    for version in ("5.0.7", "6.10", "6.6"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "Ras.exe").touch()
    assert find_ras_exe(folders=[tmp_path]).parent.name == "6.10"
    assert find_ras_exe("5.0.7", [tmp_path]).parent.name == "5.0.7"
    with pytest.raises(OperatorError, match=r"looked for .*4\.1.*found 5\.0\.7, 6\.6, 6\.10") as error:
        find_ras_exe("4.1", [tmp_path])
    assert "--engine standin" in str(error.value)


@pytest.mark.parametrize("name", ["hecras-windows", "hecras-linux"])
def test_an_engine_that_is_not_installed_says_what_was_looked_for_and_where(name: str, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("RAS_HECRAS_FOLDER", raising=False)
    with pytest.raises(OperatorError, match=r"not installed: looked for .*(Ras\.exe|RasUnsteady)"):
        local_engine(name, ras_exe_path=str(tmp_path / "Ras.exe") if name == "hecras-windows" else "")


def test_unknown_engines_are_refused_with_the_valid_names():
    with pytest.raises(InputError) as error:
        local_engine("hec-ras")
    assert all(name in str(error.value) for name in ENGINE_NAMES)


@pytest.mark.parametrize(
    ("version", "plan", "expected"),
    [
        (
            "6.6",
            "01",
            [
                ["RasGeomPreprocess", "X.p01.tmp.hdf", "x01"],
                ["RasUnsteady", "X.p01.tmp.hdf", "x01"],
                ["mv", "X.p01.tmp.hdf", "X.p01.hdf"],
            ],
        ),
        (
            "6.3.1",
            "01",
            [
                ["RasGeomPreprocess", "X.p01.tmp.hdf", "x01"],
                ["RasUnsteady", "X.p01.tmp.hdf", "x01"],
                ["mv", "X.p01.tmp.hdf", "X.p01.hdf"],
            ],
        ),
        (
            "660",
            "01",
            [
                ["RasGeomPreprocess", "X.p01.tmp.hdf", "x01"],
                ["RasUnsteady", "X.p01.tmp.hdf", "x01"],
                ["mv", "X.p01.tmp.hdf", "X.p01.hdf"],
            ],
        ),
        (
            "6.1",
            "01",
            [
                ["RasGeomPreprocess", "X.x01"],
                ["cp", "X.c01.tmp", "X.c01"],
                ["RasUnsteady", "X.c01", "b01"],
                ["mv", "X.p01.tmp.hdf", "X.p01.hdf"],
            ],
        ),
        (
            "5.0.7",
            "01",
            [
                ["RasGeomPreprocess", "X.x01"],
                ["cp", "X.c01.tmp", "X.c01"],
                ["RasUnsteady", "X.c01", "b01"],
                ["mv", "X.p01.tmp.hdf", "X.p01.hdf"],
            ],
        ),
        ("6.6", "07", [["RasSteady", "X.r07"], ["mv", "X.p07.tmp.hdf", "X.p07.hdf"]]),
    ],
)
def test_linux_command_lines_of_each_version(project: Project, version: str, plan: str, expected: list[list[str]]):
    commands = HecRasLinuxEngine(PurePosixPath("/opt/hecras/x"), version).commands(
        project.plan(plan), RunSettings(4), "X"
    )
    assert [[PurePosixPath(step[0]).name, *step[1:]] for step in commands.steps] == expected
    assert commands.unlimited_stack
    assert commands.environment["OMP_NUM_THREADS"] == "4"
    assert (
        commands.environment["LD_LIBRARY_PATH"] == "/opt/hecras/x/libs:/opt/hecras/x/libs/mkl:/opt/hecras/x/libs/rhel_8"
    )


def test_linux_needs_what_windows_prepared(project: Project, tmp_path: Path):
    engine = HecRasLinuxEngine(PurePosixPath("/opt/hecras/6.6"))
    with pytest.raises(InputError, match=r"lacks Bear Creek\.p01\.tmp\.hdf, Bear Creek\.b01, Bear Creek\.x01"):
        engine.check_plan(project.plan("1"))
    (project.folder / "Bear Creek.b01").write_bytes(b"a\r\nb\r\n")
    (project.folder / "Bear Creek.x01").write_bytes(b"x\r\n")
    tmp = project.folder / "Bear Creek.p01.tmp.hdf"
    with h5py.File(tmp, "w") as hdf:
        hdf.create_group("Plan Data/Plan Parameters").attrs["2D Cores (per mesh)"] = np.array([0, 0], np.int32)
    before = tmp.read_bytes()
    engine.check_plan(project.plan("1"))
    files = prepared(engine, project, "1", tmp_path, RunSettings(6))
    assert content(files["Bear Creek.b01"]) == "a\nb\n"
    with h5py.File(files["Bear Creek.p01.tmp.hdf"].source) as hdf:
        assert hdf["Plan Data/Plan Parameters"].attrs["2D Cores (per mesh)"].tolist() == [6, 6]
    assert tmp.read_bytes() == before
    tmp.write_bytes(b"no HDF")
    with pytest.raises(InputError, match="cannot be read as a prepared plan"):
        prepared(engine, project, "1", tmp_path)


def test_names_that_cmd_cannot_say_are_staged_under_a_safe_one(project: Project):
    assert staged_name("Bear Creek (v2)", System.WINDOWS) == "Bear Creek (v2)"
    for hostile in ("Río", "50% flow", "a&b", 'q"', "a^b!", "x" * 65):
        assert staged_name(hostile, System.WINDOWS) == "ras"
        assert staged_name(hostile, System.POSIX) == hostile
    assert staged_place(PurePosixPath("Río.p01"), "Río", "ras") == PurePosixPath("ras.p01")
    assert staged_place(PurePosixPath("Río2.tif"), "Río", "ras") == PurePosixPath("Río2.tif")
    assert staged_place(PurePosixPath("../dss/Río.dss"), "Río", "ras") == PurePosixPath("../dss/ras.dss")


def scripts() -> dict[str, bytes]:
    commands = Commands(
        (("/opt/x y/RasUnsteady", "it's & $(here).tmp.hdf", "x01"), ("mv", "a", "b")),
        {"OMP_NUM_THREADS": "4"},
        unlimited_stack=True,
    )
    windows = Commands(((str(EXE), "-c", "50% (a&b) ^ !.prj", "p01"),), {"KMP_AFFINITY": "disabled"})
    return {
        "run.sh": render_script(
            System.POSIX,
            commands,
            attempt_folder=PurePosixPath("/w o/w/a1"),
            folder=PurePosixPath("p/d"),
            priority="low",
        ),
        "run.cmd": render_script(
            System.WINDOWS,
            windows,
            attempt_folder=PureWindowsPath(r"C:\R\w\a1"),
            folder=PureWindowsPath("p"),
            priority="low",
        ),
    }


@pytest.mark.parametrize("name", ["run.sh", "run.cmd"])
def test_run_scripts_are_as_recorded(name: str):
    """After a wanted change: python -m tests.unit.engines.test_engines writes the recordings anew; read the diff."""
    assert scripts()[name] == (RECORDED / name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="sh")
class TestShellScript:
    def run(
        self, folder: Path, *steps: tuple[str, ...], environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        attempt = folder / "a $(touch pwned) 'x"
        (attempt / "p").mkdir(parents=True, exist_ok=True)
        script = render_script(
            System.POSIX,
            Commands(steps, environment or {}),
            attempt_folder=attempt,
            folder=PurePosixPath("p"),
            priority="normal",
        )
        (attempt / "run.sh").write_bytes(script)
        self.attempt = attempt
        return subprocess.run(["/bin/sh", attempt / "run.sh"], cwd=folder, capture_output=True, check=False)

    def test_arguments_arrive_as_they_are(self, tmp_path: Path):
        hostile = ["a b", "$(id)", "`id`", "';touch pwned;'", "ü\n2", "%PATH%", "*"]
        program = "import sys, json, os; print(json.dumps([sys.argv[1:], os.environ['RAS_X']]))"
        done = self.run(tmp_path, (sys.executable, "-c", program, *hostile), environment={"RAS_X": "$HOME ' \""})
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        import json

        assert json.loads((self.attempt / "stdout.log").read_text()) == [hostile, "$HOME ' \""]
        assert (self.attempt / "exit.json").read_text() == '{"exit_code": 0}\n'
        assert not list(tmp_path.rglob("pwned"))

    def test_the_first_failing_step_ends_the_run(self, tmp_path: Path):
        self.run(tmp_path, ("true",), ("sh", "-c", "echo no >&2; exit 7"), ("touch", "never"))
        assert (self.attempt / "exit.json").read_text() == '{"exit_code": 7}\n'
        assert (self.attempt / "stderr.log").read_text() == "no\n"
        assert not list(tmp_path.rglob("never"))

    def test_a_second_launch_does_nothing(self, tmp_path: Path):
        self.run(tmp_path, ("sh", "-c", "echo once >> count"))
        self.run(tmp_path, ("sh", "-c", "echo once >> count"))
        assert (self.attempt / "p" / "count").read_text() == "once\n"

    def test_a_program_that_does_not_exist(self, tmp_path: Path):
        self.run(tmp_path, ("/no/such/RasUnsteady",))
        assert (self.attempt / "exit.json").read_text() == '{"exit_code": 127}\n'

    def test_it_leaves_no_process_behind(self, tmp_path: Path):
        self.run(tmp_path, ("true",))
        # its heartbeat may still be on its way out; a nap of it that was forgotten would stay longer than this
        wait_until(lambda: not _processes_below(tmp_path), "all its processes have ended", HEARTBEAT_SECONDS / 2)


def _processes_below(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if str(folder) in " ".join(_cmdline(process))]


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_the_end_of_a_stream_that_says_something():
    assert telling_line("a\nforrtl: severe (157): x\nImage PC\n") == "forrtl: severe (157): x"
    assert telling_line("all is well\n") == ""
    assert exit_code_text(139).endswith("(SIGSEGV: segmentation fault)")
    assert exit_code_text(5) == "exit code 5"


def test_a_result_beside_a_temporary_one_is_not_complete(project: Project, tmp_path: Path):
    engine = StandinEngine(System.POSIX)
    shutil.copytree(project.folder, tmp_path / "ws")
    env = {**os.environ, "RAS_STANDIN_FAULT": "", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*engine.command, "compute", "Bear Creek.prj", "Bear Creek.p07"],
        cwd=tmp_path / "ws",
        check=True,
        env=env,
        stdout=subprocess.DEVNULL,
    )
    run = EngineRun(project.name, 0, 0.0)
    assert engine.outcome(tmp_path / "ws", project.plan("7"), run).outcome is Outcome.COMPLETED
    assert (
        engine.outcome(tmp_path / "ws", project.plan("7"), EngineRun(project.name, 5, 0.0)).outcome
        is Outcome.ENGINE_ERROR
    )
    assert (
        engine.outcome(tmp_path / "ws", project.plan("7"), EngineRun(project.name, 0, 4e9)).outcome
        is Outcome.ENGINE_ERROR
    )
    (tmp_path / "ws" / "Bear Creek.p07.tmp.hdf").touch()
    assert engine.outcome(tmp_path / "ws", project.plan("7"), run).outcome is Outcome.INCOMPLETE


if __name__ == "__main__":
    RECORDED.mkdir(exist_ok=True)
    for file_name, data in scripts().items():
        (RECORDED / file_name).write_bytes(data)
