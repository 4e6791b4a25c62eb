"""The stand-in engine against figures of HEC-RAS itself."""

from __future__ import annotations

import io
import shutil
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from ras_standin.cli import main
from ras_standin.geometry_hdf import read_geometry
from ras_standin.results_steady import variables
from ras_standin.section import SectionHydraulics
from ras_standin.steady import Profile, profile
from ras_standin.units import US_CUSTOMARY

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from rashdf import RasPlanHdf

PROFILES = "Results/Steady/Output/Output Blocks/Base Output/Steady Profiles/Cross Sections"
SERIES = "Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series"
BRIDGE = 6  # the section upstream of the bridge, which the stand-in engine does not model


def test_section_tables_are_those_of_hec_ras(data: Path) -> None:
    with h5py.File(data / "muncie" / "Muncie.g04.hdf", "r") as file:
        sections = read_geometry(file).sections
        tables = file["Geometry/Cross Sections/Hyd Property Tables"]
        info, values = tables["XSEC Info"][:], tables["XSEC Value"][:].astype(float)
    errors: dict[str, list[np.ndarray]] = {"conveyance": [], "area": [], "beta": []}
    for section, (first, count, _) in zip(sections, info, strict=True):
        rows = values[first + 1 : first + count]
        found = SectionHydraulics(section, US_CUSTOMARY).at(rows[:, 0])
        errors["conveyance"].append(found.total_conveyance / rows[:, 7:10].sum(axis=1) - 1)
        errors["area"].append(found.area_all.sum(axis=1) / rows[:, 4:7].sum(axis=1) - 1)
        errors["beta"].append(found.beta / rows[:, 22] - 1)
    assert len(sections) == 61
    for name, parts in errors.items():
        assert np.median(np.abs(np.concatenate(parts))) < 1e-5, name


def _flodencr(data: Path, number: int) -> tuple[list[SectionHydraulics], dict[str, np.ndarray]]:
    """Sections (encroached as profile ``number`` was) and HEC-RAS's results of FLODENCR."""
    with h5py.File(data / "results" / "FLODENCR.p01.hdf", "r") as file:
        sections = read_geometry(file).sections
        more = file[f"{PROFILES}/Additional Variables"]
        found = {name: more[name][number].astype(float) for name in more}
        found |= {name: file[f"{PROFILES}/{name}"][number].astype(float) for name in ("Water Surface", "Energy Grade")}
    cuts = zip(sections, found["Encroachment Station Left"], found["Encroachment Station Right"], strict=True)
    cut = [section.encroached(left, right) if np.isfinite(left) else section for section, left, right in cuts]
    return [SectionHydraulics(section, US_CUSTOMARY) for section in cut], found


@pytest.mark.parametrize("number", [0, 1])
def test_steady_water_surface_is_that_of_hec_ras(data: Path, number: int) -> None:
    sections, found = _flodencr(data, number)
    known = found["Water Surface"]
    mine = profile(sections, np.full(12, 14000.0), known[-1], fixed={BRIDGE: known[BRIDGE]})
    computed = [i for i in range(11) if i != BRIDGE]
    assert np.sqrt(np.mean((mine.stage - known)[computed] ** 2)) < 0.005
    assert not mine.at_critical.any()
    if number == 1:
        assert np.isfinite(found["Encroachment Station Left"]).any()


def test_steady_variables_are_those_of_hec_ras(data: Path) -> None:
    sections, found = _flodencr(data, 0)
    state = Profile(found["Water Surface"], found["Critical Water Surface"], np.zeros(12, dtype=bool))
    mine = variables(sections, np.full(12, 14000.0), state)
    # HEC-RAS writes one wetted perimeter per zone for all sections, and weighs n of an overbank in its own way.
    known_differences = {f"Wetted Perimeter {zone}" for zone in ("Left OB", "Channel", "Right OB")}
    known_differences |= {"Manning n Left OB", "Manning n Right OB"}
    assert set(mine) == set(found) - {"Water Surface"}
    for name in set(mine) - known_differences:
        np.testing.assert_allclose(mine[name][0], found[name], rtol=0.005, err_msg=name)


@dataclass(frozen=True)
class Muncie:
    """One run of the real Muncie plan p04."""

    code: int
    out: str
    results: Path


@pytest.fixture(scope="module")
def muncie(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Muncie:
    folder = tmp_path_factory.mktemp("muncie")
    for file in (data / "muncie").iterdir():
        shutil.copyfile(file, folder / file.name)
    out = io.StringIO()
    with redirect_stdout(out):
        code = main(["ras-standin", "compute", str(folder / "Muncie.prj"), "Muncie.p04"])
    return Muncie(code, out.getvalue(), folder / "Muncie.p04.hdf")


def test_muncie_balances_its_water(muncie: Muncie) -> None:
    with h5py.File(muncie.results, "r") as file:
        summary = file["Results/Unsteady/Summary"]
        balance = dict(summary["Volume Accounting"].attrs)
        solution = summary.attrs["Solution"]
    assert (muncie.code, solution) == (0, b"Unsteady Finished Successfully")
    # 36674.184 acre-feet is what HEC-RAS reports for this plan.
    assert balance["Total Boundary Flux of Water In"] == pytest.approx(36674.18, abs=0.01)
    assert balance["Error Percent"] < 0.001


def test_muncie_says_what_it_leaves_out(muncie: Muncie) -> None:
    warned = [line for line in muncie.out.splitlines() if line.startswith("WARNING: ")]
    for what in ("lateral structure RS 13214", "lateral structure RS 7300", "2D flow area", "breach at RS 13214"):
        assert sum(what in line for line in warned) == 1, what
    assert len(warned) == 4


def test_rashdf_reads_muncie(muncie: Muncie) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with RasPlanHdf(str(muncie.results)) as plan:
            assert len(plan.cross_sections()) == 61
            assert plan.mesh_area_names() == ["2D Interior Area"]
            assert len(plan.unsteady_datetimes()) == 289
            assert str(plan.unsteady_datetimes()[-1]) == "1900-01-03 00:00:00"
            assert plan.get_results_unsteady_summary_attrs()["Solution"] == "Unsteady Finished Successfully"
            assert plan.get_plan_info_attrs()["Plan ShortID"] == "RESULTS"
            stage = plan[f"{SERIES}/Cross Sections/Water Surface"]
            assert stage.shape == (289, 61)
            assert stage.compression_opts == 1
