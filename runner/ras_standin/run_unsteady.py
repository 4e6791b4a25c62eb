"""The program ``RasUnsteady``: computes one plan in its prepared ``.tmp.hdf``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from ras_standin import ENGINE, LABEL, __version__
from ras_standin import results_unsteady as results
from ras_standin.errors import RefusedError, UsageError
from ras_standin.faults import Fault
from ras_standin.flow_text import Boundary, UnsteadyFlow, parse_unsteady
from ras_standin.geometry import Array, CrossSection, Geometry
from ras_standin.hdf_common import stamp
from ras_standin.log import LineFile, RunLog
from ras_standin.prepare import geometry_of
from ras_standin.project import RunInputs
from ras_standin.section import SectionHydraulics
from ras_standin.survey import Findings, survey_geometry, survey_plan, survey_unsteady
from ras_standin.unsteady import Controls, Downstream, Reach, StepReport, UnstableError

#: Step of the property tables in elevation: feet, metres.
_TABLE_STEP = {"ft": 0.25, "m": 0.1}


@dataclass(frozen=True)
class Options:
    """Options of a run: refuse what would be a warning; fail on demand; seconds to sleep at every output interval."""

    strict: bool = False
    fault: Fault = Fault()  # noqa: RUF009 - a frozen dataclass is no mutable default
    pace: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a solver ended: computing time in seconds, simulated seconds, and whether it stopped before the end."""

    duration: float
    simulated: float = 0.0
    stopped: bool = False


def judge(findings: list[Findings], strict: bool, log: RunLog) -> None:
    """Say the warnings; refuse if there is a reason to, or with ``strict`` for a warning too.

    Raises:
        RefusedError: with all reasons.
    """
    warnings = [warning for found in findings for warning in found.warnings]
    refusals = [refusal for found in findings for refusal in found.refusals]
    for warning in warnings:
        log.message(f"WARNING: {warning}")
    if strict and not refusals:
        refusals = [f"{warning} (--strict)" for warning in warnings]
    if refusals:
        raise RefusedError("; ".join(refusals))


def run_unsteady(inputs: RunInputs, log: RunLog, options: Options) -> Outcome:
    """Compute an unsteady plan.

    Raises:
        RefusedError: the model is outside this engine; the results file then says ``Unsteady failed to run``.
        UsageError: an input file is broken.
    """
    log.message(f"\nPerforming Unsteady Flow Simulation  {ENGINE} {__version__}\n*** {LABEL} ***")
    path = inputs.temporary_results
    try:
        if options.fault.name == "failed-to-run":
            log.message("ERROR: the unsteady solver failed to run (fault on demand)")
            results.fail(path)
            return Outcome(0.0, stopped=True)
        geometry = geometry_of(path)
        findings = [survey_plan(inputs.plan, inputs.plan_text), survey_geometry(geometry)]
        flow = UnsteadyFlow()
        if not findings[0].refusals:
            flow = parse_unsteady(inputs.flow_text, f"{inputs.name}.{inputs.plan.flow}")
            findings.append(survey_unsteady(inputs.plan, geometry, flow))
        judge(findings, options.strict, log)
        return _Simulation(inputs, geometry, flow, log, options).run()
    except RefusedError:
        results.fail(path)
        raise


class _Simulation:
    """One unsteady run: boundary conditions, time loop, records."""

    def __init__(
        self, inputs: RunInputs, geometry: Geometry, flow: UnsteadyFlow, log: RunLog, options: Options
    ) -> None:
        self.inputs, self.log, self.options = inputs, log, options
        self.sections = geometry.sections
        plan = inputs.plan
        self.started = datetime.now()
        self.begin, self.step = plan.start or self.started, plan.time_step
        self.span = ((plan.end or self.begin) - self.begin).total_seconds()
        self.every, self.count = round(plan.output_interval / self.step), round(self.span / self.step)
        if self.every * self.step != plan.output_interval or self.count * self.step != self.span:
            raise RefusedError(
                f"output interval ({plan.output_interval:g} s) and window ({self.span:g} s) have to be whole multiples "
                f"of the computation interval ({self.step:g} s)"
            )
        self._read_boundaries(flow)
        controls = Controls(
            theta=plan.value("UNET Theta", 1.0),
            tolerance=plan.value("UNET ZTol", 0.02),
            max_iterations=int(plan.value("UNET MxIter", 20)),
            abort_error=plan.value("UNET DZMax Abort", 100),
        )
        hydraulics = [SectionHydraulics(section, inputs.units) for section in self.sections]
        self.reach = Reach(hydraulics, _TABLE_STEP[inputs.units.length], controls)
        self.series = results.Series()
        self.upstream = self.outflow = self.lateral_volume = self.max_error = 0.0
        self.passed = np.zeros(len(self.sections))
        self.extrapolated: set[int] = set()

    def _read_boundaries(self, flow: UnsteadyFlow) -> None:
        times: Array = np.arange(self.count + 1, dtype=np.float64) * self.step
        at_sections = [boundary for boundary in flow.boundaries if not (boundary.area or boundary.connection)]
        inflow = next(boundary for boundary in at_sections if boundary.kind == "Flow Hydrograph")
        end = next(boundary for boundary in at_sections if boundary.kind in ("Stage Hydrograph", "Normal Depth"))
        if end.slope is not None and end.slope <= 0:
            raise UsageError(f"{self.inputs.name}.{self.inputs.plan.flow}: the friction slope has to be above zero")
        self.inflow = inflow.at(times, self.begin)
        self.downstream = end
        self.stages = None if end.slope is not None else end.at(times, self.begin)
        self.lateral = np.zeros((self.count + 1, len(self.sections) - 1))
        for boundary in at_sections:
            if "Lateral" in boundary.kind:
                share = _lateral_share(boundary, self.sections)
                self.lateral += boundary.at(times, self.begin)[:, None] * share
        self.initial = _initial_flows(flow, self.sections, float(self.inflow[0]), self.lateral[0])

    def _downstream_at(self, index: int) -> Downstream:
        if self.stages is None:
            return Downstream(slope=self.downstream.slope or 0.0)
        return Downstream(stage=float(self.stages[index]))

    def run(self) -> Outcome:
        """Compute from start to end, or to where it goes unstable."""
        inputs, log, clock = self.inputs, self.log, time.perf_counter()
        results.begin(inputs.temporary_results, inputs, self.sections)
        log.message(f"\nUnsteady Input Summary:\n     1D Unsteady Finite Difference Numerical Solution\n"
                    f"     Number of cross sections:  {len(self.sections):7d}")  # fmt: skip
        self.detail = LineFile(inputs.file("bco" + inputs.plan.number[1:]))
        self.detail.write(f"*** {LABEL} ***\n\nPlan Name:     {inputs.plan.title}\n")
        self.detail.write("Starting Unsteady Flow Computations\n")
        self.reach.start(self.initial, self._downstream_at(0))
        start_volume = self.reach.volume()
        self._record(0.0, 0)
        unstable_at, stopped = self._time_loop()
        balance = results.Balance(start_volume, self.reach.volume(), self.upstream, self.lateral_volume, self.outflow)
        self._save_series()
        self._close(balance, unstable_at, stopped)
        return Outcome(time.perf_counter() - clock, self.span, stopped or unstable_at is not None)

    def _time_loop(self) -> tuple[float | None, bool]:
        """Returns when it went unstable (seconds; None if it did not) and whether a fault stopped it."""
        for index in range(1, self.count + 1):
            seconds = index * self.step
            before = self.reach.flow
            lateral = 0.5 * (self.lateral[index - 1] + self.lateral[index])
            try:
                report = self.reach.advance(self.step, float(self.inflow[index]), self._downstream_at(index), lateral)
            except UnstableError as error:
                self._say_unstable(seconds, error.section, error.error, error.iterations)
                return seconds, False
            self._account(before, lateral, report, seconds)
            if index % self.every == 0:
                self._record(seconds, index)
                self._report(seconds)
                if self.options.fault.strike(seconds / self.span, self._save_series, self.log.last_words):
                    if self.options.fault.name == "terminated":
                        return None, True
                    self._say_unstable(seconds, len(self.sections) // 2, 1000.0, report.iterations)
                    return seconds, False
        return None, False

    def _account(self, before: Array, lateral: Array, report: StepReport, seconds: float) -> None:
        theta, step = self.reach.controls.theta, self.step
        through = step * (theta * self.reach.flow + (1 - theta) * before)
        self.upstream += float(through[0])
        self.outflow += float(through[-1])
        self.lateral_volume += step * float(lateral.sum())
        self.passed = self.passed + through
        self.max_error = max(self.max_error, report.error)
        if report.iterations >= self.reach.controls.max_iterations:
            self._say_error(seconds, report.section, report.error, report.iterations)
        for section in np.flatnonzero(self.reach.stage > self.reach.tables.tops).tolist():
            if section not in self.extrapolated:
                self.extrapolated.add(section)
                place = self.sections[section].station
                self.log.message(f"Extrapolated above Cross Section Table at RS {place}, {self._moment(seconds)}")

    def _record(self, seconds: float, index: int) -> None:
        series, reach = self.series, self.reach
        velocity, velocity_channel = reach.velocities()
        series.seconds.append(seconds)
        series.stage.append(reach.stage)
        series.flow.append(reach.flow)
        series.lateral.append(np.append(self.lateral[index], 0.0))
        series.passed.append(self.passed)
        series.velocity.append(velocity)
        series.velocity_channel.append(velocity_channel)

    def _report(self, seconds: float) -> None:
        self.log.progress(seconds / self.span)
        inflow, outflow = self.reach.flow[0], self.reach.flow[-1]
        self.detail.write(f"{self._moment(seconds)}   Flow in {inflow:12.2f}   out {outflow:12.2f}")
        if self.options.pace:
            time.sleep(self.options.pace)

    def _moment(self, seconds: float) -> str:
        return stamp(self.begin + timedelta(seconds=seconds))

    def _save_series(self) -> None:
        results.write_series(self.inputs.temporary_results, self.inputs, self.sections, self.series)

    def _say_error(self, seconds: float, index: int, error: float, iterations: int) -> None:
        section, stage = self.sections[index], self.reach.stage[index]
        place = f"{section.river:<16}\t{section.reach:<16}\t{section.station}"
        self.log.message(f"{self._moment(seconds)} {place}\t{stage:.2f}\t{error:.3f}\t{iterations}")

    def _say_unstable(self, seconds: float, index: int, error: float, iterations: int) -> None:
        self.max_error = error
        self.log.message(f"\nMinimum error exceeds allowable tolerance at {self._moment(seconds)}\n")
        self._say_error(seconds, index, error, iterations)
        self.log.message("\n****   ERROR:  Solution Solver Failed   ****\n")
        self.log.message(f"Simulation went unstable at: {self._moment(seconds)}\n")

    def _close(self, balance: results.Balance, unstable_at: float | None, stopped: bool) -> None:
        unit, size = self.inputs.units.account, self.inputs.units.account_volume
        accounting = (
            f"\nOverall Volume Accounting Error in {unit}: {balance.error / size:17.5g}\n"
            f"Overall Volume Accounting Error as percentage: {balance.error_percent:17.5g}"
        )
        self.log.message(f'{accounting}\nPlease review "Computational Log File" output for volume accounting details')
        self.detail.write(accounting)
        self.detail.close()
        if stopped:
            self.log.message("\nUnsteady Flow Simulation Terminated\n")
            return
        if self.options.fault.name == "no-finish":
            return
        solution = results.FINISHED if unstable_at is None else results.UNSTABLE
        end = datetime.now()
        summary = results.Summary(solution, self.started, end, self.max_error, unstable_at, balance)
        results.finish(self.inputs.temporary_results, self.inputs, summary)
        if unstable_at is None:
            self.log.message("\nFinished Unsteady Flow Simulation\n")


def _initial_flows(flow: UnsteadyFlow, sections: tuple[CrossSection, ...], inflow: float, lateral: Array) -> Array:
    """Flow at each section at the start: the inflow plus lateral inflow, replaced from each 'Initial Flow Loc' on."""
    flows, current = [], inflow
    for section, joining in zip(sections, [0.0, *lateral], strict=True):
        current = flow.initial_flows.get(section.station, current + joining)
        flows.append(current)
    if min(flows) <= 0:
        raise RefusedError("the flow at the start of the simulation has to be above zero")
    return np.array(flows)


def _lateral_share(boundary: Boundary, sections: tuple[CrossSection, ...]) -> Array:
    """Share of a lateral hydrograph that enters each interval between sections, shape (n - 1,)."""
    stations = [section.station for section in sections]
    share = np.zeros(len(sections) - 1)
    first = stations.index(boundary.station)
    if boundary.kind == "Lateral Inflow Hydrograph":
        share[first] = 1.0
        return share
    last = stations.index(boundary.downstream_station) if boundary.downstream_station in stations else len(share)
    if last <= first:
        raise RefusedError(f"uniform lateral inflow from RS {boundary.station}: its end is not downstream of it")
    share[first:last] = [section.lengths[1] for section in sections[first:last]]
    return np.asarray(share / share.sum())
