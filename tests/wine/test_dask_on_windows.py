"""A Dask worker on Windows, beside one on Linux, in one cluster and one campaign."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.commands import Runner, wait_until
from tests.dask.cluster import QUIET, DaskUnavailable, running_cluster
from tests.services import not_here
from tests.wine.test_runner_on_windows import Runner as WindowsRunner
from tests.wine.wine import PYTHON, Windows

from ras_runner.hecras.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dask.cluster import DaskCluster


@pytest.fixture
def cluster(windows: Windows, tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler and a Linux worker here, and a worker on the Windows machine; each has a resource of its own."""
    try:
        with running_cluster(tmp_path / "dask") as made:
            made.add("linux", resources="linux=1")
            folder = windows.path(tmp_path / "dask-windows")
            options = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--no-dashboard"]
            options += ["--resources", "windows=1", "--local-directory", folder]
            with (tmp_path / "windows-worker.log").open("w+b") as log:
                windows.popen(
                    [PYTHON, "-m", "distributed.cli.dask_worker", made.address, *options],
                    env=QUIET,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                wait_until(lambda: b"Registered to" in Path(log.name).read_bytes(), "the Windows worker has joined")
                yield made
    except DaskUnavailable as reason:
        not_here(reason)


@pytest.mark.dask
def test_plans_run_on_both_systems_and_are_stopped_there(
    cluster: DaskCluster, windows: Windows, project: Project, tmp_path: Path
):
    shared = tmp_path / "worker"
    linux = cluster.parameters(shared, resources={"linux": 1})
    there = {"os": "windows", "worker_folder": windows.path(shared), "standin_command": f"{PYTHON} -m ras_standin"}
    on_windows = cluster.parameters(shared, resources={"windows": 1}, **there)
    hosts = {
        name: {f"ras_{key}": value for key, value in parameters.items()}
        for name, parameters in (("linux", linux), ("windows", on_windows))
    }
    runner = Runner(tmp_path)
    runner.inventory.write_text(json.dumps({"dask_workers": {"hosts": hosts}}), encoding="utf-8")
    results = runner.execute(project.folder, "--plans", "1,2")
    assert all(r["success"] for r in results), results
    assert {r["worker_id"] for r in results} == {"linux", "windows"}
    runner.environment["RAS_STANDIN_FAULT"] = "hang:0.1"
    late = runner.execute(project.folder, "--plans", "5,6", "--timeout", "0.15", code=1)
    assert {(r["worker_id"], r["outcome"]) for r in late} == {("linux", "timed-out"), ("windows", "timed-out")}
    runner.check_no_engine_runs()
    assert WindowsRunner(windows).engines() == []
