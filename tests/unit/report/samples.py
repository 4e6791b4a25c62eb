"""Campaigns and small result files for the tests of the report."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ras_runner.report import AttemptRow, BurstRow, CampaignReport, CostRow, PlanRow

#: Start of every sample campaign, Unix seconds.
START = 1_790_000_000.0

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> & \"double\" 'single' \u2028 {{ 7 * 7 }}"

_SERIES = "Results/Unsteady/Output/Output Blocks/Base Output/Unsteady Time Series"


def attempt(number: int = 1, begin: float | None = 0.0, end: float | None = 60.0, **changes: Any) -> AttemptRow:
    """An attempt on slot 0 of `lab-01`; begin and end in seconds since the start of the campaign."""
    row = AttemptRow(
        attempt_id=f"a-{number:03d}",
        worker_id="lab-01",
        slot=0,
        started=None if begin is None else START + begin,
        ended=None if end is None else START + end,
        outcome=None if end is None else "completed",
        message="",
    )
    return replace(row, **changes)


def plan(number: str = "01", **changes: Any) -> PlanRow:
    """A plan that completed on HEC-RAS in one attempt of a minute, without a result file."""
    row = PlanRow(
        project="Creek",
        plan_number=number,
        title=f"Plan {number}",
        flow_type="unsteady",
        outcome="completed",
        skipped=False,
        worker_id="lab-01",
        engine="HEC-RAS 6.6",
        execution_time=55.0,
        warnings=(),
        message="",
        result=None,
        attempts=(attempt(),),
        bytes_staged=1000,
    )
    return replace(row, **changes)


def campaign(*plans: PlanRow, **changes: Any) -> CampaignReport:
    """A finished campaign of 100 seconds."""
    report = CampaignReport(
        campaign_id="c-0001",
        project="/studies/Creek/Creek.prj",
        title="Creek study",
        created=START,
        ended=START + 100.0,
        state="finished",
        plans=plans,
        version="0.1.0",
    )
    return replace(report, **changes)


def cost(**changes: Any) -> CostRow:
    """One burst of two machines that cost 12.40 USD, all of it for plans."""
    lines = {"machines": Decimal("11.90"), "disks": Decimal("0.50"), "storage": Decimal("0.00")}
    burst = BurstRow("b-0001", "aws", 2, 7200.0, lines, Decimal("12.40"), final=True, prices="own rates of 2026-01-31")
    return replace(CostRow("USD", Decimal("12.40"), Decimal("0.00"), final=True, bursts=(burst,)), **changes)


def write_unsteady(path: Path, *, river: str = "Creek", steps: int = 48, sections: int = 5) -> Path:
    """A result file with 1D time series: a flood wave of 1000 cfs that peaks at a different step in each section."""
    names = np.array(
        [(river.encode(), b"Upper", str(1000 * (sections - i)).encode()) for i in range(sections)],
        dtype=[("River", "S256"), ("Reach", "S16"), ("Station", "S8")],
    )
    hours = np.arange(steps)
    stamps = np.datetime64("2026-08-01T00:00:00") + hours.astype("timedelta64[h]")
    peak = steps // 3 + np.arange(sections)
    flow = 1000.0 * np.exp(-(((hours[:, None] - peak[None, :]) / (steps / 8)) ** 2))
    with h5py.File(path, "w") as hdf:
        hdf.attrs["Units System"] = np.bytes_("US Customary")
        hdf[f"{_SERIES}/Time Date Stamp"] = np.array(
            [s.item().strftime("%d%b%Y %H:%M:%S").upper() for s in stamps], "S19"
        )
        hdf[f"{_SERIES}/Cross Sections/Cross Section Attributes"] = names
        hdf[f"{_SERIES}/Cross Sections/Flow"] = flow.astype(np.float32)
        bed = np.linspace(100.0, 90.0, sections)
        hdf[f"{_SERIES}/Cross Sections/Water Surface"] = (bed + flow**0.4).astype(np.float32)
    return path
