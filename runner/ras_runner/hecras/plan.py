"""A plan file (``.pNN``): what is computed, over which time, with how many cores."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ras_runner.errors import InputError
from ras_runner.hecras.text import (
    as_written,
    described,
    key_values,
    lines_with_ends,
    pairs,
    parse_date,
    parse_interval,
    read_text,
    shown,
)

if TYPE_CHECKING:
    from ras_runner.hecras.project import Project

_STEP = "read plan"


class FlowType(StrEnum):
    """The kind of computation, told by the letter of the flow file."""

    UNSTEADY = "unsteady"
    STEADY = "steady"
    QUASI_UNSTEADY = "quasi-unsteady"


_FLOW_TYPES = {"u": FlowType.UNSTEADY, "f": FlowType.STEADY, "q": FlowType.QUASI_UNSTEADY}


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores that the plan asks for; 0 means all of the machine."""

    d1: int = 0
    d2: int = 0
    #: By name of the 2D flow area.
    meshes: dict[str, int] = field(default_factory=dict, hash=False)
    #: Pipe systems (6.6 and later).
    ps: int = 0


@dataclass(frozen=True, slots=True)
class Flags:
    """What a run of the plan does."""

    htab: bool
    unet: bool
    postprocess: bool
    rasmapper: bool
    sediment: bool
    water_quality: bool
    write_detailed: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as its file says."""

    project: Project
    #: ``01`` to ``99``.
    number: str
    path: Path
    title: str
    short_id: str
    #: ``gNN``.
    geometry: str
    #: ``uNN``, ``fNN`` or ``qNN``.
    flow: str
    flow_type: FlowType
    #: Simulation window; None where the plan has none (steady).
    start: datetime | None
    end: datetime | None
    computation_interval: timedelta | None
    output_interval: timedelta | None
    mapping_interval: timedelta | None
    program_version: str
    cores: Cores
    flags: Flags

    @property
    def name(self) -> str:
        """Its number; in a labelled project as its file is called: ``Creek.p01``."""
        return f"{self.project.label}.p{self.number}" if self.project.label else self.number

    @classmethod
    def read(cls, project: Project, number: str) -> Plan:
        """Read the plan ``number`` (two digits) of a project.

        Raises:
            InputError: the file is missing, damaged or names no geometry or flow file, or its dates or its
                computation interval mean nothing.
        """
        path = project.file(f"p{number}") or project.folder / f"{project.name}.p{number}"
        text = read_text(path, step=_STEP)
        values = key_values(text)
        flow = component(_one(values, "Flow File"), "ufq", path, "Flow File")
        start, end = _window(path, _one(values, "Simulation Date"))
        return cls(
            project=project,
            number=number,
            path=path,
            title=shown(_one(values, "Plan Title")),
            short_id=shown(_one(values, "Short Identifier")),
            geometry=component(_one(values, "Geom File"), "g", path, "Geom File"),
            flow=flow,
            flow_type=_FLOW_TYPES[flow[0]],
            start=start,
            end=end,
            computation_interval=_computation_interval(path, _one(values, "Computation Interval")),
            output_interval=_interval(_one(values, "Output Interval")),
            mapping_interval=_interval(_one(values, "Mapping Interval")),
            program_version=_one(values, "Program Version"),
            cores=_cores(text),
            flags=_flags(values),
        )


def component(value: str, letters: str, path: Path, key: str) -> str:
    """A component of a project (``g04``) in lower case.

    Args:
        value: what stands after ``key=`` in the file ``path``.
        letters: the first letters that this key may have.

    Raises:
        InputError: it is empty, or anything but one letter and two digits: no path is ever taken from here.
    """
    if re.fullmatch(f"[{letters}][0-9]{{2}}", value.strip(), re.IGNORECASE):
        return value.strip().lower()
    wanted = " or ".join(f"{letter}NN" for letter in letters)
    said = f"has {key}={value!r}" if value.strip() else f"names no {key} (is it cut off?)"
    raise InputError(
        f"{path} {said}; {key} must be {wanted}", step="read project", action="open and save it in HEC-RAS"
    )


def edited_plan(
    text: str, *, cores: int | None = None, write_detailed: bool | None = None, run_htab: bool | None = None
) -> str:
    """The text of a staged plan with other settings; line ends and everything else stay byte for byte.

    Args:
        text: the plan file, read as Latin-1.
        cores: for 1D, for every 2D area and for pipe systems; 0 means all. None leaves what the plan says.
        write_detailed: True makes the engine write progress (``.bcoNN``) and messages.
        run_htab: whether the geometry is preprocessed again.

    Raises:
        InputError: ``cores`` is negative.
    """
    if cores is not None and cores < 0:
        raise InputError(f"{cores} cores make no sense", step="edit plan", action="give 0 (all) or more")
    values: dict[str, int] = {}
    if cores is not None:
        values = {"UNET D1 Cores": cores, "UNET D2 Cores": cores, "PS Cores": cores}
    if write_detailed is not None:
        values["Write Detailed"] = int(write_detailed)
    if run_htab is not None:
        values["Run HTab"] = -int(run_htab)  # Visual Basic's True
    # A key that HEC-RAS of the plan's release did not write is added where it is read by every release.
    return _set_values(text, values, added=("UNET D1 Cores", "Write Detailed", "Run HTab"), after="Flow File")


def set_current_plan(prj_text: str, number: str) -> str:
    """The text of a staged ``.prj`` with another current plan: HEC-RAS 5 computes that one."""
    return _set_values(prj_text, {"Current Plan": f"p{number}"}, added=("Current Plan",), after="Proj Title")


def _set_values(text: str, values: dict[str, int] | dict[str, str], *, added: tuple[str, ...], after: str) -> str:
    """Set every line of each key; keys of ``added`` that are absent get a line behind the first key ``after``."""
    pieces = lines_with_ends(text)
    skip = described([line for line, _ in pieces])
    new_end = next((end for _, end in pieces if end), "\n")
    seen: set[str] = set()
    anchor = -1
    result: list[str] = []
    for index, (line, end) in enumerate(pieces):
        key, equals, old = line.partition("=")
        name = key.strip()
        if equals and index not in skip:
            if name in values:
                seen.add(name)
                line = f"{key}={_replaced(old, str(values[name]))}"  # noqa: PLW2901
            elif name == after and anchor < 0:
                anchor = len(result) + 1
                end = end or new_end  # noqa: PLW2901
        result.append(line + end)
    missing = [f"{name}={values[name]}{new_end}" for name in added if name in values and name not in seen]
    position = max(anchor, 0)
    return "".join(result[:position] + missing + result[position:])


def _replaced(old: str, new: str) -> str:
    """The new value with the blanks of the old one around it."""
    value = old.strip()
    return old.replace(value, new, 1) if value else new


def _one(values: dict[str, list[str]], key: str) -> str:
    return values.get(key, [""])[0]


def _window(path: Path, text: str) -> tuple[datetime | None, datetime | None]:
    """The window of ``Simulation Date=02JAN1900,0000,02JAN1900,2400``."""
    fields = [part.strip() for part in text.split(",")]
    if not any(fields):
        return None, None
    fields += [""] * (4 - len(fields))
    try:
        start, end = parse_date(",".join(fields[:2]).rstrip(",")), parse_date(",".join(fields[2:4]).rstrip(","))
    except ValueError as error:
        raise InputError(
            f"{path}: Simulation Date: {error}", step=_STEP, action="correct the simulation window in HEC-RAS and save"
        ) from error
    if end < start:
        cause = f"{path}: the simulation ends ({fields[2]} {fields[3]}) before it starts ({fields[0]} {fields[1]})"
        raise InputError(cause, step=_STEP, action="correct the simulation window in HEC-RAS and save")
    return start, end


def _computation_interval(path: Path, text: str) -> timedelta | None:
    try:
        return parse_interval(text) if text else None
    except ValueError as error:
        raise InputError(
            f"{path}: Computation Interval: {error}", step=_STEP, action="choose the interval in HEC-RAS and save"
        ) from error


def _interval(text: str) -> timedelta | None:
    """An interval of outputs. HEC-RAS also has words here, which are no interval."""
    try:
        return parse_interval(text)
    except ValueError:
        return None


def _integer(text: str) -> int:
    match = re.match(r"\s*(-?[0-9]{1,9})", text)
    return int(match[1]) if match else 0


def _cores(text: str) -> Cores:
    d1 = d2 = ps = 0
    meshes: dict[str, int] = {}
    mesh = ""
    for key, value in pairs(text):
        if key == "UNET D1 Cores":
            d1 = _integer(value)
        elif key == "PS Cores":
            ps = _integer(value)
        elif key == "UNET D2 Name":
            mesh = as_written(value)
        elif key == "UNET D2 Cores" and mesh:
            meshes[mesh] = _integer(value)
        elif key == "UNET D2 Cores":
            d2 = _integer(value)
    return Cores(d1, d2, meshes, ps)


def _flags(values: dict[str, list[str]]) -> Flags:
    def on(key: str) -> bool:
        return _integer(_one(values, key)) != 0

    return Flags(
        htab=on("Run HTab"),
        unet=on("Run UNet"),
        postprocess=on("Run PostProcess"),
        rasmapper=on("Run RASMapper"),
        sediment=on("Run Sediment"),
        water_quality=on("Run WQNet"),
        write_detailed=on("Write Detailed"),
    )
