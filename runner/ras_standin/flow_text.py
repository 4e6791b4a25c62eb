"""Unsteady (``.uNN``) and steady (``.fNN``) flow files."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from ras_standin.errors import UsageError
from ras_standin.geometry import Array
from ras_standin.text import Lines, moment, seconds

#: Boundary keys followed by a table of values at an interval.
_HYDROGRAPHS = (
    "Flow Hydrograph",
    "Stage Hydrograph",
    "Lateral Inflow Hydrograph",
    "Uniform Lateral Inflow Hydrograph",
)
#: Other boundaries of HEC-RAS; recognised in order to be refused by name.
_OTHERS = ("Rating Curve", "Groundwater Interflow", "Precipitation Hydrograph", "Navigation Dam", "Gate Name",
           "Elev Controlled Gate", "Stage and Flow Hydrograph", "Rule Expression")  # fmt: skip


@dataclass
class Boundary:
    """One boundary condition; ``values`` (flow or stage) stand at multiples of ``interval`` seconds from ``start``.

    ``start`` is None when the table begins with the simulation. ``area`` is the 2D or storage area, ``connection`` the
    structure it belongs to, both empty for a boundary at a cross-section.
    """

    river: str
    reach: str
    station: str
    downstream_station: str = ""
    connection: str = ""
    area: str = ""
    kind: str = ""
    values: Array = field(default_factory=lambda: np.empty(0))
    interval: float = 3600.0
    start: datetime | None = None
    slope: float | None = None
    multiplier: float = 1.0
    minimum: float = -np.inf
    dss: bool = False

    def at(self, times: Array, simulation_start: datetime) -> Array:
        """Return the values at ``times`` (seconds from the simulation's start), interpolated, shape of ``times``."""
        offset = 0.0 if self.start is None else (self.start - simulation_start).total_seconds()
        table = np.arange(len(self.values)) * self.interval + offset
        result: Array = np.interp(times, table, self.values * self.multiplier)
        return np.maximum(result, self.minimum)

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether the table reaches over the whole simulation."""
        begins = start if self.start is None else self.start
        length = (len(self.values) - 1) * self.interval
        return begins <= start and (end - begins).total_seconds() <= length + 1e-6


@dataclass
class UnsteadyFlow:
    """An unsteady flow file; ``initial_flows`` maps river station to the flow at the start."""

    title: str = ""
    boundaries: list[Boundary] = field(default_factory=list)
    initial_flows: dict[str, float] = field(default_factory=dict)
    restart: bool = False


def parse_unsteady(text: str, name: str) -> UnsteadyFlow:
    """Parse the text of an unsteady flow file.

    Raises:
        UsageError: a table is cut short or a value is not a number.
    """
    lines, flow = Lines(text, name), UnsteadyFlow()
    boundary: Boundary | None = None
    index = 0
    while index < len(lines):
        key, value = lines.item(index)
        if key == "Flow Title":
            flow.title = value
        elif key == "Boundary Location":
            river, reach, station, end, connection, area, *_ = [*(part.strip() for part in value.split(",")), *[""] * 6]
            boundary = Boundary(river, reach, station, end, connection, area)
            flow.boundaries.append(boundary)
        elif key == "Initial Flow Loc":
            flow.initial_flows[value.split(",")[2].strip()] = lines.number(index, 3)
        elif key == "Use Restart":
            flow.restart = value not in ("0", "")
        elif boundary is not None and key in _HYDROGRAPHS and value:
            boundary.kind, count = key, lines.count(index)
            boundary.values, index = lines.columns(index + 1, count)
            continue
        elif boundary is not None:
            _boundary_setting(boundary, lines, index)
        index += 1
    return flow


def _boundary_setting(boundary: Boundary, lines: Lines, index: int) -> None:
    key, value = lines.item(index)
    if key == "Interval":
        boundary.interval = seconds(value, lines.name)
    elif key == "Friction Slope":
        boundary.kind, boundary.slope = "Normal Depth", lines.number(index)
    elif key == "Flow Hydrograph QMult" and value:
        boundary.multiplier = lines.number(index)
    elif key == "Flow Hydrograph QMin" and value:
        boundary.minimum = lines.number(index)
    elif key == "Use DSS":
        boundary.dss = value.lower() == "true"
    elif key == "Fixed Start Date/Time" and value.strip(","):
        date, _, time = value.partition(",")
        boundary.start = moment(date, time, lines.name)
    elif key in _OTHERS and not boundary.kind:
        boundary.kind = key


@dataclass(frozen=True)
class DownstreamBoundary:
    """Where a steady profile starts: ``kind`` is Known WS, Critical Depth or Normal Depth."""

    kind: str
    value: float = 0.0


@dataclass
class SteadyFlow:
    """A steady flow file; flows by river station, shape (profiles,); one downstream boundary a profile."""

    title: str = ""
    profiles: list[str] = field(default_factory=list)
    flows: dict[str, Array] = field(default_factory=dict)
    reaches: set[tuple[str, str]] = field(default_factory=set)
    downstream: list[DownstreamBoundary] = field(default_factory=list)


_DOWNSTREAM = {1: ("Known WS", "Dn Known WS"), 2: ("Critical Depth", ""), 3: ("Normal Depth", "Dn Slope")}


def parse_steady(text: str, name: str) -> SteadyFlow:
    """Parse the text of a steady flow file.

    Raises:
        UsageError: the file is cut short, or a profile has no flow or downstream boundary.
    """
    lines, flow = Lines(text, name), SteadyFlow()
    found: dict[int, DownstreamBoundary] = {}
    index = count = 0
    while index < len(lines):
        key, value = lines.item(index)
        if key == "Flow Title":
            flow.title = value
        elif key == "Number of Profiles":
            count = lines.count(index)
        elif key == "Profile Names":
            flow.profiles = [part.strip() for part in value.split(",") if part.strip()]
        elif key == "River Rch & RM":
            river, reach, station = (part.strip() for part in (value + ",,").split(",")[:3])
            flow.reaches.add((river, reach))
            flow.flows[station], index = lines.columns(index + 1, count)
            continue
        elif key == "Boundary for River Rch & Prof#":
            profile = int(lines.number(index, 2))
            found[profile] = _downstream(lines, index + 1)
        index += 1
    if not count or not flow.flows or len(flow.profiles) != count:
        raise UsageError(f"{name} is cut short: it has not the profile names and flows of its {count} profiles")
    missing = [number for number in range(1, count + 1) if number not in found]
    if missing:
        raise UsageError(f"{name} has no boundary condition for profile {missing[0]} of {count}")
    flow.downstream = [found[number] for number in range(1, count + 1)]
    return flow


def _downstream(lines: Lines, index: int) -> DownstreamBoundary:
    """The downstream boundary in the block that starts at ``index`` (up to the next block)."""
    block: dict[str, int] = {}
    while index < len(lines) and not lines.item(index)[0].startswith("Boundary for River"):
        block.setdefault(lines.item(index)[0], index)
        index += 1
    code = lines.count(block["Dn Type"]) if "Dn Type" in block else 0
    kind, key = _DOWNSTREAM.get(code, (f"type {code}", ""))
    if key and key not in block:
        raise UsageError(f"{lines.name}: a downstream boundary of type {code} has no '{key}='")
    return DownstreamBoundary(kind, lines.number(block[key]) if key else 0.0)
