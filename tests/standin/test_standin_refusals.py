"""What the stand-in engine will not compute, and what it leaves out with a warning."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.standin.support import Engine, Run, edit

REACH = "River Reach=Bear Creek      ,Main            "
NODE = "Type RM Length L Ch R = 1 ,7500    "
INFLOW = "Boundary Location=Bear Creek      ,Main            ,9500    "
OUTFLOW = "Friction Slope=0.0008,0"


def _refused(run: Run, project: Path, plan: str, reason: str) -> None:
    assert run.code == 3, run.out + run.err
    line = next(line for line in run.out.splitlines() if line.startswith("ERROR: "))
    assert line.startswith("ERROR: refused by the stand-in engine: ")
    assert reason in line
    with h5py.File(project.with_suffix(f".{plan}.hdf"), "r") as file:
        kind = "Steady" if plan == "p07" else "Unsteady"
        assert file[f"Results/{kind}/Summary"].attrs["Solution"] == f"{kind} failed to run".encode()
        assert reason.encode() in file["Results/Summary/Compute Messages (text)"][0]
        assert b"Complete Process" not in file["Results/Summary/Compute Messages (text)"][0]


@pytest.mark.parametrize(
    ("extension", "old", "new", "reason"),
    [
        ("g01", NODE, f"River Reach=Bear Creek      ,Lower           \r\n\r\n{NODE}", "a network of 2 reaches"),
        ("g01", REACH, f"Junct Name=Fork\r\n{REACH}", "1 junctions"),
        ("g01", NODE, f"Type RM Length L Ch R = 5 ,7600    ,,,\r\n\r\n{NODE}", "inline structure RS 7600"),
        ("g01", REACH, f"Storage Area=Pond            ,1,2\r\n{REACH}", "storage areas: Pond"),
        (
            "g01",
            "Bank Sta=",
            "Vertical n Elevations= 2 \r\n     640     650\r\nBank Sta=",
            "roughness given as Vertical n",
        ),
        ("p01", "Run Sediment= 0", "Run Sediment=-1", "plan option 'Run Sediment'"),
        ("p01", "Run WQNet= 0", "Run WQNet=-1", "plan option 'Run WQNet'"),
        ("p01", "Subcritical Flow", "Supercritical Flow", "supercritical flow regime"),
        ("u01", "Use Restart= 0", "Use Restart=-1", "restart file"),
        ("u01", OUTFLOW, "Rating Curve= 2 ", "boundary 'Rating Curve' at RS 0"),
        ("u01", OUTFLOW, "Gate Name=Gate #1", "boundary 'Gate Name' at RS 0"),
        ("u01", OUTFLOW, "", "boundary 'of unknown type' at RS 0"),
        ("u01", "Use DSS=False", "Use DSS=True", "Flow Hydrograph at RS 9500 is in a DSS file"),
        ("u01", INFLOW, INFLOW.replace("9500", "9000"), "Flow Hydrograph at RS 9000: not possible at this place"),
        ("u01", INFLOW, INFLOW.replace("9500", "9000"), "no flow hydrograph at the first section, RS 9500"),
        ("u01", "Flow Hydrograph= 25", "Flow Hydrograph= 4", "does not cover the simulation"),
        ("u01", "Flow Hydrograph= 25", "Flow Hydrograph= 0", "has no values"),
        ("u01", ",600", ",0", "flow at the start of the simulation has to be above zero"),
        ("p01", "Mapping Interval=10MIN", "Mapping Interval=12MIN", "whole multiples of the computation interval"),
    ],
)
def test_refusals(engine: Engine, project: Path, extension: str, old: str, new: str, reason: str) -> None:
    edit(project.with_suffix(f".{extension}"), old, new)
    _refused(engine("compute", project, "p01"), project, "p01", reason)


def test_quasi_unsteady_flow_is_refused(engine: Engine, project: Path) -> None:
    edit(project.with_suffix(".p01"), "Flow File=u01", "Flow File=q01")
    project.with_suffix(".q01").write_text("Flow Title=Sediment\r\n", "latin-1")
    _refused(engine("compute", project, "p01"), project, "p01", "neither steady nor unsteady flow")


def test_2d_only_models_are_refused(engine: Engine, project: Path) -> None:
    text = "Geom Title=All 2D\r\nStorage Area=Perimeter 1,1,2\r\nStorage Area Is2D=-1\r\n"
    project.with_suffix(".g01").write_text(text, "latin-1")
    _refused(engine("compute", project, "p01"), project, "p01", "no 1D cross-sections (a 2D-only model)")


@pytest.mark.parametrize(
    ("extension", "old", "new", "reason"),
    [
        ("f01", "Dn Type= 3", "Dn Type= 4", "downstream boundary type 4"),
        ("f01", "Main            ,9500", "Main            ,9000", "no flow at the first section, RS 9500"),
        ("f01", "     600", "       0", "profile Base flow: the flow has to be above zero"),
        ("p07", "Encroach Param=-1 ,0,0, 0", "Encroach Node=9500", "encroachments"),
        ("g01", REACH, f"Storage Area=Pond            ,1,2\r\n{REACH}", "storage areas: Pond"),
    ],
)
def test_steady_refusals(engine: Engine, project: Path, extension: str, old: str, new: str, reason: str) -> None:
    edit(project.with_suffix(f".{extension}"), old, new)
    _refused(engine("compute", project, "p07"), project, "p07", reason)


def test_the_linux_program_refuses_too(engine: Engine, project: Path) -> None:
    edit(project.with_suffix(".u01"), "Use Restart= 0", "Use Restart=-1")
    assert engine("prepare", project, "p01").code == 0
    run = engine("RasUnsteady", project.with_suffix(".p01.tmp.hdf"), "x01")
    assert run.code == 3
    assert "ERROR: refused by the stand-in engine: restart file" in run.out
    with h5py.File(project.with_suffix(".p01.tmp.hdf"), "r") as file:
        assert file["Results/Unsteady/Summary"].attrs["Solution"] == b"Unsteady failed to run"


TOLERATED = [
    ("g01", NODE, f"Type RM Length L Ch R = 3 ,7600    ,,,\r\n\r\n{NODE}", "bridge RS 7600"),
    ("g01", NODE, f"Type RM Length L Ch R = 2 ,7600    ,,,\r\n\r\n{NODE}", "culvert RS 7600"),
    ("g01", NODE, f"Type RM Length L Ch R = 6 ,7600    ,,,\r\n\r\n{NODE}", "lateral structure RS 7600"),
    ("g01", REACH, f"Storage Area=Meadow          ,1,2\r\nStorage Area Is2D=-1\r\n{REACH}", "2D flow area 'Meadow'"),
    ("g01", "Permanent Ineff=\r\n       F", "Permanent Ineff=\r\n       T", "permanent ineffective area"),
    ("p01", "Subcritical Flow", "Mixed Flow", "mixed flow regime"),
    ("p01", "DSS File=dss", "Breach Loc=Bear Creek,Main,7600,True,", "breach at RS 7600"),
    ("p01", "DSS File=dss", "Computation Time Step Use Courant= 1", "time step by Courant number"),
    ("u01", OUTFLOW, f"{OUTFLOW}\r\nBoundary Location=,,,,,Meadow\r\nFlow Hydrograph= 0 ", "boundary on 'Meadow'"),
]


@pytest.mark.parametrize(("extension", "old", "new", "reason"), TOLERATED)
def test_one_warning_for_what_is_left_out(
    engine: Engine, project: Path, extension: str, old: str, new: str, reason: str
) -> None:
    edit(project.with_suffix(f".{extension}"), old, new)
    run = engine("compute", project, "p01")
    assert run.code == 0
    warned = [line for line in run.out.splitlines() if line.startswith("WARNING: ") and reason in line]
    assert len(warned) == (2 if "permanent" in reason else 1)  # two sections have an ineffective area


@pytest.mark.parametrize(("extension", "old", "new", "reason"), TOLERATED)
def test_strict_makes_a_warning_a_refusal(
    engine: Engine, project: Path, extension: str, old: str, new: str, reason: str
) -> None:
    edit(project.with_suffix(f".{extension}"), old, new)
    _refused(engine("--strict", "compute", project, "p01"), project, "p01", reason)


def test_strict_runs_what_is_modelled_in_full(engine: Engine, project: Path) -> None:
    for plan in ("p03", "p07"):
        assert engine("compute", project, plan, "--strict").code == 0


def test_hdf_geometry_is_surveyed_like_text(engine: Engine, project: Path) -> None:
    assert engine("compute", project, "p01").code == 0
    with (
        h5py.File(project.with_suffix(".p01.hdf"), "r") as old,
        h5py.File(project.with_suffix(".g01.hdf"), "w") as new,
    ):
        old.copy("Geometry", new)
        table = np.array([(b"Inline", b"7600")], [("Type", "S16"), ("RS", "S8")])
        new["Geometry/Structures/Attributes"] = table
        rows = new["Geometry/Cross Sections/Attributes"][:]
        rows["Friction Mode"][3] = b"Roughness Height"
        new["Geometry/Cross Sections/Attributes"][:] = rows
    _refused(engine("compute", project, "p01"), project, "p01", "inline structure RS 7600")
    _refused(engine("compute", project, "p01"), project, "p01", "roughness given as Roughness Height")
