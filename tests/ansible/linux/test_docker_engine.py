"""The roles of Docker workers on a throw-away copy of this machine, whose Docker they configure and start for real."""

from __future__ import annotations

import json
import re

from tests.ansible.linux.archive import image_archive
from tests.ansible.linux.conftest import Lab
from tests.ansible.linux.machine import Machine
from tests.ansible.linux.test_linux_worker import changed

#: Settings of the machine's owner: they are to stay, and they keep this Docker off the network.
OWNERS = '{"bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false}'


def test_docker_is_configured_and_put_back(lab: Lab, this_machine: Machine):
    machine = this_machine
    machine.run("useradd modeller && sed -i 's/ulimit -. .*/:/' /etc/init.d/docker")  # no right to raise it here
    machine.run(f"mkdir -p /etc/docker && echo '{OWNERS}' >/etc/docker/daemon.json")
    machine.run("""echo '{"userns-remap": "default"}' >/etc/docker/remapped.json""")
    machine.run("""echo '{"hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2375"]}' >/etc/docker/open.json""")
    before, settings = _changes(machine), machine.run("cat /etc/docker/daemon.json")
    saved = lab.folder / "image.tar"
    digest = image_archive(
        saved, "hecras:6.6", {"ras-runner.engine": "hecras-linux", "ras-runner.engine-version": "6.6"}
    )
    box = {
        "ras_docker_host": "unix:///var/run/docker.sock",
        "ras_docker_image": "hecras:6.6",
        "hecras_image_tar": str(saved),
        "hecras_image_sha256": digest,
        "docker_engine_users": ["modeller"],
    }
    for name in ("remapped", "open"):
        lab.add("docker_workers", name, machine, **box, docker_engine_config_file=f"/etc/docker/{name}.json")
    lab.add("docker_workers", "box", machine, **box)

    assert changed(lab.play("setup-worker.yml", code=2), "box") > 0
    reasons = {row["name"]: row["reason"] for row in lab.workers()["left_out"]}
    assert "maps user ids" in reasons["remapped"] and "remove userns-remap" in reasons["remapped"]
    assert "tcp://0.0.0.0:2375 without TLS" in reasons["open"]
    now = json.loads(machine.run("cat /etc/docker/daemon.json"))
    assert now.items() >= {**json.loads(OWNERS), "live-restore": True}.items()
    assert now["log-opts"] == {"max-file": "3", "max-size": "10m"}
    assert machine.run("docker info -f '{{.LiveRestoreEnabled}} {{.LoggingDriver}}'").split() == ["true", "json-file"]
    assert "modeller" in machine.run("getent group docker")
    (worker,) = lab.workers()["workers"]
    (image,) = worker["found"]["docker"]["images"]
    assert image["tags"] == ["hecras:6.6"]
    assert worker["parameters"]["docker_image"] == image["id"]
    assert re.fullmatch("sha256:[0-9a-f]{64}", image["id"])

    for name in ("remapped", "open"):
        del lab.groups["docker_workers"][name]
    lab.add("docker_workers", "box", machine, **box)
    assert changed(lab.play("setup-worker.yml"), "box") == 1  # the workers file, which loses two hosts
    verified = lab.play("playbooks/verify_worker.yml")
    assert verified.count(": met") == 5

    assert changed(lab.play("playbooks/teardown_worker.yml"), "box") > 0
    assert machine.run("cat /etc/docker/daemon.json") == settings
    assert "modeller" not in machine.run("getent group docker")
    assert machine.run("docker image ls -q").split() == []
    assert _changes(machine) == before


def _changes(machine: Machine) -> set[str]:
    """Without what Docker itself keeps."""
    return {name for name in machine.changes() if not name.startswith(("var/lib/docker", "etc/docker/key.json"))}
