"""How much a plan has to compute, read from its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import pytest
from tests.conftest import shared_data

from ras_runner.hecras.plan import FlowType
from ras_runner.hecras.project import Project
from ras_runner.hecras.size import PlanSize, plan_size


def edited(path: Path | None, old: str, new: str) -> None:
    assert path is not None
    text = path.read_text(encoding="latin-1")
    assert old in text
    path.write_text(text.replace(old, new), encoding="latin-1")


def sections(project: Project, geometry: str) -> int:
    path = project.file(geometry)
    assert path is not None
    return path.read_text(encoding="latin-1").count("Type RM Length L Ch R = 1 ")


def plan_of(project: Project, flow_type: FlowType):
    return next(plan for plan in project.plans() if plan.flow_type is flow_type)


def test_an_unsteady_plan_counts_cross_sections_times_steps(project: Project):
    plan = plan_of(project, FlowType.UNSTEADY)
    assert plan.start is not None
    assert plan.end is not None
    steps = (plan.end - plan.start) / plan.computation_interval
    assert plan_size(plan) == PlanSize("1d", sections(project, plan.geometry) * steps)


def test_a_steady_plan_counts_cross_sections_times_profiles(project: Project):
    plan = plan_of(project, FlowType.STEADY)
    flow = project.file(plan.flow)
    assert flow is not None
    profiles = int(flow.read_text(encoding="latin-1").partition("Number of Profiles=")[2].split()[0])
    assert plan_size(plan) == PlanSize("steady", sections(project, plan.geometry) * profiles)


def test_2d_cells_count_and_a_changed_geometry_is_read_again(project: Project):
    plan = plan_of(project, FlowType.UNSTEADY)
    before = plan_size(plan).amount
    assert before is not None
    steps = before / sections(project, plan.geometry)
    edited(project.file(plan.geometry), "Geom Title=", "Storage Area 2D Points= 1000 \nGeom Title=")
    assert plan_size(plan) == PlanSize("2d", before + 1000 * steps)


def test_a_real_2d_geometry_is_counted_in_its_hdf(tmp_path: Path):
    folder = tmp_path / "muncie"
    folder.mkdir()
    for name in ("Muncie.prj", "Muncie.p04", "Muncie.u01", "Muncie.g04.hdf"):
        shutil.copy(shared_data("muncie") / name, folder)
    size = plan_size(Project.open(folder).plan("04"))
    assert size.kind == "2d"
    assert size.amount == pytest.approx((5391 + 61) * 24 * 360, rel=0.02)  # a day in steps of 10 s


def test_a_geometry_hdf_of_another_form_tells_nothing(project: Project):
    plan = plan_of(project, FlowType.UNSTEADY)
    path = project.file(plan.geometry)
    assert path is not None
    path.unlink()
    with h5py.File(path.with_name(f"{path.name}.hdf"), "w") as file:
        file["Geometry/2D Flow Areas/Cell Info"] = [[1], [2]]
    assert plan_size(plan) == PlanSize()


@pytest.mark.parametrize(
    ("old", "new"),
    [("Storage Area 2D Points= 5", "Storage Area 2D Points= many"), ("Geom Title=", "\x00")],
)
def test_what_its_files_do_not_tell_is_unknown(project: Project, old: str, new: str):
    plan = plan_of(project, FlowType.UNSTEADY)
    edited(project.file(plan.geometry), "Geom Title=", "Storage Area 2D Points= 5\nGeom Title=")
    edited(project.file(plan.geometry), old, new)
    assert plan_size(plan) == PlanSize()
    path = project.file(plan.geometry)
    assert path is not None
    path.unlink()
    assert plan_size(plan) == PlanSize()
