"""The project and plan files, and the set of texts that one run needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ras_standin.errors import UsageError
from ras_standin.text import find, moment, read_text, seconds, settings
from ras_standin.units import SI, US_CUSTOMARY, Units


@dataclass(frozen=True)
class Plan:
    """What a plan file says; intervals in seconds, ``start`` and ``end`` None for a steady plan."""

    number: str
    title: str
    short_id: str
    geometry: str
    flow: str
    start: datetime | None
    end: datetime | None
    time_step: float
    output_interval: float
    regime: str
    settings: dict[str, str]

    @property
    def steady(self) -> bool:
        """Whether the flow file is a steady one (``fNN``)."""
        return self.flow[:1].lower() == "f"

    def value(self, key: str, default: float) -> float:
        """Number of a plan setting, ``default`` where it is absent or empty."""
        try:
            return float(self.settings.get(key) or default)
        except ValueError:
            raise UsageError(f"plan {self.number}: {key}={self.settings[key]} is not a number") from None


@dataclass(frozen=True)
class RunInputs:
    """One plan of one project, with the raw texts it was made of (they travel inside the ``.tmp.hdf``)."""

    folder: Path
    name: str
    project_title: str
    units: Units
    plan: Plan
    project_text: str
    plan_text: str
    flow_text: str

    def file(self, extension: str) -> Path:
        """Path of the project file with ``extension``, in the case it has on disk."""
        path = self.folder / f"{self.name}.{extension}"
        return find(path) or path

    @property
    def temporary_results(self) -> Path:
        """Where results are written during the run."""
        return self.file(f"{self.plan.number}.tmp.hdf")

    @property
    def results(self) -> Path:
        """Where results are at the end."""
        return self.file(f"{self.plan.number}.hdf")


def make_inputs(folder: Path, name: str, number: str, texts: tuple[str, str, str]) -> RunInputs:
    """Build the inputs of plan ``number`` from the texts of the project, plan and flow file."""
    project_text, plan_text, flow_text = texts
    values = settings(project_text)
    if "Proj Title" not in values:
        raise UsageError(f"{folder / (name + '.prj')} is not a HEC-RAS project file: it has no line 'Proj Title='")
    lines = {line.strip() for line in project_text.splitlines()}
    units = SI if "SI Units" in lines else US_CUSTOMARY
    plan = parse_plan(plan_text, number, f"plan file {name}.{number}")
    return RunInputs(folder, name, values["Proj Title"], units, plan, project_text, plan_text, flow_text)


def load_inputs(project: Path, plan_reference: str) -> RunInputs:
    """Read the project, plan and flow file.

    Args:
        project: the ``.prj`` file.
        plan_reference: ``p04``, or the name or path of the plan file.

    Raises:
        UsageError: a file is missing, is not what it should be, or is cut short.
    """
    if project.suffix.lower() != ".prj":
        raise UsageError(f"{project} is not a HEC-RAS project: its name does not end in .prj")
    number = re.fullmatch(r"(?:.*\.)?(p\d\d)", Path(plan_reference).name.lower())
    if number is None:
        raise UsageError(f"{plan_reference!r} is not a plan: give the name of the plan file (PROJECT.p04) or p04")
    found = find(project)
    if found is None:
        raise UsageError(f"project file {project} does not exist")
    project_text = read_text(found, "project file")
    folder, name = found.parent, found.stem
    if "Proj Title=" not in project_text:
        raise UsageError(f"{found} is not a HEC-RAS project file: it has no line 'Proj Title='")
    plan_text = read_text(folder / f"{name}.{number[1]}", "plan file")
    flow = parse_plan(plan_text, number[1], f"plan file {name}.{number[1]}").flow
    flow_text = read_text(folder / f"{name}.{flow}", f"plan {number[1]}: flow file")
    return make_inputs(folder, name, number[1], (project_text, plan_text, flow_text))


def parse_plan(text: str, number: str, where: str) -> Plan:
    """Parse the text of a plan file; ``where`` names it in messages.

    Raises:
        UsageError: a key without which no plan can run is missing, or has an impossible value.
    """
    values = settings(text)
    lines = {line.strip() for line in text.splitlines()}
    for key in ("Geom File", "Flow File"):
        if not values.get(key):
            raise UsageError(f"{where} is cut short or not a plan: it has no '{key}='")
    regime = next(
        (word for word in ("Mixed", "Supercritical", "Subcritical") if f"{word} Flow" in lines), "Subcritical"
    )
    start = end = None
    step = output = 0.0
    if values["Flow File"][:1].lower() == "u":
        start, end = _window(values, where)
        step = _interval(values, ("Computation Interval",), where)
        output = _interval(values, ("Mapping Interval", "Output Interval"), where)
    return Plan(
        number=number,
        title=values.get("Plan Title", ""),
        short_id=values.get("Short Identifier", ""),
        geometry=values["Geom File"].lower(),
        flow=values["Flow File"].lower(),
        start=start,
        end=end,
        time_step=step,
        output_interval=output,
        regime=regime,
        settings=values,
    )


def _window(values: dict[str, str], where: str) -> tuple[datetime, datetime]:
    parts = values.get("Simulation Date", "").split(",")
    if len(parts) < 4 or not parts[0].strip():
        raise UsageError(f"{where} is cut short: it has no 'Simulation Date=' with a start and an end")
    start, end = moment(parts[0], parts[1], where), moment(parts[2], parts[3], where)
    if end <= start:
        raise UsageError(f"{where}: the simulation ends ({parts[2]},{parts[3]}) before it starts")
    return start, end


def _interval(values: dict[str, str], keys: tuple[str, ...], where: str) -> float:
    text = next((values[key] for key in keys if values.get(key)), "")
    if not text:
        raise UsageError(f"{where} is cut short: it has no '{keys[-1]}='")
    return seconds(text, where)
