"""Hydraulic properties of a cross-section, for many water surfaces at once.

Source: HEC-RAS Hydraulic Reference Manual, chapter 2, "Cross Section Subdivision for Conveyance Calculations" and
"Velocity Weighting Coefficient Alpha"; ineffective areas, levees and blocked obstructions as chapter 3 describes.
Each change of Manning's n, and each bank, begins a new subsection; conveyances of subsections add up. HEC-RAS's
optional composite n of a steep-sided channel is not applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ras_standin.geometry import Array, Block, CrossSection
from ras_standin.units import Units

#: Columns of the zone arrays: left overbank, channel, right overbank.
LEFT, CHANNEL, RIGHT = 0, 1, 2

_SAME_STATION = 1e-4


@dataclass(frozen=True)
class Properties:
    """Properties at m water surfaces; every array has shape (m, 3), one column a zone (left, channel, right).

    ``area``, ``width``, ``perimeter`` and ``conveyance`` are of the water that flows; ``area_all`` and ``width_all``
    include what stands in ineffective areas.
    """

    area: Array
    width: Array
    perimeter: Array
    conveyance: Array
    area_all: Array
    width_all: Array

    @property
    def total_area(self) -> Array:
        """Flow area, shape (m,)."""
        return np.asarray(self.area.sum(axis=1))

    @property
    def total_conveyance(self) -> Array:
        """Conveyance, shape (m,)."""
        return np.asarray(self.conveyance.sum(axis=1))

    @property
    def alpha(self) -> Array:
        """Velocity head coefficient, shape (m,): ``sum(K^3 / A^2) * A^2 / K^3`` (equation 2-10)."""
        return self._weighted(3)

    @property
    def beta(self) -> Array:
        """Momentum coefficient, shape (m,): ``sum(K^2 / A) * A / K^2``."""
        return self._weighted(2)

    def _weighted(self, power: int) -> Array:
        area, total = np.maximum(self.area, 1e-12), np.maximum(self.total_conveyance, 1e-12)
        parts = np.where(self.area > 0, self.conveyance**power / area ** (power - 1), 0.0).sum(axis=1)
        weighted = parts * self.total_area ** (power - 1) / total**power
        return np.where(self.total_conveyance > 0, weighted, 1.0)


class SectionHydraulics:
    """A cross-section made ready for computing: ground segments, their zone, roughness and subsection."""

    def __init__(self, section: CrossSection, units: Units) -> None:
        self.section, self.units = section, units
        self.invert, self.top = section.invert, section.top
        ground = _with_walls(_raised(_with_cuts(section), section.obstructions))
        start, end = ground[:, 0], ground[:, 1]
        self._low = np.minimum(start[:, 1], end[:, 1])
        self._high = np.maximum(start[:, 1], end[:, 1])
        self._run = end[:, 0] - start[:, 0]
        self._length = np.hypot(self._run, self._high - self._low)
        self._rise = np.maximum(self._high - self._low, 1e-12)
        self._ends = (float(start[0, 1]), float(end[-1, 1]))
        middle = 0.5 * (start[:, 0] + end[:, 0])
        zone = np.where(middle < section.left_bank, LEFT, np.where(middle > section.right_bank, RIGHT, CHANNEL))
        self._in_zone = np.eye(3)[zone]
        region = np.clip(np.searchsorted(section.roughness[:, 0], middle, side="right") - 1, 0, None)
        self._group_by_roughness(zone, section.roughness[region, 1])
        self._gates = _gates(section, middle)
        stations = section.ground[:, 0]
        self._blocks = [(block.elevation, _inside(block, middle, stations)) for block in section.ineffective]

    def _group_by_roughness(self, zone: npt.NDArray[np.int64], manning: Array) -> None:
        """Subsections: neighbouring segments of one zone and one n."""
        change = (np.diff(zone) != 0) | (np.diff(manning) != 0)
        group = np.concatenate([[0], np.cumsum(change)])
        first = np.unique(group, return_index=True)[1]
        self._in_group = np.eye(len(first))[group]
        self._group_zone = np.eye(3)[zone[first]]
        self._group_factor = self.units.manning / manning[first]

    def at(self, stages: Array | float) -> Properties:
        """Return the properties at water surface elevations ``stages``, shape (m,) or a single number."""
        stage = np.atleast_1d(np.asarray(stages, dtype=np.float64))[:, None]
        above_low = np.clip(stage - self._low, 0.0, None)
        above_high = np.clip(stage - self._high, 0.0, None)
        wet = np.where(above_high > 0, 1.0, np.clip(above_low / self._rise, 0.0, 1.0))
        for elevation, behind in self._gates:
            wet[np.ix_(stage[:, 0] <= elevation, behind)] = 0.0
        width, perimeter = wet * self._run, wet * self._length
        area = 0.5 * width * (above_low + above_high)
        for column, end in ((0, self._ends[0]), (-1, self._ends[1])):
            perimeter[:, column] += np.where(perimeter[:, column] > 0, np.clip(stage[:, 0] - end, 0.0, None), 0.0)
        area_all, width_all = area @ self._in_zone, width @ self._in_zone
        for elevation, inside in self._blocks:
            still = np.ix_(stage[:, 0] <= elevation, inside)
            area[still] = width[still] = perimeter[still] = 0.0
        group_area, group_perimeter = area @ self._in_group, perimeter @ self._in_group
        hydraulic = group_area ** (5 / 3) / np.maximum(group_perimeter, 1e-12) ** (2 / 3)
        conveyance = np.where(group_area > 0, self._group_factor * hydraulic, 0.0)
        return Properties(
            area=area @ self._in_zone,
            width=width @ self._in_zone,
            perimeter=perimeter @ self._in_zone,
            conveyance=conveyance @ self._group_zone,
            area_all=area_all,
            width_all=width_all,
        )


def _with_cuts(section: CrossSection) -> Array:
    """Return the ground line with a point at each station where zone, roughness or flow condition change."""
    stations, elevations = section.ground[:, 0], section.ground[:, 1]
    cuts = [section.left_bank, section.right_bank, *section.roughness[:, 0]]
    for block in (*section.ineffective, *section.obstructions):
        cuts += [block.left, block.right]
    for block in section.obstructions:
        cuts += _crossings(section.ground, block.elevation)
    cuts += [levee.station for levee in (section.left_levee, section.right_levee) if levee]
    inner = [cut for cut in cuts if stations[0] < cut < stations[-1] and np.abs(stations - cut).min() > _SAME_STATION]
    if not inner:
        return section.ground
    extra = np.unique(inner)
    points = np.vstack([section.ground, np.column_stack([extra, np.interp(extra, stations, elevations)])])
    return points[np.argsort(points[:, 0], kind="stable")]


def _inside(block: Block, middle: Array, stations: Array) -> npt.NDArray[np.bool_]:
    """Segments inside a block; one that reaches the end of the ground line takes the wall there, too."""
    left = -np.inf if block.left <= stations[0] else block.left
    right = np.inf if block.right >= stations[-1] else block.right
    return np.asarray((middle > left) & (middle < right))


def _crossings(ground: Array, elevation: float) -> list[float]:
    """Stations at which the ground line crosses ``elevation``."""
    before, after = ground[:-1], ground[1:]
    crosses = (before[:, 1] - elevation) * (after[:, 1] - elevation) < 0
    share = (elevation - before[crosses, 1]) / (after[crosses, 1] - before[crosses, 1])
    return [float(x) for x in before[crosses, 0] + share * (after[crosses, 0] - before[crosses, 0])]


def _raised(points: Array, obstructions: tuple[Block, ...]) -> Array:
    """Return ground segments, shape (s, 2 ends, 2), raised to the tops of blocked obstructions."""
    segments = np.stack([points[:-1], points[1:]], axis=1)
    middle = segments[:, :, 0].mean(axis=1)
    for block in obstructions:
        inside = _inside(block, middle, points[:, 0])
        segments[inside, :, 1] = np.maximum(segments[inside, :, 1], block.elevation)
    return segments


def _with_walls(segments: Array) -> Array:
    """Put a vertical segment wherever the ground jumps, so that walls of obstructions count as wetted perimeter."""
    jumps = np.flatnonzero(segments[1:, 0, 1] != segments[:-1, 1, 1])
    walls = np.stack([segments[jumps, 1], segments[jumps + 1, 0]], axis=1)
    return np.insert(segments, jumps + 1, walls, axis=0) if len(jumps) else segments


def _gates(section: CrossSection, middle: Array) -> list[tuple[float, npt.NDArray[np.bool_]]]:
    """Levees: (elevation, segments that stay dry until the water is above it)."""
    gates = []
    if section.left_levee:
        gates.append((section.left_levee.elevation, middle < section.left_levee.station))
    if section.right_levee:
        gates.append((section.right_levee.elevation, middle > section.right_levee.station))
    return gates
