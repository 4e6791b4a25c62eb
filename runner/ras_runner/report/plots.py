"""What the plots of a plan show, small enough for ninety-nine plans in one page.

The page's own script makes plotly.js traces from these plain values; the Python side of plotly is never imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ras_runner.errors import RasRunnerError
from ras_runner.hecras.hydrographs import Profile, SectionSeries, maximum_profile, section_series
from ras_runner.hecras.results import read_result

#: Most points of one curve.
MAX_POINTS = 500
#: Most steady profiles of one plot.
MAX_SURFACES = 12

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class PlanPlots:
    """The plots of one plan.

    Attributes:
        data: JSON-ready values for the page's script; None when there is nothing to plot.
        note: one sentence that says why there is no plot; empty when there is.
        standin: the result says that the stand-in engine made it.
    """

    data: dict[str, Any] | None
    note: str
    standin: bool = False


def read_plots(result: Path | None, points: int = MAX_POINTS) -> PlanPlots:
    """Read what there is to plot in the result HDF of a plan; a result that cannot be read gives a note.

    Args:
        result: the result HDF; None when the plan has none.
        points: most points of one curve.
    """
    if result is None:
        return PlanPlots(None, "There is no result to plot.")
    if not result.is_file():
        return PlanPlots(
            None, f"The result file {result.name} is no longer where it was published, so it is not plotted."
        )
    try:
        standin = read_result(result).stand_in
        data = plot_data(section_series(result, sections=3), maximum_profile(result), points)
    # A report is written when something went wrong, too: a damaged HDF raises almost any error, and one unreadable
    # result must not take the report of the others with it.
    except Exception as error:
        cause = error.cause if isinstance(error, RasRunnerError) else str(error)
        reason = " ".join(cause.split()) or type(error).__name__
        return PlanPlots(None, f"The result file {result.name} could not be read for plotting: {reason}")
    if not data:
        return PlanPlots(None, f"{result.name} has no cross sections to plot (2D results only).", standin)
    return PlanPlots(data, "", standin)


def names_standin(engine: str) -> bool:
    """True when `engine` is a name of the stand-in engine."""
    return "stand" in engine.casefold()


def thin(curves: Sequence[Floats], points: int) -> NDArray[np.intp]:
    """Indices that thin curves over one axis to about `points`, keeping every curve's extremes.

    Each of equal blocks of the axis keeps its lowest and highest value of each curve, and the axis keeps its ends;
    so a peak in the plot is the peak in the file.

    Args:
        curves: arrays (n,) over the same axis; NaN is never an extreme.
        points: most indices to return; at least 2 * len(curves) + 2.

    Returns:
        sorted indices (m,), m <= max(points, n if n <= points).
    """
    n = len(curves[0])
    if n <= points:
        return np.arange(n)
    blocks = np.array_split(np.arange(n), max(1, (points - 2) // (2 * len(curves))))
    keep = {0, n - 1}
    for curve in curves:
        low, high = np.nan_to_num(curve, nan=np.inf), np.nan_to_num(curve, nan=-np.inf)
        for block in blocks:
            keep.update((int(block[np.argmin(low[block])]), int(block[np.argmax(high[block])])))
    return np.array(sorted(keep), dtype=np.intp)


def significant(values: Floats, digits: int) -> list[float | None]:
    """`values` (n,) rounded to `digits` significant digits; None where not finite (JSON has no NaN)."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]


def decimals(values: Floats, places: int) -> list[float | None]:
    """`values` (n,) rounded to decimal `places`; None where not finite."""
    return [round(v, places) if np.isfinite(v) else None for v in np.asarray(values, dtype=float).tolist()]


def plot_data(sections: Sequence[SectionSeries], profile: Profile | None, points: int) -> dict[str, Any]:
    """Values for the page's script; empty when there is nothing to plot."""
    if not sections and profile is None:
        return {}
    return {
        "sections": [_section(series, points) for series in sections],
        "profile": _profile(profile, points) if profile is not None else None,
    }


def _section(series: SectionSeries, points: int) -> dict[str, Any]:
    """The hydrographs of one section over one thinned time axis, seconds since `start` (ISO, no time zone)."""
    chosen = thin((series.stage, series.flow), points)
    seconds = (series.times - series.times[0]).astype("timedelta64[s]").astype(int)
    return {
        "name": f"{series.river} {series.reach} {series.station}",
        "start": str(series.times[0].astype("datetime64[s]")),
        "seconds": seconds[chosen].tolist(),
        "stage": decimals(series.stage[chosen], 3),
        "stageUnit": series.stage_unit,
        "flow": significant(series.flow[chosen], 5),
        "flowUnit": series.flow_unit,
    }


def _profile(profile: Profile, points: int) -> dict[str, Any]:
    """Water surfaces and bed of one reach, thinned along it; of very many steady profiles, some."""
    count = len(profile.names)
    shown = np.unique(np.linspace(0, count - 1, min(count, MAX_SURFACES)).round().astype(int)).tolist()
    chosen = thin((profile.bed, profile.max_stage), points)
    along, axis = _axis(profile)
    return {
        "name": f"{profile.river} {profile.reach}",
        "title": "Maximum water surface" if profile.names == ("Maximum",) else "Water surface profiles",
        "some": f"{len(shown)} of {count} profiles" if len(shown) < count else "",
        "axis": axis,
        "unit": profile.unit,
        "stations": [profile.stations[i] for i in chosen],
        "distance": significant(along[chosen], 7),
        "bed": decimals(profile.bed[chosen], 3) if np.isfinite(profile.bed).any() else [],
        "surfaces": [{"name": profile.names[i], "stage": decimals(profile.stages[i, chosen], 3)} for i in shown],
    }


def _axis(profile: Profile) -> tuple[Floats, str]:
    """Where the sections stand along the reach (n,), and what that axis is called.

    Results without geometry have no distances: then the river stations, or failing that the order of the sections.
    """
    if np.ptp(profile.distance) > 0:
        return profile.distance, f"Channel distance from the downstream end ({profile.unit})"
    try:
        return np.array([float(station.rstrip("*")) for station in profile.stations]), "River station"
    except ValueError:
        return np.arange(len(profile.stations), 0.0, -1.0), "Sections, counted from downstream"
