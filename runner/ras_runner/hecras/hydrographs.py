"""Hydrographs and longitudinal profiles out of results HDF files, for reports. 1D only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ras_runner.errors import InputError
from ras_runner.hecras.text import parse_date

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

_BASE = "Results/Unsteady/Output/Output Blocks/Base Output"
_SERIES = f"{_BASE}/Unsteady Time Series"
_SERIES_SECTIONS = f"{_SERIES}/Cross Sections"
_MAXIMUM = f"{_BASE}/Summary Output/Cross Sections/Maximum Water Surface"
_STEADY = "Results/Steady/Output/Output Blocks/Base Output/Steady Profiles"
_SECTION_NAMES = (
    f"{_SERIES_SECTIONS}/Cross Section Attributes",
    "Results/Unsteady/Geometry Info/Cross Section Attributes",
    "Results/Steady/Output/Geometry Info/Cross Section Attributes",
)
_GEOMETRY = "Geometry/Cross Sections"

#: River, reach, river station.
_Name = tuple[str, str, str]


@dataclass(frozen=True, slots=True, eq=False)
class SectionSeries:
    """Stage and flow of one cross section over time."""

    river: str
    reach: str
    station: str
    #: (t,) datetime64[s]
    times: NDArray[np.datetime64]
    #: (t,) water surface elevation in ``stage_unit``
    stage: NDArray[np.float32]
    #: (t,) in ``flow_unit``
    flow: NDArray[np.float32]
    stage_unit: str
    flow_unit: str


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Water surfaces along one reach, from its first (upstream) to its last section."""

    river: str
    reach: str
    stations: list[str]
    #: (n,) channel distance from the last section, in ``unit``
    distance: NDArray[np.float32]
    #: (n,) lowest point of each section, in ``unit``; NaN where the geometry is not in the file
    bed: NDArray[np.float32]
    #: of each water surface: the steady profiles, or ``Maximum``
    names: tuple[str, ...]
    #: (k, n) water surfaces in ``unit``
    stages: NDArray[np.float32]
    #: ``ft`` or ``m``
    unit: str

    @property
    def max_stage(self) -> NDArray[np.float32]:
        """(n,) the highest of the water surfaces."""
        highest: NDArray[np.float32] = self.stages.max(axis=0)
        return highest


def section_series(path: Path, sections: int | None = 3) -> list[SectionSeries]:
    """Hydrographs of the first, the last and evenly chosen sections between, or of all with ``sections=None``.

    Empty where the results hold no 1D time series (steady, 2D only).

    Raises:
        InputError: the file cannot be read.
        ValueError: ``sections`` is less than 1.
    """
    import numpy as np

    if sections is not None and sections < 1:
        raise ValueError(f"{sections} sections")
    with _opened(path) as file:
        names = _section_names(file)
        if f"{_SERIES_SECTIONS}/Water Surface" not in file or not names:
            return []
        count = min(sections or len(names), len(names))
        chosen = np.unique(np.linspace(0, len(names) - 1, count).round().astype(int)).tolist()
        stamps = [parse_date(stamp.decode("ascii")) for stamp in file[f"{_SERIES}/Time Date Stamp"][()].tolist()]
        times = np.array(stamps, "datetime64[s]")
        stage = file[f"{_SERIES_SECTIONS}/Water Surface"][:, chosen].astype(np.float32)
        flow = file[f"{_SERIES_SECTIONS}/Flow"][:, chosen].astype(np.float32)
        length, discharge = _units(file)
    found = []
    for column, index in enumerate(chosen):
        river, reach, station = names[index]
        found.append(SectionSeries(river, reach, station, times, stage[:, column], flow[:, column], length, discharge))
    return found


def maximum_profile(path: Path) -> Profile | None:
    """The maximum water surface (unsteady), or all water surfaces (steady), along the reach with most sections.

    None where the results hold no 1D water surface.

    Raises:
        InputError: the file cannot be read.
    """
    with _opened(path) as file:
        names = _section_names(file)
        surfaces = _surfaces(file)
        if surfaces is None or not names:
            return None
        labels, stages = surfaces
        chosen = _longest_reach(names)
        distance, bed = _along(file, [names[index] for index in chosen])
        river, reach, _ = names[chosen[0]]
        stations = [names[index][2] for index in chosen]
        return Profile(river, reach, stations, distance, bed, labels, stages[:, chosen], _units(file)[0])


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        cause = f"{path} holds no readable results: {' '.join(str(error).split())}"
        raise InputError(cause, step="read results", action="compute the plan again") from error


def _section_names(file: h5py.File) -> list[_Name]:
    place = next((place for place in _SECTION_NAMES if place in file), None)
    if place is None:
        return []
    rows = file[place][()]
    return [_name(row["River"], row["Reach"], row["Station"]) for row in rows]


def _name(*parts: bytes) -> _Name:
    river, reach, station = (part.decode("utf-8", "replace").strip() for part in parts)
    return river, reach, station


def _surfaces(file: h5py.File) -> tuple[tuple[str, ...], NDArray[np.float32]] | None:
    """Names and (k, n) water surfaces."""
    import numpy as np

    if _MAXIMUM in file:  # row 0 is the elevation, row 1 its time
        return ("Maximum",), file[_MAXIMUM][0:1].astype(np.float32)
    if f"{_SERIES_SECTIONS}/Water Surface" in file:
        return ("Maximum",), file[f"{_SERIES_SECTIONS}/Water Surface"][()].max(axis=0, keepdims=True).astype(np.float32)
    if f"{_STEADY}/Cross Sections/Water Surface" in file:
        names = tuple(name.decode("utf-8", "replace").strip() for name in file[f"{_STEADY}/Profile Names"][()].tolist())
        return names, file[f"{_STEADY}/Cross Sections/Water Surface"][()].astype(np.float32)
    return None


def _longest_reach(names: list[_Name]) -> list[int]:
    """Indexes of the sections of the reach with most sections: lengths do not add up across junctions."""
    reaches: dict[tuple[str, str], list[int]] = {}
    for index, (river, reach, _) in enumerate(names):
        reaches.setdefault((river, reach), []).append(index)
    return max(reaches.values(), key=len)


def _along(file: h5py.File, names: list[_Name]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distance from the last section and lowest point of each section, (n,) each.

    ``Len Channel`` of a section is the channel length to the next one downstream.
    """
    import numpy as np

    lengths = np.zeros(len(names))
    bed = np.full(len(names), np.nan, np.float32)
    if f"{_GEOMETRY}/Attributes" in file:
        rows = file[f"{_GEOMETRY}/Attributes"][()]
        info = file[f"{_GEOMETRY}/Station Elevation Info"][()]
        points = file[f"{_GEOMETRY}/Station Elevation Values"][()]
        where = {_name(row["River"], row["Reach"], row["RS"]): index for index, row in enumerate(rows)}
        for position, name in enumerate(names):
            if name in where:
                row = where[name]
                first, count = info[row]
                lengths[position] = np.nan_to_num(rows["Len Channel"][row])
                bed[position] = points[first : first + count, 1].min()
    lengths[-1] = 0.0  # to a junction or the end of the model
    return np.cumsum(lengths[::-1])[::-1].astype(np.float32), bed


def _units(file: h5py.File) -> tuple[str, str]:
    """Units of length and of flow."""
    system = file.attrs.get("Units System", b"")
    return ("m", "m³/s") if bytes(system).startswith(b"SI") else ("ft", "cfs")
