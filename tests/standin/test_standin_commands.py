"""The command line: the whole chain, the Linux programs one by one, names, paths and bad input."""

from __future__ import annotations

import re
import shutil
import warnings
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.standin.support import Engine, edit, process, shorten

from ras_runner.hecras.example import write_example_project
from ras_standin import LABEL
from ras_standin.project import load_inputs
from ras_standin.results_unsteady import Balance, Summary, begin, finish

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from rashdf import RasPlanHdf

SERIES = "Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series"
PROFILES = "Results/Steady/Output/Output Blocks/Base Output/Steady Profiles/Cross Sections"


def _beside(prj: Path, extension: str) -> Path:
    return prj.with_suffix(f".{extension}")


def _stage(results: Path) -> np.ndarray:
    with h5py.File(results, "r") as file:
        return np.array(file[f"{SERIES}/Cross Sections/Water Surface"])


def _messages(results: Path) -> str:
    with h5py.File(results, "r") as file:
        return bytes(file["Results/Summary/Compute Messages (text)"][0]).decode()


def test_compute_runs_an_unsteady_plan(engine: Engine, project: Path) -> None:
    run = engine("compute", project, _beside(project, "p01"))
    assert (run.code, run.err) == (0, "")
    progress = [float(line.split("|")[1]) for line in run.out.splitlines() if line.startswith("Progress | ")]
    assert len(progress) == 24
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert "Finished Unsteady Flow Simulation" in run.out
    with h5py.File(_beside(project, "p01.hdf"), "r") as file:
        assert file["Results/Unsteady/Summary"].attrs["Solution"] == b"Unsteady Finished Successfully"
        assert file["Results/Unsteady/Summary"].attrs["Time Stamp Solution Went Unstable"] == b"Not Applicable"
        assert file[f"{SERIES}/Time Date Stamp"][-1] == b"01JAN2026 04:00:00"
        assert file["Event Conditions"].attrs["Completed Successfully"] == b"True"
    text = _messages(_beside(project, "p01.hdf"))
    assert re.search(r"\r\nComplete Process\t(<1| *\d+)\r\n", text)
    assert "Progress" not in text
    assert not _beside(project, "p01.tmp.hdf").exists()
    for extension in ("b01", "x01"):
        assert _beside(project, extension).stat().st_size


def test_compute_runs_a_steady_plan(engine: Engine, project: Path) -> None:
    run = engine("compute", project, _beside(project, "p07"))
    assert run.code == 0
    assert "Finished Steady Flow Simulation" in run.out
    with h5py.File(_beside(project, "p07.hdf"), "r") as file:
        assert file["Results/Steady/Summary"].attrs["Solution"] == b"Steady Finished Successfully"
        stage = file[f"{PROFILES}/Water Surface"][:]
        critical = file[f"{PROFILES}/Additional Variables/Critical Water Surface"][:]
    assert stage.shape == (3, 20)
    assert (np.diff(stage, axis=0) > 0).all()
    assert (stage > critical).all()
    assert "Complete Process\t" in _messages(_beside(project, "p07.hdf"))


def test_everything_says_that_this_is_not_hec_ras(engine: Engine, project: Path) -> None:
    run = engine("compute", project, "p01")
    texts = [run.out, _messages(_beside(project, "p01.hdf"))]
    texts += [_beside(project, name).read_text("latin-1") for name in ("p01.computeMsgs.txt", "bco01", "b01", "x01")]
    assert all(LABEL in text for text in texts)
    with h5py.File(_beside(project, "p01.hdf"), "r") as file:
        assert file.attrs["Stand-In Engine"] == LABEL.encode()
        assert b"not HEC-RAS" in file["Results/Unsteady"].attrs["Program Name"]


def test_messages_grow_during_the_run(engine: Engine, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def look(_: float) -> None:
        pair = [_beside(project, name).read_text("latin-1") for name in ("p01.computeMsgs.txt", "bco01")]
        seen.append((pair[0], pair[1]))

    monkeypatch.setattr("ras_standin.run_unsteady.time.sleep", look)
    assert engine("compute", project, "p01", "--pace", "0.5").code == 0
    assert len(seen) == 24
    for number, (messages, detail) in enumerate(seen, 1):
        assert messages.count("Progress | ") == number
        assert detail.count("JAN2026") == number
        assert "Starting Unsteady Flow Computations" in detail


def test_linux_programs_do_what_compute_does(engine: Engine, project: Path) -> None:
    assert engine("compute", project, "p04").code == 0
    whole = _stage(_beside(project, "p04.hdf"))
    assert engine("prepare", project, _beside(project, "p04")).code == 0
    temporary = _beside(project, "p04.tmp.hdf")
    with h5py.File(temporary, "r") as file:
        assert "Results" not in file
    assert "Finished Processing Geometry" in engine("RasGeomPreprocess", temporary, "x02").out
    run = engine("RasUnsteady", temporary, "x02")
    assert run.code == 0
    assert "Finished Unsteady Flow Simulation" in run.out
    assert "Complete Process" not in run.out
    np.testing.assert_array_equal(_stage(temporary), whole)


def test_prepared_files_are_enough_elsewhere(engine: Engine, project: Path, tmp_path: Path) -> None:
    assert engine("prepare", project, "p01").code == 0
    away = tmp_path / "away"
    away.mkdir()
    for extension in ("p01.tmp.hdf", "b01", "x01"):
        shutil.copy(_beside(project, extension), away)
    run = engine("RasUnsteady", away / "Bear Creek.p01.tmp.hdf", "x01")
    assert run.code == 0
    assert _stage(away / "Bear Creek.p01.tmp.hdf").shape == (25, 20)


def test_results_without_the_results_can_be_computed_again(engine: Engine, project: Path) -> None:
    assert engine("compute", project, "p01").code == 0
    first = _stage(_beside(project, "p01.hdf"))
    with h5py.File(_beside(project, "p01.hdf"), "r") as old, h5py.File(_beside(project, "p01.tmp.hdf"), "w") as new:
        new.attrs.update(old.attrs)
        for name in old:
            if name != "Results":
                old.copy(name, new)
    assert engine("RasUnsteady", _beside(project, "p01.tmp.hdf"), "x01").code == 0
    np.testing.assert_array_equal(_stage(_beside(project, "p01.tmp.hdf")), first)


def test_ras_steady_runs_from_its_run_file(engine: Engine, project: Path) -> None:
    assert engine("prepare", project, "p07").code == 0
    run = engine("RasSteady", _beside(project, "r07"))
    assert run.code == 0
    assert "Finished Steady Flow Simulation" in run.out
    with h5py.File(_beside(project, "p07.tmp.hdf"), "r") as file:
        assert file["Results/Steady/Summary"].attrs["Solution"] == b"Steady Finished Successfully"
    _beside(project, "p07.tmp.hdf").unlink()
    assert engine("RasSteady", _beside(project, "r07")).code == 0
    assert _beside(project, "p07.tmp.hdf").exists()


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("C:\\Program Files (x86)\\HEC\\HEC-RAS\\6.6\\Ras.exe", ["-c", "{prj}", "{p01}"]),
        ("/opt/ras/Ras", ["{prj}", "-c"]),  # HEC-RAS 5: the plan is the project's current one
    ],
)
def test_acts_as_ras_when_named_so(engine: Engine, project: Path, program: str, arguments: list[str]) -> None:
    names = {"prj": project, "p01": _beside(project, "p01")}
    assert engine(*(word.format(**names) for word in arguments), program=program).code == 0
    assert _beside(project, "p01.hdf").exists()


def test_acts_as_the_linux_programs_when_named_so(engine: Engine, project: Path) -> None:
    assert engine("prepare", project, "p01").code == 0
    run = engine(_beside(project, "p01.tmp.hdf"), "x01", program="/opt/bin/RasUnsteady")
    assert run.code == 0
    assert "Finished Unsteady Flow Simulation" in run.out


@pytest.mark.parametrize("extension", ["x01", "b01"])
@pytest.mark.parametrize("spoil", ["remove", "empty"])
def test_linux_program_needs_what_was_prepared(engine: Engine, project: Path, extension: str, spoil: str) -> None:
    engine("prepare", project, "p01")
    if spoil == "remove":
        _beside(project, extension).unlink()
    else:
        _beside(project, extension).write_bytes(b"")
    run = engine("RasUnsteady", _beside(project, "p01.tmp.hdf"), "x01")
    assert run.code == 2
    assert extension in run.err


def test_text_geometry_gives_the_profile_of_the_hdf_geometry(engine: Engine, project: Path) -> None:
    assert engine("compute", project, "p04").code == 0
    from_text = _stage(_beside(project, "p04.hdf"))
    with h5py.File(_beside(project, "p04.hdf"), "r") as old, h5py.File(_beside(project, "g02.hdf"), "w") as new:
        old.copy("Geometry", new)
    _beside(project, "g02").unlink()
    assert engine("compute", project, "p04").code == 0
    np.testing.assert_allclose(_stage(_beside(project, "p04.hdf")), from_text, atol=2e-3)


def test_geometries_differ(engine: Engine, project: Path) -> None:
    for plan in ("p03", "p06"):
        edit(_beside(project, plan), "01JAN2026,0400", "01JAN2026,1000")
        assert engine("compute", project, plan).code == 0
    rise = _stage(_beside(project, "p06.hdf")).max(axis=0) - _stage(_beside(project, "p03.hdf")).max(axis=0)
    assert (rise > 0.2).all()  # the levee keeps water off the right floodplain


def test_rashdf_reads_results_of_a_text_geometry(engine: Engine, project: Path) -> None:
    for plan in ("p01", "p07"):
        assert engine("compute", project, plan).code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with RasPlanHdf(str(_beside(project, "p01.hdf"))) as plan_file:
            sections = plan_file.cross_sections()
            assert len(sections) == 20
            assert sections.geometry.length.min() > 600
            assert len(plan_file.river_reaches()) == 1
            assert len(plan_file.cross_sections_elevations()) == 20
            assert len(plan_file.unsteady_datetimes()) == 25
            assert plan_file.get_results_volume_accounting_attrs()["Error Percent"] < 0.001
        with RasPlanHdf(str(_beside(project, "p07.hdf"))) as plan_file:
            assert plan_file.steady_flow_names() == ["Base flow", "Bankfull", "Large flood"]
            assert plan_file.cross_sections_wsel().shape == (20, 3)
            assert plan_file.cross_sections_additional_velocity_total().shape == (20, 3)


def test_section_without_cut_line_gets_a_schematic_one(engine: Engine, project: Path) -> None:
    lines = _beside(project, "g01").read_text("latin-1").split("\n")
    kept = [line for i, line in enumerate(lines) if not any("GIS Cut Line" in other for other in lines[i - 1 : i + 1])]
    _beside(project, "g01").write_text("\n".join(kept), "latin-1")
    assert engine("compute", project, "p01").code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with RasPlanHdf(str(_beside(project, "p01.hdf"))) as plan_file:
            assert plan_file.cross_sections().geometry.length.min() > 600


def test_linux_line_ends_and_other_case(engine: Engine, project: Path) -> None:
    for file in list(project.parent.iterdir()):
        file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n"))
        file.rename(file.with_name(file.name.upper()))
    run = engine("compute", project, project.parent / "bear creek.p01")
    assert (run.code, run.err) == (0, "")
    assert (project.parent / "BEAR CREEK.p01.hdf").exists()


@pytest.mark.parametrize("name", ["Bär Creek é", "河 creek", "a & b (1)"])
def test_spaces_and_unicode_in_names(engine: Engine, tmp_path: Path, name: str) -> None:
    prj = write_example_project(tmp_path / f"folder of {name}", name)
    shorten(prj.parent)
    run = engine("compute", prj, f"{name}.p01")
    assert (run.code, run.err) == (0, "")
    assert prj.with_name(f"{name}.p01.hdf").exists()


def test_relative_paths(engine: Engine, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    assert engine("compute", project.name, "p01").code == 0
    assert engine("prepare", project.name, "p02").code == 0
    assert engine("RasUnsteady", "Bear Creek.p02.tmp.hdf", "x01").code == 0


def test_si_units(engine: Engine, project: Path) -> None:
    edit(project, "English Units", "SI Units")
    assert engine("compute", project, "p01").code == 0
    with h5py.File(_beside(project, "p01.hdf"), "r") as file:
        assert file.attrs["Units System"] == b"SI Units"
        assert file[f"{SERIES}/Cross Sections/Flow"].attrs["Units"] == b"m^3/s"
        assert file["Results/Unsteady/Summary/Volume Accounting"].attrs["Error Percent"] < 0.001


def test_stage_boundary_and_uniform_lateral_inflow(engine: Engine, project: Path) -> None:
    flow = _beside(project, "u01")
    table = "Interval=1HOUR\r\nStage Hydrograph= 5 \r\n" + "".join(f"{652 + 0.5 * i:8.2f}" for i in range(5))
    edit(flow, "Friction Slope=0.0008,0", table)
    place = f"Boundary Location={'Bear Creek':<16},{'Main':<16},9000    ,4500    ,,,,\r\n"
    text = place + "Interval=1HOUR\r\nUniform Lateral Inflow Hydrograph= 5 \r\n" + "     100" * 5 + "\r\n"
    edit(flow, "Boundary Location=Bear Creek      ,Main            ,0 ", text + "Boundary Location=Bear Creek,Main,0 ")
    assert engine("compute", project, "p01").code == 0
    with h5py.File(_beside(project, "p01.hdf"), "r") as file:
        assert file[f"{SERIES}/Cross Sections/Water Surface"][-1, -1] == pytest.approx(654, abs=1e-3)
        balance = file["Results/Unsteady/Summary/Volume Accounting"]
        assert balance["Volume Accounting 1D"].attrs["Hydro Lat"] == pytest.approx(100 * 4 * 3600 / 43560, rel=1e-5)
        assert balance.attrs["Error Percent"] < 0.001
        lateral = file[f"{SERIES}/Cross Sections/Flow Lateral"][5]
    assert lateral.sum() == pytest.approx(100)
    assert (lateral > 0).tolist() == [1 <= i < 10 for i in range(20)]


def test_known_and_critical_downstream_boundaries(engine: Engine, project: Path) -> None:
    flow = _beside(project, "f01")
    blocks = flow.read_text("latin-1").replace("\r\n", "\n").split("Dn Type= 3 \nDn Slope=0.0008")
    assert len(blocks) == 4
    kinds = ["Dn Type= 1 \nDn Known WS=650", "Dn Type= 2 ", "Dn Type= 3 \nDn Slope=0.0008", ""]
    flow.write_text("".join(block + kind for block, kind in zip(blocks, kinds, strict=True)), "latin-1")
    assert engine("compute", project, "p07").code == 0
    with h5py.File(_beside(project, "p07.hdf"), "r") as file:
        stage = file[f"{PROFILES}/Water Surface"][:, -1]
        critical = file[f"{PROFILES}/Additional Variables/Critical Water Surface"][:, -1]
    assert stage[0] == 650
    assert stage[1] == pytest.approx(critical[1], abs=1e-3)


def test_water_above_the_tables_is_said_once_a_section(engine: Engine, project: Path) -> None:
    edit(_beside(project, "u01"), "DSS Path=", "Flow Hydrograph QMult= 150\r\nDSS Path=")
    run = engine("compute", project, "p01")
    assert run.code == 0
    said = [line.split(",")[0] for line in run.out.splitlines() if "Extrapolated above Cross Section Table" in line]
    assert said
    assert len(said) == len(set(said))


def test_summary_says_when_and_how_long_it_ran(engine: Engine, project: Path) -> None:
    assert engine("prepare", project, "p01").code == 0
    inputs = load_inputs(project, "p01")
    begin(inputs.temporary_results, inputs, ())
    start = datetime(2026, 11, 22, 23, 59, 30)
    balance = Balance(start=0.0, end=43560.0, upstream=87120.0, lateral=0.0, outflow=43560.0)
    finish(inputs.temporary_results, inputs, Summary("done", start, start + timedelta(seconds=95), 0.1, 90.0, balance))
    with h5py.File(inputs.temporary_results, "r") as file:
        found = dict(file["Results/Unsteady/Summary"].attrs)
        water = dict(file["Results/Unsteady/Summary/Volume Accounting"].attrs)
    assert found["Run Time Window"] == b"22NOV2026 23:59:30 to 23NOV2026 00:01:05"
    assert found["Computation Time Total"] == b"00:01:35"
    assert found["Time Stamp Solution Went Unstable"] == b"01JAN2026 00:01:30"
    assert (water["Total Boundary Flux of Water In"], water["Volume Ending"], water["Error"]) == (2.0, 1.0, 0.0)


def test_pace_from_the_environment(engine: Engine, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("ras_standin.run_unsteady.time.sleep", slept.append)
    monkeypatch.setenv("RAS_STANDIN_PACE", "0.25")
    assert engine("compute", project, "p01").code == 0
    assert slept == [0.25] * 24


def test_version_and_help_come_at_once() -> None:
    run = process("--version")
    assert run.out == f"ras-standin 0.1.0 - {LABEL}\n"
    run = process("--help", PYTHONPROFILEIMPORTTIME="1")
    assert run.code == 0
    for word in ("compute", "prepare", "RasUnsteady", "RasSteady", "--fault", "--strict", "--pace", LABEL):
        assert word in run.out
    assert "ras_standin.cli" in run.err
    assert "numpy" not in run.err
    assert "h5py" not in run.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["compute", "no such.prj", "p01"], "does not exist"),
        (["compute", "{folder}/Bear Creek.g01", "p01"], "does not end in .prj"),
        (["compute", "{prj}", "p55"], "Bear Creek.p55 does not exist"),
        (["compute", "{prj}", "plan"], "'plan' is not a plan"),
        (["compute", "{prj}", "p01", "--fault", "explode"], "unknown fault 'explode'; one of: tcu"),
        (["compute", "{prj}", "p01", "--fault", "crash:x"], "is not NAME, NAME:NUMBER"),
        (["compute", "{prj}", "p01", "--pace", "fast"], "--pace 'fast' is not a number"),
        (["compute", "{prj}", "p01", "--quick"], "unknown option --quick"),
        (["compute"], "the project file is missing"),
        (["calculate", "{prj}"], "unknown command 'calculate'; one of: compute"),
        ([], "unknown command ''"),
        (["RasUnsteady", "{folder}/Bear Creek.p01.tmp.hdf", "x01"], "prepare the plan first"),
        (["RasUnsteady", "{prj}", "x01"], "is not the temporary results file of a plan"),
        (["RasSteady", "{folder}/Bear Creek.r07"], "is missing or empty"),
        (["RasSteady", "{prj}"], "is not a steady run file"),
    ],
)
def test_bad_command_lines(engine: Engine, project: Path, arguments: list[str], reason: str) -> None:
    run = engine(*(word.format(prj=project, folder=project.parent) for word in arguments))
    assert run.code == 2
    assert run.err.startswith("ras-standin: ERROR: ")
    assert run.err.count("\n") == 1
    assert reason in run.err


@pytest.mark.parametrize(
    ("extension", "old", "new", "reason"),
    [
        ("prj", "Proj Title=", 'PROJCS["', "is not a HEC-RAS project file"),
        ("p01", "Geom File=g01", "", "has no 'Geom File='"),
        ("p01", "Simulation Date=", "Date=", "has no 'Simulation Date='"),
        ("p01", "Simulation Date=01JAN2026", "Simulation Date=31JUN2026", "is not a date and time"),
        ("p01", "Simulation Date=01JAN2026", "Simulation Date=01JAN2027", "before it starts"),
        ("p01", "Computation Interval=5MIN", "Computation Interval=often", "is not an interval"),
        ("p01", "UNET Theta= 1", "UNET Theta= one", "UNET Theta=one is not a number"),
        ("p01", "Flow File=u01", "Flow File=u09", "Bear Creek.u09 does not exist"),
        ("p01", "Geom File=g01", "Geom File=g09", "Bear Creek.g09 does not exist"),
        ("u01", "Flow Hydrograph= 25", "Flow Hydrograph= 95", "expected 95 numbers, found"),
        ("u01", "     600", "     6oo", "not a number in"),
        ("g01", "#Sta/Elev= 12", "#Sta/Elev= 99", "expected 198 numbers"),
        ("g01", "Bank Sta=", "Bonk Sta=", "has no left_bank"),
        ("u01", "Friction Slope=0.0008", "Friction Slope=0", "friction slope has to be above zero"),
    ],
)
def test_broken_files(engine: Engine, project: Path, extension: str, old: str, new: str, reason: str) -> None:
    edit(_beside(project, extension), old, new)
    run = engine("compute", project, "p01")
    assert run.code == 2
    assert run.err.count("\n") == 1
    assert reason in run.err


@pytest.mark.parametrize(("plan", "extension"), [("p01", "p01"), ("p01", "u01"), ("p07", "f01"), ("p01", "g01")])
def test_truncated_files_never_end_in_a_traceback(engine: Engine, project: Path, plan: str, extension: str) -> None:
    path = _beside(project, extension)
    whole = path.read_bytes()
    for share in (0.0, 0.1, 0.3, 0.5, 0.7):
        path.write_bytes(whole[: int(share * len(whole))])
        run = engine("compute", project, plan)
        assert run.code in (2, 3) or (run.code == 0 and extension in ("p01", "g01"))
        assert run.code != 2 or (run.err.startswith("ras-standin: ERROR: ") and run.err.count("\n") == 1)


def test_hdf_geometry_that_is_none(engine: Engine, project: Path) -> None:
    _beside(project, "g01.hdf").write_bytes(b"not HDF")
    run = engine("compute", project, "p01")
    assert run.code == 2
    assert "g01.hdf cannot be opened as HDF" in run.err
    assert "g01.hdf cannot be opened as HDF" in _beside(project, "p01.computeMsgs.txt").read_text("latin-1")
