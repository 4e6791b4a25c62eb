"""An image is built, saved, and pinned by its digest; a Docker worker on this machine computes with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.ansible.linux.archive import sha256
from tests.ansible.linux.conftest import Lab
from tests.ansible.linux.test_linux_worker import changed
from tests.docker.daemon import BASE, Daemon

from ras_runner.hecras.project import Project


@pytest.fixture
def docker_lab(lab: Lab, docker_daemon: Daemon) -> Iterator[Lab]:
    """A Docker worker on this machine, whose daemon is that of the tests."""
    lab.add(
        "docker_workers",
        "box",
        ras_engine="standin",
        ras_docker_host=docker_daemon.host,
        ras_docker_image="ras-standin-ansible",
        ras_worker_folder=str(lab.worker_folder),
        ras_cores_per_plan=1,
        hecras_image_base=BASE,
    )
    yield lab
    docker_daemon.end_all()


def not_in_var(lab: Lab) -> tuple[str, str]:
    """The role is to keep its record in the test's folder, as this is no throw-away machine."""
    return "-e", f"hecras_image_record={lab.folder}/kept/original/hecras_image.json"


def test_update_brings_an_image_and_pins_it(docker_lab: Lab, docker_daemon: Daemon, project: Project):
    lab = docker_lab
    assert changed(lab.play("playbooks/update_hecras.yml", *not_in_var(lab)), "box") > 0
    assert changed(lab.play("playbooks/update_hecras.yml", *not_in_var(lab)), "box") == 0
    (worker,) = lab.workers()["workers"]
    image = docker_daemon.client.inspect_image("ras-standin-ansible")["Id"]
    assert worker["parameters"]["docker_image"] == image
    lab.inventory = lab.workers_file
    (result,) = lab.execute(project.folder, "--plans", "1")
    assert (result["worker_id"], result["outcome"]) == ("box", "completed")


def test_an_image_is_saved_with_its_checksum(docker_lab: Lab):
    lab, saved = docker_lab, docker_lab.folder / "image.tar"
    given = {**lab.groups["docker_workers"]["box"], "hecras_image_tag": "ras-standin-ansible", "ras_engine": "standin"}
    extra = [word for name, value in given.items() if "ansible_" not in name for word in ("-e", f"{name}={value}")]
    output = lab.play("playbooks/build_image.yml", *extra, *not_in_var(lab), "-e", f"build_image_file={saved}")
    assert f"hecras_image_sha256: {sha256(saved)}" in output
    assert re.search(r"ras-standin-ansible is sha256:[0-9a-f]{64}", output)
