"""Did it work? Every way a result can be good, bad or no result at all."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.hecras.builders import END, SERIES, START, hdf, result

from ras_runner.errors import InputError
from ras_runner.hecras.compat import HdfResultsPlan
from ras_runner.hecras.hydrographs import maximum_profile, section_series
from ras_runner.hecras.messages import parse_messages, progress_fraction
from ras_runner.hecras.plan import FlowType
from ras_runner.hecras.results import Problem, read_result
from ras_runner.outcomes import Outcome

TABLE = "Computation Task\tTime(hh:mm:ss)\r\nUnsteady Flow Computations\t       4\r\nComplete Process\t       5\r\n"


def test_a_finished_result(tmp_path: Path) -> None:
    summary = read_result(result(tmp_path / "Model.p01.hdf"), not_before=0.0)
    assert (summary.outcome, summary.problem, summary.reason) == (Outcome.COMPLETED, None, "")
    assert summary.flow_type is FlowType.UNSTEADY
    assert summary.run_time == timedelta(hours=1, minutes=2, seconds=3)
    assert (summary.last_output, summary.simulation_end) == (END, END)
    assert summary.volume_error_percent == pytest.approx(0.01)
    assert summary.max_wsel_error == pytest.approx(0.004)
    assert (summary.program, summary.file_version) == ("HEC-RAS - River Analysis System", "HEC-RAS 6.6 September 2024")
    assert not summary.stand_in and summary.unstable_at is None and summary.warnings == ()
    assert "Complete Process" in summary.messages and "\r" not in summary.messages


def test_the_summary_of_other_releases_and_linux(tmp_path: Path) -> None:
    path = result(tmp_path / "Model.p01.hdf", summary="Results/Summary", messages=None)
    summary = read_result(path, extra_messages="Finished Unsteady Flow Simulation\n")
    assert summary.outcome is Outcome.COMPLETED
    assert summary.volume_error_percent == pytest.approx(0.01)


def test_a_real_steady_result(steady_result: Path) -> None:
    summary = read_result(steady_result)
    assert (summary.outcome, summary.flow_type, summary.reason) == (Outcome.COMPLETED, FlowType.STEADY, "")
    assert (summary.solution, summary.run_time) == ("Steady Finished Successfully", timedelta(0))
    assert summary.program == "HEC-RAS - River Analysis System"


def test_a_real_result_without_its_summary(result_without_summary: Path) -> None:
    summary = read_result(result_without_summary)
    assert (summary.outcome, summary.problem) == (Outcome.INCOMPLETE, Problem.NO_SUMMARY)
    assert summary.simulation_end == datetime(1999, 1, 4, 12)


def test_steady_failures(tmp_path: Path) -> None:
    path = hdf(tmp_path / "Model.p01.hdf", {"Results/Steady/Summary": {"Solution": "Steady failed to run"}})
    summary = read_result(path)
    assert (summary.outcome, summary.flow_type) == (Outcome.ENGINE_ERROR, FlowType.STEADY)
    assert "Steady failed to run" in summary.reason


UNSTABLE = "Simulation went unstable at: 01AUG2026 00:00:45\r\n****   ERROR:  Solution Solver Failed   ****\r\n"


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({"solution": "Unsteady Went Unstable", "unstable": "01JAN2025 03:00:00"}, Outcome.UNSTABLE, "01JAN2025 03:00"),
        ({"solution": "Unsteady Went Unstable"}, Outcome.UNSTABLE, "unstable"),
        ({"unstable": "01JAN2025 03:00:00"}, Outcome.UNSTABLE, "01JAN2025 03:00:00"),
        ({"messages": UNSTABLE}, Outcome.UNSTABLE, "01AUG2026 00:00:45"),
        ({"solution": "Unsteady failed to run", "messages": "error: no luck\r\n"}, Outcome.ENGINE_ERROR, "no luck"),
        ({"solution": "Unsteady failed to run", "messages": None}, Outcome.ENGINE_ERROR, "failed to run"),
        ({"solution": ""}, Outcome.ENGINE_ERROR, "nothing of success"),
        ({"last": END - timedelta(hours=1)}, Outcome.INCOMPLETE, "2025-01-01 05:00:00"),
        ({"stamps": False}, Outcome.INCOMPLETE, "no output times"),
        ({"messages": TABLE + "Unsteady Flow Simulation Terminated"}, Outcome.ENGINE_ERROR, "Terminated"),
        ({"messages": "Note - Computations stopped by the user\r\n" + TABLE}, Outcome.INCOMPLETE, "by the user"),
        ({"messages": "Error with program: RasUnsteady.exe  Exit Code = 157"}, Outcome.ENGINE_ERROR, "= 157"),
        ({"messages": "forrtl: severe (157): access violation"}, Outcome.ENGINE_ERROR, "severe (157)"),
        ({"messages": "hdf_error trying to open"}, Outcome.ENGINE_ERROR, "hdf_error"),
        ({"volume_error": 1.5}, Outcome.COMPLETED_WITH_WARNINGS, "volume error is 1.5 %"),
        ({"volume_error": -2.0}, Outcome.COMPLETED_WITH_WARNINGS, "volume error is -2 %"),
        ({"volume_error": float("nan")}, Outcome.COMPLETED, ""),
        (
            {"messages": "Extrapolated above Cross Section Table"},
            Outcome.COMPLETED_WITH_WARNINGS,
            "Extrapolated",
        ),
        ({"messages": "WARNING: bridge RS 5: NOT modelled\r\n"}, Outcome.COMPLETED_WITH_WARNINGS, "NOT modelled"),
        ({"messages": None}, Outcome.COMPLETED, ""),
    ],
)
def test_outcomes(tmp_path: Path, changes: dict[str, object], outcome: Outcome, words: str) -> None:
    summary = read_result(result(tmp_path / "Model.p01.hdf", **changes))  # type: ignore[arg-type]
    assert summary.outcome is outcome
    assert summary.problem is None
    assert words in summary.reason
    assert bool(summary.reason) == (outcome is not Outcome.COMPLETED)


def test_an_engine_that_died_half_way(tmp_path: Path) -> None:
    path = result(tmp_path / "Model.p01.hdf", solution="Running Unsteady", messages=None)
    summary = read_result(path)
    assert (summary.outcome, summary.problem) == (Outcome.INCOMPLETE, Problem.RUNNING)
    crashed = read_result(path, extra_messages="forrtl: severe (157): Program Exception\n")
    assert (crashed.outcome, crashed.problem) == (Outcome.ENGINE_ERROR, Problem.RUNNING)
    assert crashed.reason.startswith("forrtl: severe (157)")


def test_files_that_are_no_result(tmp_path: Path) -> None:
    path = tmp_path / "Model.p01.hdf"
    absent = read_result(path)
    assert (absent.problem, absent.outcome) == (Problem.MISSING, Outcome.ENGINE_ERROR)
    result(path)
    os.utime(path, (1000, 1000))
    stale = read_result(path, not_before=1001)
    assert (stale.problem, stale.outcome) == (Problem.STALE, Outcome.ENGINE_ERROR)
    path.write_text("not HDF", encoding="ascii")
    assert read_result(path).problem is Problem.NOT_HDF
    assert read_result(tmp_path).problem is Problem.NOT_HDF
    assert read_result(hdf(tmp_path / "empty.hdf", {})).problem is Problem.NO_SUMMARY
    other = read_result(result(tmp_path / "Model.p02.hdf", plan="Model.p01"))
    assert (other.problem, other.outcome) == (Problem.WRONG_PLAN, Outcome.ENGINE_ERROR)
    assert all(summary.reason for summary in (absent, stale, other))


def test_messages_tell_why_there_is_no_result(tmp_path: Path) -> None:
    path = tmp_path / "Model.p01.hdf"
    unstable = read_result(path, extra_messages=UNSTABLE)
    assert (unstable.outcome, unstable.unstable_at) == (Outcome.UNSTABLE, "01AUG2026 00:00:45")
    stopped = read_result(path, extra_messages="Note - Computations stopped by the user")
    assert (stopped.outcome, stopped.problem) == (Outcome.INCOMPLETE, Problem.MISSING)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_results_are_unreadable(tmp_path: Path, share: float) -> None:
    path = result(tmp_path / "Model.p01.hdf")
    os.truncate(path, int(path.stat().st_size * share))
    summary = read_result(path)
    assert (summary.problem, summary.outcome) == (Problem.UNREADABLE, Outcome.ENGINE_ERROR)
    assert "\n" not in summary.reason


def test_damaged_bytes_never_raise(tmp_path: Path) -> None:
    path = result(tmp_path / "Model.p01.hdf")
    whole = path.read_bytes()
    for position in range(16, len(whole), 211):
        path.write_bytes(whole[:position] + b"\xff\0\xa5" * 4 + whole[position + 12 :])
        assert read_result(path).outcome in Outcome


def test_summaries_of_unexpected_types_never_raise(tmp_path: Path) -> None:
    path = result(tmp_path / "Model.p01.hdf")
    with h5py.File(path, "r+") as file:
        for attributes in (file["Results/Unsteady/Summary"].attrs, file["Plan Data/Plan Information"].attrs):
            for key in list(attributes):
                attributes[key] = np.arange(3)
    assert read_result(path).outcome is Outcome.ENGINE_ERROR


@pytest.mark.parametrize("root", [{"Stand-In Engine": "not HEC-RAS"}, {}])
def test_the_stand_in_is_told_from_hec_ras(tmp_path: Path, root: dict[str, object]) -> None:
    path = result(tmp_path / "Model.p01.hdf", root=root)
    if not root:
        with h5py.File(path, "r+") as file:
            file["Results/Unsteady"].attrs["Program Name"] = np.bytes_(b"stand-in (not HEC-RAS)")
    assert read_result(path).stand_in


def test_messages_with_and_without_channels() -> None:
    said = parse_messages("Message  | Finished Unsteady Flow Simulation\r\nMessage  | Complete Process\t<1\r\n")
    assert said.finished_banner and said.complete_process and not said.terminated
    assert parse_messages(TABLE).complete_process
    said = parse_messages("Message  | WARNING: a\nProgress | 0.5\nMessage  | ERROR: b\nERROR: b\n")
    assert (said.warnings, said.errors) == (("WARNING: a",), ("ERROR: b",))
    said = parse_messages("Overall Volume Accounting Error in Acre Feet:    0.1\n     Error   Percent Error\n")
    assert said.errors == ()


def test_progress() -> None:
    assert progress_fraction("Progress | 0.1\r\nMessage  | x\r\nProgress | 0.4846806\r\n") == pytest.approx(0.4846806)
    assert progress_fraction("ess | 0.9\nProgress | 0.48\nProgress | 0.4") == pytest.approx(0.48)
    assert progress_fraction("Progress | 1\n") == 1.0
    times = "02JAN1900 00:50:00\n02JAN1900 01:20:00  White  Upper\n"
    start = datetime(1900, 1, 2)
    assert progress_fraction(times, start, start + timedelta(hours=2)) == pytest.approx(80 / 120)
    assert progress_fraction(times) is None
    assert progress_fraction("", start, start + timedelta(hours=2)) is None


@given(st.text(max_size=300))
def test_no_message_text_is_a_traceback(text: str) -> None:
    assert parse_messages(text).text == text
    fraction = progress_fraction(text, START, END)
    assert fraction is None or 0 <= fraction <= 1


def test_hydrographs_of_first_middle_and_last_section(tmp_path: Path) -> None:
    path = result(tmp_path / "Model.p01.hdf", root={"Units System": "SI Units"})
    series = section_series(path)
    assert [(s.river, s.reach, s.station) for s in series] == [
        ("White", "Upper", "9"),
        ("White", "Upper", "1"),
        ("Blue", "Low", "2"),
    ]
    assert series[0].times[[0, -1]].tolist() == [START, END]
    assert series[1].stage.tolist() == [101.0 + hour for hour in range(7)]
    assert series[1].flow.tolist() == [30.0 * (1 + hour) for hour in range(7)]
    assert series[0].stage.dtype == np.float32
    assert (series[0].stage_unit, series[0].flow_unit) == ("m", "m³/s")
    assert len(section_series(path, sections=None)) == len(section_series(path, sections=99)) == 4
    assert [s.station for s in section_series(path, sections=1)] == ["9"]


def test_the_profile_of_the_longest_reach(tmp_path: Path) -> None:
    profile = maximum_profile(result(tmp_path / "Model.p01.hdf"))
    assert profile is not None
    assert (profile.river, profile.stations, profile.names) == ("White", ["9", "5*", "1"], ("Maximum",))
    assert profile.distance.tolist() == [650.0, 250.0, 0.0]
    assert profile.bed.tolist() == [103.0, 99.0, 95.0]
    assert profile.max_stage.tolist() == [115.0, 111.0, 107.0]


def test_the_profiles_of_a_real_steady_result(steady_result: Path) -> None:
    profile = maximum_profile(steady_result)
    assert profile is not None
    assert profile.names == ("PF#1", "PF#2") and profile.stages.shape == (2, 12) and profile.unit == "ft"
    assert (profile.stations[0], profile.stations[-1]) == ("5.99", "5.0")
    assert profile.distance[0] == pytest.approx(5233.0) and profile.distance[-1] == 0
    assert (profile.stages > profile.bed).all()
    assert profile.max_stage[-1] == pytest.approx(212.8)
    assert section_series(steady_result) == []


def test_results_without_sections_have_no_series(result_without_summary: Path, tmp_path: Path) -> None:
    assert section_series(result_without_summary) == []
    assert maximum_profile(result_without_summary) is None
    with pytest.raises(InputError, match="holds no readable results"):
        section_series(tmp_path / "absent.hdf")
    path = result(tmp_path / "Model.p01.hdf")
    with h5py.File(path, "r+") as file:
        del file[f"{SERIES}/Cross Sections/Flow"]
    with pytest.raises(InputError, match=r"Model\.p01\.hdf"):
        section_series(path)


def test_compute_messages_as_ras_commander_users_know_them(tmp_path: Path, steady_result: Path) -> None:
    assert HdfResultsPlan.get_compute_messages(str(steady_result)).startswith("Plan: 'Method 5 Encroachment'")
    path = tmp_path / "Model.p01.hdf"
    with pytest.raises(InputError, match=r"Model\.p01\.hdf does not exist"):
        HdfResultsPlan.get_compute_messages(path)
    (tmp_path / "Model.p01.comp_msgs.txt").write_text("old release", encoding="latin-1")
    assert HdfResultsPlan.get_compute_messages(path) == "old release"
    result(path, messages=None)
    (tmp_path / "MODEL.P01.COMPUTEMSGS.TXT").write_text("new release", encoding="latin-1")
    assert HdfResultsPlan.get_compute_messages(path) == "new release"
    assert HdfResultsPlan.get_compute_messages(result(tmp_path / "Other.p01.hdf", messages=None)) == ""
    path.write_text("no HDF", encoding="ascii")
    assert HdfResultsPlan.get_compute_messages(path) == "new release"
    for text in tmp_path.glob("*.[tT]*"):
        text.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        HdfResultsPlan.get_compute_messages(path)
