"""What every worker type must do, through the command line: one suite, one row a type.

A new worker type joins by its line in ``WORKER_TYPES``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.commands import Runner
from tests.windows.conftest import WindowsRunner
from tests.winrm.conftest import WinRmRunner

from ras_runner.campaign.events import attempt_ended
from ras_runner.campaign.journal import Journal
from ras_runner.hashing import hash_file
from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result
from ras_runner.outcomes import Outcome
from ras_standin.damage import FILLING


@dataclass(frozen=True)
class WorkerType:
    """One row.

    Attributes:
        group: of the inventory.
        variables: of its host, for a test's folder; takes pytest's request for the fixtures it needs.
        markers: of its tests, after spaces.
        runner: runs the commands, and knows where its engines run.
        megabytes: of a large input and of a large result.
        limit: minutes that are enough for a plan while others keep this machine busy.
    """

    group: str
    variables: Callable[[pytest.FixtureRequest, Path], dict[str, object]]
    markers: str = ""
    runner: type[Runner] = Runner
    megabytes: tuple[int, int] = (300, 200)
    limit: float = 0.08


def dask_variables(request: pytest.FixtureRequest, folder: Path) -> dict[str, object]:
    cluster = request.getfixturevalue("dask_cluster")
    return {f"ras_{name}": value for name, value in cluster.parameters(folder / "worker", cores_total=2).items()}


def dask_storage_variables(request: pytest.FixtureRequest, folder: Path) -> dict[str, object]:
    cluster = request.getfixturevalue("dask_cluster")
    return {f"ras_{name}": value for name, value in cluster.stored(folder / "worker", cores_total=2).items()}


def docker_variables(request: pytest.FixtureRequest, folder: Path) -> dict[str, object]:
    daemon = request.getfixturevalue("docker_daemon")
    return {f"ras_{name}": value for name, value in daemon.parameters(folder / "worker").items()}


def docker_ssh_variables(request: pytest.FixtureRequest, folder: Path) -> dict[str, object]:
    daemon, sshd = request.getfixturevalue("docker_daemon"), request.getfixturevalue("sshd")
    return {f"ras_{name}": value for name, value in daemon.remote_parameters(sshd, folder / "worker").items()}


def slurm_variables(request: pytest.FixtureRequest, folder: Path) -> dict[str, object]:
    cluster = request.getfixturevalue("slurm_cluster")
    return {f"ras_{name}": value for name, value in cluster.parameters(folder / "worker").items()}


def ssh_variables(request: pytest.FixtureRequest, folder: Path) -> dict[str, object]:
    sshd = request.getfixturevalue("sshd")
    return {f"ras_{name}": value for name, value in sshd.parameters(folder / "worker").items()}


def psexec_variables(request: pytest.FixtureRequest, folder: Path) -> dict[str, object]:
    host = request.getfixturevalue("windows_host")
    return {f"ras_{name}": value for name, value in host.parameters(folder / "worker").items()}


def winrm_variables(request: pytest.FixtureRequest, folder: Path) -> dict[str, object]:
    host = request.getfixturevalue("winrm_host")
    given = {f"ras_{name}": value for name, value in host.parameters(folder / "worker").items()}
    return {"ras_worker_type": "winrm", **given}


WORKER_TYPES = {
    "dask": WorkerType("dask_workers", dask_variables, "dask"),
    "dask-storage": WorkerType("dask_workers", dask_storage_variables, "dask", megabytes=(30, 20)),
    "docker": WorkerType("docker_workers", docker_variables, "docker"),
    "docker-ssh": WorkerType("docker_workers", docker_ssh_variables, "docker ssh"),
    "local": WorkerType("local", lambda request, folder: {}),
    "psexec": WorkerType("windows_workers", psexec_variables, "windows", WindowsRunner, (100, 60), 0.2),
    "slurm": WorkerType("slurm_workers", slurm_variables, "slurm"),
    "ssh": WorkerType("ssh_workers", ssh_variables, "ssh"),
    # all that goes through WinRM goes as text in small messages, and the simulated host takes its time for each
    "winrm": WorkerType("windows_workers", winrm_variables, "windows", WinRmRunner, (30, 20), 0.2),
}


def _marks(kind: WorkerType) -> list[pytest.MarkDecorator]:
    return [getattr(pytest.mark, name) for name in kind.markers.split()]


ROWS = {name: pytest.param(name, marks=_marks(kind)) for name, kind in sorted(WORKER_TYPES.items())}
#: The same without the row that is put together from two others, for what one of these does alone.
SIMPLE_ROWS = [row for name, row in ROWS.items() if name != "docker-ssh"]
#: Slurm moves no files itself: they go as those of local and SSH workers.
FILE_ROWS = [row for row in SIMPLE_ROWS if row is not ROWS["slurm"]]


@pytest.fixture(params=ROWS.values())
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    """``ras-runner`` with one worker of a type, two slots, and the stand-in engine."""
    kind = WORKER_TYPES[request.param]
    made = kind.runner(tmp_path, group=kind.group, variables=kind.variables(request, tmp_path))
    yield made
    made.stop_engines()


def outcomes(results: list[dict]) -> dict[str, str]:
    return {r["plan_number"]: r["outcome"] for r in results}


def test_success(worker: Runner, project: Project):
    results = worker.execute(project.folder, "--plans", "1,2,7")
    assert outcomes(results) == dict.fromkeys(("01", "02", "07"), "completed")
    for result in results:
        assert result["worker_id"] == "here"
        assert result["execution_time"] > 0
        assert read_result(Path(result["hdf_path"])).outcome.success
    assert worker.workspaces() == []


@pytest.mark.parametrize("worker", SIMPLE_ROWS, indirect=True)
def test_each_way_to_fail(worker: Runner, project: Project):
    worker.environment["RAS_STANDIN_FAULT"] = (
        "p01=crash:0.3,p02=unstable,p03=truncated,p04=exit:7,p05=oom:0.3,p06=no-finish,p07=failed-to-run"
    )
    before = {p.name: p.read_bytes() for p in project.folder.iterdir()}
    results = worker.execute(project.folder, code=1)
    assert outcomes(results) == {
        "01": "engine-error",
        "02": "unstable",
        "03": "engine-error",
        "04": "engine-error",
        "05": "engine-error",
        "06": "incomplete",
        "07": "engine-error",
    }
    said = {r["plan_number"]: r["error_message"] for r in results}
    assert "157" in said["01"]
    assert "exit code 7" in said["04"]
    assert "killed" in said["05"].lower()
    assert all("log: " in message for message in said.values())
    assert {p.name: p.read_bytes() for p in project.folder.iterdir()} == before


@pytest.mark.parametrize("worker", SIMPLE_ROWS, indirect=True)
def test_time_limit(worker: Runner, project: Project, request: pytest.FixtureRequest):
    limit = WORKER_TYPES[request.node.callspec.params["worker"]].limit
    worker.environment["RAS_STANDIN_FAULT"] = "p01=hang:0.2"
    results = worker.execute(project.folder, "--plans", "1,2", "--timeout", limit, code=1)
    assert outcomes(results) == {"01": "timed-out", "02": "completed"}
    worker.check_no_engine_runs()


def test_cancel(worker: Runner, project: Project):
    worker.environment["RAS_STANDIN_FAULT"] = "hang:0.1"
    controller = worker.start_running(2, project.folder, "--plans", "1,2,3")
    worker.run("cancel")
    assert controller.wait(60) == 1
    assert {t["state"] for t in worker.tasks().values()} == {"cancelled"}
    worker.check_no_engine_runs()


def test_a_controller_that_was_killed_is_followed_by_one_that_attaches(worker: Runner, project: Project):
    worker.environment["RAS_STANDIN_PACE"] = "0.02"
    worker.leave_running(2, project.folder, "--plans", "1,2,3")
    assert "attached" in worker.run("resume").stderr
    results = worker.json("results")
    assert [(r["success"], r["attempts"]) for r in results] == [(True, 1)] * 3
    assert worker.workspaces() == []


def test_names_in_sub_folders_and_hostile_paths(worker: Runner, project: Project, tmp_path: Path):
    """Two inputs of one name in different folders; spaces, quotes and unicode in the project's path and name."""
    folder = tmp_path / "a 'b' \"c\" $(x) ü" / "Río & (1)"
    folder.mkdir(parents=True)
    for path in project.folder.iterdir():
        shutil.copy(path, folder / path.name.replace(project.name, "Río & (1)"))
    for place, content in (("rain", b"one"), ("rain/more", b"two"), ("../rain", b"three")):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / "storm.dss").write_bytes(content)
    flow = folder / "Río & (1).u01"
    names = ("rain\\storm.dss", "rain\\more\\storm.dss", "..\\rain\\storm.dss")
    text = "".join(f"Observed DSS Loc=a\r\nObserved DSS Filename={name}\r\n" for name in names)
    flow.write_bytes(flow.read_bytes() + text.encode("latin-1"))
    (result,) = worker.execute(folder, "--plans", "1")
    assert result["success"], result
    assert Path(result["hdf_path"]).parent == folder


@pytest.mark.parametrize("worker", [ROWS[name] for name in ("docker-ssh", "slurm", "ssh")], indirect=True)
def test_sweep_takes_only_what_is_over(worker: Runner, project: Project):
    """Strangers, running plans and kept workspaces stay; what still runs of attempts that were given up ends."""
    worker.environment["RAS_STANDIN_FAULT"] = "p01=unstable,p02=hang"
    worker.execute(project.folder, "--plans", "1", code=1)
    worker.leave_running(1, project.folder, "--plans", "2")
    strangers = ["mine", "0123456789"]
    for name in strangers:
        (worker.worker_folder / "w" / name / "p").mkdir(parents=True)
    failed, running = (row["id"] for row in worker.attempts())
    left = {item["attempt"]: item for item in worker.json("sweep")}
    assert {name: (item["kind"], item["due"]) for name, item in left.items()} == {
        failed: ("kept", False),
        "0123456789": ("unknown", False),
    }
    worker.json("sweep", "--yes", "--unknown", "--workspaces", "30")
    assert worker.workspaces() == sorted([failed, running, *strangers])
    assert worker.json("status")["tasks"][0]["state"] == "running"
    journal = Journal(worker.state)
    campaign = journal.campaign_id(None)
    journal.record_all(campaign, [attempt_ended(running, Outcome.INFRASTRUCTURE_LOST, "given up", "worker")])
    journal.close()
    left = {item["attempt"]: item for item in worker.json("sweep", "--yes")}
    assert left[running]["running"] and left[running]["done"] == "ended; its workspace is kept"
    worker.check_no_engine_runs()
    assert worker.workspaces() == sorted([failed, running, *strangers])
    done = {item["attempt"]: item["done"] for item in worker.json("sweep", "--yes", "--workspaces", "0")}
    assert done == {failed: "removed", running: "removed", "0123456789": ""}
    assert worker.workspaces() == sorted(strangers)
    assert {row["cleaned"] for row in worker.attempts()} == {1}


@pytest.mark.parametrize("worker", FILE_ROWS, indirect=True)
def test_two_plans_that_share_a_geometry_send_it_once(worker: Runner, project: Project):
    terrain = project.folder / "Terrain.hdf"
    with h5py.File(terrain, "w") as hdf:
        hdf["data"] = np.random.default_rng(1).random(100_000)
    (project.folder / f"{project.name}.rasmap").write_text(
        '<RASMapper><Terrains><Layer Name="T" Type="TerrainLayer" Filename=".\\Terrain.hdf"/></Terrains></RASMapper>'
    )
    worker.execute(project.folder, "--plans", "1,2,3")
    assert worker.json("status")["bytes_staged"] < 1.5 * terrain.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("worker", FILE_ROWS, indirect=True)
def test_large_input_and_result(worker: Runner, tmp_path: Path, request: pytest.FixtureRequest):
    """300 MB that the plan reads, and a result of 200 MB; less where that would take a minute."""
    sent, made = (megabytes * 1_000_000 for megabytes in WORKER_TYPES[request.node.callspec.params["worker"]].megabytes)
    project = Project.open(write_example_project(tmp_path / "project", plans=1))
    terrain = project.folder / "Terrain.tif"
    terrain.write_bytes(np.random.default_rng(2).bytes(sent))
    (project.folder / f"{project.name}.rasmap").write_text(
        '<RASMapper><Terrains><Layer Name="T" Type="TerrainLayer" Filename=".\\Terrain.tif"/></Terrains></RASMapper>'
    )
    worker.environment["RAS_STANDIN_FAULT"] = f"large:{made // 1_000_000}"
    (result,) = worker.execute(project.folder, "--plans", "1")
    assert result["success"], result
    assert read_result(Path(result["hdf_path"])).outcome.success
    with h5py.File(result["hdf_path"]) as hdf:
        filling = hdf[FILLING][:]
    assert (filling == np.random.default_rng(0).integers(0, 256, made, dtype=np.uint8)).all()
    assert sent < worker.json("status")["bytes_staged"] < sent + 1e6
    (stored,) = [path for path in (worker.worker_folder / "store").rglob("*") if path.stat().st_size == sent]
    assert hash_file(stored) == stored.name == hash_file(terrain)
    shutil.rmtree(tmp_path)  # half a gigabyte a worker type


@pytest.mark.parametrize("worker", FILE_ROWS, indirect=True)
def test_unchanged_plans_send_nothing(worker: Runner, project: Project):
    worker.execute(project.folder, "--plans", "1,2")
    again = worker.execute(project.folder, "--plans", "1,2")
    assert [(r["success"], r["attempts"]) for r in again] == [(True, 0), (True, 0)]
    assert worker.json("status")["bytes_staged"] == 0
