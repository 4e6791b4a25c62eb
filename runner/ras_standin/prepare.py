"""What Windows HEC-RAS leaves for the Linux engines: ``.pNN.tmp.hdf``, ``.bNN`` and ``.xGG`` (steady: ``.rNN``)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ras_standin import ENGINE, LABEL, __version__
from ras_standin.errors import UsageError
from ras_standin.flow_text import parse_steady, parse_unsteady
from ras_standin.geometry import Geometry
from ras_standin.geometry_hdf import decode, read_geometry, write_geometry
from ras_standin.geometry_text import parse_geometry
from ras_standin.hdf_common import open_hdf, put, set_attributes, stamp_24
from ras_standin.project import RunInputs, load_inputs, make_inputs
from ras_standin.text import find, read_text, settings

#: Group of the ``.tmp.hdf`` that carries the project, plan and flow text, so that it can be computed elsewhere.
_TEXTS = "Stand-In Engine"
_TEXT_NAMES = ("Project File", "Plan File", "Flow File")
#: Also there, if the geometry exists as text only: structures and storage areas have no place of their own.
_GEOMETRY = "Geometry File"


def prepare(inputs: RunInputs, when: datetime) -> None:
    """Write the files that the solvers start from.

    Raises:
        UsageError: the geometry is missing or not readable.
    """
    with open_hdf(inputs.temporary_results, "w") as file:
        _write_root(file, inputs)
        _write_geometry(file, inputs)
        _write_plan(file, inputs)
        _write_events(file, inputs, when)
        for name, text in zip(_TEXT_NAMES, (inputs.project_text, inputs.plan_text, inputs.flow_text), strict=True):
            _put_text(file, name, text)
        sections = (
            len(file["Geometry/Cross Sections/Attributes"]) if "Geometry/Cross Sections/Attributes" in file else 0
        )
    run_file = "\r\n".join([f"{ENGINE} {__version__}", LABEL, inputs.project_title, inputs.plan.title, ""])
    _write_text(inputs.file(("r" if inputs.plan.steady else "b") + inputs.plan.number[1:]), run_file)
    if not inputs.plan.steady:
        table = f"{ENGINE} {__version__}\r\n{LABEL}\r\n{sections:8d} cross sections\r\n"
        _write_text(inputs.file("x" + inputs.plan.geometry[1:]), table)


def load_prepared(temporary_results: Path) -> RunInputs:
    """Return the inputs that a ``.tmp.hdf`` carries; of one made by HEC-RAS, those of the text files beside it.

    Raises:
        UsageError: the file is missing, is not HDF, or its name is not that of a plan.
    """
    found = find(temporary_results)
    if found is None:
        raise UsageError(f"{temporary_results} does not exist: prepare the plan first")
    match = re.fullmatch(r"(.+)\.(p\d\d)(?:\.tmp)?\.hdf", found.name, re.IGNORECASE)
    if match is None:
        raise UsageError(f"{found.name} is not the temporary results file of a plan (PROJECT.p04.tmp.hdf)")
    name, number = match[1], match[2].lower()
    try:
        with open_hdf(found, "r") as file:
            if _TEXTS not in file:
                return load_inputs(found.parent / f"{name}.prj", number)
            parts = [_get_text(file, key) for key in _TEXT_NAMES]
    except OSError as error:
        raise UsageError(f"{found} cannot be opened as HDF: {error}") from error
    return make_inputs(found.parent, name, number, (parts[0], parts[1], parts[2]))


def require_companion(path: Path) -> None:
    """Raise UsageError if a file that was prepared with the ``.tmp.hdf`` is missing or empty."""
    found = find(path)
    if found is None or not found.stat().st_size:
        raise UsageError(f"{path} is missing or empty: prepare the plan first")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="latin-1", errors="replace", newline="")


def _write_root(file: h5py.File, inputs: RunInputs) -> None:
    set_attributes(
        file,
        {
            "File Type": "HEC-RAS Results",  # the name of the layout, not of the program
            "File Version": f"{ENGINE} {__version__} (not HEC-RAS)",
            "Units System": inputs.units.name,
            "Stand-In Engine": LABEL,
        },
    )


def _write_geometry(file: h5py.File, inputs: RunInputs) -> None:
    """Copy the Geometry group of ``.gNN.hdf``; without that file, write one from the text."""
    source = find(inputs.file(f"{inputs.plan.geometry}.hdf"))
    if source is None:
        path = inputs.file(inputs.plan.geometry)
        text = read_text(path, f"plan {inputs.plan.number}: neither {path.name}.hdf nor")
        geometry = parse_geometry(text, path.name)
        if geometry.sections:
            write_geometry(file, geometry)
        else:
            file.create_group("Geometry")
        _put_text(file, _GEOMETRY, text)
        return
    try:
        with open_hdf(source, "r") as other:
            if "Geometry" not in other:
                raise UsageError(f"{source} has no Geometry group: it is not a HEC-RAS geometry file")
            other.copy("Geometry", file)
            for key in ("Projection", "Units System"):
                if key in other.attrs:
                    file.attrs[key] = other.attrs[key]
    except OSError as error:
        raise UsageError(f"{source} cannot be opened as HDF: {error}") from error


def _write_plan(file: h5py.File, inputs: RunInputs) -> None:
    plan, name = inputs.plan, inputs.name
    information: dict[str, Any] = {
        "Flow Filename": f"{name}.{plan.flow}",
        "Flow Title": settings(inputs.flow_text).get("Flow Title", ""),
        "Geometry Filename": f"{name}.{plan.geometry}",
        "Geometry Title": decode(file["Geometry"].attrs.get("Title", b"")),
        "Plan Filename": f"{name}.{plan.number}",
        "Plan Name": plan.title,
        "Plan ShortID": plan.short_id,
        "Plan Title": plan.title,
        "Project Filename": str(inputs.file("prj")),
        "Project Title": inputs.project_title,
    }
    if plan.start and plan.end:
        start, end = (moment.strftime("%d%b%Y %H:%M:%S") for moment in (plan.start, plan.end))
        information |= {
            "Base Output Interval": plan.settings.get("Mapping Interval") or plan.settings.get("Output Interval", ""),
            "Computation Time Step Base": plan.settings.get("Computation Interval", ""),
            "Simulation Start Time": start,
            "Simulation End Time": end,
            "Time Window": f"{start} to {end}",
        }
    set_attributes(file.create_group("Plan Data/Plan Information"), information)
    set_attributes(file.create_group("Plan Data/Plan Parameters"), _parameters(file, inputs))


def _parameters(file: h5py.File, inputs: RunInputs) -> dict[str, Any]:
    """Numerical parameters; the cores are the plan's, though this engine uses one."""
    plan = inputs.plan
    parameters: dict[str, Any] = {
        "1D Cores": np.int32(plan.value("UNET D1 Cores", 0)),
        "2D Only": "False",
        "Friction Slope Average Method (XS)": "Average Conveyance",
        "Gravity": np.float32(inputs.units.gravity),
    }
    if not plan.steady:
        parameters |= {
            "1D Theta": np.float32(plan.value("UNET Theta", 1)),
            "1D Water Surface Elevation Tolerance": np.float32(plan.value("UNET ZTol", 0.02)),
            "1D Maximum Iterations": np.int32(plan.value("UNET MxIter", 20)),
            "1D Maximum Water Surface Error To Abort": np.float32(plan.value("UNET DZMax Abort", 100)),
            "1D Methodology": plan.settings.get("UNET 1D Methodology") or "Finite Difference",
        }
    areas = file.get("Geometry/2D Flow Areas/Attributes")
    if areas is not None:
        cores = np.int32(plan.value("UNET D2 Cores", 0))
        parameters["2D Cores (per mesh)"] = np.full(len(areas), cores, np.int32)
    return parameters


def _write_events(file: h5py.File, inputs: RunInputs, when: datetime) -> None:
    events = file.create_group("Event Conditions")
    plan = inputs.plan
    if plan.steady:
        parse_steady(inputs.flow_text, f"{inputs.name}.{plan.flow}")
        events.create_group("Steady")
    elif plan.start and plan.flow.startswith("u"):
        flow = parse_unsteady(inputs.flow_text, f"{inputs.name}.{plan.flow}")
        for boundary in flow.boundaries:
            path = f"River: {boundary.river}  Reach: {boundary.reach}  RS: {boundary.station}"
            root = "Event Conditions/Unsteady/Boundary Conditions"
            if boundary.slope is not None:
                put(file, f"{root}/Normal Depths/{path}", np.array([boundary.slope], np.float32))
            elif len(boundary.values):
                start = boundary.start or plan.start
                length = timedelta(seconds=boundary.interval * (len(boundary.values) - 1))
                days = np.arange(len(boundary.values)) * boundary.interval / 86400
                table = np.column_stack([days, boundary.values]).astype(np.float32)
                target = put(file, f"{root}/{boundary.kind}s/{path}", table)
                dates = {"Start Date": stamp_24(start), "End Date": stamp_24(start + length)}
                set_attributes(target, {"Data Type": "INST-VAL", "Interval": "Days", **dates})
        initial = file.require_group("Event Conditions/Unsteady/Initial Conditions")
        set_attributes(initial, {"Startup Mode": "Computed"})
    date = when.strftime("%m/%d/%Y %I:%M:%S %p")
    set_attributes(events, {"Completed Successfully": "True", "Date Processed": date})


def geometry_of(temporary_results: Path) -> Geometry:
    """Read the geometry of a prepared ``.tmp.hdf``."""
    with open_hdf(temporary_results, "r") as file:
        if f"{_TEXTS}/{_GEOMETRY}" in file:
            return parse_geometry(_get_text(file, _GEOMETRY), "geometry file")
        return read_geometry(file)


def _put_text(file: h5py.File, name: str, text: str) -> None:
    put(file, f"{_TEXTS}/{name}", np.frombuffer(text.encode("latin-1", "replace"), np.uint8), growing=True)


def _get_text(file: h5py.File, name: str) -> str:
    return bytes(file[f"{_TEXTS}/{name}"][:]).decode("latin-1")
