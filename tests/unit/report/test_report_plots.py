"""What is read from a result to be plotted."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.unit.report.samples import write_unsteady

from ras_runner.hecras.hydrographs import Profile, section_series
from ras_runner.report.plots import MAX_POINTS, MAX_SURFACES, plot_data, read_plots, thin


def test_hydrographs_of_first_middle_and_last_section(tmp_path: Path) -> None:
    plots = read_plots(write_unsteady(tmp_path / "Creek.p01.hdf", sections=5))
    assert plots.data is not None and plots.note == "" and not plots.standin
    assert [s["name"] for s in plots.data["sections"]] == ["Creek Upper 5000", "Creek Upper 3000", "Creek Upper 1000"]
    first = plots.data["sections"][0]
    assert (first["start"], first["seconds"][:3]) == ("2026-08-01T00:00:00", [0, 3600, 7200])
    assert (first["stageUnit"], first["flowUnit"]) == ("ft", "cfs")
    assert max(first["flow"]) == 1000.0


def test_a_long_hydrograph_is_thinned_and_keeps_its_peak(tmp_path: Path) -> None:
    path = write_unsteady(tmp_path / "long.hdf", steps=20_000)
    plots = read_plots(path)
    assert plots.data is not None
    for shown, real in zip(plots.data["sections"], section_series(path), strict=True):
        assert len(shown["seconds"]) == len(shown["stage"]) == len(shown["flow"]) <= MAX_POINTS
        assert max(shown["flow"]) == pytest.approx(real.flow.max(), rel=1e-4)
        assert max(shown["stage"]) == pytest.approx(real.stage.max(), abs=1e-3)
        assert shown["seconds"][-1] == 19_999 * 3600


def test_thinning_finds_a_peak_of_one_step_in_every_curve() -> None:
    generator = np.random.default_rng(7)
    curves = [generator.normal(size=5001) for _ in range(2)]
    curves[0][1234], curves[1][4321] = 99.0, -99.0
    chosen = thin(curves, 100)
    assert len(chosen) <= 100
    assert {0, 1234, 4321, 5000} <= set(chosen.tolist())
    assert (np.diff(chosen) > 0).all()


def test_thinning_survives_curves_without_values() -> None:
    assert len(thin([np.full(1000, np.nan), np.zeros(1000)], 50)) <= 50


def test_values_that_are_no_numbers_become_null(tmp_path: Path) -> None:
    path = write_unsteady(tmp_path / "nan.hdf")
    with h5py.File(path, "r+") as hdf:
        name = "Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series/Cross Sections/Flow"
        hdf[name][3, 0] = np.nan
    plots = read_plots(path)
    assert plots.data is not None
    assert plots.data["sections"][0]["flow"][3] is None
    json.dumps(plots.data, allow_nan=False)


def _profile(surfaces: int, stations: list[str], distance: float) -> Profile:
    n = len(stations)
    return Profile(
        river="Creek",
        reach="Upper",
        stations=stations,
        distance=np.linspace(distance, 0, n, dtype=np.float32),
        bed=np.full(n, np.nan, np.float32),
        names=tuple(f"PF{i}" for i in range(1, surfaces + 1)),
        stages=np.arange(surfaces * n, dtype=np.float32).reshape(surfaces, n),
        unit="m",
    )


def test_of_very_many_steady_profiles_some_are_shown_and_the_title_says_so() -> None:
    shown = plot_data([], _profile(100, ["3", "2", "1"], 200.0), MAX_POINTS)["profile"]
    assert len(shown["surfaces"]) == MAX_SURFACES
    assert (shown["surfaces"][0]["name"], shown["surfaces"][-1]["name"]) == ("PF1", "PF100")
    assert shown["some"] == "12 of 100 profiles"
    assert shown["bed"] == []


@pytest.mark.parametrize(
    ("stations", "distance", "axis", "along"),
    [
        (["3", "2", "1"], 200.0, "Channel distance from the downstream end (m)", [200.0, 100.0, 0.0]),
        (["30.5*", "20", "10"], 0.0, "River station", [30.5, 20.0, 10.0]),
        (["a", "b", "c"], 0.0, "Sections, counted from downstream", [3.0, 2.0, 1.0]),
    ],
)
def test_the_axis_of_a_profile(stations: list[str], distance: float, axis: str, along: list[float]) -> None:
    shown = plot_data([], _profile(1, stations, distance), MAX_POINTS)["profile"]
    assert (shown["axis"], shown["distance"]) == (axis, along)


def test_a_result_that_is_no_hdf_gives_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.p01.hdf"
    path.write_bytes(b"not HDF at all")
    plots = read_plots(path)
    assert plots.data is None and plots.note.startswith("The result file broken.p01.hdf could not be read")


def test_a_truncated_result_gives_a_sentence(tmp_path: Path) -> None:
    path = write_unsteady(tmp_path / "cut.p01.hdf")
    path.write_bytes(path.read_bytes()[:-3000])
    assert "cut.p01.hdf could not be read" in read_plots(path).note


def test_a_result_with_unexpected_shapes_gives_a_sentence(tmp_path: Path) -> None:
    path = write_unsteady(tmp_path / "odd.p01.hdf")
    with h5py.File(path, "r+") as hdf:
        series = hdf["Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series"]
        del series["Cross Sections/Flow"]
        series["Cross Sections/Flow"] = np.zeros(3)
    assert "odd.p01.hdf could not be read" in read_plots(path).note


def test_no_result_and_a_result_that_is_gone_give_a_sentence(tmp_path: Path) -> None:
    assert read_plots(None).note == "There is no result to plot."
    assert "no longer where it was published" in read_plots(tmp_path / "gone.p01.hdf").note


def test_a_result_without_cross_sections_gives_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "mesh.p01.hdf"
    with h5py.File(path, "w") as hdf:
        hdf.create_group("Results/Unsteady/Output")
    assert read_plots(path).note == "mesh.p01.hdf has no cross sections to plot (2D results only)."


def test_a_result_that_names_the_standin_engine_is_known(tmp_path: Path) -> None:
    path = write_unsteady(tmp_path / "Creek.p01.hdf")
    with h5py.File(path, "r+") as hdf:
        hdf.attrs["Stand-In Engine"] = np.bytes_("STAND-IN ENGINE - NOT HEC-RAS - NOT FOR ENGINEERING USE")
    assert read_plots(path).standin


REAL = Path(__file__).parents[4] / "shared" / "data" / "results"
needs_real_results = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real HEC-RAS results at {REAL}")


@needs_real_results
def test_steady_profiles_of_a_real_result() -> None:
    plots = read_plots(REAL / "FLODENCR.p01.hdf")
    assert plots.data is not None and not plots.standin
    assert plots.data["sections"] == []
    assert [s["name"] for s in plots.data["profile"]["surfaces"]] == ["PF#1", "PF#2"]
    assert plots.data["profile"]["title"] == "Water surface profiles"


@needs_real_results
def test_a_real_2d_result_is_not_plotted() -> None:
    plots = read_plots(REAL / "BaldEagleDamBrk.p18.hdf")
    assert plots.data is None and "2D results only" in plots.note
