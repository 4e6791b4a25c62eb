"""Steady subcritical profiles by the standard step method.

Source: HEC-RAS Hydraulic Reference Manual, chapter 2, "Equations for Basic Profile Calculations": energy equation
(2-1), energy loss (2-2), flow-weighted reach length (2-3), average-conveyance friction slope (2-13), contraction and
expansion loss (2-18); critical depth is the minimum of specific energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ras_standin.geometry import Array
from ras_standin.section import Properties, SectionHydraulics

#: Water surfaces are found to this many length units (HEC-RAS's own default tolerance is 0.01 ft).
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Profile:
    """A steady profile over n sections; elevations in length units, shape (n,).

    ``at_critical`` marks sections where no subcritical answer exists and critical depth was taken.
    """

    stage: Array
    critical: Array
    at_critical: npt.NDArray[np.bool_]


def velocity_head(properties: Properties, flow: Array | float, gravity: float) -> Array:
    """``alpha * V^2 / (2 g)``, shape (m,); ``flow`` is one for all rows or one a row."""
    velocity = flow / np.maximum(properties.total_area, 1e-6)
    return np.asarray(properties.alpha * velocity**2 / (2 * gravity))


def critical_stage(hydraulics: SectionHydraulics, flow: float) -> float:
    """Return the water surface of least specific energy for ``flow``."""
    low, high = hydraulics.invert + 0.02, max(hydraulics.top + 5, hydraulics.invert + 10)
    samples = 161
    while high - low > _TOLERANCE:
        stages = np.linspace(low, high, samples)
        properties = hydraulics.at(stages)
        energy = stages + velocity_head(properties, flow, hydraulics.units.gravity)
        least = int(np.argmin(np.where(properties.total_area > 1e-3, energy, np.inf)))
        low, high = float(stages[max(least - 1, 0)]), float(stages[min(least + 1, samples - 1)])
        samples = 33
    return 0.5 * (low + high)


def normal_stage(hydraulics: SectionHydraulics, flow: float, slope: float) -> float:
    """Return the water surface at which ``K * sqrt(slope)`` equals ``flow`` (Manning's equation)."""
    low, high = hydraulics.invert + 0.01, hydraulics.top + 50
    found = _highest_root(lambda stages: hydraulics.at(stages).total_conveyance * slope**0.5 - flow, low, high)
    return low if found is None else found


def _highest_root(function: Callable[[Array], Array], low: float, high: float) -> float | None:
    """The highest stage at which ``function`` rises through zero, by repeated sampling; None if there is none."""
    while True:
        stages = np.linspace(low, high, 33)
        values = function(stages)
        negative = np.flatnonzero(values < 0)
        if not len(negative) or negative[-1] == len(stages) - 1:
            return None
        below = int(negative[-1])
        low, high = float(stages[below]), float(stages[below + 1])
        if high - low < _TOLERANCE:
            share = values[below] / (values[below] - values[below + 1])
            return float(low + share * (high - low))


def energy_loss(
    upstream: SectionHydraulics, up: Properties, flow_up: float, down: Properties, flow_down: float
) -> Array:
    """Energy loss from ``upstream`` to the section below it, for each of the m water surfaces of ``up``.

    ``down`` holds the properties at the one known water surface downstream.
    """
    section, gravity = upstream.section, upstream.units.gravity
    conveyance_up = np.maximum(up.total_conveyance, 1e-9)
    conveyance_down = np.maximum(down.total_conveyance, 1e-9)
    zone_flow = 0.5 * (
        up.conveyance / conveyance_up[:, None] * flow_up + down.conveyance / conveyance_down[:, None] * flow_down
    )
    length = zone_flow @ np.array(section.lengths) / np.maximum(zone_flow.sum(axis=1), 1e-9)
    slope = ((flow_up + flow_down) / (conveyance_up + conveyance_down)) ** 2
    change = velocity_head(down, flow_down, gravity) - velocity_head(up, flow_up, gravity)
    coefficient = np.where(change > 0, section.contraction, section.expansion)
    return np.asarray(length * slope + coefficient * np.abs(change))


def profile(
    sections: Sequence[SectionHydraulics],
    flows: Array,
    downstream_stage: float,
    fixed: Mapping[int, float] | None = None,
) -> Profile:
    """Compute the subcritical profile from the last section upstream.

    Args:
        sections: n sections, upstream first.
        flows: flow at each section, shape (n,).
        downstream_stage: water surface at the last section.
        fixed: water surfaces forced at some sections (index -> elevation), to isolate what is not modelled.
    """
    count = len(sections)
    stage = np.full(count, float(downstream_stage))
    critical = np.array([critical_stage(hydraulics, flow) for hydraulics, flow in zip(sections, flows, strict=True)])
    at_critical = np.zeros(count, dtype=np.bool_)
    for i in range(count - 2, -1, -1):
        if fixed and i in fixed:
            stage[i] = fixed[i]
            continue
        found = _step(sections[i], sections[i + 1], flows[i : i + 2], float(stage[i + 1]), float(critical[i]))
        at_critical[i] = found is None
        stage[i] = critical[i] if found is None else found
    return Profile(stage, critical, at_critical)


def _step(
    upstream: SectionHydraulics,
    downstream: SectionHydraulics,
    flows: Array,
    stage_down: float,
    critical: float,
) -> float | None:
    """Water surface upstream that satisfies the energy equation above ``critical``; None if there is none.

    ``flows`` are those of the upstream and of the downstream section.
    """
    flow_up, flow_down = (float(flow) for flow in flows)
    gravity = upstream.units.gravity
    down = downstream.at(stage_down)
    energy_down = stage_down + float(velocity_head(down, flow_down, gravity)[0])

    def surplus(stages: Array) -> Array:
        up = upstream.at(stages)
        loss = energy_loss(upstream, up, flow_up, down, flow_down)
        return np.asarray(stages + velocity_head(up, flow_up, gravity) - energy_down - loss)

    rise = 1.0
    while surplus(np.array([max(critical, energy_down) + rise]))[0] < 0 and rise < 1e4:
        rise *= 2
    return _highest_root(surplus, critical, max(critical, energy_down) + rise)
