"""A Docker daemon behind SSH: a private dockerd and a private sshd on this machine, nothing shared but the way."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.commands import wait_until
from tests.docker.conftest import DockerRunner
from tests.docker.daemon import BASE, STANDIN, Daemon
from tests.services import not_here
from tests.ssh.sshd import Sshd, running_sshd
from tests.ssh.test_ssh_network import Lab, lab, wait_until_found

from ras_runner.errors import InputError, OperatorError, RasRunnerError, TransientError, WorkerError
from ras_runner.hecras.project import Project
from ras_runner.transports import ssh_connection, ssh_login
from ras_runner.transports.base import Probe, Upload
from ras_runner.transports.docker import container_name
from ras_runner.workers.registry import make_worker

__all__ = ["lab"]
pytestmark = pytest.mark.ssh

USER = "ras-test"


def refused(kind: type[RasRunnerError], worker_type: str, parameters: dict[str, Any]) -> str:
    with pytest.raises(kind) as caught:
        make_worker(worker_type, parameters)
    assert type(caught.value) is kind
    return str(caught.value)


def ssh_parameters(daemon: Daemon, sshd: Sshd, folder: Path, **others: Any) -> dict[str, Any]:
    """Of an SSH worker with docker=True."""
    made = sshd.parameters(folder, docker=True, docker_host=daemon.host, docker_image=STANDIN, **others)
    del made["standin_command"]
    return made


def test_an_ssh_worker_with_docker_is_the_same(docker_daemon: Daemon, sshd: Sshd, tmp_path: Path, project: Project):
    runner = DockerRunner(tmp_path, daemon=docker_daemon, way=sshd)
    one = make_worker("docker", docker_daemon.remote_parameters(sshd, runner.worker_folder))
    parameters = ssh_parameters(docker_daemon, sshd, runner.worker_folder)
    other = make_worker("ssh", parameters)
    assert other.transport.settings == one.transport.settings
    assert other.engine == one.engine
    assert (other.hostname, other.transport.root) == (one.hostname, one.transport.root)
    runner.group, runner.variables = "ssh_workers", {f"ras_{name}": value for name, value in parameters.items()}
    super(DockerRunner, runner).__post_init__()
    (result,) = runner.execute(project.folder, "--plans", "1")
    assert result["success"], result["error_message"]
    assert docker_daemon.containers() == []
    assert runner.workspaces() == []


def test_cut_connections_are_made_again(remote_runner: DockerRunner, project: Project):
    remote_runner.environment["RAS_STANDIN_PACE"] = "0.02"
    controller = remote_runner.start_running(2, project.folder, "--plans", "1,2")
    assert remote_runner.way is not None
    assert remote_runner.way.cut() >= 1
    wait_until(remote_runner.way.cut, "it comes back, and is cut again")
    assert controller.wait(timeout=90) == 0, (remote_runner.folder / "started.log").read_text()
    assert len(remote_runner.attempts()) == 2
    assert remote_runner.daemon.containers() == []


def test_a_silent_cut_is_noticed_and_the_container_is_found_again(
    docker_daemon: Daemon, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ssh_login, "_KEEPALIVE_SECONDS", 1)
    transport = make_worker("docker", docker_daemon.remote_parameters(lab.sshd, tmp_path / "worker")).transport
    folder = transport.root / "w" / "a1"
    transport.put([Upload(b"mkdir claim && sleep 881\n", folder / "run.sh")])
    transport.launch("a1", folder, "run.sh")
    probe = Probe("a1", folder, "")
    assert transport.poll([probe])["a1"].alive
    lab.cable_is("down")
    with pytest.raises(TransientError, match=lab.sshd.address):
        transport.poll([probe])
    lab.cable_is("up")
    wait_until_found(transport, probe)
    transport.stop(probe)
    assert not transport.poll([probe])["a1"].alive
    assert docker_daemon.containers() == []


def test_a_launch_that_is_cut_is_repeated_and_runs_once(docker_daemon: Daemon, sshd: Sshd, tmp_path: Path):
    transport = make_worker("docker", docker_daemon.remote_parameters(sshd, tmp_path / "worker")).transport
    folder = transport.root / "w" / "a2"
    transport.put([Upload(b"mkdir claim && sleep 881\n", folder / "run.sh")])
    sshd.cut()
    container = transport.launch("a2", folder, "run.sh")
    assert [row["Id"] for row in docker_daemon.containers()] == [container]
    transport.remove(folder)
    assert docker_daemon.containers() == []


@dataclass
class Plain:
    """What a user who is not root needs: pytest's folders are closed to others.

    Attributes:
        sshd: lets the user in.
        socket: another name of the daemon's, that belongs to the user's group.
        folder: the user's own.
    """

    sshd: Sshd
    socket: Path
    folder: Path

    @property
    def docker_host(self) -> str:
        return f"ssh://{USER}@{self.sshd.address}:{self.sshd.port}{self.socket}"


@pytest.fixture
def plain(docker_daemon: Daemon, tmp_path: Path) -> Iterator[Plain]:
    """A user who is not root."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        not_here(f"there is no user {USER} (tests/install-services.sh ssh)")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ras-docker-")))
        folder.chmod(0o755)
        os.link(docker_daemon.folder / "docker.sock", folder / "docker.sock")
        before = (folder / "docker.sock").stat()
        os.chown(folder / "docker.sock", 0, user.pw_gid)
        stack.callback(os.chown, docker_daemon.folder / "docker.sock", before.st_uid, before.st_gid)
        (folder / "worker").mkdir()
        os.chown(folder / "worker", user.pw_uid, user.pw_gid)
        keys = tmp_path / "sshd" / "authorized_keys"  # sshd would read the file as the user
        options = {"AuthorizedKeysCommand": f"/bin/cat {keys}", "AuthorizedKeysCommandUser": "root"}
        server = stack.enter_context(running_sshd(tmp_path / "sshd", options=options))
        yield Plain(server, folder / "docker.sock", folder / "worker")


def test_containers_run_as_the_ssh_user(
    docker_daemon: Daemon, plain: Plain, remote_runner: DockerRunner, project: Project
):
    remote_runner.way, remote_runner.worker_folder = plain.sshd, plain.folder
    remote_runner.write_inventory(docker_host=plain.docker_host)
    remote_runner.environment["RAS_STANDIN_FAULT"] = "hang"
    remote_runner.start_running(1, project.folder, "--plans", "1")
    user = pwd.getpwnam(USER)
    (attempt,) = remote_runner.attempts()
    config = docker_daemon.client.inspect_container(container_name(attempt["id"]))["Config"]
    assert config["User"] == f"{user.pw_uid}:{user.pw_gid}"
    remote_runner.run("cancel")
    del remote_runner.environment["RAS_STANDIN_FAULT"]
    (result,) = remote_runner.execute(project.folder, "--plans", "1")
    assert result["success"], result["error_message"]
    assert remote_runner.workspaces() == []


def test_a_user_there_who_may_not_use_the_socket(docker_daemon: Daemon, plain: Plain):
    os.chown(plain.socket, 0, 0)
    parameters = docker_daemon.remote_parameters(plain.sshd, plain.folder, docker_host=plain.docker_host)
    said = refused(OperatorError, "docker", parameters)
    assert f"the user {USER} may not use the Docker daemon" in said
    assert f"sudo usermod -aG docker {USER}" in said


def test_a_daemon_that_is_not_there(docker_daemon: Daemon, sshd: Sshd, tmp_path: Path):
    address = f"ssh://root@{sshd.address}:{sshd.port}"
    parameters = docker_daemon.remote_parameters(sshd, tmp_path / "worker")
    said = refused(WorkerError, "docker", {**parameters, "docker_host": f"{address}/nowhere/docker.sock"})
    assert f"{sshd.address}:{sshd.port}: connect to docker: there is no Docker socket /nowhere/docker.sock" in said
    assert "sudo systemctl start docker" in said
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale.sock"))
    said = refused(WorkerError, "docker", {**parameters, "docker_host": f"{address}{tmp_path}/stale.sock"})
    assert "nothing answers at the Docker socket" in said
    with running_sshd(tmp_path / "closed", options={"AllowStreamLocalForwarding": "no"}) as closed:
        said = refused(WorkerError, "docker", docker_daemon.remote_parameters(closed, tmp_path / "worker"))
    assert "AllowStreamLocalForwarding" in said


def test_a_daemon_that_stops_is_told(docker_daemon: Daemon, sshd: Sshd, tmp_path: Path):
    transport = make_worker("docker", docker_daemon.remote_parameters(sshd, tmp_path / "worker")).transport
    docker_daemon.stop()
    try:
        wait_until(lambda: not Path(docker_daemon.host.removeprefix("unix://")).exists(), "its socket goes")
        with contextlib.suppress(RasRunnerError):  # the connection that was open ends
            transport.poll([])
        with pytest.raises(WorkerError, match="there is no Docker socket") as told:
            transport.poll([])
    finally:
        docker_daemon.start()
    assert told.value.host == f"{sshd.address}:{sshd.port}"
    assert transport.poll([]) == {}


def test_the_way_there(docker_daemon: Daemon, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parameters = docker_daemon.remote_parameters(sshd, tmp_path / "worker")
    said = refused(OperatorError, "docker", {**parameters, "known_hosts": str(tmp_path / "none")})
    assert "the host key is not known: SHA256:" in said
    key = shutil.copyfile(sshd.folder / "key", tmp_path / "key")
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refused(OperatorError, "docker", {**parameters, "ssh_key_path": str(key)})
    for module in (ssh_login, ssh_connection):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"ssh://root@127.0.0.1:{silent.getsockname()[1]}"
        said = refused(WorkerError, "docker", {**parameters, "docker_host": address})
    assert "nothing useful came" in said


def test_what_is_wrong_there_and_what_to_do(docker_daemon: Daemon, sshd: Sshd, tmp_path: Path):
    parameters = docker_daemon.remote_parameters(sshd, tmp_path / "worker", docker_image="nope:1")
    said = refused(OperatorError, "docker", parameters)
    assert f"ras-runner image build --standin -t nope:1 --docker-host {parameters['docker_host']}" in said
    assert f"--ssh-key-path {parameters['ssh_key_path']}" in said
    assert said.startswith(f"{sshd.address}:{sshd.port}: init worker: ")
    same = ssh_parameters(docker_daemon, sshd, tmp_path / "worker")
    assert f"--docker-host {parameters['docker_host']}" in refused(OperatorError, "ssh", {**same, "docker_image": "x"})
    said = refused(OperatorError, "docker", {**parameters, "docker_image": STANDIN, "worker_folder": "/root/ras"})
    assert "below /root" in said and "/var/lib/ras-runner/worker" in said


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"docker_image": ""}, "docker=True needs docker_image"),
        ({"docker": False}, "docker_image, docker_host cannot be given without docker=True"),
        ({"docker_host": "ssh://me@there"}, "docker_host is a socket on the host itself"),
        ({"hecras_folder": "/opt/hecras"}, "hecras_folder cannot be given with docker=True"),
    ],
)
def test_parameters_that_do_not_go_together(
    docker_daemon: Daemon, sshd: Sshd, tmp_path: Path, others: dict[str, Any], said: str
):
    assert said in refused(InputError, "ssh", {**ssh_parameters(docker_daemon, sshd, tmp_path), **others})


def test_an_image_is_built_there(remote_runner: DockerRunner):
    parameters = remote_runner.daemon.remote_parameters(remote_runner.way, remote_runner.worker_folder)
    options = ("--docker-host", parameters["docker_host"], "--ssh-key-path", parameters["ssh_key_path"])
    known = ("--known-hosts", parameters["known_hosts"])
    done = remote_runner.run("image", "build", "--standin", "-t", "ras-there", "--base", BASE, *options, *known)
    assert done.stdout == "ras-there\n"
    assert make_worker("docker", {**parameters, "docker_image": "ras-there"}).engine.name.startswith("stand-in")
    remote_runner.daemon.client.remove_image("ras-there")


def test_sweep_takes_our_containers_and_no_others(remote_runner: DockerRunner, project: Project):
    """A container of a workspace that is gone goes; those of other owners, other folders, no attempt and today stay."""
    remote_runner.environment["RAS_STANDIN_FAULT"] = "p01=unstable"
    remote_runner.execute(project.folder, "--plans", "1", code=1)
    (attempt,) = remote_runner.attempts()
    client = remote_runner.daemon.client
    folder = remote_runner.worker_folder / "w"
    owner = make_worker("docker", remote_runner.daemon.parameters(remote_runner.worker_folder)).transport.settings.owner
    crowd = {
        f"ras-runner-{attempt['id']}": (attempt["id"], owner, folder / attempt["id"]),
        "ras-runner-aaaaaaaaaa": ("aaaaaaaaaa", "somebody@else", folder / "aaaaaaaaaa"),
        "ras-runner-bbbbbbbbbb": ("bbbbbbbbbb", owner, "/elsewhere/w/bbbbbbbbbb"),
        "ras-runner-cccccccccc": ("cccccccccc", owner, folder / "cccccccccc"),
        "ras-runner-dddddddddd": ("dddddddddd", owner, folder / "dddddddddd"),
    }
    for name, (identity, whose, where) in crowd.items():
        labels = {"ras-runner.attempt": identity, "ras-runner.owner": whose, "ras-runner.folder": str(where)}
        client.create_container(STANDIN, "true", name=name, labels=labels)
    client.create_container(STANDIN, "true", name="ras-runner-stranger")
    for name in ("aaaaaaaaaa", "dddddddddd"):
        (folder / name).mkdir()
        os.utime(folder / name, (0, 0))
    try:
        left = {item["attempt"]: item for item in remote_runner.json("sweep")}
        assert {name: (item["kind"], item["container"], item["running"]) for name, item in left.items()} == {
            attempt["id"]: ("kept", True, False),
            "cccccccccc": ("unknown", True, False),
            "dddddddddd": ("unknown", True, False),
        }
        remote_runner.run("sweep", "--yes")
        assert (folder / "dddddddddd").exists()
        remote_runner.run("sweep", "--yes", "--unknown")
        names = {name.strip("/") for row in client.containers(all=True) for name in row["Names"]}
        assert names == {*crowd, "ras-runner-stranger"} - {f"ras-runner-{attempt['id']}", "ras-runner-dddddddddd"}
        assert remote_runner.workspaces() == sorted([attempt["id"], "aaaaaaaaaa"])
    finally:
        for row in client.containers(all=True):
            client.remove_container(row["Id"], force=True)


def test_sweep_says_which_worker_it_could_not_see(remote_runner: DockerRunner, project: Project):
    remote_runner.execute(project.folder, "--plans", "1")
    done = remote_runner.run("sweep", "nobody", code=2)
    assert "the workers are box" in done.stderr
    remote_runner.write_inventory(docker_host="ssh://root@127.0.0.1:1")
    done = remote_runner.run("sweep", "-i", remote_runner.inventory, "--json", code=3)
    assert "worker box is left out: 127.0.0.1:1: connect: " in done.stderr
