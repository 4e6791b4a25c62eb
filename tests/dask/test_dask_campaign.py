"""Plans on a Dask cluster whose parts go away, and what is said when it cannot be used."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.commands import Runner, wait_until
from tests.dask.cluster import DaskCluster, certificates, running_cluster

from ras_runner.errors import InputError, OperatorError, TransientError
from ras_runner.hecras.project import Project
from ras_runner.transports import dask_cluster
from ras_runner.workers.registry import make_worker


@pytest.fixture
def own_cluster(tmp_path: Path):
    """A cluster that a test may break."""
    with running_cluster(tmp_path / "dask") as cluster:
        yield cluster


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that does not answer is given up soon."""
    monkeypatch.setattr(dask_cluster, "ANSWER_SECONDS", 2.0)


def runner_on(cluster: DaskCluster, folder: Path, **more: object) -> Runner:
    parameters = cluster.parameters(folder / "worker", **more)
    variables = {f"ras_{name}": value for name, value in parameters.items()}
    return Runner(folder, group="dask_workers", variables=variables)


def test_a_lost_worker_costs_no_plan_and_leaves_nothing_running(
    own_cluster: DaskCluster, project: Project, tmp_path: Path
):
    own_cluster.add("first")
    own_cluster.add("second")
    runner = runner_on(own_cluster, tmp_path)
    runner.environment["RAS_STANDIN_PACE"] = "0.02"
    controller = runner.start_running(2, project.folder, "--plans", "1,2,3")
    wait_until(lambda: len(runner.engine_attempts()) == 2, "each worker runs an engine")
    own_cluster.kill("first")
    assert controller.wait(120) == 0
    assert {t["state"] for t in runner.tasks().values()} == {"completed"}
    (lost,) = [row for row in runner.attempts() if row["outcome"] != "completed"]
    assert (lost["outcome"], lost["blame"]) == ("infrastructure-lost", "part")
    assert "the Dask worker that ran it has" in lost["message"]
    runner.check_no_engine_runs()


def test_only_workers_with_the_resources_are_used(own_cluster: DaskCluster, tmp_path: Path):
    own_cluster.add("plain", threads=4)
    own_cluster.add("ras", threads=4, resources="ras=3")
    worker = make_worker("dask", own_cluster.parameters(tmp_path / "worker", resources={"ras": 1.5}))
    assert worker.max_parallel_plans == 2
    with pytest.raises(OperatorError, match=r"no worker with resources"):
        make_worker("dask", own_cluster.parameters(tmp_path / "worker", resources={"ras": 4}))


@pytest.mark.usefixtures("short_patience")
def test_what_is_wrong_is_said_before_anything_runs(own_cluster: DaskCluster, tmp_path: Path):
    with pytest.raises(OperatorError, match="has no worker"):
        make_worker("dask", own_cluster.parameters(tmp_path))
    later = make_worker("dask", own_cluster.parameters(tmp_path, cores_total=3))
    assert later.max_parallel_plans == 3
    own_cluster.add("a")
    elsewhere = own_cluster.parameters(tmp_path, worker_folder="/nowhere")
    with pytest.raises(OperatorError, match="does not see"):
        make_worker("dask", elsewhere)
    with pytest.raises(OperatorError, match=r"has no /opt/none"):
        make_worker("dask", own_cluster.parameters(tmp_path, standin_command="/opt/none"))
    with pytest.raises(OperatorError, match="runs on Linux, and os is windows"):
        make_worker("dask", own_cluster.parameters(tmp_path, os="windows", worker_folder=r"Z:\x"))
    with pytest.raises(InputError, match=r"shared_folder.*it is empty"):
        make_worker("dask", {**own_cluster.parameters(tmp_path), "shared_folder": ""})
    with pytest.raises(InputError, match="tls_ca_file"):
        make_worker("dask", own_cluster.parameters(tmp_path, scheduler_address="tls://h:1"))
    own_cluster.stop()
    with pytest.raises(TransientError, match="does not answer"):
        make_worker("dask", own_cluster.parameters(tmp_path))


def test_no_time_limit_runs_while_a_plan_is_queued(own_cluster: DaskCluster, project: Project, tmp_path: Path):
    runner = runner_on(own_cluster, tmp_path, cores_total=1)
    controller = runner.start("execute", project.folder, "-i", runner.inventory, "--plans", "1", "--timeout", "0.05")
    wait_until(lambda: runner.tasks().get("01", {}).get("state") == "queued", "it is queued")
    (attempt,) = runner.attempts()
    wait_until(lambda: time.time() - attempt["launched"] > 3.0, "it would be late")
    own_cluster.add("late")
    assert controller.wait(60) == 0
    assert len(runner.attempts()) == 1


@pytest.mark.usefixtures("short_patience")
def test_tls(tmp_path: Path, project: Project):
    """Both sides show certificates; one that the scheduler's authority has not signed is refused."""
    ours, others = tmp_path / "ours", tmp_path / "others"
    files = certificates(ours)
    names = ("tls_ca_file", "tls_cert", "tls_key")
    options = [
        word
        for name, path in zip(("ca-file", "cert", "key"), files, strict=True)
        for word in (f"--tls-{name}", str(path))
    ]
    with running_cluster(tmp_path / "dask", tls=tuple(options)) as cluster:
        cluster.add("a")
        runner = runner_on(cluster, tmp_path, **dict(zip(names, map(str, files), strict=True)))
        (result,) = runner.execute(project.folder, "--plans", "1")
        assert result["success"], result
        strange = dict(zip(names, certificates(others), strict=True))
        with pytest.raises(OperatorError, match=r"refuses the connection: .*certificate"):
            make_worker("dask", cluster.parameters(tmp_path, **strange))


def test_the_scheduler_may_come_back(own_cluster: DaskCluster, project: Project, tmp_path: Path):
    """What ran is ended with its Dask worker, and computed again."""
    own_cluster.add("a")
    runner = runner_on(own_cluster, tmp_path)
    runner.environment["RAS_STANDIN_PACE"] = "0.01"
    controller = runner.start_running(1, project.folder, "--plans", "1")
    wait_until(runner.engines, "the engine runs")
    own_cluster.kill("a")
    own_cluster.stop()
    own_cluster.start()
    own_cluster.add("b")
    assert controller.wait(120) == 0
    assert {t["state"] for t in runner.tasks().values()} == {"completed"}
    assert len(runner.attempts()) == 2
    runner.check_no_engine_runs()


def test_the_doctor_says_what_is_wrong(dask_cluster: DaskCluster, tmp_path: Path):
    runner = runner_on(dask_cluster, tmp_path)
    missing = runner.json("doctor", "-i", runner.inventory, code=3)
    assert "is not there" in str(missing)
    (tmp_path / "worker").mkdir()
    said = runner.json("doctor", "-i", runner.inventory)
    assert "2 Dask workers have it" in str(said)
    assert "room for 2 plans at once now" in str(said)
    assert list((tmp_path / "worker").iterdir()) == []
