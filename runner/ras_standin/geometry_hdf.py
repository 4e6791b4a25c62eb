"""The Geometry group of a geometry or plan HDF file: read, and (from a text geometry) written.

Names and types are those of files that HEC-RAS 6.1 and 6.5 wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from ras_standin.errors import UsageError
from ras_standin.geometry import Array, Block, CrossSection, Geometry, Levee, Structure

SECTIONS = "Geometry/Cross Sections"

_ATTRIBUTES = np.dtype(
    [
        *((name, "S16") for name in ("River", "Reach")),
        *(("RS", "S8"), ("Name", "S16"), ("Description", "S512")),
        *((name, "<f4") for name in ("Len Left", "Len Channel", "Len Right", "Left Bank", "Right Bank")),
        *(("Friction Mode", "S32"), ("Contr", "<f4"), ("Expan", "<f4")),
        *((f"{side} Levee {what}", "<f4") for side in ("Left", "Right") for what in ("Sta", "Elev")),
        *(("HP Count", "<i4"), ("HP Start Elev", "<f4"), ("HP Vert Incr", "<f4")),
        *((f"HP {zone} Slices", "<i4") for zone in ("LOB", "Chan", "ROB")),
        *((name, "u1") for name in ("Ineff Block Mode", "Obstr Block Mode", "Default Centerline")),
        ("Last Edited", "S18"),
    ]
)
_INEFFECTIVE = np.dtype([("Left Sta", "<f4"), ("Right Sta", "<f4"), ("Elevation", "<f4"), ("Permanent", "u1")])
_OBSTRUCTION = np.dtype([("Left Sta", "<f4"), ("Right Sta", "<f4"), ("Elevation", "<f4")])
_CENTERLINE = np.dtype(
    [("River Name", "S16"), ("Reach Name", "S16"), ("US Type", "S12"), ("US Name", "S16"), ("DS Type", "S12"),
     ("DS Name", "S16"), ("Junction to US XS", "<f4"), ("DS XS to Junction", "<f4")]
)  # fmt: skip


def decode(value: object) -> str:
    """Text of an HDF string, trimmed."""
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()


def read_geometry(file: h5py.File) -> Geometry:
    """Read the Geometry group of an open geometry, plan or ``.tmp.hdf`` file.

    Raises:
        UsageError: the file has no Geometry group or its cross-sections are not complete.
    """
    if "Geometry" not in file:
        raise UsageError(f"{file.filename} has no Geometry group: it is not a HEC-RAS geometry or plan results file")
    try:
        sections = _read_sections(file)
    except (KeyError, ValueError, IndexError) as error:
        raise UsageError(f"{file.filename}: cross-sections of the Geometry group cannot be read: {error}") from error
    lines = file.get("Geometry/River Centerlines/Attributes")
    named = () if lines is None else tuple((decode(row["River Name"]), decode(row["Reach Name"])) for row in lines[:])
    of_sections = tuple(dict.fromkeys((section.river, section.reach) for section in sections))
    return Geometry(
        title=decode(file["Geometry"].attrs.get("Title", b"")),
        sections=sections,
        structures=_read_structures(file),
        areas_2d=_names(file, "Geometry/2D Flow Areas/Attributes"),
        storage_areas=_names(file, "Geometry/Storage Areas/Attributes"),
        junctions=_names(file, "Geometry/Junctions/Attributes"),
        reaches=named if len(named) > len(of_sections) else of_sections,
        other_roughness=_other_roughness(file),
    )


def _names(file: h5py.File, path: str) -> tuple[str, ...]:
    table = file.get(path)
    return () if table is None else tuple(decode(row["Name"]) for row in table[:])


def _other_roughness(file: h5py.File) -> tuple[str, ...]:
    table = file.get(f"{SECTIONS}/Attributes")
    if table is None or "Friction Mode" not in table.dtype.names:
        return ()
    modes = {decode(mode) for mode in table["Friction Mode"]}
    return tuple(sorted(modes - {"Basic Mann n", "Horiz Mann n", ""}))


def _read_sections(file: h5py.File) -> tuple[CrossSection, ...]:
    if f"{SECTIONS}/Attributes" not in file:
        return ()
    group = file[SECTIONS]
    rows = group["Attributes"][:]
    ground = _pieces(group, "Station Elevation Info", "Station Elevation Values")
    roughness = _pieces(group, "Manning's n Info", "Manning's n Values")
    ineffective = _pieces(group, "Ineffective Info", "Ineffective Blocks", len(rows))
    obstructions = _pieces(group, "Obstruction Info", "Obstruction Blocks", len(rows))
    return tuple(
        CrossSection(
            river=decode(row["River"]),
            reach=decode(row["Reach"]),
            station=decode(row["RS"]),
            ground=ground[i].astype(np.float64),
            roughness=roughness[i].astype(np.float64),
            left_bank=float(row["Left Bank"]),
            right_bank=float(row["Right Bank"]),
            lengths=(float(row["Len Left"]), float(row["Len Channel"]), float(row["Len Right"])),
            contraction=float(row["Contr"]),
            expansion=float(row["Expan"]),
            ineffective=_blocks(ineffective[i]),
            obstructions=_blocks(obstructions[i]),
            left_levee=_levee(row, "Left"),
            right_levee=_levee(row, "Right"),
            name=decode(row["Name"]),
        )
        for i, row in enumerate(rows)
    )


def _pieces(group: h5py.Group, info: str, values: str, count: int = 0) -> list[Any]:
    """Split ``values`` by the (start, count) rows of ``info``; ``count`` empty pieces where the model has none."""
    if count and (info not in group or values not in group):
        return [()] * count
    data = group[values][:]
    return [data[start : start + number] for start, number in group[info][:, :2]]


def _blocks(rows: Any) -> tuple[Block, ...]:
    return tuple(
        Block(
            float(row["Left Sta"]),
            float(row["Right Sta"]),
            float(row["Elevation"]),
            "Permanent" in row.dtype.names and bool(row["Permanent"]),
        )
        for row in rows
    )


def _levee(row: Any, side: str) -> Levee | None:
    name = f"{side} Levee Sta"
    if name not in row.dtype.names or not np.isfinite(row[name]):
        return None
    return Levee(float(row[name]), float(row[f"{side} Levee Elev"]))


def _read_structures(file: h5py.File) -> tuple[Structure, ...]:
    table = file.get("Geometry/Structures/Attributes")
    if table is None:
        return ()
    linked = "DS SA/2D" in table.dtype.names
    return tuple(
        Structure(decode(row["Type"]), decode(row["RS"]), decode(row["DS SA/2D"] or row["US SA/2D"]) if linked else "")
        for row in table[:]
    )


def write_geometry(file: h5py.File, geometry: Geometry) -> None:
    """Write the Geometry group for a geometry that exists as text only, complete enough for results readers."""
    top = file.create_group("Geometry")
    top.attrs["Title"] = np.bytes_(geometry.title.encode())
    top.attrs["Complete Geometry"] = np.bytes_(b"True")
    group = file.create_group(SECTIONS)
    group["Attributes"] = np.array([_attributes(section) for section in geometry.sections], _ATTRIBUTES)
    sections = geometry.sections
    _write_pieces(group, "Station Elevation Info", "Station Elevation Values", [s.ground for s in sections])
    _write_pieces(group, "Manning's n Info", "Manning's n Values", [s.roughness for s in sections])
    for what, dtype, blocks in (
        ("Ineffective", _INEFFECTIVE, [s.ineffective for s in sections]),
        ("Obstruction", _OBSTRUCTION, [s.obstructions for s in sections]),
    ):
        width = len(dtype.names or ())
        rows = [
            np.array([(b.left, b.right, b.elevation, b.permanent)[:width] for b in of_one], dtype) for of_one in blocks
        ]
        if any(len(piece) for piece in rows):
            _write_pieces(group, f"{what} Info", f"{what} Blocks", rows)
    lines = [line_of(geometry, i) for i in range(len(sections))]
    _write_polylines(group, lines)
    center = file.create_group("Geometry/River Centerlines")
    names = [(river.encode(), reach.encode(), b"External", b"", b"External", b"", np.nan, np.nan)
             for river, reach in geometry.reaches]  # fmt: skip
    center["Attributes"] = np.array(names, _CENTERLINE)
    through = geometry.centerline if len(geometry.centerline) else np.array([line.mean(axis=0) for line in lines])
    _write_polylines(center, [through] * len(names))


def _attributes(section: CrossSection) -> tuple[object, ...]:
    levees: list[float] = []
    for levee in (section.left_levee, section.right_levee):
        levees += [levee.station, levee.elevation] if levee else [np.nan, np.nan]
    text = [t.encode() for t in (section.river, section.reach, section.station, section.name, section.description)]
    numbers = (*section.lengths, section.left_bank, section.right_bank)
    table = (100, section.invert, (section.top + 10 - section.invert) / 100, 5, 5, 5)
    return (*text, *numbers, b"Basic Mann n", section.contraction, section.expansion, *levees, *table, 0, 0, 0, b"")


def line_of(geometry: Geometry, index: int) -> Array:
    """Plan line of a section, shape (points, 2): its own cut line, or a schematic one across a straight reach."""
    section = geometry.sections[index]
    if len(section.cut_line):
        return section.cut_line
    upstream = sum(other.lengths[1] for other in geometry.sections[:index])
    half = 0.5 * float(section.ground[-1, 0] - section.ground[0, 0])
    return np.array([[upstream, half], [upstream, -half]])


def _info(group: h5py.Group, name: str, rows: object, columns: Sequence[str]) -> None:
    table = group.create_dataset(name, data=np.array(rows, np.int32))
    table.attrs["Column"] = np.array([column.encode() for column in columns])
    table.attrs["Row"] = np.bytes_(b"Feature")


def _write_pieces(group: h5py.Group, info: str, values: str, pieces: Sequence[Any]) -> None:
    counts = np.array([len(piece) for piece in pieces])
    _info(group, info, np.column_stack([np.cumsum(counts) - counts, counts]), ("Starting Index", "Count"))
    data = np.concatenate([piece for piece in pieces if len(piece)])
    group.create_dataset(values, data=data if data.dtype.names else data.astype(np.float32))


def _write_polylines(group: h5py.Group, lines: Sequence[Array]) -> None:
    counts = np.array([len(line) for line in lines])
    ones, number = np.ones(len(lines), int), np.arange(len(lines))
    columns = ("Point Starting Index", "Point Count", "Part Starting Index", "Part Count")
    _info(group, "Polyline Info", np.column_stack([np.cumsum(counts) - counts, counts, number, ones]), columns)
    _info(group, "Polyline Parts", np.column_stack([0 * counts, counts]), columns[:2])
    points = group.create_dataset("Polyline Points", data=np.concatenate(lines))
    points.attrs["Column"] = np.array([b"X", b"Y"])
