"""The Python API of the seed: names, parameters, results and refusals."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ras_runner
from ras_runner import (
    ExecutionResult,
    InputError,
    OperatorError,
    compute_parallel_remote,
    get_worker_status,
    init_ras_project,
    init_ras_worker,
)
from ras_runner.campaign.projects import choose_plans, open_projects
from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project
from ras_runner.workers.registry import WORKER_TYPES, worker_spec


@pytest.fixture
def worker(tmp_path: Path):
    return init_ras_worker(
        "local", engine="standin", worker_folder=tmp_path / "worker", cores_total=2, cores_per_plan=1
    )


def test_every_public_name_can_be_imported():
    for name in ras_runner.__all__:
        assert getattr(ras_runner, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ras_runner.nonsense


def test_import_and_help_are_light():
    code = (
        "import sys, ras_runner.cli.app\n"
        "slow = {'numpy', 'h5py', 'rich', 'jinja2', 'pydantic', 'plotly', 'psutil', 'yaml', 'sqlite3', 'blake3'}\n"
        "heavy = slow & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"imported for --help: {done.stderr}"


def test_plans_are_computed_and_results_are_execution_results(project: Project, worker, tmp_path: Path):
    opened = init_ras_project(project.folder, "6.6")
    assert (opened.project_folder, opened.project_name) == (project.folder, project.name)
    said: list[str] = []
    results = compute_parallel_remote(["01", "7"], [worker], num_cores=1, state_dir=tmp_path / "state", say=said.append)
    assert list(results) == ["01", "07"]
    for number, result in results.items():
        assert isinstance(result, ExecutionResult)
        assert (result.plan_number, result.worker_id, result.success, result.error_message) == (
            number,
            "local",
            True,
            None,
        )
        assert Path(result.hdf_path).is_file()
        assert result.execution_time > 0
    assert any("plan 01 completed" in line for line in said)
    again = compute_parallel_remote("01", [worker], num_cores=1, state_dir=tmp_path / "state")
    assert (again["01"].attempts, again["01"].execution_time) == (0, 0.0)


def test_a_ras_commander_project_is_taken(project: Project, worker, tmp_path: Path):
    theirs = SimpleNamespace(project_folder=str(project.folder), project_name=project.name, plan_df=None)
    results = compute_parallel_remote("7", [worker], ras_object=theirs, state_dir=tmp_path / "state")
    assert results["07"].success
    with pytest.raises(InputError, match="no project_folder"):
        compute_parallel_remote("7", [worker], ras_object=object(), state_dir=tmp_path / "state")


def test_a_failure_has_its_reason(project: Project, worker, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RAS_STANDIN_FAULT", "exit:9")
    results = compute_parallel_remote(
        "1", [worker], ras_object=init_ras_project(project.prj), state_dir=tmp_path / "state"
    )
    assert not results["01"].success
    assert results["01"].hdf_path is None
    assert "exit code 9" in results["01"].error_message


def test_num_cores_and_slots_as_in_the_seed(tmp_path: Path):
    def slots(num_cores: int | None = None, **parameters):
        spec = init_ras_worker("local", engine="standin", worker_folder=tmp_path, **parameters).spec
        return spec.slots(num_cores), spec.cores(num_cores)

    assert slots(cores_total=8, cores_per_plan=2) == (4, 2)
    assert slots(4, cores_total=8, cores_per_plan=2) == (2, 4)
    assert slots(cores_total=8, cores_per_plan=2, max_parallel_plans=3) == (3, 2)
    assert slots(4, cores_total=2) == (1, 2)


def test_worker_status(worker):
    status = get_worker_status([worker])["local"]
    assert status["worker_type"] == "local"
    assert status["max_parallel_plans"] == 2
    assert status["available"] is True


@pytest.mark.parametrize(
    ("worker_type", "parameters", "message"),
    [
        ("teleport", {}, "unknown worker type 'teleport'.*valid types are .*local"),
        ("local", {"engine": "standin", "cores": 4}, "unknown parameter 'cores'.*cores_per_plan.*worker_folder"),
        ("local", {"engine": "standin", "queue_priority": -1}, "queue_priority"),
        ("local", {"engine": "standin", "process_priority": "realtime"}, "process_priority"),
        ("local", {"engine": "standin", "cores_total": 0}, "cores_total"),
        ("local", {"engine": "nonsense"}, "unknown engine 'nonsense'"),
    ],
)
def test_unknown_types_and_parameters_are_refused_with_the_valid_ones(worker_type, parameters, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        init_ras_worker(worker_type, **parameters)


def test_hecras_is_never_replaced_silently(tmp_path: Path):
    with pytest.raises(OperatorError, match="looked for"):
        init_ras_worker("local", ras_exe_path=str(tmp_path / "6.6" / "Ras.exe"), engine="hecras-windows")


def test_the_projects_version_is_used(project: Project, tmp_path: Path):
    exe = tmp_path / "6.6" / "Ras.exe"
    exe.parent.mkdir()
    exe.touch()
    opened = init_ras_project(project.folder, str(exe))
    worker = init_ras_worker("local", ras_object=opened, engine="hecras-windows", worker_folder=tmp_path / "w")
    assert worker.engine.name == "HEC-RAS 6.6"


@pytest.mark.parametrize("name", sorted(WORKER_TYPES))
def test_the_parameters_of_each_worker_type_are_known_without_reaching_it(name: str):
    with pytest.raises(InputError, match=r"unknown parameter 'color'.*\n  next: .*worker_id"):
        worker_spec(name, {"color": "red"})


@pytest.mark.parametrize(("workers", "message"), [(0, "no worker was given"), (2, "several workers are called local")])
def test_the_list_of_workers_is_checked(project: Project, worker, tmp_path: Path, workers: int, message: str):
    with pytest.raises(InputError, match=message):
        compute_parallel_remote(
            "1", [worker] * workers, ras_object=init_ras_project(project.folder), state_dir=tmp_path / "s"
        )


@pytest.mark.parametrize(
    ("name", "value"), [("num_cores", 0), ("timeout", -1.0), ("retries", -1), ("max_concurrent", 0)]
)
def test_wrong_settings_are_input_errors(project: Project, worker, tmp_path: Path, name: str, value: float):
    with pytest.raises(InputError, match=f"{name}.*greater than"):
        compute_parallel_remote(
            "1", [worker], ras_object=init_ras_project(project.folder), state_dir=tmp_path, **{name: value}
        )


def test_a_missing_project_is_an_input_error(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere"):
        init_ras_project(tmp_path / "nowhere")


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Projects of which the second has no plan 03."""
    return [
        write_example_project(tmp_path / "studies" / name, name, plans)
        for name, plans in (("Bear Creek", 3), ("Elk River", 2))
    ]


def compute(plans: Any, worker, tmp_path: Path, projects: Any) -> dict[str, ExecutionResult]:
    return compute_parallel_remote(plans, [worker], projects, num_cores=1, state_dir=tmp_path / "state")


def test_several_projects_are_one_campaign_with_results_by_plan_name(two: list[Path], worker, tmp_path: Path):
    creek, river = init_ras_project(two[0]), SimpleNamespace(project_folder=two[1].parent, project_name="Elk River")
    results = compute("1", worker, tmp_path, [creek, river])
    assert list(results) == ["Bear Creek.p01", "Elk River.p01"]
    for (name, result), prj in zip(results.items(), two, strict=True):
        assert (result.plan_number, result.success) == (name, True)
        assert result.hdf_path == str(prj.parent / f"{name}.hdf")
    some = {"elk river": "all", creek: [1, "02"]}
    results = compute(some, worker, tmp_path, tmp_path / "studies")
    assert list(results) == ["Bear Creek.p01", "Bear Creek.p02", "Elk River.p01", "Elk River.p02"]
    assert [result.attempts for result in results.values()] == [0, 1, 0, 1]
    results = compute({two[1].parent: None}, worker, tmp_path, [str(two[0]), two[1]])
    assert [(result.plan_number, result.attempts) for result in results.values()] == [
        ("Elk River.p01", 0),
        ("Elk River.p02", 0),
    ]


def test_plans_are_given_by_the_same_text_as_their_project(two: list[Path]):
    projects = open_projects(two)
    for text in (str(two[1]), str(two[1].parent)):
        assert [plan.number for plan in choose_plans(projects, {text: "2"})] == ["02"]


def test_a_list_of_one_project_or_of_the_same_twice_is_that_project(two: list[Path], worker, tmp_path: Path):
    project = init_ras_project(two[0])
    assert list(compute(1, worker, tmp_path, [project, two[0].parent])) == ["01"]
    assert list(compute({"Bear Creek": "p1"}, worker, tmp_path, None)) == ["01"]


@pytest.mark.parametrize(
    ("plans", "message"),
    [
        ("1,3", r"plan 03 is not listed in .*Elk River.prj\n.* 01, 02; numbers are of each of the 2 projects"),
        ({"Bear Creek": "1", "Elk River": "3"}, r"plan 03 is not listed in .*Elk River.prj\n.* exist: 01, 02$"),
        ({"Moose": "1"}, "Moose is none of the projects of this campaign\n.* Bear Creek, Elk River"),
        ({Path("Moose.prj"): "1"}, "Moose.prj is none of the projects"),
        ({"Bear Creek": "1", "BEAR CREEK": "2"}, "BEAR CREEK is named twice"),
        ({"Bear Creek": []}, "no plan was chosen"),
        ({}, "no project was chosen"),
        ({7: "1"}, "a int, which has no project_folder"),
        (["x"], "'x' is not a plan number"),
        (7.5, "'7.5' is not a plan number"),
    ],
)
def test_plans_that_several_projects_do_not_have_are_refused(two, worker, tmp_path: Path, plans, message: str):
    with pytest.raises(InputError, match=f"(?s){message}"):
        compute(plans, worker, tmp_path, two)
    assert not (tmp_path / "state" / "journal.sqlite").exists()


def test_projects_that_cannot_be_one_campaign_are_refused(two: list[Path], worker, tmp_path: Path):
    copy = shutil.copytree(two[0].parent, tmp_path / "copy")
    (tmp_path / "empty").mkdir()
    for projects, message in (
        ([two[0], copy], "two projects of one campaign are called Bear Creek: .*studies.* and .*copy"),
        ([two[0], tmp_path / "empty"], "holds no HEC-RAS project"),
        ([], "ras_object is an empty list"),
        ([two[0], None], "ras_object is a NoneType"),
        (tmp_path / "nowhere", "does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            compute("all", worker, tmp_path, projects)
