"""A Dask worker on Windows, beside one on Linux, in one cluster and one campaign."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.ansible.rendered import ROLES, rendered
from tests.commands import Runner, wait_until
from tests.dask.cluster import QUIET, DaskUnavailable, certificates, running_cluster
from tests.services import not_here
from tests.wine.test_runner_on_windows import Runner as WindowsRunner
from tests.wine.wine import PYTHON, Windows

from ras_runner.hecras.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.dask.cluster import DaskCluster


#: The Ansible role that puts a Dask worker on a Windows machine.
ROLE = "windows_dask_worker"


@pytest.fixture
def cluster(windows: Windows, tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler and a Linux worker here, and a worker on the Windows machine; each has a resource of its own."""
    pems = certificates(tmp_path / "pem")
    options = [
        word for name, path in zip(("ca-file", "cert", "key"), pems, strict=True) for word in (f"--tls-{name}", path)
    ]
    try:
        with running_cluster(tmp_path / "dask", tls=tuple(map(str, options))) as made:
            made.add("linux", resources="linux=1")
            log = _start_as_the_role_does(windows, tmp_path / "dask-windows", made, pems)
            wait_until(lambda: log.exists() and b"Registered to" in log.read_bytes(), "the Windows worker has joined")
            yield made
    except DaskUnavailable as reason:
        not_here(reason)


def _start_as_the_role_does(windows: Windows, folder: Path, cluster: DaskCluster, pems: tuple[Path, ...]) -> Path:
    """The folder that the Ansible role makes, and its start file by pythonw.exe, which has no console; its log."""
    given = {
        "windows_dask_worker_scheduler": cluster.address,
        "windows_dask_worker_name": "windows-pc",
        "windows_dask_worker_cores": 1,
        "windows_dask_worker_port": 0,
        "windows_dask_worker_folder": windows.path(folder),
    }
    for name in ("config", "tls", "work"):
        folder.joinpath(name).mkdir(parents=True)
    for name, path in zip(("ca.pem", "cert.pem", "key.pem"), pems, strict=True):
        shutil.copy(path, folder / "tls" / name)
    shutil.copy(ROLES / ROLE / "files" / "start.py", folder)
    for name, variable in (("worker.json", "settings"), (r"config/dask.yaml", "config")):
        content = rendered(ROLE, f"__windows_dask_worker_{variable}", **given)
        folder.joinpath(name).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    windows.popen([PYTHON.replace("python.exe", "pythonw.exe"), folder / "start.py"], env=QUIET)
    return folder / "work" / "worker.log"


@pytest.mark.dask
def test_plans_run_on_both_systems_and_are_stopped_there(
    cluster: DaskCluster, windows: Windows, project: Project, tmp_path: Path
):
    shared = tmp_path / "worker"
    tls = dict(zip(("tls_ca_file", "tls_cert", "tls_key"), cluster.tls[1::2], strict=True))
    linux = cluster.parameters(shared, resources={"linux": 1}, **tls)
    there = {"os": "windows", "worker_folder": windows.path(shared), "standin_command": f"{PYTHON} -m ras_standin"}
    on_windows = cluster.parameters(shared, resources={"ras": 1}, **there, **tls)
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
