"""How much a plan has to compute, told by its files: what its run time is guessed from before it has ever run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ras_runner.errors import InputError
from ras_runner.hecras.plan import FlowType, Plan
from ras_runner.hecras.text import key_values, read_text

if TYPE_CHECKING:
    from pathlib import Path

#: The type of a river station that is a cross section; others are bridges, culverts, weirs.
_CROSS_SECTION = "1"


@dataclass(frozen=True, slots=True)
class PlanSize:
    """How much there is to compute.

    Attributes:
        kind: ``2d``, ``1d`` or ``steady``: sizes of one kind have one unit.
        amount: cells and cross sections times time steps; cross sections times profiles of a steady plan. None where
            its files do not tell.
    """

    kind: str = ""
    amount: float | None = None


def plan_size(plan: Plan) -> PlanSize:
    """The size of a plan.

    Cross sections and 2D cells are counted in the geometry's text (``Type RM Length L Ch R = 1``, ``Storage Area 2D
    Points=``), or in its HDF where there is no text; time steps are the simulation window over the computation
    interval. A variable time step and the time spent in iterations are not in these files: the estimate is what it is.
    """
    counts = _counts(plan)
    if counts is None:
        return PlanSize()
    sections, cells = counts
    if plan.flow_type is FlowType.STEADY:
        profiles = _profiles(plan)
        return PlanSize("steady", float(sections * profiles)) if sections and profiles else PlanSize()
    interval = plan.computation_interval
    if plan.start is None or plan.end is None or interval is None or not interval:
        return PlanSize()
    steps = (plan.end - plan.start) / interval
    amount = (sections + cells) * steps
    return PlanSize("2d" if cells else "1d", amount) if amount > 0 else PlanSize()


def _counts(plan: Plan) -> tuple[int, int] | None:
    """(cross sections, 2D cells) of a plan's geometry; None when it cannot be read."""
    for extension, count in ((plan.geometry, _count_text), (f"{plan.geometry}.hdf", _count_hdf)):
        path = plan.project.file(extension)
        if path is None:
            continue
        try:
            stat = path.stat()
            return count(path, (stat.st_size, stat.st_mtime_ns, stat.st_ino))
        except (InputError, OSError, ValueError, LookupError, TypeError, RuntimeError):  # said where the plan is staged
            return None
    return None


def _profiles(plan: Plan) -> int:
    path = plan.project.file(plan.flow)
    try:
        return 0 if path is None else int(key_values(read_text(path)).get("Number of Profiles", ["0"])[0])
    except (InputError, ValueError):
        return 0


@lru_cache(maxsize=128)  # many plans share a geometry
def _count_text(path: Path, signature: tuple[int, ...]) -> tuple[int, int]:
    del signature  # a changed file is read again
    values = key_values(read_text(path))
    nodes = values.get("Type RM Length L Ch R", [])
    sections = sum(node.partition(",")[0].strip() == _CROSS_SECTION for node in nodes)
    return sections, sum(int(points or 0) for points in values.get("Storage Area 2D Points", []))


@lru_cache(maxsize=128)
def _count_hdf(path: Path, signature: tuple[int, ...]) -> tuple[int, int]:
    del signature
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        sections = file.get("Geometry/Cross Sections/Attributes")
        cells = file.get("Geometry/2D Flow Areas/Cell Info")
        return (
            len(sections) if isinstance(sections, h5py.Dataset) else 0,
            int(cells[:, 1].sum()) if isinstance(cells, h5py.Dataset) else 0,
        )
