"""A geometry from its text file (``.gNN``), for projects whose ``.gNN.hdf`` was never written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ras_standin.errors import UsageError
from ras_standin.geometry import Array, Block, CrossSection, Geometry, Levee, Structure
from ras_standin.text import Lines

_NODES = {2: "Culvert", 3: "Bridge", 4: "Multiple Opening", 5: "Inline", 6: "Lateral"}


@dataclass
class _Draft:
    """What has been read so far."""

    title: str = ""
    river: str = ""
    reach: str = ""
    sections: list[CrossSection] = field(default_factory=list)
    structures: list[Structure] = field(default_factory=list)
    areas: dict[str, bool] = field(default_factory=dict)
    junctions: list[str] = field(default_factory=list)
    reaches: list[tuple[str, str]] = field(default_factory=list)
    centerline: Array = field(default_factory=lambda: np.empty((0, 2)))
    roughness: set[str] = field(default_factory=set)
    section: dict[str, Any] | None = None

    def finish_section(self, name: str) -> None:
        """Turn the keys collected for a cross-section into one."""
        if self.section is None:
            return
        missing = [key for key in ("ground", "roughness", "left_bank") if key not in self.section]
        if missing:
            raise UsageError(f"{name} is cut short: section {self.section['station']} has no {missing[0]}")
        self.sections.append(CrossSection(**self.section))
        self.section = None


def parse_geometry(text: str, name: str) -> Geometry:
    """Parse the text of a geometry file; ``name`` stands in messages.

    Raises:
        UsageError: the file is not a geometry, or is cut short.
    """
    lines, draft = Lines(text, name), _Draft()
    index = 0
    while index < len(lines):
        key, value = lines.item(index)
        if key in ("River Reach", "Type RM Length L Ch R"):
            draft.finish_section(name)
        if draft.section is not None and key in _SECTION_KEYS:
            index = _SECTION_KEYS[key](draft.section, lines, index)
        else:
            index = _network(draft, lines, index, key, value)
    draft.finish_section(name)
    if not draft.title and not draft.sections:
        raise UsageError(f"{name} is not a HEC-RAS geometry file: no 'Geom Title=', no cross-sections")
    return Geometry(
        title=draft.title,
        sections=tuple(draft.sections),
        structures=tuple(draft.structures),
        areas_2d=tuple(area for area, is_2d in draft.areas.items() if is_2d),
        storage_areas=tuple(area for area, is_2d in draft.areas.items() if not is_2d),
        junctions=tuple(draft.junctions),
        reaches=tuple(draft.reaches),
        centerline=draft.centerline,
        other_roughness=tuple(sorted(draft.roughness)),
    )


def _network(draft: _Draft, lines: Lines, index: int, key: str, value: str) -> int:
    """Keys outside a cross-section; returns the index of the next line."""
    if key == "Geom Title":
        draft.title = value
    elif key == "River Reach":
        draft.river, draft.reach = (part.strip() for part in (value + ",").split(",")[:2])
        draft.reaches.append((draft.river, draft.reach))
    elif key == "Reach XY":
        values, following = lines.columns(index + 1, 2 * lines.count(index), width=16)
        draft.centerline = values.reshape(-1, 2)
        return following
    elif key.startswith("Vertical n"):
        draft.roughness.add("Vertical n")
    elif key == "Junct Name":
        draft.junctions.append(value)
    elif key == "Storage Area":
        draft.areas[value.partition(",")[0].strip()] = False
    elif key == "Storage Area Is2D" and draft.areas:
        draft.areas[list(draft.areas)[-1]] = value == "-1"
    elif key == "Type RM Length L Ch R":
        _node(draft, lines, index)
    return index + 1


def _node(draft: _Draft, lines: Lines, index: int) -> None:
    """A cross-section or structure begins."""
    parts = [part.strip() for part in lines.item(index)[1].split(",")] + [""] * 5
    kind = lines.count(index)
    if kind != 1:
        draft.structures.append(Structure(_NODES.get(kind, f"node of type {kind}"), parts[1]))
        return
    try:
        left, channel, right = (float(part or 0) for part in parts[2:5])
    except ValueError:
        raise UsageError(f"{lines.name}, line {index + 1}: reach lengths are not numbers") from None
    draft.section = {"river": draft.river, "reach": draft.reach, "station": parts[1]}
    draft.section["lengths"] = (left, channel, right)


def _ground(section: dict[str, Any], lines: Lines, index: int) -> int:
    values, following = lines.columns(index + 1, 2 * lines.count(index))
    section["ground"] = values.reshape(-1, 2)
    return following


def _roughness(section: dict[str, Any], lines: Lines, index: int) -> int:
    values, following = lines.columns(index + 1, 3 * lines.count(index))
    section["roughness"] = values.reshape(-1, 3)[:, :2]
    return following


def _banks(section: dict[str, Any], lines: Lines, index: int) -> int:
    section["left_bank"], section["right_bank"] = lines.number(index), lines.number(index, 1)
    return index + 1


def _losses(section: dict[str, Any], lines: Lines, index: int) -> int:
    section["expansion"], section["contraction"] = lines.number(index), lines.number(index, 1)
    return index + 1


def _blocks(values: Array, permanent: list[bool]) -> tuple[Block, ...]:
    """Triples (left, right, elevation); a blank means: to the end of the section, or for ever."""
    rows = [np.where(np.isnan(row), (-1e9, 1e9, 1e9), row) for row in values.reshape(-1, 3)]
    return tuple(
        Block(float(left), float(right), float(elevation), lasting)
        for (left, right, elevation), lasting in zip(rows, permanent, strict=True)
    )


def _ineffective(section: dict[str, Any], lines: Lines, index: int) -> int:
    count = lines.count(index)
    values, following = lines.columns(index + 1, 3 * count, blanks=True)
    permanent = [False] * count
    if following + 1 < len(lines) and lines.item(following)[0] == "Permanent Ineff":
        flags = lines[following + 1].split()
        permanent = [flag == "T" for flag in (flags + ["F"] * count)[:count]]
        following += 2
    section["ineffective"] = _blocks(values, permanent)
    return following


def _obstructions(section: dict[str, Any], lines: Lines, index: int) -> int:
    count = lines.count(index)
    values, following = lines.columns(index + 1, 3 * count, blanks=True)
    section["obstructions"] = _blocks(values, [False] * count)
    return following


def _levees(section: dict[str, Any], lines: Lines, index: int) -> int:
    parts = [part.strip() for part in lines.item(index)[1].split(",")] + [""] * 6
    for at, side in ((0, "left_levee"), (3, "right_levee")):
        if parts[at] == "-1" and parts[at + 1]:
            section[side] = Levee(lines.number(index, at + 1), lines.number(index, at + 2))
    return index + 1


def _cut_line(section: dict[str, Any], lines: Lines, index: int) -> int:
    values, following = lines.columns(index + 1, 2 * lines.count(index), width=16)
    section["cut_line"] = values.reshape(-1, 2)
    return following


def _name(section: dict[str, Any], lines: Lines, index: int) -> int:
    section["name"] = lines.item(index)[1]
    return index + 1


_SECTION_KEYS = {
    "#Sta/Elev": _ground,
    "#Mann": _roughness,
    "#XS Ineff": _ineffective,
    "#Block Obstruct": _obstructions,
    "Bank Sta": _banks,
    "Exp/Cntr": _losses,
    "Levee": _levees,
    "XS GIS Cut Line": _cut_line,
    "Node Name": _name,
}
