"""What a geometry file says, whether it was read from HDF or from text: plain data, no hydraulics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """A station range with an elevation: an ineffective flow area or a blocked obstruction."""

    left: float
    right: float
    elevation: float
    permanent: bool = False


@dataclass(frozen=True)
class Levee:
    """A point that keeps the ground behind it dry until the water stands above ``elevation``."""

    station: float
    elevation: float


@dataclass(frozen=True)
class CrossSection:
    """One cross-section; stations run from left to right looking downstream, all in project length units.

    ``ground`` has shape (points, 2): station, elevation. ``roughness`` has shape (regions, 2): the station at which a
    Manning n begins, and that n. ``lengths`` are the distances to the next section downstream: left overbank, channel,
    right overbank. ``cut_line`` has shape (points, 2): plan coordinates, empty if unknown.
    """

    river: str
    reach: str
    station: str
    ground: Array
    roughness: Array
    left_bank: float
    right_bank: float
    lengths: tuple[float, float, float]
    contraction: float = 0.1
    expansion: float = 0.3
    ineffective: tuple[Block, ...] = ()
    obstructions: tuple[Block, ...] = ()
    left_levee: Levee | None = None
    right_levee: Levee | None = None
    name: str = ""
    description: str = ""
    cut_line: Array = field(default_factory=lambda: np.empty((0, 2)))

    @property
    def invert(self) -> float:
        """Lowest ground elevation."""
        return float(self.ground[:, 1].min())

    @property
    def top(self) -> float:
        """The higher one of the two end points of the ground line."""
        return float(max(self.ground[0, 1], self.ground[-1, 1]))

    def encroached(self, left: float, right: float) -> CrossSection:
        """Return this section cut to the stations ``left`` .. ``right``, with vertical walls at the cuts."""
        stations, elevations = self.ground[:, 0], self.ground[:, 1]
        left, right = max(left, float(stations[0])), min(right, float(stations[-1]))
        inside = self.ground[(stations > left) & (stations < right)]
        ends = [(cut, float(np.interp(cut, stations, elevations))) for cut in (left, right)]
        return replace(self, ground=np.vstack([ends[:1], inside, ends[1:]]))


@dataclass(frozen=True)
class Structure:
    """A structure of the geometry: ``kind`` is Bridge, Culvert, Multiple Opening, Inline or Lateral."""

    kind: str
    station: str
    connects_to: str = ""


@dataclass(frozen=True)
class Geometry:
    """All that the engine needs to know of a geometry file."""

    title: str
    sections: tuple[CrossSection, ...]
    structures: tuple[Structure, ...] = ()
    areas_2d: tuple[str, ...] = ()
    storage_areas: tuple[str, ...] = ()
    junctions: tuple[str, ...] = ()
    reaches: tuple[tuple[str, str], ...] = ()
    #: Ways of giving roughness other than Manning's n by station, in the words of the file.
    other_roughness: tuple[str, ...] = ()
    centerline: Array = field(default_factory=lambda: np.empty((0, 2)))
