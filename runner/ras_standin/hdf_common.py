"""What steady and unsteady results share: strings, times, section tables and compute messages.

Names, types and attributes are those of result files that HEC-RAS 6.5 and 6.6 wrote. Strings have a fixed length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ras_standin import ENGINE, __version__
from ras_standin.geometry import CrossSection

BASE_OUTPUT = "Output/Output Blocks/Base Output"

_SECTION_TABLE = np.dtype([("River", "S16"), ("Reach", "S16"), ("Station", "S8"), ("Name", "S16")])


@dataclass(frozen=True)
class Process:
    """One row of the table of compute processes; ``duration`` in seconds."""

    name: str
    program: str
    arguments: str = ""
    duration: float = 0.0


def open_hdf(path: Path, mode: str) -> h5py.File:
    """Open an HDF file without locking it: whoever follows the run may read it meanwhile."""
    return h5py.File(path, mode, locking=False)


def string(value: object) -> np.bytes_:
    """A fixed-length HDF string."""
    return np.bytes_(str(value).encode("utf-8"))


def set_attributes(target: h5py.HLObject, values: dict[str, Any]) -> None:
    """Set attributes; text becomes fixed-length strings."""
    for key, value in values.items():
        target.attrs[key] = string(value) if isinstance(value, str) else value


def put(file: h5py.File, path: str, data: Any, growing: bool = False, **attributes: Any) -> h5py.Dataset:
    """Write a dataset in place of an older one; ``growing`` ones are chunked, compressed (gzip 1) and extendable."""
    if path in file:
        del file[path]
    array = np.asarray(data)
    kind: dict[str, Any] = {}
    if growing:
        kind = {"maxshape": (None, *array.shape[1:]), "compression": "gzip", "compression_opts": 1}
    dataset = file.create_dataset(path, data=array, **kind)
    set_attributes(dataset, attributes)
    return dataset


def stamp(moment: datetime) -> str:
    """``02JAN2026 23:50:00``."""
    return moment.strftime("%d%b%Y %H:%M:%S").upper()


def stamp_24(moment: datetime) -> str:
    """``01Jan2026 2400``: midnight belongs to the day that ends."""
    if moment.hour == moment.minute == 0:
        return (moment - timedelta(days=1)).strftime("%d%b%Y") + " 2400"
    return moment.strftime("%d%b%Y %H%M")


def section_table(sections: Sequence[CrossSection]) -> Any:
    """The table ``Cross Section Attributes`` of results."""
    rows = [tuple(text.encode() for text in (s.river, s.reach, s.station, s.name)) for s in sections]
    return np.array(rows, _SECTION_TABLE)


def section_names(sections: Sequence[CrossSection]) -> Any:
    """The table ``Cross Section Only`` of results: river, reach and station in columns."""
    return np.array([f"{s.river:<16} {s.reach:<16} {s.station}".encode() for s in sections], "S42")


def clock(duration: float) -> str:
    """``00:01:30`` for 90 seconds."""
    whole = int(duration)
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def write_messages(file: h5py.File, text: str, processes: Sequence[Process]) -> None:
    """Write ``Results/Summary``: the compute messages (as text and as rtf) and the processes."""
    plain = text.replace("\n", "\r\n").encode("utf-8")
    body = text
    for plain_sign, rtf_sign in (("\\", "\\\\"), ("{", "\\{"), ("}", "\\}"), ("\t", "\\tab "), ("\n", "\r\n\\par ")):
        body = body.replace(plain_sign, rtf_sign)
    header = "{\\rtf1\\ansi\\ansicpg1252\\deff0\\deflang1033{\\fonttbl{\\f0\\fnil\\fcharset0 Tahoma;}}\r\n"
    rich = (header + "\\viewkind4\\uc1\\pard\\f0\\fs17 " + body + "}\r\n").encode("utf-8")
    put(file, "Results/Summary/Compute Messages (text)", np.array([plain]))
    put(file, "Results/Summary/Compute Messages (rtf)", np.array([rich]))
    rows = [
        (
            process.name.encode(),
            process.program.encode("utf-8", "replace"),
            b"",
            0,
            __version__.encode(),
            process.arguments.encode("utf-8", "replace"),
            f"{clock(process.duration)}.{int(process.duration * 1000) % 1000:03d}".encode(),
            int(process.duration * 1000),
        )
        for process in processes
    ]
    columns = ("Process", "Filename", "File Date", "File Size", "File Version", "Arguments", "Compute Time")
    kinds = [
        (name, "<i4" if name == "File Size" else f"S{max(1, *(len(str(row[i])) for row in rows))}")
        for i, name in enumerate(columns)
    ]
    table = np.dtype([*kinds, ("Compute Time (ms)", "<i4")])
    put(file, "Results/Summary/Compute Processes", np.array(rows, table))


def program_attributes(project_path: str, project_title: str, run_type: str) -> dict[str, Any]:
    """Attributes by which results say what made them."""
    return {
        "Program Name": f"{ENGINE} (not HEC-RAS)",
        "Program Version": f"{ENGINE} {__version__}",
        "Project File Name": project_path,
        "Project Title": project_title,
        "Type of Run": run_type,
    }
