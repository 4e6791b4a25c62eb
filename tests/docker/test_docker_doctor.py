"""``ras-runner doctor`` on Docker daemons, on this machine and behind SSH."""

from typing import Any

import pytest
from tests.docker.conftest import DockerRunner


def found(runner: DockerRunner, code: int) -> dict[str, dict[str, Any]]:
    (host,) = runner.json("doctor", "-i", runner.inventory, "--json", code=code)
    return {check["requirement"]: check for check in host["checks"]}


@pytest.mark.parametrize("way", ["docker_runner", "remote_runner"])
def test_a_daemon_that_is_well_and_an_image_that_is_not_there(way: str, request: pytest.FixtureRequest):
    runner: DockerRunner = request.getfixturevalue(way)
    well = found(runner, 0)
    assert {check["verdict"] for check in well.values()} <= {"ok", "warning"}
    assert "stand-in" in well["docker-image"]["evidence"]
    runner.write_inventory(docker_image="no-such-image:1")
    missing = found(runner, 3)
    assert [name for name, check in missing.items() if check["verdict"] == "failed"] == ["docker-image"]
    assert "ras-runner image build" in missing["docker-image"]["remedy"]
    assert missing["docker-image"]["role"] == "hecras_image"


def test_a_daemon_that_is_not_there(docker_runner: DockerRunner):
    docker_runner.write_inventory(docker_host="unix:///nowhere/docker.sock")
    checks = found(docker_runner, 3)
    assert checks["docker-engine"]["verdict"] == "failed"
    assert "systemctl start docker" in checks["docker-engine"]["remedy"]
    assert checks["docker-image"]["verdict"] == "not checked"
