"""Unsteady results in the layout of HEC-RAS 6: ``Results/Unsteady``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ras_standin.geometry import Array, CrossSection
from ras_standin.hdf_common import (
    BASE_OUTPUT,
    clock,
    open_hdf,
    program_attributes,
    put,
    section_names,
    section_table,
    set_attributes,
    stamp,
    stamp_24,
)
from ras_standin.project import RunInputs
from ras_standin.units import Units

ROOT = "Results/Unsteady"
SUMMARY = f"{ROOT}/Summary"
SERIES = f"{ROOT}/{BASE_OUTPUT}/Unsteady Time Series"
_EXTREMES = f"{ROOT}/{BASE_OUTPUT}/Summary Output/Cross Sections"

RUNNING = "Running Unsteady"
FINISHED = "Unsteady Finished Successfully"
UNSTABLE = "Unsteady Went Unstable"
FAILED = "Unsteady failed to run"


@dataclass
class Series:
    """Output of a run so far: one entry an output time; the arrays have shape (sections,).

    ``seconds`` count from the start of the simulation; ``passed`` is the volume that has flowed through each section.
    """

    seconds: list[float] = field(default_factory=list)
    stage: list[Array] = field(default_factory=list)
    flow: list[Array] = field(default_factory=list)
    lateral: list[Array] = field(default_factory=list)
    passed: list[Array] = field(default_factory=list)
    velocity: list[Array] = field(default_factory=list)
    velocity_channel: list[Array] = field(default_factory=list)


@dataclass(frozen=True)
class Balance:
    """Water of a run, in cubic length units."""

    start: float
    end: float
    upstream: float
    lateral: float
    outflow: float

    @property
    def error(self) -> float:
        """What is missing (positive) or too much at the end."""
        return self.start + self.upstream + self.lateral - self.outflow - self.end

    @property
    def error_percent(self) -> float:
        """The error as a share of all water that was there or came in."""
        return 100 * abs(self.error) / max(self.start + self.upstream + self.lateral, 1e-9)


@dataclass(frozen=True)
class Summary:
    """How a run ended; ``unstable_at`` is in seconds of simulated time, None for a stable run."""

    solution: str
    run_start: datetime
    run_end: datetime
    max_error: float
    unstable_at: float | None
    balance: Balance


def begin(path: Path, inputs: RunInputs, sections: Sequence[CrossSection]) -> None:
    """Write the head of the results with the solution ``Running Unsteady``, which a killed run keeps."""
    with open_hdf(path, "r+") as file:
        if "Results" in file:
            del file["Results"]
        top = file.create_group(ROOT)
        start, end = inputs.plan.start, inputs.plan.end
        window = f"{stamp_24(start)} to {stamp_24(end)}" if start and end else ""
        set_attributes(
            top,
            program_attributes(str(inputs.file("prj")), inputs.project_title, "Unsteady Flow Analysis")
            | {"Plan Title": inputs.plan.title, "Short ID": inputs.plan.short_id, "Simulation Time Window": window},
        )
        put(file, f"{ROOT}/Geometry Info/Cross Section Attributes", section_table(sections))
        put(file, f"{ROOT}/Geometry Info/Cross Section Only", section_names(sections))
        set_attributes(file.create_group(SUMMARY), {"Solution": RUNNING})
        block = file.create_group(f"{ROOT}/{BASE_OUTPUT}")
        block.attrs["Output Block Name"] = np.array([b"Base Output"], "S32")


def fail(path: Path) -> None:
    """Write results that only say that the solver did not run."""
    with open_hdf(path, "r+") as file:
        set_attributes(file.require_group(SUMMARY), {"Solution": FAILED})


def write_series(path: Path, inputs: RunInputs, sections: Sequence[CrossSection], series: Series) -> None:
    """Write time series and extremes of what has been computed so far."""
    units, start = inputs.units, inputs.plan.start or datetime(1900, 1, 1)
    tables = {
        "Flow": (series.flow, units.flow, units.flow),
        "Flow Lateral": (series.lateral, units.flow, units.flow),
        "Flow Volume Cumulative": (series.passed, units.volume_long, units.volume_long),
        "Velocity Channel": (series.velocity_channel, units.velocity, units.velocity),
        "Velocity Total": (series.velocity, units.velocity, units.velocity),
        "Water Surface": (series.stage, units.length, units.length_long),
    }
    with open_hdf(path, "r+") as file:
        _write_clock(file, start, series.seconds, inputs.plan.time_step)
        group = f"{SERIES}/Cross Sections"
        put(file, f"{group}/Cross Section Attributes", section_table(sections))
        put(file, f"{group}/Cross Section Only", section_names(sections))
        for name, (rows, unit, variable) in tables.items():
            data = np.array(rows, np.float32)
            dataset = put(file, f"{group}/{name}", data, growing=True, Units=unit)
            extremes = {"Maximum Value of Data Set": data.max(), "Minimum Value of Data Set": data.min()}
            set_attributes(dataset, {"Variable Units": variable, **extremes})
        _write_extremes(file, sections, series, units)


def _write_clock(file: h5py.File, start: datetime, seconds: list[float], step: float) -> None:
    moments = [start + timedelta(seconds=second) for second in seconds]
    time = put(file, f"{SERIES}/Time", np.array(seconds) / 86400.0, growing=True, Time="days")
    time.attrs["Number of actual Time Steps"] = np.array([len(seconds)], np.int32)
    put(file, f"{SERIES}/Time Date Stamp", np.array([stamp(m).encode() for m in moments], "S19"), growing=True)
    fine = [f"{stamp(m)}:{m.microsecond // 1000:03d}".encode() for m in moments]
    put(file, f"{SERIES}/Time Date Stamp (ms)", np.array(fine, "S22"), growing=True)
    steps = np.full(len(seconds), step, np.float32)
    put(file, f"{SERIES}/Time Step", steps, growing=True, **{"Time Step": "Seconds"})


def _write_extremes(file: h5py.File, sections: Sequence[CrossSection], series: Series, units: Units) -> None:
    days = np.array(series.seconds) / 86400.0
    for name, rows, unit in (("Water Surface", series.stage, units.length), ("Flow", series.flow, units.flow)):
        data = np.array(rows)
        for word, at in (("Maximum", data.argmax(axis=0)), ("Minimum", data.argmin(axis=0))):
            table = np.stack([data[at, np.arange(data.shape[1])], days[at]]).astype(np.float32)
            dataset = put(file, f"{_EXTREMES}/{word} {name}", table)
            dataset.attrs["Units per row"] = np.array([unit.encode(), b"days"], "S16")
    put(file, f"{_EXTREMES}/Cross Section Attributes", section_table(sections))
    put(file, f"{_EXTREMES}/Cross Section Only", section_names(sections))


def finish(path: Path, inputs: RunInputs, summary: Summary) -> None:
    """Write ``Results/Unsteady/Summary`` with the volume accounting."""
    unstable, start = summary.unstable_at, inputs.plan.start
    when = "Not Applicable"
    if unstable is not None and start is not None:
        when = stamp(start + timedelta(seconds=unstable))
    with open_hdf(path, "r+") as file:
        set_attributes(
            file[SUMMARY],
            {
                "Solution": summary.solution,
                "Run Time Window": f"{stamp(summary.run_start)} to {stamp(summary.run_end)}",
                "Computation Time Total": clock((summary.run_end - summary.run_start).total_seconds()),
                "Maximum WSEL Error": np.float32(summary.max_error),
                "Maximum number of cores": np.int32(1),
                "Time Solution Went Unstable": np.float32(np.nan if unstable is None else unstable / 86400.0),
                "Time Stamp Solution Went Unstable": when,
            },
        )
        _write_balance(file, summary.balance, inputs.units)


def _write_balance(file: h5py.File, balance: Balance, units: Units) -> None:
    size = units.account_volume

    def volumes(values: dict[str, float]) -> dict[str, Any]:
        return {key: np.float32(value / size) for key, value in values.items()} | {"Vol Accounting in": units.account}

    top = volumes(
        {
            "Error": balance.error,
            "Total Boundary Flux of Water In": balance.upstream + balance.lateral,
            "Total Boundary Flux of Water Out": balance.outflow,
            "Volume Starting": balance.start,
            "Volume Ending": balance.end,
        }
    )
    group = file.require_group(f"{SUMMARY}/Volume Accounting")
    set_attributes(group, top | {"Error Percent": np.float32(balance.error_percent)})
    reach = {
        "Reach Start 1D": balance.start,
        "Reach Final 1D": balance.end,
        "Flow US In": balance.upstream,
        "Flow DS Out": balance.outflow,
        "Hydro Lat": balance.lateral,
    }
    set_attributes(group.require_group("Volume Accounting 1D"), volumes(reach))
