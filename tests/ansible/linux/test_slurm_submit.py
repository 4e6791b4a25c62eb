"""The role slurm_submit against a real slurmctld on one throw-away copy of this machine, from another."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ansible.linux.conftest import Lab, copy_of_this_machine
from tests.ansible.linux.machine import Machine
from tests.ansible.linux.test_linux_worker import changed
from tests.commands import wait_until
from tests.services import not_here
from tests.ssh.sshd import free_port

_CONF = """ClusterName=test
SlurmctldHost=worker-under-test(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=/tmp/slurm
SlurmctldPidFile=/run/slurmctld.pid
SlurmctldLogFile=/tmp/slurmctld.log
ProctrackType=proctrack/linuxproc
NodeName=node1 NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=rivers Nodes=node1 Default=YES State=UP
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    """A folder with the cluster's ``slurm.conf`` and ``munge.key``."""
    if not (Path("/usr/sbin/slurmctld").exists() and Path("/usr/bin/sinfo").exists()):
        not_here("Slurm is not installed (tests/install-services.sh slurm)")
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "slurm.conf").write_text(_CONF.format(port=free_port()), encoding="utf-8")
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    with copy_of_this_machine(tmp_path / "controller") as controller:
        for name, path in (("slurm.conf", "/etc/slurm/slurm.conf"), ("munge.key", "/etc/munge/munge.key")):
            controller.write(path, (folder / name).read_bytes())
        controller.run("chown munge /etc/munge/munge.key && chmod 400 /etc/munge/munge.key && mkdir /tmp/slurm")
        controller.run("service munge start >/dev/null 2>&1 && slurmctld -c")
        wait_until(lambda: "rivers" in controller.run("sinfo -h -o %P", code=None), "the cluster answers", 30)
        yield folder


def test_a_submit_host_talks_to_the_cluster_and_is_put_back(lab: Lab, this_machine: Machine, cluster: Path):
    machine = this_machine
    before = _changes(machine)
    wrong = cluster / "wrong.key"
    wrong.write_bytes(secrets.token_bytes(1024))
    given = {"slurm_submit_config": str(cluster / "slurm.conf"), "slurm_submit_munge_key": str(wrong)}
    own = {"ras_engine": "standin", "ras_partition": "rivers"}
    lab.add("slurm_workers", "submit", machine, **own, **given)
    lab.play("setup-worker.yml", code=2)
    (left_out,) = lab.workers()["left_out"]
    assert "sinfo says" in left_out["reason"] and "slurm_submit_munge_key" in left_out["reason"]

    lab.add("slurm_workers", "submit", machine, **own, **given | {"slurm_submit_munge_key": str(cluster / "munge.key")})
    assert changed(lab.play("setup-worker.yml"), "submit") > 0
    assert "rivers" in machine.run("sinfo -h -o %P")
    (worker,) = lab.workers()["workers"]
    assert (worker["type"], worker["parameters"]["partition"]) == ("slurm", "rivers")
    assert not {"worker_folder", "cores_total"} & worker["parameters"].keys()  # not the submit host's
    assert "slurm-commands: met (partitions: rivers*)" in " ".join(lab.play("playbooks/verify_worker.yml").split())
    assert changed(lab.play("playbooks/teardown_worker.yml"), "submit") > 0
    assert _changes(machine) == before


def _changes(machine: Machine) -> set[str]:
    """Without what munge itself keeps."""
    return {name for name in machine.changes() if not name.startswith("var/lib/munge")}
