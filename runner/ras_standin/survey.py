"""What the engine refuses to model, and what it leaves out with a warning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ras_standin.flow_text import Boundary, SteadyFlow, UnsteadyFlow
from ras_standin.geometry import Geometry
from ras_standin.project import Plan

_LATERAL = ("Lateral Inflow Hydrograph", "Uniform Lateral Inflow Hydrograph")


@dataclass
class Findings:
    """Reasons to refuse, and things left out."""

    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def survey_geometry(geometry: Geometry) -> Findings:
    """Look for what a single reach of plain cross-sections is not."""
    found = Findings()
    refuse, warn = found.refusals.append, found.warnings.append
    if not geometry.sections:
        refuse("the geometry has no 1D cross-sections (a 2D-only model)")
    elif len(geometry.sections) == 1:
        refuse("the reach has a single cross-section")
    if len(geometry.reaches) > 1 or geometry.junctions:
        refuse(f"a network of {len(geometry.reaches)} reaches and {len(geometry.junctions)} junctions; one reach only")
    for structure in geometry.structures:
        link = f" to {structure.connects_to}" if structure.connects_to else ""
        if structure.kind == "Lateral":
            warn(f"lateral structure RS {structure.station}{link}: not modelled, no water leaves the reach")
        elif structure.kind in ("Bridge", "Culvert", "Multiple Opening"):
            warn(f"{structure.kind.lower()} RS {structure.station}: not modelled, friction only")
        else:
            refuse(f"{structure.kind.lower()} structure RS {structure.station}: not modelled")
    for name in geometry.areas_2d:
        warn(f"2D flow area '{name}': not modelled, no 2D results are written")
    if geometry.storage_areas:
        refuse(f"storage areas: {', '.join(geometry.storage_areas)}")
    if geometry.other_roughness:
        refuse(f"roughness given as {', '.join(geometry.other_roughness)}")
    for section in geometry.sections:
        if any(block.permanent for block in section.ineffective):
            warn(f"RS {section.station}: permanent ineffective area treated as a normal one")
    return found


def survey_plan(plan: Plan, text: str) -> Findings:
    """Look for options of the plan that change the equations."""
    found = Findings()
    if not (plan.steady or plan.flow.startswith("u")):
        found.refusals.append(f"flow file {plan.flow}: neither steady nor unsteady flow (quasi-unsteady, sediment)")
    for key in ("Run Sediment", "Run WQNet"):
        if plan.settings.get(key, "0") not in ("0", ""):
            found.refusals.append(f"plan option '{key}'")
    if plan.regime == "Supercritical":
        found.refusals.append("supercritical flow regime")
    if plan.regime == "Mixed":
        found.warnings.append("mixed flow regime: no supercritical profile is computed")
    if plan.settings.get("Computation Time Step Use Courant", "0") not in ("0", ""):
        found.warnings.append("time step by Courant number: the computation interval is used")
    for line in text.splitlines():
        parts = [part.strip() for part in line.partition("=")[2].split(",")]
        if line.startswith("Breach Loc=") and parts[3:4] == ["True"]:
            found.warnings.append(f"breach at RS {parts[2]}: not modelled")
        if line.startswith("Encroach Node"):
            found.refusals.append("encroachments")
            break
    return found


def survey_unsteady(plan: Plan, geometry: Geometry, flow: UnsteadyFlow) -> Findings:
    """Look for boundary conditions outside: a flow upstream, a stage or normal depth downstream, lateral inflow."""
    found = Findings()
    if flow.restart:
        found.refusals.append("restart file")
    if not geometry.sections:
        return found
    first, last = geometry.sections[0].station, geometry.sections[-1].station
    stations = {section.station for section in geometry.sections}
    for boundary in flow.boundaries:
        _survey_boundary(boundary, first, last, stations, found)
    at_sections = [boundary for boundary in flow.boundaries if not (boundary.area or boundary.connection)]
    if not any(b.kind == "Flow Hydrograph" and b.station == first for b in at_sections):
        found.refusals.append(f"no flow hydrograph at the first section, RS {first}")
    if not any(b.kind in ("Stage Hydrograph", "Normal Depth") and b.station == last for b in at_sections):
        found.refusals.append(f"neither stage hydrograph nor normal depth at the last section, RS {last}")
    for boundary in at_sections:
        if len(boundary.values) and plan.start and plan.end and not boundary.covers(plan.start, plan.end):
            found.refusals.append(f"{boundary.kind} at RS {boundary.station} does not cover the simulation")
    return found


def _survey_boundary(boundary: Boundary, first: str, last: str, stations: set[str], found: Findings) -> None:
    place = f"RS {boundary.station}"
    if boundary.area or boundary.connection:
        found.warnings.append(f"boundary on '{boundary.area or boundary.connection}': ignored")
        return
    allowed: dict[str, Callable[[], bool]] = {
        "Flow Hydrograph": lambda: boundary.station == first,
        "Stage Hydrograph": lambda: boundary.station == last,
        "Normal Depth": lambda: boundary.station == last,
        **dict.fromkeys(_LATERAL, lambda: boundary.station in stations and boundary.station != last),
    }
    if boundary.kind not in allowed:
        found.refusals.append(f"boundary '{boundary.kind or 'of unknown type'}' at {place}")
    elif not allowed[boundary.kind]():
        found.refusals.append(f"{boundary.kind} at {place}: not possible at this place")
    elif boundary.dss:
        found.refusals.append(f"{boundary.kind} at {place} is in a DSS file")
    elif boundary.kind != "Normal Depth" and not len(boundary.values):
        found.refusals.append(f"{boundary.kind} at {place} has no values")


def survey_steady(geometry: Geometry, flow: SteadyFlow) -> Findings:
    """Look for profiles that do not start from a known, normal or critical water surface."""
    found = Findings()
    if len(flow.reaches) > 1:
        found.refusals.append(f"flows for {len(flow.reaches)} reaches; one reach only")
    for name, boundary in zip(flow.profiles, flow.downstream, strict=True):
        if boundary.kind not in ("Known WS", "Normal Depth", "Critical Depth"):
            found.refusals.append(f"profile {name}: downstream boundary {boundary.kind}")
    if geometry.sections and geometry.sections[0].station not in flow.flows:
        found.refusals.append(f"no flow at the first section, RS {geometry.sections[0].station}")
    return found
