"""Which files a HEC-RAS file refers to: flow files, ``.rasmap``, geometry HDF and terrain HDF.

Each function reads one file and returns what it says; whether the files exist is the business of ``inputs``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.parsers import expat

from ras_runner.errors import InputError
from ras_runner.hecras.paths import resolve
from ras_runner.hecras.text import key_values, pairs

if TYPE_CHECKING:
    import h5py


class Access(StrEnum):
    """What the engine may do with an input: a file it may write is copied for each attempt."""

    READ_ONLY = "read-only"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Reference:
    """A file named by another one."""

    #: As written, relative to ``folder``.
    text: str
    folder: Path
    kind: str
    referred_by: str
    required: bool
    #: What happens without it, or why it is needed.
    why: str
    access: Access = Access.READ_ONLY


def flow_references(text: str, path: Path) -> list[Reference]:
    """Files that an unsteady flow file (``.uNN``) uses: DSS inflows, observed DSS, the restart file, gridded weather.

    DSS files of boundaries that do not use DSS, a restart file that is switched off and grids of variables that are
    off are left out.
    """
    return [*_boundary_dss(text, path), *_observed_dss(text, path), *_restart(text, path), *_weather(text, path)]


def _boundary_dss(text: str, path: Path) -> Iterator[Reference]:
    location, named, used = "", "", False
    for key, value in [*pairs(text), ("Boundary Location", "")]:
        if key == "Boundary Location":
            if used and named:
                by = f"{path.name}: boundary {location}: DSS File={named}"
                yield Reference(named, path.parent, "dss", by, True, "a boundary reads its hydrograph", Access.PRIVATE)
            location, named, used = ", ".join(filter(None, map(str.strip, value.split(",")))), "", False
        elif key in ("DSS File", "DSS Filename"):
            named = value
        elif key == "Use DSS":
            used = value.lower() in ("true", "-1", "1")


def _observed_dss(text: str, path: Path) -> Iterator[Reference]:
    for value in dict.fromkeys(key_values(text).get("Observed DSS Filename", [])):
        if value:
            by = f"{path.name}: Observed DSS Filename={value}"
            yield Reference(value, path.parent, "dss", by, False, "observed data, for plots only", Access.PRIVATE)


def _restart(text: str, path: Path) -> Iterator[Reference]:
    values = key_values(text)
    name = values.get("Restart Filename", [""])[0]
    if values.get("Use Restart", ["0"])[0] in ("-1", "1", "True") and name:
        by = f"{path.name}: Restart Filename={name}"
        yield Reference(name, path.parent, "restart", by, True, "the run starts from it")


def _weather(text: str, path: Path) -> Iterator[Reference]:
    """Grids of ``Met BC=Precipitation|Mode=Gridded`` and its like, where the group of the variable is switched on."""
    values = key_values(text)
    settings: dict[str, dict[str, str]] = {}
    for entry in values.get("Met BC", []):
        variable, _, rest = entry.partition("|")
        key, _, value = rest.partition("=")
        settings.setdefault(variable.strip(), {})[key.strip()] = value.strip()
    off: set[str] = set()
    if values.get("Precipitation Mode", [""])[0].lower() == "disable":
        off.update(("Precipitation", "Evapotranspiration"))
    if values.get("Wind Mode", [""])[0].lower().startswith("no wind"):
        off.update(variable for variable in settings if variable.startswith("Wind"))
    for variable, setting in settings.items():
        if variable not in off and setting.get("Mode", "").lower() == "gridded":
            yield from _grids(variable, setting, path)


def _grids(variable: str, setting: dict[str, str], path: Path) -> Iterator[Reference]:
    source = "DSS" if setting.get("Gridded Source", "DSS").upper() == "DSS" else "GDAL"
    name = setting.get(f"Gridded {source} Filename", "")
    folder = setting.get("Gridded GDAL Folder", "") if source == "GDAL" else ""
    names = [name] if name else []
    if folder and not name:
        names = _matching(path.parent, folder, setting.get("Gridded GDAL Filter", "") or "*") or [folder]
    for each in names:
        by = f"{path.name}: Met BC={variable}|Gridded {source}: {each}"
        yield Reference(each, path.parent, "gridded weather", by, True, f"{variable} is read from it")


def _matching(project: Path, folder: str, pattern: str) -> list[str]:
    found = resolve(project, folder)
    if found is None or not found.is_dir():
        return []
    names = (entry.name for entry in found.iterdir() if entry.is_file())
    return sorted(f"{folder}\\{name}" for name in names if fnmatch(name.lower(), pattern.lower()))


_TERRAIN_WHY = "needed only when the geometry is recomputed"
_LAND_COVER_WHY = "HEC-RAS 6.0 to 6.2 silently skip geometry without it; needed when the geometry is recomputed"
#: Words of a RAS Mapper layer type (``TerrainLayer``, ``LandCoverLayer`` ...) and what it holds.
_LAYERS = {
    "terrain": "terrain",
    "landcover": "land cover",
    "soil": "soils",
    "infiltration": "infiltration",
    "impervious": "impervious",
}


def _layer(kind: str, text: str, folder: Path, by: str) -> Reference:
    return Reference(text, folder, kind, by, False, _TERRAIN_WHY if kind == "terrain" else _LAND_COVER_WHY)


def rasmap_references(data: bytes, path: Path) -> list[Reference]:
    """Projection, terrains, land cover and soils of a ``.rasmap``.

    Raises:
        InputError: the file declares a document type or entities, which RAS Mapper never writes.
        ValueError: it is not well-formed XML.
    """
    found: list[Reference] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        name = attributes.get("Filename", "").strip()
        if tag == "RASProjectionFilename" and name:
            by = f"{path.name}: projection {name}"
            found.append(Reference(name, path.parent, "projection", by, False, "maps are placed by it"))
        layer = attributes.get("Type", "").lower() if tag == "Layer" else ""
        kind = next((kind for word, kind in _LAYERS.items() if word in layer and layer.endswith("layer")), "")
        if kind and name:
            label = attributes.get("Name", "")
            found.append(_layer(kind, name, path.parent, f"{path.name}: {kind} layer {label!r}: {name}"))

    def refuse(*_: object) -> None:
        raise InputError(
            f"{path} declares a document type or entities, which RAS Mapper never writes",
            step="read project",
            action="do not trust this project before someone has looked at the file; RAS Mapper can write a new one",
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse  # entities can be declared nowhere else
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not well-formed XML: {error}") from error
    return found


def geometry_references(path: Path) -> list[Reference]:
    """Terrain, land cover, infiltration and soils that a geometry HDF (``.gNN.hdf``) was computed from.

    The attributes ``Terrain Filename``, ``Land Cover Filename`` ... of the group ``Geometry`` and of each 2D flow area.

    Raises:
        OSError: not an HDF file, truncated, or unreadable.
    """
    stat = path.stat()
    return list(_geometry_references(path, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)))


@lru_cache(maxsize=128)  # many plans share a geometry
def _geometry_references(path: Path, signature: tuple[int, ...]) -> tuple[Reference, ...]:
    del signature  # a changed file is read again
    import h5py

    found: dict[tuple[str, str], Reference] = {}
    with h5py.File(path, "r", locking=False) as file:
        geometry = file.get("Geometry")
        if not isinstance(geometry, h5py.Group):
            return ()
        areas = geometry.get("2D Flow Areas")
        groups = [geometry, *(areas.values() if isinstance(areas, h5py.Group) else [])]
        for group in groups:
            for key in group.attrs:
                name = _attribute(group, key)
                if key.endswith(" Filename") and name:
                    kind = key.removesuffix(" Filename").lower()
                    by = f"{path.name}: {group.name.lstrip('/')}: {key}={name}"
                    found.setdefault((kind, name.lower()), _layer(kind, name, path.parent, by))
    return tuple(found.values())


def terrain_references(path: Path) -> list[Reference]:
    """Rasters that a terrain HDF is made of: the attribute ``File`` of the groups below ``Terrain``.

    Raises:
        OSError: not an HDF file, truncated, or unreadable.
    """
    import h5py

    names: dict[str, None] = {}

    def look(_: str, entry: h5py.Group | h5py.Dataset) -> None:
        if isinstance(entry, h5py.Group) and (name := _attribute(entry, "File")):
            names[name] = None

    with h5py.File(path, "r", locking=False) as file:
        terrain = file.get("Terrain")
        if isinstance(terrain, h5py.Group):
            terrain.visititems(look)
    return [_layer("terrain", name, path.parent, f"{path.name}: File={name}") for name in names]


def _attribute(group: h5py.Group, key: str) -> str:
    """A text attribute, or an empty string: a file from elsewhere may hold anything under that name."""
    value = group.attrs.get(key)
    if isinstance(value, bytes):  # numpy's bytes_ is one
        return value.decode("utf-8", "replace").strip()
    return value.strip() if isinstance(value, str) else ""
