"""The example project: what is written, and that every plan of it computes sensibly."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.standin.support import Engine

from ras_runner.errors import InputError
from ras_runner.hecras.example import write_example_project

SERIES = "Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series/Cross Sections"


def test_files_are_as_hec_ras_writes_them(tmp_path: Path) -> None:
    prj = write_example_project(tmp_path / "new" / "folder")
    assert prj == tmp_path / "new" / "folder" / "Bear Creek.prj"
    names = {path.name.removeprefix("Bear Creek.") for path in prj.parent.iterdir()}
    plans = {f"p{number:02d}" for number in range(1, 8)}
    assert names == {"prj", "g01", "g02", "u01", "u02", "u03", "f01", *plans}
    for path in prj.parent.iterdir():
        content = path.read_bytes()
        assert content.count(b"\n") == content.count(b"\r\n") > 0
    text = prj.read_text("latin-1")
    assert "Proj Title=Bear Creek" in text
    for name in plans:
        assert f"Plan File={name}" in text
    plan = prj.with_suffix(".p01").read_text("latin-1")
    for key in (
        "UNET D1 Cores= 0",
        "UNET D2 Cores= 0",
        "PS Cores= 0",
        "Write Detailed= 1",
        "Run HTab=-1",
        "Run UNet=-1",
    ):
        assert key in plan
    assert "Simulation Date=01JAN2026,0000,02JAN2026,0000" in plan


def test_any_number_of_plans(tmp_path: Path) -> None:
    prj = write_example_project(tmp_path, "many", plans=99)
    plans = sorted(tmp_path.glob("many.p[0-9][0-9]"))
    assert len(plans) == 99
    titles = [path.read_text("latin-1").splitlines()[0] for path in plans]
    assert len(set(titles)) == 99
    assert prj.read_text("latin-1").count("Plan File=") == 99
    flows = [line for path in plans for line in path.read_text("latin-1").splitlines() if line.startswith("Flow File")]
    assert flows[7:14] == flows[:7]
    assert set(flows) == {"Flow File=u01", "Flow File=u02", "Flow File=u03", "Flow File=f01"}


@pytest.mark.parametrize("plans", [0, 100])
def test_plans_out_of_range(tmp_path: Path, plans: int) -> None:
    with pytest.raises(InputError, match="1 to 99"):
        write_example_project(tmp_path, plans=plans)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a:b", "end.", "what?"])
def test_names_that_windows_refuses(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a file name"):
        write_example_project(tmp_path, name)


def test_writing_again_changes_nothing_but_never_overwrites_another_project(tmp_path: Path) -> None:
    prj = write_example_project(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert write_example_project(tmp_path) == prj
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    plan = prj.with_suffix(".p02")
    plan.write_bytes(plan.read_bytes() + b"my own note\r\n")
    with pytest.raises(InputError, match=r"p02 exists and is another project's[\s\S]*choose an empty folder"):
        write_example_project(tmp_path)
    assert plan.read_bytes().endswith(b"my own note\r\n")
    with pytest.raises(InputError, match=r"Bear Creek\.prj exists"):
        write_example_project(tmp_path, plans=8)


@pytest.mark.parametrize("plan", ["p01", "p02", "p03", "p04", "p05", "p06"])
def test_plans_are_stable_and_subcritical(engine: Engine, tmp_path: Path, plan: str) -> None:
    prj = write_example_project(tmp_path)
    run = engine("compute", prj, plan, "--strict")
    assert run.code == 0
    assert "Extrapolated" not in run.out
    with h5py.File(prj.with_suffix(f".{plan}.hdf"), "r") as file:
        summary = file["Results/Unsteady/Summary"]
        assert summary.attrs["Solution"] == b"Unsteady Finished Successfully"
        assert summary.attrs["Maximum WSEL Error"] < 0.02
        assert summary["Volume Accounting"].attrs["Error Percent"] < 0.001
        stage, flow, velocity = (file[f"{SERIES}/{name}"][:] for name in ("Water Surface", "Flow", "Velocity Channel"))
    assert stage.shape == (145, 20)
    assert np.abs(np.diff(stage, axis=0)).max() < 1.0
    assert (np.diff(stage, axis=1) < 0).all()  # water runs downhill, at every time
    assert flow.min() > 500
    bed = 640 + 0.4 * np.arange(19, -1, -1)
    froude = velocity / np.sqrt(32.174 * (stage - bed) / 1.5)
    assert froude.max() < 0.8
