"""Plans in containers of a real Docker daemon, through the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import wait_until
from tests.docker.conftest import DockerRunner
from tests.docker.daemon import STANDIN, Daemon

from ras_runner.errors import OperatorError
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result
from ras_runner.transports.base import Probe, Upload
from ras_runner.transports.docker import container_name
from ras_runner.workers.base import this_owner


def test_plans_complete_and_leave_nothing(docker_runner: DockerRunner, project: Project):
    results = docker_runner.execute(project.folder, "--plans", "1,4,7")
    assert [r["outcome"] for r in results] == ["completed"] * 3
    assert all(r["worker_id"] == "box" and r["execution_time"] > 0 for r in results)
    for number in ("p01", "p04", "p07"):
        result = project.file(f"{number}.hdf")
        assert read_result(result).outcome.success
        assert result.stat().st_uid == project.prj.stat().st_uid
    assert docker_runner.daemon.containers() == []
    assert docker_runner.workspaces() == []


def test_plans_that_this_machine_prepares_are_solved_in_containers(
    docker_runner: DockerRunner, project: Project, tmp_path: Path
):
    docker_runner.write_inventory(preprocess_on_host=True)
    inventory = json.loads(docker_runner.inventory.read_text("utf-8"))
    here = {"ras_engine": "standin", "ras_cores_total": 1, "ras_cores_per_plan": 1}
    inventory["local"] = {"hosts": {"here": {**here, "ras_worker_folder": str(tmp_path / "here")}}}
    docker_runner.inventory.write_text(json.dumps(inventory), encoding="utf-8")
    results = docker_runner.execute(project.folder, "--plans", "1,7")
    assert [(r["success"], r["worker_id"], r["attempts"]) for r in results] == [(True, "box", 2)] * 2
    assert docker_runner.daemon.containers() == []


def test_a_container_can_do_little(docker_runner: DockerRunner, project: Project):
    docker_runner.environment["RAS_STANDIN_FAULT"] = "hang"
    docker_runner.slots = 4
    docker_runner.write_inventory(memory_per_plan="700m")
    docker_runner.start_running(1, project.folder, "--plans", "1", "--num-cores", "2")
    row = docker_runner.attempts()[0]
    client = docker_runner.daemon.client
    found = client.inspect_container(container_name(row["id"]))
    host = found["HostConfig"]
    assert row["native_id"] == found["Id"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"] and host["Init"]
    assert host["NanoCpus"] == 2_000_000_000
    assert host["Memory"] == host["MemorySwap"] == 700 << 20
    assert host["PidsLimit"] > 0
    assert found["Config"]["User"] == "1000:1000"
    labels = {k: v for k, v in found["Config"]["Labels"].items() if k.startswith("ras-runner.") and "engine" not in k}
    assert labels == {
        "ras-runner.attempt": row["id"],
        "ras-runner.campaign": row["campaign"],
        "ras-runner.owner": this_owner(),
        "ras-runner.folder": row["folder"],
    }
    assert _in_container(client, found["Id"], "id -u") == "1000"
    assert _in_container(client, found["Id"], "grep CapEff /proc/self/status").split()[-1] == "0" * 16
    assert "Read-only" in _in_container(client, found["Id"], "touch /usr/x; true")
    assert _in_container(client, found["Id"], "ls /sys/class/net") == "lo"
    assert _in_container(client, found["Id"], "ulimit -s") == "unlimited"
    assert "store" not in _in_container(client, found["Id"], f"ls {docker_runner.worker_folder}")
    docker_runner.run("cancel")


def _in_container(client, container: str, command: str) -> str:
    started = client.exec_create(container, ["/bin/sh", "-c", command])
    return client.exec_start(started["Id"]).decode().strip()


def test_failures_say_why_and_leave_no_container(docker_runner: DockerRunner, project: Project):
    docker_runner.environment["RAS_STANDIN_FAULT"] = "p01=crash,p02=hang,p03=unstable"
    results = docker_runner.execute(project.folder, "--plans", "1,2,3", "--timeout", "0.1", code=1)
    assert [r["outcome"] for r in results] == ["engine-error", "timed-out", "unstable"]
    assert "157" in results[0]["error_message"]
    assert docker_runner.daemon.containers() == []


def test_out_of_memory_is_told(docker_runner: DockerRunner, project: Project):
    docker_runner.write_inventory(memory_per_plan="24m")  # Python with numpy needs more
    (result,) = docker_runner.execute(project.folder, "--plans", "1", code=1)
    assert result["outcome"] == "engine-error"
    assert "out of memory" in result["error_message"]
    assert "limit of 24 MiB" in result["error_message"]
    assert "memory_per_plan" in result["error_message"]
    assert docker_runner.daemon.containers() == []


def test_cancel_kills_the_container(docker_runner: DockerRunner, project: Project):
    docker_runner.environment["RAS_STANDIN_FAULT"] = "hang"
    controller = docker_runner.start_running(2, project.folder, "--plans", "1,2")
    assert len(docker_runner.daemon.containers()) == 2
    docker_runner.run("cancel")
    assert controller.wait(timeout=60) == 1
    assert {r["outcome"] for r in docker_runner.json("results")} == {"cancelled"}
    assert docker_runner.daemon.containers() == []
    assert docker_runner.workspaces() == []


def test_a_killed_controller_attaches(docker_runner: DockerRunner, project: Project):
    docker_runner.environment["RAS_STANDIN_PACE"] = "0.01"
    docker_runner.leave_running(2, project.folder, "--plans", "1,2,3")
    ids = {row["Id"] for row in docker_runner.daemon.containers()}
    done = docker_runner.run("resume")
    assert "attached" in done.stderr
    rows = docker_runner.attempts()
    assert sorted(row["plan"] for row in rows) == ["01", "02", "03"]
    assert ids <= {row["native_id"] for row in rows}
    assert {row["outcome"] for row in rows} == {"completed"}
    assert docker_runner.daemon.containers() == []


def test_containers_that_ended_without_a_controller_are_collected(docker_runner: DockerRunner, project: Project):
    docker_runner.environment["RAS_STANDIN_PACE"] = "0.005"
    docker_runner.leave_running(2, project.folder, "--plans", "1,2")
    wait_until(lambda: {row["State"] for row in docker_runner.daemon.containers()} == {"exited"}, "they end")
    docker_runner.run("resume")
    assert {row["outcome"] for row in docker_runner.attempts()} == {"completed"}
    assert docker_runner.daemon.containers() == []


def test_a_container_removed_from_outside_runs_again(docker_runner: DockerRunner, project: Project):
    docker_runner.environment["RAS_STANDIN_FAULT"] = "hang"
    docker_runner.leave_running(1, project.folder, "--plans", "1")
    docker_runner.daemon.end_all()
    del docker_runner.environment["RAS_STANDIN_FAULT"]
    done = docker_runner.run("resume")
    assert "its container is gone" in done.stderr
    (result,) = docker_runner.json("results")
    assert result["success"] and result["attempts"] == 2


def test_a_container_killed_from_outside_runs_again(docker_runner: DockerRunner, project: Project):
    docker_runner.environment["RAS_STANDIN_FAULT"] = "hang"
    docker_runner.leave_running(1, project.folder, "--plans", "1")
    (row,) = docker_runner.daemon.containers()
    docker_runner.daemon.client.kill(row["Id"])
    del docker_runner.environment["RAS_STANDIN_FAULT"]
    done = docker_runner.run("resume")
    assert "its container ended with exit code 137" in done.stderr
    assert docker_runner.json("results")[0]["attempts"] == 2
    assert docker_runner.daemon.containers() == []


def test_a_daemon_that_restarts_in_mid_run(docker_runner: DockerRunner, project: Project):
    docker_runner.environment["RAS_STANDIN_FAULT"] = "hang"
    docker_runner.leave_running(1, project.folder, "--plans", "1")
    del docker_runner.environment["RAS_STANDIN_FAULT"]
    docker_runner.environment["RAS_STANDIN_PACE"] = "0.01"
    controller = docker_runner.start("resume")
    wait_until(lambda: "attached" in (docker_runner.folder / "started.log").read_text(), "the controller attaches")
    docker_runner.daemon.stop()
    docker_runner.daemon.start()
    assert controller.wait(timeout=90) == 0
    (result,) = docker_runner.json("results")
    assert result["success"] and result["attempts"] == 2
    assert docker_runner.daemon.containers() == []


def test_hostile_names(docker_runner: DockerRunner, project: Project, tmp_path: Path):
    folder = tmp_path / 'it\'s $(a) "río", x:y;z'
    shutil.move(project.folder, folder)
    docker_runner.worker_folder = tmp_path / "wörk, er:$HOME'"
    docker_runner.write_inventory()
    (result,) = docker_runner.execute(folder, "--plans", "1")
    assert result["outcome"] == "completed"
    assert docker_runner.daemon.containers() == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"docker_image": "nope:1"}, "ras-runner image build --standin -t nope:1"),
        ({"docker_image": "../x"}, "docker_image"),
        ({"docker_host": "tcp://box:2375"}, "give unix:///path/of/docker.sock or ssh://user@host:port"),
        ({"docker_host": "ssh://box"}, "give unix:///path/of/docker.sock or ssh://user@host:port"),
        ({"docker_host": "ssh://me@box:99999"}, "is not user@host:port"),
        ({"docker_host": "ssh://me@box?key=x"}, "give unix:///path/of/docker.sock or ssh://user@host:port"),
        ({"docker_host": "ssh://me:secret@box"}, "there is a password in it"),
        ({"ssh_key_path": "/x"}, "ssh_key_path cannot be given with a daemon on this machine"),
        ({"docker_host": "unix:///nowhere/docker.sock"}, "sudo systemctl start docker"),
        ({"memory_per_plan": "much"}, "memory_per_plan"),
        ({"engine": "hecras-windows"}, "hecras-linux"),
        ({"engine": "hecras-linux"}, "holds the engine standin, not hecras-linux"),
        ({"worker_folder": "/root/ras"}, "below /root"),
        ({"worker_folder": "/proc/ras"}, "the worker folder /proc/ras cannot be made"),
        ({"cpus": 3}, "unknown parameter 'cpus'"),
    ],
)
def test_wrong_settings(docker_runner: DockerRunner, project: Project, parameters: dict, said: str):
    docker_runner.write_inventory(**parameters)
    done = docker_runner.run("execute", project.folder, "-i", docker_runner.inventory, code=None)
    assert done.returncode in (2, 3)
    assert said in done.stderr
    assert "secret" not in done.stderr


def test_a_user_who_may_not_use_the_socket(docker_daemon: Daemon):
    code = (
        "import os; from ras_runner.transports.docker_api import connect; os.setgid(12345); os.setuid(12345)\n"
        f"connect({docker_daemon.host.removeprefix('unix://')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert "usermod -aG docker" in done.stderr


def test_a_launch_whose_answer_was_lost_is_not_repeated(docker_daemon: Daemon, tmp_path: Path):
    worker = docker_daemon.make_worker(tmp_path)
    transport, folder = worker.transport, worker.attempt_folder("twice")
    transport.put([Upload(b"#!/bin/sh\nmkdir claim && sleep 1000\n", folder / "run.sh")])
    first = transport.launch("twice", folder, "run.sh", cores=1)
    assert transport.launch("twice", folder, "run.sh", cores=1) == first
    assert transport.poll([Probe("twice", folder, "")])["twice"].alive
    transport.remove(folder)
    assert docker_daemon.containers() == []
    assert not Path(folder).exists()


def test_an_image_that_has_gone_since(docker_daemon: Daemon, tmp_path: Path):
    docker_daemon.client.tag(STANDIN, "ras-going")
    worker = docker_daemon.make_worker(tmp_path, docker_image="ras-going")
    docker_daemon.client.remove_image("ras-going")
    folder = worker.attempt_folder("a")
    worker.transport.put([Upload(b"", folder / "run.sh")])
    with pytest.raises(OperatorError, match="image build --standin -t ras-going"):
        worker.transport.launch("a", folder, "run.sh", cores=1)


def test_memory_follows_the_cores(docker_daemon: Daemon, tmp_path: Path):
    settings = docker_daemon.make_worker(tmp_path, cores_total=8).transport.settings
    total = docker_daemon.client.info()["MemTotal"]
    assert settings.memory_limit(2) == pytest.approx(total / 4, abs=1)
    assert settings.memory_limit(99) == total
    assert settings.user == "1000:1000"
