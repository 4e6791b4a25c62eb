"""The program ``RasSteady``: computes the profiles of one plan in its prepared ``.tmp.hdf``."""

from __future__ import annotations

import time
from datetime import datetime

import numpy as np

from ras_standin import ENGINE, LABEL, __version__
from ras_standin import results_steady as results
from ras_standin.errors import RefusedError, UsageError
from ras_standin.flow_text import DownstreamBoundary, SteadyFlow, parse_steady
from ras_standin.geometry import Array
from ras_standin.log import RunLog
from ras_standin.prepare import geometry_of
from ras_standin.project import RunInputs
from ras_standin.run_unsteady import Options, Outcome, judge
from ras_standin.section import SectionHydraulics
from ras_standin.steady import Profile, critical_stage, normal_stage, profile
from ras_standin.survey import survey_geometry, survey_plan, survey_steady

#: Faults that have no meaning for a steady plan.
_UNSTEADY_ONLY = ("unstable",)


def run_steady(inputs: RunInputs, log: RunLog, options: Options) -> Outcome:
    """Compute a steady plan.

    Raises:
        RefusedError: the model is outside this engine; the results file then says ``Steady failed to run``.
        UsageError: an input file is broken.
    """
    started, clock = datetime.now(), time.perf_counter()
    path = inputs.temporary_results
    log.message(f"\nSteady Flow Simulation {ENGINE} {__version__}\n*** {LABEL} ***\n")
    if options.fault.name in _UNSTEADY_ONLY:
        log.message(f"WARNING: fault '{options.fault.name}' has no meaning for a steady plan; ignored")
    try:
        if options.fault.name == "failed-to-run":
            log.message("ERROR: the steady solver failed to run (fault on demand)")
            results.finish(path, results.FAILED, started, datetime.now())
            return Outcome(0.0, stopped=True)
        geometry = geometry_of(path)
        flow = parse_steady(inputs.flow_text, f"{inputs.name}.{inputs.plan.flow}")
        survey = [survey_plan(inputs.plan, inputs.plan_text), survey_geometry(geometry), survey_steady(geometry, flow)]
        judge(survey, options.strict, log)
        sections = [SectionHydraulics(section, inputs.units) for section in geometry.sections]
        finished = _profiles(inputs, sections, flow, log, options)
    except RefusedError:
        results.finish(path, results.FAILED, started, datetime.now())
        raise
    if not finished:
        log.message("\nSteady Flow Simulation Terminated\n")
    elif options.fault.name != "no-finish":
        results.finish(path, results.FINISHED, started, datetime.now())
        log.message("\nFinished Steady Flow Simulation\n")
    return Outcome(time.perf_counter() - clock, stopped=not finished)


def _profiles(
    inputs: RunInputs, sections: list[SectionHydraulics], flow: SteadyFlow, log: RunLog, options: Options
) -> bool:
    """Compute and write all profiles; False if a fault stopped it."""
    done: list[results.Variables] = []

    def save() -> None:
        results.write_profiles(inputs, sections, flow.profiles[: len(done)], done)

    for number, (name, boundary) in enumerate(zip(flow.profiles, flow.downstream, strict=True)):
        flows = _flows(flow, sections, number)
        found = profile(sections, flows, _downstream_stage(boundary, sections[-1], float(flows[-1])))
        done.append(results.variables(sections, flows, found))
        _say_critical(log, sections, name, found)
        log.progress(len(done) / len(flow.profiles))
        time.sleep(options.pace)
        if options.fault.name in _UNSTEADY_ONLY:
            continue
        if options.fault.strike(len(done) / len(flow.profiles), save, log.last_words):
            save()
            return False
    save()
    return True


def _flows(flow: SteadyFlow, sections: list[SectionHydraulics], number: int) -> Array:
    """Flow at each section in profile ``number``: each entry holds from its section on downstream."""
    flows: list[float] = []
    for hydraulics in sections:
        entry = flow.flows.get(hydraulics.section.station)
        flows.append(flows[-1] if entry is None else float(entry[number]))
    if min(flows) <= 0:
        raise RefusedError(f"profile {flow.profiles[number]}: the flow has to be above zero")
    return np.array(flows)


def _downstream_stage(boundary: DownstreamBoundary, last: SectionHydraulics, flow: float) -> float:
    if boundary.kind == "Known WS":
        return boundary.value
    if boundary.kind == "Critical Depth":
        return critical_stage(last, flow)
    if boundary.value <= 0:
        raise UsageError("steady flow file: 'Dn Slope=' has to be above zero")
    return normal_stage(last, flow, boundary.value)


def _say_critical(log: RunLog, sections: list[SectionHydraulics], name: str, found: Profile) -> None:
    for index in np.flatnonzero(found.at_critical).tolist():
        station = sections[index].section.station
        log.message(f"WARNING: profile {name}, RS {station}: no subcritical answer, critical depth is used")
