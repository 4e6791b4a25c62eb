"""One campaign over many projects: results where they belong, in one table, and nothing mixed up."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Runner

from ras_runner.campaign.events import task_ended
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.projects import open_projects
from ras_runner.campaign.view import campaign_view
from ras_runner.cli import listing
from ras_runner.errors import InputError
from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result
from ras_runner.outcomes import Outcome


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of two projects of two plans, beside what looks like one and is none."""
    folder = tmp_path / "studies"
    write_example_project(folder / "north" / "creek", "Bear Creek", plans=2)
    write_example_project(folder / "south", "Süd Fluss", plans=2)
    (folder / "south" / "gis").mkdir()
    (folder / "south" / "gis" / "Bear Creek.prj").write_text('PROJCS["NAD83"]', encoding="utf-8")
    shutil.copytree(folder / "south", folder / ".backup")
    return folder


def test_a_tree_is_one_campaign_that_outlives_its_controller(runner: Runner, tree: Path) -> None:
    runner.environment["RAS_STANDIN_PACE"] = "0.005"
    runner.leave_running(2, tree)
    done = runner.json("resume")
    names = ["Bear Creek.p01", "Bear Creek.p02", "Süd Fluss.p01", "Süd Fluss.p02"]
    assert [(row["plan_number"], row["outcome"]) for row in done] == [(name, "completed") for name in names]
    for row, folder in zip(done, ("north/creek", "north/creek", "south", "south"), strict=True):
        assert Path(row["hdf_path"]) == tree / folder / f"{row['plan_number']}.hdf"
        assert read_result(Path(row["hdf_path"])).outcome.success
    page = Path(runner.folder / runner.run("report").stdout.strip()).read_text(encoding="utf-8")
    assert '<td>Süd Fluss</td><td class="plan-number"><a href="#plan-01-2">01</a></td>' in page
    assert "Süd Fluss.p02 | " in runner.run("logs", "--plan", "süd fluss.P02").stdout
    assert [row["plan_number"] for row in runner.execute(tree)] == names
    assert [row["plan_number"] for row in runner.execute(tree / "south")] == ["01", "02"]
    assert len(runner.attempts()) == 4  # nothing ran twice, and receipts are by project and plan
    shutil.rmtree(tree / "south")
    first = runner.json("status", "--all")[-1]["campaign"]
    assert f"{tree / 'south' / 'Süd Fluss.prj'} does not exist" in runner.run("resume", first, code=2).stderr


def test_a_plan_is_meant_by_its_name_or_where_that_is_enough_by_its_number(journal: Journal) -> None:
    head = {"project": "/p/a.prj", "title": "", "workers": "[]", "settings": "{}"}
    task = {"seq": 0, "title": "", "flow_type": "steady", "expected": None}
    names = {"a.p01": "/p/a.prj", "b.p01": "/p/b.prj"}
    tasks = [("task-added", {**task, "plan": name, "project": prj}) for name, prj in names.items()]
    journal.record_all("several", [("campaign-created", head), *tasks])
    several = campaign_view(journal, "several")
    assert several.plan(" B.P01 ") == "b.p01"
    with pytest.raises(InputError, match=r"'1' is not in campaign several, .*several projects\n.* a\.p01, b\.p01"):
        several.plan("1")
    journal.record_all("one", [("campaign-created", head), ("task-added", {**task, "plan": "01"})])
    assert campaign_view(journal, "one").plan("p1") == "01"


def test_two_projects_of_one_name_are_refused_before_anything_runs(runner: Runner, tree: Path) -> None:
    shutil.copytree(tree / "south", tree / "copy")
    refused = runner.run("execute", tree, "-i", runner.inventory, code=2).stderr
    assert "two projects of one campaign are called Süd Fluss" in refused
    assert str(tree / "copy" / "Süd Fluss.prj") in refused
    assert str(tree / "south" / "Süd Fluss.prj") in refused
    assert runner.attempts() == []


def test_names_are_compared_as_windows_compares_them(tmp_path: Path) -> None:
    paths = [write_example_project(tmp_path / name, name, plans=1) for name in ("Creek", "CREEK")]
    with pytest.raises(InputError, match="are called CREEK"):
        open_projects(paths)


def test_a_project_named_twice_counts_once_and_is_alone(tree: Path) -> None:
    prj = tree / "south" / "Süd Fluss.prj"
    (project,) = open_projects([prj, tree / "south", tree / "north" / ".." / "south"])
    assert (project.prj, project.label, project.plan("1").name) == (prj, "", "01")


def test_a_folder_with_a_project_is_that_project_and_not_those_below(tree: Path) -> None:
    write_example_project(tree, "Whole", plans=1)
    (project,) = open_projects([tree])
    assert project.name == "Whole"


def test_a_folder_without_any_project_is_refused_as_before(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no HEC-RAS project"):
        open_projects([tmp_path / "empty"])


def test_plans_of_a_labelled_project_have_the_names_of_their_files(tree: Path) -> None:
    project = Project.open(tree / "south", "Süd Fluss")
    plan = project.plan("Süd Fluss.p02")
    assert (plan.name, plan.number, plan) == ("Süd Fluss.p02", "02", project.plan("2"))


def test_campaigns_of_earlier_versions_keep_their_project(journal: Journal) -> None:
    head = {"project": "/p/x.prj", "title": "", "workers": "[]", "settings": "{}"}
    task = {"plan": "01", "seq": 0, "title": "", "flow_type": "steady", "expected": None}
    journal.record_all("c", [("campaign-created", head), ("task-added", task)])
    journal.rebuild()
    view = campaign_view(journal, "c")
    assert (view.tasks[0].project, view.projects) == (Path("/p/x.prj"), (Path("/p/x.prj"),))


def test_status_of_a_campaign_too_large_for_a_table_shows_what_runs_or_failed(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    head = {"project": "/p/a.prj", "title": "", "workers": "[]", "settings": "{}"}
    task = {"title": "", "flow_type": "steady", "expected": None, "project": "/p/a.prj"}
    names = [f"a{seq // 99:02}.p{seq % 99 + 1:02}" for seq in range(600)]
    events = [("task-added", {**task, "plan": name, "seq": seq}) for seq, name in enumerate(names)]
    journal.record_all("c", [("campaign-created", head), *events, task_ended(names[7], Outcome.UNSTABLE, "went up")])
    listing.status("c", journal.state_dir, as_json=False)
    said = capsys.readouterr()
    assert "0 of 600 plans completed, 1 over" in said.out
    assert names[7] in said.out
    assert names[8] not in said.out
    assert "599 plans are not shown" in said.err
    listing.status("c", journal.state_dir, as_json=True)
    assert len(json.loads(capsys.readouterr().out)["tasks"]) == 600


def test_an_error_does_not_list_all_plans_of_a_large_campaign(journal: Journal) -> None:
    head = {"project": "/p/a.prj", "title": "", "workers": "[]", "settings": "{}"}
    task = {"title": "", "flow_type": "steady", "expected": None}
    tasks = [{**task, "plan": f"a{seq}.p01", "seq": seq, "project": f"/p/a{seq}.prj"} for seq in range(60)]
    journal.record_all("c", [("campaign-created", head), *(("task-added", one) for one in tasks)])
    with pytest.raises(InputError, match=r"a49\.p01 and 10 more"):
        campaign_view(journal, "c").plan("1")


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no modes there")
def test_a_folder_that_cannot_be_looked_into_is_not_passed_over(tree: Path) -> None:
    """Its projects would be missing from the campaign, and nobody told."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        Path(name).chmod(0o755)
        studies = shutil.copytree(tree, Path(name) / "studies")
        (studies / "north").chmod(0)
        try:
            with not_as_root(), pytest.raises(InputError, match=r"north cannot be listed: Permission denied"):
                open_projects([studies])
        finally:
            (studies / "north").chmod(0o755)


@contextlib.contextmanager
def not_as_root() -> Iterator[None]:
    """Root may look into any folder."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
