"""A HEC-RAS project: the ``.prj`` file and the plans it lists."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ras_runner.errors import InputError
from ras_runner.hecras.paths import find
from ras_runner.hecras.plan import Plan, component
from ras_runner.hecras.text import key_values, lines, pairs, read_text, shown

_STEP = "open project"
_COMPONENTS = {"Geom File": "g", "Flow File": "f", "Unsteady File": "u", "QuasiSteady File": "q", "Plan File": "p"}


def plan_number(text: str) -> str:
    """``4``, ``04``, ``p04`` or ``P4`` as HEC-RAS numbers it: ``04``.

    Raises:
        InputError: not a number from 1 to 99.
    """
    match = re.fullmatch(r"\s*p?0*([1-9][0-9]?)\s*", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise InputError(
            f"{text!r} is not a plan number", step=_STEP, action="give a number from 01 to 99, such as 04 or p04"
        )
    return match[1].zfill(2)


@dataclass(frozen=True, slots=True)
class Project:
    """A project on disk. Reading it changes nothing."""

    prj: Path
    title: str
    #: ``US Customary`` or ``SI Units``, the words of the results HDF.
    units: str
    #: Number of the plan that HEC-RAS shows when it opens the project.
    current_plan: str | None
    #: Numbers of the plans that the ``.prj`` lists; not all need exist on disk.
    plan_numbers: tuple[str, ...]
    #: Tells its plans from those of other projects, where several are worked on together; empty where it is alone.
    label: str = ""

    @property
    def folder(self) -> Path:
        """The folder of the ``.prj``: references start here."""
        return self.prj.parent

    @property
    def name(self) -> str:
        """The base name of the project's files."""
        return self.prj.stem

    @classmethod
    def open(cls, path: Path | str, label: str = "") -> Project:
        """Open a project by its folder or its ``.prj``; ``label`` goes before the names of its plans.

        Raises:
            InputError: no such path; no HEC-RAS project there, or several; the ``.prj`` cannot be read, or names
                a plan, geometry or flow file by anything but its number.
        """
        prj = _project_file(Path(path))
        text = read_text(prj, step=_STEP)
        if not _is_project(text):
            raise InputError(f"{prj} is not a HEC-RAS project ({_what_it_is(text)})", step=_STEP, action=_ACTION)
        values = key_values(text)
        _check_components(prj, values)
        current = values.get("Current Plan", [""])[0]
        return cls(
            prj=prj,
            title=shown(values["Proj Title"][0]),
            units="SI Units" if any(line.strip() == "SI Units" for line in lines(text)) else "US Customary",
            current_plan=component(current, "p", prj, "Current Plan")[1:] if current else None,
            plan_numbers=tuple(dict.fromkeys(value.lower()[1:] for value in values.get("Plan File", []) if value)),
            label=label,
        )

    def plan(self, number: str) -> Plan:
        """One plan, by ``4``, ``04`` or ``p04``, or by its name with the project's label.

        Raises:
            InputError: the project has no such plan (the message lists those it has), or its file is broken.
        """
        wanted = plan_number(number.removeprefix(f"{self.label}.") if self.label else number)
        if wanted not in self.plan_numbers or self.file(f"p{wanted}") is None:
            listed = "is listed, but its file does not exist" if wanted in self.plan_numbers else "is not listed"
            raise InputError(f"plan {wanted} {listed} in {self.prj}", step=_STEP, action=self._plans_there_are())
        return Plan.read(self, wanted)

    def plans(self) -> list[Plan]:
        """The plans that the project lists and whose files exist, in the order of the ``.prj``.

        Raises:
            InputError: one of them is broken, or none exists.
        """
        found = [number for number in self.plan_numbers if self.file(f"p{number}") is not None]
        if not found:
            raise InputError(f"{self.prj} has no plan to run", step=_STEP, action=self._plans_there_are())
        return [Plan.read(self, number) for number in found]

    def file(self, extension: str) -> Path | None:
        """``<name>.<extension>`` beside the ``.prj``, in any case; None if absent."""
        return find(self.folder, f"{self.name}.{extension}")

    def _plans_there_are(self) -> str:
        there = [number for number in self.plan_numbers if self.file(f"p{number}") is not None]
        if there:
            return f"choose one of the plans that exist: {', '.join(there)}"
        return f"save a plan in HEC-RAS, or put the plan files ({self.name}.pNN) beside the .prj"


def projects_below(folder: Path) -> list[Path]:
    """The ``.prj`` of every project in a folder tree, sorted; folders whose name begins with a dot are left out.

    Raises:
        InputError: a folder or a file there cannot be read.
    """
    found = []
    # what may hold projects is not passed over in silence, as glob does
    for here, folders, names in os.walk(folder, onerror=_cannot_be_listed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(here, name) for name in names if name.lower().endswith(".prj") and not name.startswith("."))
        found += [path for path in files if path.is_file() and _looks_like_project(path)]
    return sorted(found)


def _cannot_be_listed(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename} cannot be listed: {error.strerror or error}",
        step=_STEP,
        action="check the folder's permissions",
    ) from error


_ACTION = "give the project's folder, or the .prj file that HEC-RAS opens (its first line is 'Proj Title=...')"


def _project_file(path: Path) -> Path:
    """The ``.prj`` meant by a folder or file."""
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise InputError(f"{shown(str(path))} is not a usable path: {error}", step=_STEP, action=_ACTION) from error
    if not exists:
        cause = f"{shown(str(path))} does not exist"
        raise InputError(cause, step=_STEP, action="check the path of the project's folder or .prj")
    if not is_folder:
        if path.suffix.lower() != ".prj":
            raise InputError(f"{path} is not a .prj file", step=_STEP, action=_ACTION)
        return path.absolute()
    return _only_project(path.absolute())


def _only_project(folder: Path) -> Path:
    try:
        candidates = sorted(entry for entry in folder.iterdir() if entry.suffix.lower() == ".prj" and entry.is_file())
    except OSError as error:
        _cannot_be_listed(error)
    projects = [entry for entry in candidates if _looks_like_project(entry)]
    if len(projects) > 1:
        names = ", ".join(entry.name for entry in projects)
        raise InputError(f"{folder} holds {len(projects)} HEC-RAS projects: {names}", step=_STEP, action=_ACTION)
    if not projects:
        others = f" (no project, though named .prj: {', '.join(c.name for c in candidates)})" if candidates else ""
        raise InputError(f"{folder} holds no HEC-RAS project{others}", step=_STEP, action=_ACTION)
    return projects[0]


def _looks_like_project(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return _is_project(stream.read(65536).removeprefix(b"\xef\xbb\xbf").decode("latin-1"))
    except OSError as error:
        cause = f"{path} cannot be read: {error.strerror or error}"
        raise InputError(cause, step=_STEP, action="check the file's permissions") from error


def _is_project(text: str) -> bool:
    """Told from a map projection, which also ends in .prj, by its title line."""
    return any(key == "Proj Title" for key, _ in pairs(text))


def _what_it_is(text: str) -> str:
    is_projection = text.lstrip().upper().startswith(("PROJCS", "GEOGCS", "PROJCRS", "GEOGCRS", "COMPD_CS"))
    return "it is a map projection" if is_projection else "it has no line 'Proj Title='"


def _check_components(prj: Path, values: dict[str, list[str]]) -> None:
    for key, letters in _COMPONENTS.items():
        for value in values.get(key, []):
            if value:
                component(value, letters, prj, key)
