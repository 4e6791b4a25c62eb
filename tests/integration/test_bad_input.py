"""Bad input: a clear error, exit code 2, nothing written to the project, never a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.commands import Runner
from tests.integration.test_execute import snapshot

from ras_runner.hecras.project import Project


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode("latin-1")
    assert old in text
    path.write_bytes(text.replace(old, new).encode("latin-1"))


def no_prj(project: Project) -> None:
    project.prj.unlink()


def two_prj(project: Project) -> None:
    shutil.copy(project.prj, project.folder / "Other.prj")


def missing_geometry(project: Project) -> None:
    project.file("g01").unlink()


def missing_flow(project: Project) -> None:
    project.file("u01").unlink()


def prj_names_etc(project: Project) -> None:
    edit(project.prj, "Geom File=g01", "Geom File=..\\..\\etc")


def plan_names_etc(project: Project) -> None:
    edit(project.file("p01"), "Geom File=g01", "Geom File=..\\..\\etc\\passwd")


def truncated_plan(project: Project) -> None:
    path = project.file("p01")
    path.write_bytes(path.read_bytes()[:40])


def binary_plan(project: Project) -> None:
    project.file("p01").write_bytes(bytes(range(256)) * 20)


def geometry_hdf_that_is_none(project: Project) -> None:
    project.file("g01").unlink()
    (project.folder / f"{project.name}.g01.hdf").write_bytes(b"no HDF at all")


def flow_names_etc(project: Project) -> None:
    path = project.file("u01")
    path.write_bytes(path.read_bytes() + b"DSS File=..\\..\\..\\..\\..\\..\\..\\..\\etc\\passwd\r\nUse DSS=True\r\n")


CASES: list[tuple[Callable[[Project], None], str]] = [
    (no_prj, r"no HEC-RAS project|no .*\.prj"),
    (two_prj, r"Bear Creek\.prj.*Other\.prj|Other\.prj.*Bear Creek\.prj"),
    (missing_geometry, r"Bear Creek\.g01.*Geom File=g01"),
    (missing_flow, r"Bear Creek\.u01.*Flow File=u01"),
    (prj_names_etc, r"Geom File"),
    (plan_names_etc, r"Geom File"),
    (truncated_plan, r"Bear Creek\.p01"),
    (binary_plan, r"Bear Creek\.p01"),
    (geometry_hdf_that_is_none, r"Bear Creek\.g01\.hdf"),
]


@pytest.mark.parametrize(("damage", "message"), CASES, ids=[case[0].__name__ for case in CASES])
def test_a_broken_project_is_refused_before_anything_runs(runner: Runner, project: Project, damage, message: str):
    import re

    damage(project)
    before = snapshot(project.folder)
    done = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1", code=2)
    assert re.search(message, done.stderr, re.DOTALL), done.stderr
    assert "next: " in done.stderr
    assert done.stdout == ""
    assert snapshot(project.folder) == before
    assert runner.workspaces() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plans", "42"], "01, 02, 03, 04, 05, 06, 07"),
        (["--plans", "x"], "not a plan number"),
        (["--plans", ","], "no plan was chosen"),
        (["--engine", "hec-ras"], "hecras-windows, hecras-linux, standin"),
        (["-i", "nowhere.yml"], "nowhere.yml cannot be read"),
    ],
)
def test_wrong_arguments_are_refused(runner: Runner, project: Project, arguments: list[str], message: str):
    before = snapshot(project.folder)
    inventory = [] if "-i" in arguments else ["-i", runner.inventory]
    done = runner.run("execute", project.folder, *inventory, *arguments, code=2)
    assert message in done.stderr
    assert snapshot(project.folder) == before


@pytest.mark.parametrize("path", ["nowhere", "x" * 5000, "."])
def test_a_path_that_is_none(runner: Runner, path: str):
    assert "open project" in runner.run("plans", path, code=2).stderr


def test_a_flow_file_cannot_make_us_read_files_elsewhere(runner: Runner, project: Project):
    flow_names_etc(project)
    done = runner.run("execute", project.folder, "-i", runner.inventory, "--plans", "1", "--keep-workspaces", code=None)
    assert not list(runner.worker_folder.rglob("passwd"))
    assert done.returncode in (0, 2)


def test_an_engine_that_is_not_installed_means_no_usable_worker(runner: Runner, project: Project):
    done = runner.run("execute", project.folder, "-i", runner.inventory, "--engine", "hecras-linux", code=3)
    assert "looked for" in done.stderr
    assert "standin" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", [["status"], ["results"], ["resume"], ["watch"], ["cancel"], ["logs"], ["report"]])
def test_there_is_no_campaign_yet(runner: Runner, command: list[str]):
    done = runner.run(*command, code=2)
    assert "no campaign has been run yet" in done.stderr


def test_an_unknown_campaign_lists_the_known(runner: Runner, project: Project):
    runner.execute(project.folder, "--plans", "7")
    known = runner.json("status")["campaign"]
    done = runner.run("status", "nonsense", code=2)
    assert known in done.stderr
    assert "is not in campaign" in runner.run("cancel", "--plan", "3", code=2).stderr
    assert "has not been tried" in runner.run("logs", "--plan", "3", code=2).stderr


def test_a_state_folder_that_cannot_be_used(runner: Runner, project: Project, tmp_path: Path):
    (tmp_path / "file").touch()
    done = runner.run("status", "--state-dir", tmp_path / "file" / "state", code=2)
    assert "cannot be used" in done.stderr
