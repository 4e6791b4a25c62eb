"""A fresh Debian becomes a worker, computes, and is put back."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.ansible.linux.archive import hecras_archive
from tests.ansible.linux.conftest import Lab
from tests.ansible.linux.machine import Machine

from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result


def changed(output: str, host: str) -> int:
    """Tasks that changed something, from the recap."""
    match = re.search(rf"^{host} .*changed=(\d+)", output, re.MULTILINE)
    assert match, output
    return int(match[1])


def test_from_a_fresh_machine_to_results_and_back(lab: Lab, machine: Machine, project: Project):
    before = machine.changes()
    archive = lab.folder / "HEC-RAS_660_Linux.zip"
    digest = hecras_archive(archive)
    hecras = {"hecras_linux_archive": str(archive), "hecras_linux_sha256": digest, "ras_version": "6.6"}
    lab.add("ssh_workers", "node1", machine, linux_worker_min_free_gb=1, **hecras)

    assert changed(lab.play("setup-worker.yml", "--check"), "node1") > 0
    assert machine.changes() == before
    assert not lab.workers_file.exists()
    assert changed(lab.play("setup-worker.yml"), "node1") > 0
    assert {"etc/passwd", "opt/hecras", "var/lib/ras-runner/worker"} <= machine.changes() - before
    assert changed(lab.play("playbooks/setup_worker.yml"), "node1") == 0

    verified = lab.play("playbooks/verify_worker.yml")
    assert changed(verified, "node1") == 0
    assert set(re.findall(r"- '?([a-z-]+): met", verified)) == {
        *("linux-tools", "linux-user", "linux-folder", "linux-disk", "linux-limits", "hecras-linux"),
    }
    (worker,) = lab.workers()["workers"]
    assert worker["type"] == "ssh"
    assert worker["parameters"]["username"] == "ras"
    assert worker["parameters"]["cores_total"] == worker["found"]["cores"] >= 1
    assert worker["found"]["hecras"] == {"6.6": "/opt/hecras/6.6"}
    assert "Debian" in worker["found"]["system"]

    prepare = [sys.executable, "-m", "ras_standin", "prepare", project.prj.name, f"{project.name}.p01"]
    subprocess.run(prepare, cwd=project.folder, check=True, capture_output=True)
    lab.inventory, inventory = lab.workers_file, lab.inventory
    (result,) = lab.execute(project.folder, "--plans", "1")
    assert (result["worker_id"], result["engine"]) == ("node1", "HEC-RAS 6.6 Linux")
    assert read_result(project.file("p01.hdf")).outcome.success

    lab.inventory = inventory
    assert changed(lab.play("playbooks/teardown_worker.yml"), "node1") > 0
    assert machine.changes() == before
    assert lab.workers() == {"schema_version": 1, "workers": [], "left_out": []}


def test_a_machine_on_which_plans_run_is_not_torn_down(lab: Lab, machine: Machine):
    lab.add("ssh_workers", "busy", machine, ras_engine="standin")
    machine.run("RAS_RUNNER_ATTEMPT=a1 setsid -f sleep 1000 </dev/null >/dev/null 2>&1")
    output = lab.play("playbooks/teardown_worker.yml", code=2)
    assert "plans still run on the machine (1 processes)" in output
    assert "ras-runner cancel" in output
