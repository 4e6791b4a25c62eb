"""What a project has prepared for the solvers on Linux, and a .tmp.hdf made from a finished result."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from tests.conftest import shared_data

from ras_runner.hecras.inputs import plan_inputs
from ras_runner.hecras.prepared import (
    PreparedFiles,
    hdf_maker,
    hdf_problem,
    own_prepared,
    prepared_extensions,
    without_results,
)
from ras_runner.hecras.project import Project


@pytest.fixture(scope="module")
def prepared_folder(example_prj: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example project with what the stand-in prepares of plan 01; not to be written to."""
    folder = tmp_path_factory.mktemp("prepared") / "project"
    shutil.copytree(example_prj.parent, folder)
    command = [sys.executable, "-m", "ras_standin", "prepare", example_prj.name, f"{example_prj.stem}.p01"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def prepared_project(prepared_folder: Path, tmp_path: Path) -> Project:
    """A copy of it for one test."""
    return Project.open(shutil.copytree(prepared_folder, tmp_path / "prepared"))


def own(project: Project) -> PreparedFiles | str:
    return own_prepared(plan_inputs(project.plan("01")))


def newer(path: Path, than: Path) -> None:
    moment = than.stat().st_mtime + 10
    os.utime(path, (moment, moment))


def test_which_files_the_solvers_need(project: Project):
    assert prepared_extensions(project.plan("04")) == ("p04.tmp.hdf", "b04", "x02")
    assert prepared_extensions(project.plan("07")) == ("p07.tmp.hdf", "r07")


def test_what_is_prepared_is_found(prepared_project: Project):
    found = own(prepared_project)
    assert isinstance(found, PreparedFiles)
    assert {name: path.name for name, path in found.files.items()} == {
        name: f"Bear Creek.{name}" for name in ("p01.tmp.hdf", "b01", "x01")
    }
    assert found.maker.startswith("RAS stand-in engine")


@pytest.mark.parametrize(
    ("changed", "old"), [("p01", "p01.tmp.hdf"), ("g01", "x01"), ("u01", "b01"), ("u01", "p01.tmp.hdf")]
)
def test_what_is_older_than_what_it_was_made_from_does_not_count(prepared_project: Project, changed: str, old: str):
    newer(prepared_project.file(changed), than=prepared_project.file("p01.tmp.hdf"))
    assert f"Bear Creek.{old} is older than Bear Creek.{changed}" in str(own(prepared_project))


def test_looking_at_another_plan_changes_nothing(prepared_project: Project):
    newer(prepared_project.prj, than=prepared_project.file("p01.tmp.hdf"))
    assert isinstance(own(prepared_project), PreparedFiles)


def test_what_is_missing_or_empty_is_named(prepared_project: Project):
    prepared_project.file("x01").unlink()
    prepared_project.file("b01").write_bytes(b"")
    assert own(prepared_project) == "Bear Creek.b01 is empty; Bear Creek.x01 is missing"
    prepared_project.file("p01.tmp.hdf").unlink()
    assert "Bear Creek.p01.tmp.hdf and a finished Bear Creek.p01.hdf are missing" in str(own(prepared_project))


def test_a_damaged_or_half_prepared_hdf_does_not_count(prepared_project: Project):
    path = prepared_project.file("p01.tmp.hdf")
    with h5py.File(path, "r+") as hdf:
        hdf["Event Conditions"].attrs["Completed Successfully"] = "False"
    assert "not prepared to its end (Completed Successfully = False)" in str(own(prepared_project))
    path.write_bytes(path.read_bytes()[:1000])
    assert "Bear Creek.p01.tmp.hdf cannot be read" in str(own(prepared_project))


def test_a_finished_result_stands_in_for_the_temporary_file(prepared_project: Project):
    temporary = prepared_project.file("p01.tmp.hdf")
    finished = temporary.rename(temporary.with_name("Bear Creek.p01.hdf"))
    found = own(prepared_project)
    assert isinstance(found, PreparedFiles)
    assert found.files["p01.tmp.hdf"] == finished


def test_a_real_result_without_its_results(tmp_path: Path):
    finished = shared_data("results/FLODENCR.p01.hdf")
    target = tmp_path / "FLODENCR.p01.tmp.hdf"
    without_results(finished, target)
    assert hdf_problem(target) == ""
    assert hdf_maker(target) == "HEC-RAS 6.5 February 2024"
    with h5py.File(finished) as old, h5py.File(target) as new:
        assert set(old) - set(new) == {"Results"}
        assert dict(old.attrs) == dict(new.attrs)
        names: list[str] = []
        for group in new:
            old[group].visit(lambda name, group=group: names.append(f"{group}/{name}"))
        assert len(names) > 50
        for name in names:
            assert old[name].attrs.keys() == new[name].attrs.keys()
            if isinstance(old[name], h5py.Dataset):
                assert old[name].dtype == new[name].dtype
                assert old[name][()].tobytes() == new[name][()].tobytes()


def test_a_real_result_that_cannot_be_started_from_says_why():
    path = shared_data("results/BaldEagleDamBrk.p18.hdf")  # cut to its results
    assert hdf_problem(path) == "BaldEagleDamBrk.p18.hdf has no Event Conditions"
