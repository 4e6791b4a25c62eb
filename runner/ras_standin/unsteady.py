"""One-dimensional unsteady flow in one reach.

Source: HEC-RAS Hydraulic Reference Manual, chapter 2, "Unsteady Flow Routing": continuity and momentum in the box
(Preissmann) scheme with weight theta. Unlike HEC-RAS, which linearises once a step, each step is iterated (Newton) on
the nonlinear equations. Inertia is reduced near critical flow by the manual's "local partial inertia" factor
``1 - Fr**m``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ras_standin import tables
from ras_standin.geometry import Array
from ras_standin.section import SectionHydraulics
from ras_standin.steady import normal_stage, profile

_FROUDE_POWER = 4
#: Seconds over which the inertia factor follows the Froude number; without it the factor flickers near Fr = 1.
_INERTIA_RELAXATION = 600.0
#: Largest change of a water surface in one iteration, length units.
_LARGEST_CHANGE = 3.0
_LEAST_DEPTH = 0.02
#: The upstream and the downstream end of every interval between sections.
_UP, _DOWN = slice(None, -1), slice(1, None)


class UnstableError(Exception):
    """The iteration left the tolerance that the plan sets for an abort."""

    def __init__(self, section: int, error: float, iterations: int) -> None:
        super().__init__(f"section {section}: error {error}")
        self.section, self.error, self.iterations = section, error, iterations


@dataclass(frozen=True)
class Controls:
    """Numerical controls of a plan: weight, tolerance and abort in length units, greatest number of iterations."""

    theta: float = 1.0
    tolerance: float = 0.02
    max_iterations: int = 20
    abort_error: float = 100.0


@dataclass(frozen=True)
class StepReport:
    """How a step ended: iterations used, the section with the largest remaining error, and that error."""

    iterations: int
    section: int
    error: float


@dataclass(frozen=True)
class Downstream:
    """Downstream boundary: a stage for this step, or a friction slope (normal depth)."""

    stage: float | None = None
    slope: float = 0.0


class Reach:
    """State and solver of one reach: ``flow`` and ``stage`` at n sections, upstream first."""

    def __init__(self, sections: Sequence[SectionHydraulics], table_step: float, controls: Controls) -> None:
        self.sections, self.controls = sections, controls
        self.gravity = sections[0].units.gravity
        self.tables = tables.Tables(sections, table_step)
        self._lengths = np.array([section.section.lengths for section in sections])[:-1]
        self._channel = self._lengths[:, 1]
        self._inertia: Array | None = None
        self.flow = self.stage = self._last_change = np.zeros(len(sections))

    def start(self, flows: Array, downstream: Downstream) -> None:
        """Set the initial state: ``flows`` (n,) and their steady profile."""
        last = self.sections[-1]
        stage = downstream.stage
        if stage is None:
            stage = normal_stage(last, float(flows[-1]), downstream.slope)
        self.flow = np.array(flows, dtype=np.float64)
        self.stage = profile(self.sections, self.flow, stage).stage
        self._last_change = np.zeros_like(self.stage)

    def volume(self) -> float:
        """Water in the reach, cubic length units, ineffective areas included."""
        value, _ = self.tables.at(self.stage)
        return float(value[tables.VOLUME_DOWN, :-1].sum() + value[tables.VOLUME_UP, 1:].sum())

    def velocities(self) -> tuple[Array, Array]:
        """Mean velocity of the whole section and of the channel, each shape (n,)."""
        value, _ = self.tables.at(self.stage)
        channel = self.flow * value[tables.SHARE_CHANNEL] / np.maximum(value[tables.AREA_CHANNEL], 1e-3)
        return self.flow / value[tables.AREA], channel

    def advance(self, step: float, inflow: float, downstream: Downstream, lateral: Array | float = 0.0) -> StepReport:
        """Advance by ``step`` seconds.

        Args:
            step: time step, s.
            inflow: flow at the first section at the end of the step.
            downstream: boundary at the last section at the end of the step.
            lateral: flow into each interval between sections during the step, shape (n - 1,).

        Raises:
            UnstableError: the error is above the plan's abort limit, or not a number.
        """
        old = _Old.of(self, step, lateral)
        flow = self.flow.copy()
        # A water surface that goes on as it went in the last step is close: mostly one iteration is enough.
        stage = np.maximum(self.stage + self._last_change, self.tables.inverts + _LEAST_DEPTH)
        iteration = worst = 0
        error = np.inf
        for iteration in range(1, self.controls.max_iterations + 1):
            guess = _Guess(flow, stage, *self.tables.at(stage))
            flow_change, stage_change = _double_sweep(
                self._continuity(old, guess, step),
                self._momentum(old, guess, step),
                inflow - float(flow[0]),
                _closure(guess, downstream),
            )
            magnitude = np.abs(stage_change)
            worst = int(magnitude.argmax())
            error = float(magnitude[worst])
            if not np.isfinite(error):
                raise UnstableError(0, error, iteration)
            damping = min(1.0, _LARGEST_CHANGE / max(error, 1e-9))
            flow = flow + damping * flow_change
            stage = np.maximum(stage + damping * stage_change, self.tables.inverts + _LEAST_DEPTH)
            if error < 0.1 * self.controls.tolerance and damping == 1.0:
                break
        if error > self.controls.abort_error:
            raise UnstableError(worst, error, iteration)
        self._last_change = stage - self.stage
        self.flow, self.stage = flow, stage
        return StepReport(iteration, worst, error)

    def inertia_factor(self, value: Array, step: float) -> Array:
        """Local partial inertia of each interval, 1 (full) to 0 (none), relaxed in time."""
        depth = np.maximum(value[tables.AREA] / value[tables.WIDTH], 0.05)
        froude = np.abs(self.flow) / value[tables.AREA] / np.sqrt(self.gravity * depth)
        factor = 1.0 - np.minimum(froude, 1.0) ** _FROUDE_POWER
        factor = np.minimum(factor[:-1], factor[1:])
        if self._inertia is not None:
            factor = self._inertia + min(1.0, step / _INERTIA_RELAXATION) * (factor - self._inertia)
        self._inertia = factor
        return np.asarray(factor)

    def flow_lengths(self, value: Array) -> Array:
        """Reach lengths weighted by the conveyance of left, channel and right, shape (n - 1,)."""
        share = value[tables.SHARE_LEFT : tables.SHARE_RIGHT + 1].T
        weight = share[:-1] + share[1:]
        return np.asarray((weight * self._lengths).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9))

    def _continuity(self, old: _Old, guess: _Guess, step: float) -> Array:
        """Coefficients a, b, c, d, r of continuity in each interval, shape (5, n - 1).

        Each equation reads ``a dQ[i] + b dh[i] + c dQ[i+1] + d dh[i+1] = r``.
        """
        theta, value, slope = self.controls.theta, guess.value, guess.slope
        stored = value[tables.VOLUME_DOWN, _UP] + value[tables.VOLUME_UP, _DOWN]
        balance = (stored - old.stored) / step + theta * (guess.flow[_DOWN] - guess.flow[_UP]) + old.outflow
        weight = np.full(len(balance), theta)
        storage_up, storage_down = slope[tables.VOLUME_DOWN, _UP] / step, slope[tables.VOLUME_UP, _DOWN] / step
        return np.array([-weight, storage_up, weight, storage_down, -balance])

    def _momentum(self, old: _Old, guess: _Guess, step: float) -> Array:
        """Coefficients of momentum in each interval, as those of ``_continuity``.

        ``inertia * (dQ/dt * dx + d(beta Q^2 / A)) + g A (dh + L Sf) = 0``, Sf from the mean conveyance of both ends.
        """
        theta, value, slope, flow = self.controls.theta, guess.value, guess.slope, guess.flow
        area, conveyance = value[tables.AREA], value[tables.CONVEYANCE]
        flux = value[tables.BETA] * flow * flow / area
        flux_by_flow = 2 * value[tables.BETA] * flow / area
        flux_by_stage = -flux / area * slope[tables.AREA]
        flow_sum, conveyance_sum = flow[_UP] + flow[_DOWN], conveyance[_UP] + conveyance[_DOWN]
        friction = flow_sum * np.abs(flow_sum) / conveyance_sum**2
        drop = guess.stage[_DOWN] - guess.stage[_UP] + old.length * friction
        local = old.inertia * self._channel / (2 * step)
        advective = theta * old.inertia
        pressure = theta * self.gravity * 0.5 * (area[_UP] + area[_DOWN])
        by_flow = local + pressure * old.length * 2 * np.abs(flow_sum) / conveyance_sum**2
        by_area = theta * self.gravity * 0.5 * drop
        by_conveyance = -2 * pressure * old.length * friction / conveyance_sum
        by_stage = [
            by_area * slope[tables.AREA, end] + by_conveyance * slope[tables.CONVEYANCE, end] for end in (_UP, _DOWN)
        ]
        residual = local * (flow_sum - old.flow_sum) + advective * (flux[_DOWN] - flux[_UP]) + pressure * drop
        return np.array(
            [
                by_flow - advective * flux_by_flow[_UP],
                by_stage[0] - advective * flux_by_stage[_UP] - pressure,
                by_flow + advective * flux_by_flow[_DOWN],
                by_stage[1] + advective * flux_by_stage[_DOWN] + pressure,
                -(residual + old.momentum),
            ]
        )


def _closure(guess: _Guess, downstream: Downstream) -> tuple[float, float, float]:
    """Coefficients p, q, r of ``p dQ + q dh = r`` at the last section."""
    if downstream.stage is not None:
        return 0.0, 1.0, downstream.stage - float(guess.stage[-1])
    root = downstream.slope**0.5
    conveyance = tables.CONVEYANCE
    residual = guess.flow[-1] - guess.value[conveyance, -1] * root
    return 1.0, -float(guess.slope[conveyance, -1] * root), -float(residual)


@dataclass(frozen=True)
class _Guess:
    """Flow and water surface of an iteration, and the tables' values and slopes there, shape (COLUMNS, n)."""

    flow: Array
    stage: Array
    value: Array
    slope: Array


@dataclass(frozen=True)
class _Old:
    """What a step needs of the state at its beginning, per interval between sections."""

    stored: Array
    flow_sum: Array
    length: Array
    inertia: Array
    outflow: Array
    momentum: Array

    @classmethod
    def of(cls, reach: Reach, step: float, lateral: Array | float) -> _Old:
        flow, explicit = reach.flow, 1.0 - reach.controls.theta
        value, _ = reach.tables.at(reach.stage)
        length, inertia = reach.flow_lengths(value), reach.inertia_factor(value, step)
        flow_sum = flow[_UP] + flow[_DOWN]
        conveyance_sum = value[tables.CONVEYANCE, _UP] + value[tables.CONVEYANCE, _DOWN]
        friction = flow_sum * np.abs(flow_sum) / conveyance_sum**2
        flux = value[tables.BETA] * flow * flow / value[tables.AREA]
        mean_area = 0.5 * (value[tables.AREA, _UP] + value[tables.AREA, _DOWN])
        drop = reach.stage[_DOWN] - reach.stage[_UP] + length * friction
        return cls(
            stored=value[tables.VOLUME_DOWN, _UP] + value[tables.VOLUME_UP, _DOWN],
            flow_sum=flow_sum,
            length=length,
            inertia=inertia,
            outflow=explicit * (flow[_DOWN] - flow[_UP]) - lateral,
            momentum=explicit * (inertia * (flux[_DOWN] - flux[_UP]) + reach.gravity * mean_area * drop),
        )


def _double_sweep(
    continuity: Array, momentum: Array, first_flow: float, closure: tuple[float, float, float]
) -> tuple[Array, Array]:
    """Solve the block system: ``dQ[0] = first_flow``; ``p dQ + q dh = r`` at the last section.

    Plain floats: for some sixty sections this is several times faster than a general solver.
    """
    factor, constant = 0.0, first_flow
    factors, constants = [factor], [constant]
    back: list[tuple[float, float, float]] = []
    for (a1, b1, c1, d1, r1), (a2, b2, c2, d2, r2) in zip(continuity.T.tolist(), momentum.T.tolist(), strict=True):
        pivot = a1 * factor + b1 or 1e-12
        known = r1 - a1 * constant
        back.append((-c1 / pivot, -d1 / pivot, known / pivot))
        ratio = (a2 * factor + b2) / pivot
        next_pivot = c2 - ratio * c1 or 1e-12
        factor, constant = -(d2 - ratio * d1) / next_pivot, (r2 - a2 * constant - ratio * known) / next_pivot
        factors.append(factor)
        constants.append(constant)
    p, q, r = closure
    stage = (r - p * constant) / (p * factor + q)
    flow = factor * stage + constant
    stages, flows = [stage], [flow]
    for (by_flow, by_stage, fixed), factor, constant in zip(
        reversed(back), reversed(factors[:-1]), reversed(constants[:-1]), strict=True
    ):
        stage = by_flow * flow + by_stage * stage + fixed
        flow = factor * stage + constant
        stages.append(stage)
        flows.append(flow)
    return np.array(flows[::-1]), np.array(stages[::-1])
