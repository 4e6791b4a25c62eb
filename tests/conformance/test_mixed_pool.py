"""One campaign over local, docker and ssh workers, and a broken one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.commands import Runner
from tests.conformance.test_worker_types import docker_variables, ssh_variables
from tests.services import needs_mounts

from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project


@pytest.mark.disk
@pytest.mark.docker
@pytest.mark.ssh
def test_twenty_plans_finish_on_the_others_when_one_host_is_broken(request: pytest.FixtureRequest, tmp_path: Path):
    needs_mounts()
    project = Project.open(write_example_project(tmp_path / "project", plans=20))
    runner = Runner(tmp_path)
    full = tmp_path / "full"
    full.mkdir()
    standin = {"ras_engine": "standin", "ras_cores_total": 1, "ras_cores_per_plan": 1}
    groups = {
        "local": {
            "broken": {**standin, "ras_worker_folder": str(full), "ras_cores_total": 2},
            "here": {**standin, "ras_worker_folder": str(tmp_path / "here"), "ras_queue_priority": 1},
        },
        "docker_workers": {"box": {**docker_variables(request, tmp_path / "box"), "ras_queue_priority": 1}},
        "ssh_workers": {"there": {**ssh_variables(request, tmp_path / "there"), "ras_queue_priority": 1}},
    }
    inventory = {group: {"hosts": hosts} for group, hosts in groups.items()}
    runner.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(full)], check=True)
    try:
        results = runner.execute(project.folder)
    finally:
        subprocess.run(["umount", "--lazy", str(full)], check=True)
    assert len(results) == 20
    assert all(r["success"] for r in results), [r["error_message"] for r in results if not r["success"]]
    used = {r["worker_id"] for r in results}
    assert used == {"here", "box", "there"}
