"""Which files a plan needs: the closure over everything its files refer to, and what of it is missing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ras_runner.errors import InputError
from ras_runner.hecras.paths import check_reference, is_absolute, relative_place, resolve
from ras_runner.hecras.plan import FlowType, Plan
from ras_runner.hecras.references import (
    Access,
    Reference,
    flow_references,
    geometry_references,
    rasmap_references,
    terrain_references,
)
from ras_runner.hecras.text import read_text

__all__ = ["Access", "InputFile", "MissingInput", "PlanInputs", "check_inputs", "plan_inputs"]

_STEP = "read project"
#: Kinds of data that may lie outside the project folder. A project from elsewhere must not make us send other files.
_DATA_SUFFIXES = frozenset(
    (".dss", ".hdf", ".tif", ".tiff", ".vrt", ".rst", ".prj", ".nc", ".grb", ".grib", ".asc", ".flt")
)
_RASTER_SUFFIXES = frozenset((".tif", ".tiff", ".vrt"))
#: Kinds whose HDF has rasters of the same name beside it.
_RASTER_KINDS = frozenset(("terrain", "land cover", "soils", "infiltration", "impervious", "percent impervious"))


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that the plan needs, or uses where it exists."""

    #: The file itself; symbolic links followed.
    path: Path
    #: Where it must lie, relative to the project folder; may start with ``..``. None: it was named by an absolute
    #: path outside the project's tree, and must be found there.
    place: PurePosixPath | None
    access: Access
    #: ``Muncie.p04: Geom File=g04``.
    referred_by: str
    kind: str


@dataclass(frozen=True, slots=True)
class MissingInput:
    """A file that is named, but does not exist or cannot be read."""

    reference: str
    referred_by: str
    kind: str
    required: bool
    why: str


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """The files of a plan, by place and without duplicates, and those that are missing."""

    plan: Plan
    files: tuple[InputFile, ...]
    missing: tuple[MissingInput, ...]


def plan_inputs(plan: Plan) -> PlanInputs:
    """Collect the files that computing a plan needs.

    Results of the plan itself, of other plans and backups are no inputs.

    Raises:
        InputError: a file cannot be read as text; a reference holds control characters; a reference or a symbolic
            link leads out of the project folder to anything but hydraulic data; the ``.rasmap`` declares entities.
    """
    closure = _Closure(plan)
    closure.components()
    closure.flow()
    closure.rasmap()
    closure.geometry()
    return closure.result()


def check_inputs(inputs: PlanInputs) -> None:
    """Refuse a plan that cannot run.

    Raises:
        InputError: required files are missing; the message names each and who refers to it.
    """
    required = [missing for missing in inputs.missing if missing.required]
    if required:
        named = "; ".join(f"{m.kind} {m.reference} ({m.referred_by}; {m.why})" for m in required)
        raise InputError(
            f"plan {inputs.plan.number} of {inputs.plan.project.prj} lacks {len(required)} required file(s): {named}",
            step="check inputs",
            action="restore the files, or choose others in HEC-RAS and save",
        )


class _Closure:
    """Collects files and what is missing while the references are followed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = plan.project.folder.absolute()
        self.real_folder = self.folder.resolve()
        self.files: dict[str, InputFile] = {}
        self.missing: dict[tuple[str, str], MissingInput] = {}

    def result(self) -> PlanInputs:
        files = sorted(self.files.values(), key=lambda f: (f.place is None, str(f.place or f.path)))
        missing = sorted(self.missing.values(), key=lambda m: (not m.required, m.kind, m.reference))
        return PlanInputs(self.plan, tuple(files), tuple(missing))

    def components(self) -> None:
        """The project's own files: those with its base name."""
        plan, project = self.plan, self.plan.project
        self._keep(project.prj, "project", "the project", Access.PRIVATE)
        self._keep(plan.path, "plan", f"{project.prj.name}: Plan File=p{plan.number}", Access.PRIVATE)
        by_geometry = f"{plan.path.name}: Geom File={plan.geometry}"
        text, hdf = (self._component(ext, "geometry", by_geometry) for ext in (plan.geometry, f"{plan.geometry}.hdf"))
        if not text:
            why = "Windows HEC-RAS reads the text geometry; only its HDF is here" if hdf else "the plan's geometry"
            self._miss(f"{project.name}.{plan.geometry}", "geometry", by_geometry, required=not hdf, why=why)
        by_flow = f"{plan.path.name}: Flow File={plan.flow}"
        if not self._component(plan.flow, "flow", by_flow):
            self._miss(f"{project.name}.{plan.flow}", "flow", by_flow, required=True, why="the plan's boundaries")
        self._component(f"{plan.flow}.hdf", "flow", by_flow)
        for extension in (f"c{plan.geometry[1:]}", f"x{plan.geometry[1:]}", f"b{plan.number}"):
            self._component(extension, "preprocessed", f"{plan.path.name}: prepared for the solver")
        if plan.flow_type is FlowType.STEADY:
            self._component(f"r{plan.number}", "preprocessed", f"{plan.path.name}: prepared for the solver")
        self._sediment_and_quality()

    def _sediment_and_quality(self) -> None:
        """Sediment (``.sNN``) and water quality (``.wNN``) data, where the plan computes them."""
        flags, name = self.plan.flags, re.escape(self.plan.project.name)
        letters = ("s" if flags.sediment else "") + ("w" if flags.water_quality else "")
        if not letters:
            return
        pattern = re.compile(rf"{name}\.[{letters}][0-9]{{2}}(\.hdf)?", re.IGNORECASE)
        for entry in sorted(self.folder.iterdir()):
            if pattern.fullmatch(entry.name) and entry.is_file():
                kind = "sediment" if entry.name[len(self.plan.project.name) + 1] in "sS" else "water quality"
                self._keep(entry, kind, f"{self.plan.path.name}: {kind} is computed", Access.PRIVATE)

    def flow(self) -> None:
        """What the flow file refers to. A steady flow file holds its numbers itself."""
        path = self.plan.project.file(self.plan.flow)
        if path is not None and self.plan.flow_type is not FlowType.STEADY:
            for reference in flow_references(read_text(path), path):
                self._follow(reference)

    def rasmap(self) -> None:
        """Terrain, land cover and projection of RAS Mapper."""
        path = self.plan.project.file("rasmap")
        if path is None or not self._component("rasmap", "rasmap", f"{self.plan.project.prj.name}: RAS Mapper"):
            return
        try:
            references = rasmap_references(path.read_bytes(), path)
        except (OSError, ValueError) as error:
            self._miss(path.name, "rasmap", self.plan.project.prj.name, required=False, why=f"not usable: {error}")
            return
        for reference in references:
            self._follow(reference)

    def geometry(self) -> None:
        """Terrain, land cover and soils of the geometry HDF."""
        path = self.plan.project.file(f"{self.plan.geometry}.hdf")
        if path is None:
            return
        try:
            references = geometry_references(path)
        except OSError as error:
            # HEC-RAS makes the HDF again from the text geometry, where there is one.
            required = self.plan.project.file(self.plan.geometry) is None
            why = f"it is damaged or no HDF file: {error}"
            self._miss(path.name, "geometry", self.plan.path.name, required=required, why=why)
            return
        for reference in references:
            self._follow(reference)

    def _follow(self, reference: Reference) -> None:
        check_reference(reference.text, reference.referred_by)
        path = resolve(reference.folder, reference.text)
        if path is None or not path.is_file():
            why = reference.why if path is None else f"it is not a regular file; {reference.why}"
            self._miss(reference.text, reference.kind, reference.referred_by, required=reference.required, why=why)
            return
        absolute = is_absolute(reference.text)
        new = self._keep(path, reference.kind, reference.referred_by, reference.access, absolute=absolute)
        if new and reference.kind in _RASTER_KINDS and path.suffix.lower() == ".hdf":
            self._rasters(path, reference.kind, absolute=absolute)

    def _rasters(self, hdf: Path, kind: str, *, absolute: bool) -> None:
        """The rasters of a terrain or land-cover HDF: those it names, and those with its name beside it."""
        stem = f"{hdf.stem.casefold()}."
        for entry in sorted(hdf.parent.iterdir()):
            if entry.name.casefold().startswith(stem) and entry.suffix.lower() in _RASTER_SUFFIXES and entry.is_file():
                self._keep(entry, kind, f"{hdf.name}: raster beside it", Access.READ_ONLY, absolute=absolute)
        try:
            named = terrain_references(hdf) if kind == "terrain" else []
        except OSError as error:
            self._miss(hdf.name, kind, hdf.name, required=False, why=f"it is damaged or no HDF file: {error}")
            return
        for reference in named:
            self._follow(reference)

    def _component(self, extension: str, kind: str, referred_by: str) -> bool:
        path = self.plan.project.file(extension)
        if path is None or not path.is_file():
            return False
        self._keep(path, kind, referred_by, Access.PRIVATE)
        return True

    def _keep(self, path: Path, kind: str, referred_by: str, access: Access, *, absolute: bool = False) -> bool:
        """Add a file; True if it is new. The first reference counts: what may be written comes first."""
        self._check_reach(path, referred_by)
        inside = path.is_relative_to(self.folder)
        place = None if absolute and not inside else relative_place(path, self.folder)
        key = os.path.normcase(path) if place is None else str(place).casefold()
        if key in self.files:
            return False
        real = path.resolve() if path.is_symlink() else path
        self.files[key] = InputFile(real, place, access, referred_by, kind)
        return True

    def _check_reach(self, path: Path, referred_by: str) -> None:
        """Refuse a file outside the project folder that is no hydraulic data, also behind a symbolic link."""
        target = path.resolve()
        if target.is_relative_to(self.real_folder):
            return
        same_component = path.is_relative_to(self.folder) and target.suffix.lower() == path.suffix.lower()
        if target.suffix.lower() not in _DATA_SUFFIXES and not (same_component and path.suffix):
            raise InputError(
                f"{referred_by} leads out of the project folder to {target}, which is no hydraulic data",
                step=_STEP,
                action="choose the right file in HEC-RAS, or copy it into the project folder",
            )

    def _miss(self, reference: str, kind: str, referred_by: str, *, required: bool, why: str) -> None:
        known = self.missing.get((kind, reference.lower()))
        if known is None or (required and not known.required):
            self.missing[kind, reference.lower()] = MissingInput(reference, referred_by, kind, required, why)
