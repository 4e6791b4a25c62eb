"""inventory/aws_ec2.yml with the real plugin against moto, and the playbook on a machine that it lists."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from tests.ansible.linux.conftest import Lab
from tests.ansible.linux.machine import REPO, Machine
from tests.ansible.linux.test_docker_engine import OWNERS

OURS = {"ras-runner:managed-by": "ras-runner", "ras-runner:campaign": "c-1", "ras-runner:docker-image": "hecras:6.6"}
#: Two images that moto has from the start; the second one is Windows.
LINUX, WINDOWS = "ami-1e749f67", "ami-56ec3e2f"


@dataclass
class Account:
    """A cloud with machines in one region.

    Attributes:
        url: where it answers.
    """

    url: str

    def start(self, image: str, tags: dict[str, str], **how: Any) -> dict[str, Any]:
        """A machine, as EC2 describes it."""
        ec2 = boto3.client("ec2", region_name="eu-central-1", endpoint_url=self.url)
        spec = [{"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}]
        made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=spec, **how)["Instances"][0]
        found = ec2.describe_instances(InstanceIds=[made["InstanceId"]])["Reservations"][0]["Instances"][0]
        if found["State"]["Name"] == "running" and tags.get("gone"):
            ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
        return found


@pytest.fixture
def account(windows_collections: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A cloud that boto3 and Ansible talk to."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "eu-central-1",
        "ANSIBLE_COLLECTIONS_PATH": str(windows_collections),
        "no_proxy": "127.0.0.1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    yield Account(settings["AWS_ENDPOINT_URL"])
    server.stop()


def test_machines_of_ours_are_listed_and_set_up(account: Account, lab: Lab, this_machine: Machine) -> None:
    linux, windows = account.start(LINUX, OURS), account.start(WINDOWS, OURS)
    account.start(LINUX, OURS | {"gone": "yes"})
    account.start(LINUX, {"team": "hydrology"})
    lab.inventory = lab.inventory.with_name("aws_ec2.yml")  # the workers file is written beside it
    shutil.copy(REPO / "inventory" / "aws_ec2.yml", lab.inventory)

    listed = _listed(lab.inventory)

    hosts = listed["_meta"]["hostvars"]
    assert set(hosts) == {linux["InstanceId"], windows["InstanceId"]}
    assert listed["docker_workers"]["hosts"] == [linux["InstanceId"]]
    assert listed["windows_workers"]["hosts"] == [windows["InstanceId"]]
    assert set(listed["campaign_c_1"]["hosts"]) == set(hosts)
    assert _ours(hosts[linux["InstanceId"]]) == {
        "ansible_host": linux["PublicIpAddress"],
        "ansible_user": "ras",
        "ansible_connection": "ssh",
        "ansible_port": 22,
        "docker_engine_package": "docker",
        "hecras_image_docker_host": "",
        "worker_report_docker_host": "",
        "docker_engine_users": ["ras"],
        "ras_docker_host": f"ssh://ras@{linux['PublicIpAddress']}",
        "ras_docker_image": "hecras:6.6",
        "ras_worker_folder": "/var/lib/ras-runner/worker",
    }
    assert _ours(hosts[windows["InstanceId"]]) == {
        "ansible_host": windows["PublicIpAddress"],
        "ansible_user": "Administrator",
        "ansible_connection": "winrm",
        "ansible_port": 5986,
        "ansible_winrm_transport": "ntlm",
        "ras_worker_type": "winrm",
    }

    # the machine is played by a copy of this one; its user data would have made the user, and installed Docker
    this_machine.run("useradd ras && sed -i 's/ulimit -. .*/:/' /etc/init.d/docker")
    this_machine.run(f"mkdir -p /etc/docker && echo '{OWNERS}' >/etc/docker/daemon.json")
    played = lab.folder / "played.json"
    played.write_text(json.dumps(this_machine.variables), encoding="utf-8")
    lab.play("setup-worker.yml", "-l", "docker_workers", "-e", f"@{played}")
    [worker] = lab.workers()["workers"]
    assert (worker["name"], worker["type"]) == (linux["InstanceId"], "docker")
    assert worker["parameters"]["docker_host"] == f"ssh://ras@{linux['PublicIpAddress']}"
    assert worker["parameters"]["docker_image"] == "hecras:6.6"
    assert worker["found"]["docker"]
    assert "ras" in this_machine.run("getent group docker")


def _listed(inventory: Path) -> dict[str, Any]:
    command = [REPO / ".venv/bin/ansible-inventory", "-i", inventory, "--list"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Failed to parse" not in done.stderr, done.stderr
    return dict(json.loads(done.stdout))


def _ours(variables: dict[str, Any]) -> dict[str, Any]:
    """What the inventory adds to what EC2 says of a machine, without Ansible's marks."""
    found = {name: value for name, value in variables.items() if not name.startswith("ec2_")}
    return json.loads(json.dumps(found), object_hook=lambda item: item.get("__ansible_unsafe", item))
