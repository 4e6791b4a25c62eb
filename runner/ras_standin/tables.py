"""Property tables over elevation, one a section, as HEC-RAS's geometric preprocessor makes them.

Source: HEC-RAS Hydraulic Reference Manual, chapter 2, "Application of the Unsteady Flow Equations Within HEC-RAS".
Between two elevations of the table a property is linear, so the solver's Newton step is exact within an interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ras_standin.geometry import Array
from ras_standin.section import CHANNEL, Properties, SectionHydraulics

#: Columns of a table. Volumes are half of the water between a section and its neighbour down- or upstream.
AREA, CONVEYANCE, BETA, VOLUME_DOWN, VOLUME_UP, WIDTH, SHARE_LEFT, SHARE_CHANNEL, SHARE_RIGHT, AREA_CHANNEL = range(10)
COLUMNS = 10

_MONOTONE = (AREA, CONVEYANCE, VOLUME_DOWN, VOLUME_UP)
#: Depth of the lowest row, in length units: keeps areas above zero.
_LEAST_DEPTH = 0.02


class Tables:
    """Tables of n sections with a common step in elevation; elevations count from each section's invert."""

    def __init__(self, sections: Sequence[SectionHydraulics], step: float) -> None:
        self.inverts = np.array([section.invert for section in sections])
        tops = np.array([max(section.top, section.invert + 10) for section in sections]) + 10
        self.step = step
        self.rows = int(np.ceil((tops - self.inverts).max() / step)) + 1
        self.tops = self.inverts + (self.rows - 1) * step
        depths = np.maximum(np.arange(self.rows) * step, _LEAST_DEPTH)
        lengths = np.array([(0.0, 0.0, 0.0), *(section.section.lengths for section in sections)])
        tables = np.stack(
            [
                _table(section.at(section.invert + depths), lengths[i], lengths[i + 1])
                for i, section in enumerate(sections)
            ]
        )
        for column in _MONOTONE:
            tables[:, :, column] = np.maximum.accumulate(tables[:, :, column], axis=1)
        slopes = np.zeros_like(tables)
        slopes[:, :-1] = np.diff(tables, axis=1) / step
        self._values = tables.reshape(-1, COLUMNS)
        self._slopes = slopes.reshape(-1, COLUMNS)
        self._first = np.arange(len(sections)) * self.rows

    def at(self, stages: Array) -> tuple[Array, Array]:
        """Return values and their derivatives by elevation at ``stages`` (n,), each shape (COLUMNS, n).

        Above the last row the last interval is extended.
        """
        depth = stages - self.inverts
        row = np.minimum(np.maximum(depth / self.step, 0.0).astype(np.int64), self.rows - 2)
        index = self._first + row
        slope = self._slopes.take(index, axis=0)
        value = self._values.take(index, axis=0) + slope * (depth - row * self.step)[:, None]
        return value.T, slope.T


def _table(properties: Properties, lengths_up: Array, lengths_down: Array) -> Array:
    """Table of one section, shape (rows, COLUMNS)."""
    conveyance = np.maximum(properties.total_conveyance, 1e-4)
    table = np.empty((len(conveyance), COLUMNS))
    table[:, AREA] = np.maximum(properties.total_area, 1e-3)
    table[:, CONVEYANCE] = conveyance
    table[:, BETA] = properties.beta
    table[:, VOLUME_DOWN] = 0.5 * properties.area_all @ lengths_down
    table[:, VOLUME_UP] = 0.5 * properties.area_all @ lengths_up
    table[:, WIDTH] = np.maximum(properties.width_all.sum(axis=1), 0.1)
    table[:, SHARE_LEFT : SHARE_RIGHT + 1] = properties.conveyance / conveyance[:, None]
    table[:, AREA_CHANNEL] = properties.area[:, CHANNEL]
    return table
