"""Steady results in the layout of HEC-RAS 6.5: ``Results/Steady``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np

from ras_standin.geometry import Array
from ras_standin.hdf_common import (
    BASE_OUTPUT,
    open_hdf,
    program_attributes,
    put,
    section_names,
    section_table,
    set_attributes,
    stamp,
)
from ras_standin.project import RunInputs
from ras_standin.section import Properties, SectionHydraulics
from ras_standin.steady import Profile, velocity_head
from ras_standin.units import Units

ROOT = "Results/Steady"
SUMMARY = f"{ROOT}/Summary"
FINISHED = "Steady Finished Successfully"
FAILED = "Steady failed to run"

_PROFILES = f"{ROOT}/{BASE_OUTPUT}/Steady Profiles"
_ZONES = ("Left OB", "Channel", "Right OB")


#: Output of one profile: variable name -> (values at the sections, unit).
Variables = dict[str, tuple[Array, str]]


def variables(sections: Sequence[SectionHydraulics], flows: Array, found: Profile) -> Variables:
    """Return every output variable of a profile, under the names of HEC-RAS's ``Additional Variables``."""
    units = sections[0].units
    here = _together(sections, found.stage)
    conveyance = np.maximum(here.total_conveyance, 1e-9)
    slope = (flows / conveyance) ** 2
    zone_flow = here.conveyance / conveyance[:, None] * flows[:, None]
    critical_energy = found.critical + velocity_head(_together(sections, found.critical), flows, units.gravity)
    unknown = np.full(len(flows), np.nan)
    values = {
        "Alpha": (here.alpha, ""),
        "Beta": (here.beta, ""),
        "Critical Energy Grade": (critical_energy, units.length),
        "Critical Water Surface": (found.critical, units.length),
        "EG Slope": (slope, f"{units.length}/{units.length}"),
        "Friction Slope": (slope, f"{units.length}/{units.length}"),
        "Encroachment Station Left": (unknown, units.length),
        "Encroachment Station Right": (unknown, units.length),
        "Maximum Depth Total": (found.stage - np.array([s.invert for s in sections]), units.length),
        "Shear": (units.water_weight * _ratio(here.area, here.perimeter)[:, -1] * slope, units.stress),
        "Water Surface Total": (found.stage, units.length),
        "Energy Grade": (found.stage + velocity_head(here, flows, units.gravity), units.length),
    }
    for name, zones, unit in (
        ("Area Flow {}", here.area, units.area),
        ("Area including Ineffective {}", here.area_all, units.area),
        ("Conveyance {}", here.conveyance, units.flow),
        ("Flow {}", zone_flow, units.flow),
        ("Top Width {}", here.width, units.length),
        ("Top Width {} including Ineffective", here.width_all, units.length),
        ("Wetted Perimeter {}", here.perimeter, units.length),
    ):
        values |= _columns(name, np.column_stack([zones, zones.sum(axis=1)]), unit)
    return values | _quotients(here, zone_flow, units)


def _together(sections: Sequence[SectionHydraulics], stages: Array) -> Properties:
    """Properties of all sections, each at its own water surface: one row a section."""
    each = [hydraulics.at(stage) for hydraulics, stage in zip(sections, stages, strict=True)]
    return Properties(
        *(np.concatenate([getattr(properties, field.name) for properties in each]) for field in fields(Properties))
    )


def _quotients(here: Properties, flow: Array, units: Units) -> Variables:
    """Depths, radii, velocities and the n that conveyance implies; each of three zones and of the total."""
    radius = _ratio(here.area, here.perimeter)
    area = np.column_stack([here.area, here.total_area])
    conveyance = np.column_stack([here.conveyance, here.total_conveyance])
    implied = units.manning * area * radius ** (2 / 3) / np.maximum(conveyance, 1e-12)
    return {
        **_columns("Hydraulic Depth {}", _ratio(here.area, here.width), units.length),
        **_columns("Hydraulic Radius {}", radius, units.length),
        **_columns("Velocity {}", _ratio(flow, here.area), units.velocity),
        **_columns("Manning n {}", np.where(conveyance > 0, implied, np.nan), ""),
    }


def _ratio(upper: Array, lower: Array) -> Array:
    """Quotient of zone values and of their totals, shape (sections, 4); zero where a zone is dry."""
    above = np.column_stack([upper, upper.sum(axis=1)])
    below = np.column_stack([lower, lower.sum(axis=1)])
    return np.where(below > 0, above / np.maximum(below, 1e-12), 0.0)


def _columns(name: str, table: Array, unit: str) -> Variables:
    """One variable a column: the three zones and the total."""
    return {name.format(zone): (table[:, i], unit) for i, zone in enumerate((*_ZONES, "Total"))}


def write_profiles(
    inputs: RunInputs,
    sections: Sequence[SectionHydraulics],
    names: Sequence[str],
    profiles: Sequence[Variables],
) -> None:
    """Write the profiles computed so far into the ``.tmp.hdf``; anything in ``Results`` before goes."""
    plain = [hydraulics.section for hydraulics in sections]
    units = inputs.units
    with open_hdf(inputs.temporary_results, "r+") as file:
        if "Results" in file:
            del file["Results"]
        attributes = program_attributes(str(inputs.file("prj")), inputs.project_title, "Steady Flow Analysis")
        set_attributes(file.create_group(f"{ROOT}/Output"), attributes)
        info = f"{ROOT}/Output/Geometry Info"
        put(file, f"{info}/Cross Section Attributes", section_table(plain))
        put(file, f"{info}/Cross Section Only", section_names(plain))
        nodes = [f"{s.river} {s.reach} {s.station} XS".ljust(64).encode() for s in plain]
        put(file, f"{info}/Node Info", np.array(nodes, "S132"))
        block = file.create_group(f"{ROOT}/{BASE_OUTPUT}")
        block.attrs["Output Block Name"] = np.array([b"Base Output"], "S32")
        put(file, f"{_PROFILES}/Profile Names", np.array([name.encode() for name in names], "S16"))
        main = {
            "Water Surface": ("Water Surface Total", "Stage", units.length),
            "Flow": ("Flow Total", "Flow", units.flow),
            "Energy Grade": ("Energy Grade", "Stage", units.length),
        }
        for name, (source, label, unit) in main.items():
            _write(file, f"Cross Sections/{name}", [values[source][0] for values in profiles], label, unit)
        for name, (_, unit) in profiles[0].items():
            if name != "Energy Grade":
                rows = [values[name][0] for values in profiles]
                _write(file, f"Cross Sections/Additional Variables/{name}", rows, name, unit)


def _write(file: h5py.File, name: str, rows: Sequence[Array], label: str, unit: str) -> None:
    dataset = put(file, f"{_PROFILES}/{name}", np.array(rows, np.float32))
    dataset.attrs["Variable_Unit"] = np.array([[label.encode(), unit.encode()]], "S32")


def finish(path: Path, solution: str, started: datetime, ended: datetime) -> None:
    """Write ``Results/Steady/Summary``."""
    with open_hdf(path, "r+") as file:
        window = f"{stamp(started)} to {stamp(ended)}"
        set_attributes(file.require_group(SUMMARY), {"Solution": solution, "Run Time Window": window})
