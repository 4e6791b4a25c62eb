"""Small projects and results HDF files in HEC-RAS's layout."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np

PLAN = """Plan Title=A plan
Program Version=6.60
Short Identifier=short
Simulation Date=02JAN1900,0000,02JAN1900,2400
Geom File=g01
Flow File=u01
Computation Interval=10SEC
Output Interval=5MIN
Mapping Interval=1HOUR
Run HTab=-1
UNET D1 Cores= 0
UNET D2 Cores= 0
UNET D2 Name=Lower area
UNET D2 Cores=0
UNET D2 Name=Upper area
UNET D2 Cores=3
PS Cores=0
Write Detailed= 0
"""
PROJECT = "Proj Title=A project\nCurrent Plan=p01\nEnglish Units\nGeom File=g01\nUnsteady File=u01\nPlan File=p01\n"
ESRI = 'PROJCS["NAD_1983_StatePlane",GEOGCS["GCS_North_American_1983"]]'


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="latin-1", newline="\r\n")
    return path


def project(
    folder: Path, *, name: str = "Model", plan: str = PLAN, flow: str = "Flow Title=f\n", prj: str = ""
) -> Path:
    """A folder with a complete small project; returns its .prj."""
    write(folder / f"{name}.p01", plan)
    write(folder / f"{name}.g01", "Geom Title=g\n")
    write(folder / f"{name}.u01", flow)
    return write(folder / f"{name}.prj", prj or PROJECT)


def hdf(path: Path, groups: Mapping[str, Mapping[str, object]]) -> Path:
    """An HDF file of groups with attributes; text becomes fixed-length bytes as HEC-RAS writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for place, attributes in groups.items():
            group = file.require_group(place)
            for key, value in attributes.items():
                group.attrs[key] = np.bytes_(value.encode()) if isinstance(value, str) else value
    return path


START, END = datetime(2025, 1, 1), datetime(2025, 1, 1, 6)
SERIES = "Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series"
SECTIONS = [
    (b"White", b"Upper", b"9"),
    (b"White", b"Upper", b"5*"),
    (b"White", b"Upper", b"1"),
    (b"Blue", b"Low", b"2"),
]


def result(
    path: Path,
    *,
    solution: str = "Unsteady Finished Successfully",
    last: datetime = END,
    unstable: str = "Not Applicable",
    volume_error: float = 0.01,
    messages: str | None = "Finished Unsteady Flow Simulation\r\nComplete Process\t<1\r\n",
    summary: str = "Results/Unsteady/Summary",
    root: Mapping[str, object] | None = None,
    plan: str = "Model.p01",
    stamps: bool = True,
) -> Path:
    """An unsteady result of two reaches (3 and 1 sections), hourly from START to ``last``."""
    groups: dict[str, Mapping[str, object]] = {
        "/": {"File Type": "HEC-RAS Results", "File Version": "HEC-RAS 6.6 September 2024", **(root or {})},
        "Plan Data/Plan Information": {"Plan Filename": plan, "Simulation End Time": f"{END:%d%b%Y %H:%M:%S}"},
        "Results/Unsteady": {"Program Name": "HEC-RAS - River Analysis System"},
        summary: {
            "Solution": solution,
            "Time Stamp Solution Went Unstable": unstable,
            "Computation Time Total": "01:02:03",
            "Maximum WSEL Error": np.float32(0.004),
        },
        f"{summary}/Volume Accounting": {"Error Percent": np.float32(volume_error)},
    }
    hdf(path, groups)
    with h5py.File(path, "r+") as file:
        if messages is not None:
            file["Results/Summary/Compute Messages (text)"] = np.array([messages.encode()])
        if stamps:
            _series(file, [START + timedelta(hours=h) for h in range(int((last - START).total_seconds() // 3600) + 1)])
    return path


def _series(file: h5py.File, times: list[datetime]) -> None:
    file[f"{SERIES}/Time Date Stamp"] = np.array([f"{t:%d%b%Y %H:%M:%S}".upper().encode() for t in times])
    names = np.array(
        [(*s, b"") for s in SECTIONS], [("River", "S16"), ("Reach", "S16"), ("Station", "S8"), ("Name", "S16")]
    )
    file[f"{SERIES}/Cross Sections/Cross Section Attributes"] = names
    shape = (len(times), len(SECTIONS))
    rise = np.arange(len(times))[:, None]
    file[f"{SERIES}/Cross Sections/Water Surface"] = (np.broadcast_to([109.0, 105, 101, 90], shape) + rise).astype("f4")
    file[f"{SERIES}/Cross Sections/Flow"] = (np.broadcast_to([10.0, 20, 30, 40], shape) * (1 + rise)).astype("f4")
    geometry = np.zeros(3, [("River", "S16"), ("Reach", "S16"), ("RS", "S8"), ("Len Channel", "f4")])
    for row, (section, length) in enumerate(zip(SECTIONS, (400.0, 250.0, 77.0), strict=False)):
        geometry[row] = (*section, length)
    file["Geometry/Cross Sections/Attributes"] = geometry
    file["Geometry/Cross Sections/Station Elevation Info"] = np.array([(0, 2), (2, 2), (4, 2)])
    elevations = [(0.0, 104.0), (9.0, 103.0), (0.0, 99.0), (9.0, 100.0), (0.0, 96.0), (9.0, 95.0)]
    file["Geometry/Cross Sections/Station Elevation Values"] = np.array(elevations, "f4")
