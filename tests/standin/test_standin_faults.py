"""Every fault leaves what the like failure of HEC-RAS leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest
from tests.standin.support import Engine, command, process

from ras_standin.faults import FAULTS

SERIES = "Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series/Time"
PROFILES = "Results/Steady/Output/Output Blocks/Base Output/Steady Profiles/Profile Names"
ON_WINDOWS = sys.platform == "win32"


@dataclass(frozen=True)
class Left:
    """What a results file says: solution, rows of output, unstable time and compute messages (None: not there)."""

    solution: str | None
    rows: int | None
    unstable: str | None
    messages: str | None


def _left(path: Path) -> Left:
    with h5py.File(path, "r") as file:
        summary = file.get("Results/Unsteady/Summary", file.get("Results/Steady/Summary"))
        attributes = {} if summary is None else dict(summary.attrs)
        series = file.get(SERIES, file.get(PROFILES))
        messages = file.get("Results/Summary/Compute Messages (text)")
        text = [attributes.get(key) for key in ("Solution", "Time Stamp Solution Went Unstable")]
        return Left(
            None if text[0] is None else text[0].decode(),
            None if series is None else len(series),
            None if text[1] is None else text[1].decode(),
            None if messages is None else bytes(messages[0]).decode(),
        )


def _temporary(project: Path, plan: str = "p01") -> Path:
    return project.with_suffix(f".{plan}.tmp.hdf")


def _final(project: Path, plan: str = "p01") -> Path:
    return project.with_suffix(f".{plan}.hdf")


def _told(project: Path, plan: str = "p01") -> str:
    return project.with_suffix(f".{plan}.computeMsgs.txt").read_text("latin-1")


def test_unstable(engine: Engine, project: Path) -> None:
    run = engine("compute", project, "p01", "--fault", "unstable:0.25")
    assert run.code == 0
    left = _left(_final(project))
    assert (left.solution, left.unstable, left.rows) == ("Unsteady Went Unstable", "01JAN2026 01:00:00", 7)
    assert left.messages is not None
    for text in (
        "Minimum error exceeds allowable tolerance at 01JAN2026 01:00:00",
        "****   ERROR:  Solution Solver Failed   ****",
        "Simulation went unstable at: 01JAN2026 01:00:00",
        "Complete Process\t",
    ):
        assert text in left.messages
    assert "Finished Unsteady" not in left.messages
    assert not _temporary(project).exists()


def test_terminated(engine: Engine, project: Path) -> None:
    run = engine("compute", project, "p01", "--fault", "terminated")
    assert run.code == 0
    left = _left(_final(project))
    assert (left.solution, left.rows) == ("Running Unsteady", 13)
    assert left.messages is not None
    assert "Unsteady Flow Simulation Terminated" in left.messages
    assert "Complete Process\t" in left.messages
    assert "Finished Unsteady" not in left.messages


def test_failed_to_run(engine: Engine, project: Path) -> None:
    run = engine("compute", project, "p01", "--fault", "failed-to-run")
    assert run.code == 0
    left = _left(_final(project))
    assert (left.solution, left.rows) == ("Unsteady failed to run", None)
    assert left.messages is not None
    assert "ERROR: the unsteady solver failed to run" in left.messages
    assert "Complete Process" not in left.messages


def test_no_finish(engine: Engine, project: Path) -> None:
    run = engine("compute", project, "p01", "--fault", "no-finish")
    assert run.code == 0
    left = _left(_final(project))
    assert (left.solution, left.rows, left.unstable) == ("Running Unsteady", 25, None)
    assert left.messages is not None
    assert "Finished Unsteady" not in left.messages


def test_no_results(engine: Engine, project: Path) -> None:
    assert engine("compute", project, "p01", "--fault", "no-results").code == 0
    assert _left(_final(project)) == Left(None, None, None, None)
    with h5py.File(_final(project), "r") as file:
        assert "Results" not in file
        assert "Geometry" in file
    assert "Complete Process" in _told(project)


@pytest.mark.parametrize("fault", ["truncated", "corrupt-bytes"])
def test_spoiled_files_do_not_open(engine: Engine, project: Path, fault: str) -> None:
    assert engine("compute", project, "p01", "--fault", fault).code == 0
    with pytest.raises(OSError):
        h5py.File(_final(project), "r")
    assert "Complete Process" in _told(project)


def test_tmp_left(engine: Engine, project: Path) -> None:
    assert engine("compute", project, "p01", "--fault", "tmp-left").code == 0
    assert _temporary(project).read_bytes() == _final(project).read_bytes()
    assert _left(_final(project)).solution == "Unsteady Finished Successfully"


def test_rename_fails(engine: Engine, project: Path) -> None:
    assert engine("compute", project, "p01", "--fault", "rename-fails").code == 0
    assert not _final(project).exists()
    assert _left(_temporary(project)).solution == "Unsteady Finished Successfully"
    errors = project.with_suffix(".p01.data_errors.txt").read_text("latin-1")
    assert "Unable to delete temporary results file" in errors


def test_slow(engine: Engine, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("ras_standin.faults.time.sleep", slept.append)
    assert engine("compute", project, "p01", "--fault", "slow:0.2").code == 0
    assert slept == [0.2] * 24
    assert _left(_final(project)).solution == "Unsteady Finished Successfully"


@pytest.mark.parametrize(
    ("fault", "posix", "windows", "said"),
    [
        ("crash:0.25", 157, 157, "forrtl: severe (157): Program Exception - access violation"),
        ("segv:0.25", -signal.SIGSEGV, 0xC0000005, ""),
        ("oom:0.25", -9, 0xC0000017, "Killed"),
        ("exit:7", 7, 7, ""),
    ],
)
def test_sudden_ends(project: Path, fault: str, posix: int, windows: int, said: str) -> None:
    run = process("compute", project, "p01", "--fault", fault)
    assert run.code == (windows if ON_WINDOWS else posix)
    assert said in run.err
    assert not _final(project).exists()
    left = _left(_temporary(project))
    assert (left.solution, left.rows, left.messages) == ("Running Unsteady", None, None)
    last = f"Progress | {0.5 if 'exit' in fault else 0.25:g}"
    assert run.out.splitlines()[-1] == last
    assert "Complete Process" not in _told(project)
    assert ("Error with program: RasUnsteady.exe  Exit Code = 157" in _told(project)) == ("crash" in fault)


def test_partial_hdf(project: Path) -> None:
    run = process("compute", project, "p01", "--fault", "partial-hdf:0.25")
    assert run.code == 0
    assert not _final(project).exists()
    left = _left(_temporary(project))
    assert (left.solution, left.rows, left.messages) == ("Running Unsteady", 7, None)


def _hangs(project: Path, fault: str, until: str) -> None:
    """Start a run and see that it stays after it has said ``until``."""
    running = subprocess.Popen(command("compute", project, "p01", "--fault", fault), stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        if until:
            assert any(line.strip() == until for line in running.stdout)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(timeout=1)
    finally:
        running.kill()
        running.communicate()
    assert not _final(project).exists()


def test_hang(project: Path) -> None:
    _hangs(project, "hang:0.25", "Progress | 0.25")
    assert _left(_temporary(project)).solution == "Running Unsteady"


def test_hang_before(project: Path) -> None:
    _hangs(project, "hang-before", "")
    assert not _temporary(project).exists()
    assert not project.with_suffix(".p01.computeMsgs.txt").exists()


def test_terms_and_conditions(project: Path) -> None:
    _hangs(project, "tcu", "Terms and Conditions for Use (TCU)")
    assert not _temporary(project).exists()


def test_every_fault_has_a_test() -> None:
    tested = {"unstable", "terminated", "failed-to-run", "no-finish", "no-results", "truncated", "corrupt-bytes"}
    tested |= {"tmp-left", "rename-fails", "slow", "crash", "segv", "oom", "exit", "partial-hdf"}
    assert tested | {"hang", "hang-before", "tcu", "large"} == set(FAULTS)


def test_large_results_are_good_ones(project: Path) -> None:
    assert process("compute", project, "p01", "--fault", "large:3").code == 0
    assert 3e6 < _final(project).stat().st_size < 4e6
    left = _left(_final(project))
    assert left.solution == "Unsteady Finished Successfully"
    assert left.messages


@pytest.mark.parametrize(
    ("fault", "solution"),
    [
        ("no-finish", "Running Unsteady"),
        ("no-results", None),
        ("unstable", "Unsteady Went Unstable"),
        ("terminated", "Running Unsteady"),
        ("failed-to-run", "Unsteady failed to run"),
    ],
)
def test_linux_program_fails_in_the_same_way(engine: Engine, project: Path, fault: str, solution: str | None) -> None:
    assert engine("prepare", project, "p01").code == 0
    run = engine("RasUnsteady", _temporary(project), "x01", "--fault", fault)
    assert run.code == 0
    assert _left(_temporary(project)).solution == solution
    assert ("Finished Unsteady Flow Simulation" in run.out) == (fault == "no-results")


@pytest.mark.parametrize(
    ("fault", "solution", "profiles"),
    [
        ("no-finish", None, 3),
        ("no-results", None, None),
        ("terminated:0.3", None, 1),
        ("failed-to-run", "Steady failed to run", None),
        ("unstable", "Steady Finished Successfully", 3),
        ("tmp-left", "Steady Finished Successfully", 3),
    ],
)
def test_steady_plans_fail_too(
    engine: Engine, project: Path, fault: str, solution: str | None, profiles: int | None
) -> None:
    run = engine("compute", project, "p07", "--fault", fault)
    assert run.code == 0
    left = _left(_final(project, "p07"))
    assert (left.solution, left.rows) == (solution, profiles)
    assert ("Steady Flow Simulation Terminated" in run.out) == fault.startswith("terminated")
    assert ("fault 'unstable' has no meaning for a steady plan" in run.out) == (fault == "unstable")


def test_steady_partial_results(project: Path) -> None:
    run = process("compute", project, "p07", "--fault", "partial-hdf:0.6")
    assert run.code == 0
    assert _left(_temporary(project, "p07")) == Left(None, 2, None, None)
    assert not _final(project, "p07").exists()


def test_faults_of_single_plans(engine: Engine, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAS_STANDIN_FAULT", "p02=unstable:0.3, P03=no-results,tmp-left")
    for plan in ("p01", "p02", "p03"):
        assert engine("compute", project, plan).code == 0
    assert _left(_final(project, "p01")).solution == "Unsteady Finished Successfully"
    assert _temporary(project, "p01").exists()
    assert _left(_final(project, "p02")).solution == "Unsteady Went Unstable"
    assert _left(_final(project, "p03")).solution is None


def test_the_option_comes_before_the_environment(
    engine: Engine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAS_STANDIN_FAULT", "unstable")
    assert engine("compute", project, "p01", "--fault=no-finish").code == 0
    assert _left(_final(project)).solution == "Running Unsteady"
