"""A network between controller and host that is cut: two network namespaces with a veth pair. Needs root on Linux."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.commands import wait_until
from tests.ssh.conftest import SshRunner
from tests.ssh.sshd import Sshd, SshdUnavailable, make_worker, running_sshd

from ras_runner.errors import RasRunnerError
from ras_runner.hecras.project import Project
from ras_runner.transports import ssh_login
from ras_runner.transports.base import Probe, Transport, Upload


@dataclass
class Lab:
    """An sshd in a namespace of its own, and the cable to it."""

    sshd: Sshd
    cable: str

    def cable_is(self, state: str) -> None:
        """``up`` or ``down``."""
        subprocess.run(["ip", "link", "set", self.cable, state], check=True)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A host behind a cable."""
    name = f"ras{os.getpid()}"
    space, cable, net = f"{name}n", f"{name}a"[:15], f"10.213.{os.getpid() % 250}"
    commands = [
        f"ip netns add {space}",
        f"ip link add {cable} type veth peer name eth9 netns {space}",
        f"ip addr add {net}.1/24 dev {cable}",
        f"ip link set {cable} up",
        f"ip -n {space} addr add {net}.2/24 dev eth9",
        f"ip -n {space} link set eth9 up",
        f"ip -n {space} link set lo up",
    ]
    with contextlib.ExitStack() as stack:
        stack.callback(subprocess.run, ["ip", "netns", "del", space], capture_output=True, check=False)
        stack.callback(subprocess.run, ["ip", "link", "del", cable], capture_output=True, check=False)
        try:
            for command in commands:
                subprocess.run(command.split(), check=True, capture_output=True)
            folder = tmp_path_factory.mktemp("lab")
            inside = ("ip", "netns", "exec", space)
            yield Lab(stack.enter_context(running_sshd(folder, address=f"{net}.2", command=inside)), cable)
        except (OSError, subprocess.CalledProcessError, SshdUnavailable) as reason:
            if os.environ.get("CI") == "true" and os.geteuid() == 0:
                pytest.fail(str(reason))
            pytest.skip(f"network namespaces or sshd cannot be had here: {reason}")


def wait_until_found(transport: Transport, probe: Probe) -> None:
    """Wait until an attempt is seen running."""

    def found() -> bool:
        with contextlib.suppress(RasRunnerError):
            return transport.poll([probe])[probe.attempt].alive
        return False

    wait_until(found, "it is found again", 30)


def start_mixed(lab: Lab, tmp_path: Path, project: Project, engine: dict[str, str], *args: object) -> SshRunner:
    """A campaign over the host and this machine, when two plans run on the host; more wait for this machine."""
    runner = SshRunner(tmp_path, sshd=lab.sshd)
    runner.write_inventory(engine)
    content = json.loads(runner.inventory.read_text("utf-8"))
    here = {"ras_engine": "standin", "ras_cores_total": 1, "ras_cores_per_plan": 1, "ras_queue_priority": 1}
    content["local"] = {"hosts": {"here": {**here, "ras_worker_folder": str(tmp_path / "here")}}}
    runner.inventory.write_text(json.dumps(content), encoding="utf-8")
    runner.environment["RAS_STANDIN_PACE"] = "0.01"
    runner.start("execute", project.folder, "-i", runner.inventory, "--plans", "1,2,3,4", *args)

    def running() -> bool:
        if not (runner.state / "journal.sqlite").is_file():
            return False
        return [(row["worker"], row["state"]) for row in runner.attempts()].count(("there", "running")) == 2

    wait_until(running, "two plans run on the host")
    return runner


def test_a_cable_that_is_out_for_five_seconds(lab: Lab, tmp_path: Path, project: Project):
    """What runs on the host is found again, and computed once; the plans of this machine do not wait for it."""
    runner = start_mixed(lab, tmp_path, project, {"RAS_STANDIN_PACE": "0.05"})
    (controller,) = runner.started
    lab.cable_is("down")
    with pytest.raises(subprocess.TimeoutExpired):
        controller.wait(timeout=5)
    wait_until(lambda: runner.tasks()["04"]["state"] == "completed", "what runs here ends meanwhile")
    lab.cable_is("up")
    assert controller.wait(timeout=60) == 0, (tmp_path / "started.log").read_text()
    results = runner.json("results")
    assert [(r["success"], r["attempts"]) for r in results] == [(True, 1)] * 4
    assert [r["worker_id"] for r in results] == ["there", "there", "here", "here"]


def test_a_host_that_is_gone_for_good(lab: Lab, tmp_path: Path, project: Project):
    """Its plans are computed on this machine; what runs on there is ended by the next controller that reaches it."""
    runner = start_mixed(lab, tmp_path, project, {"RAS_STANDIN_FAULT": "hang"}, "--lost-after", "3")
    (controller,) = runner.started
    lab.cable_is("down")
    try:
        assert controller.wait(timeout=90) == 0, (tmp_path / "started.log").read_text()
        lost = [row for row in runner.attempts() if row["worker"] == "there" and row["launched"]]
        assert [row["outcome"] for row in lost] == ["infrastructure-lost"] * 2
        assert all("not to be reached for 3 s" in row["message"] for row in lost)
        assert all(r["success"] and r["worker_id"] == "here" for r in runner.json("results"))
        assert runner.engines(), "they run on: nobody could stop them"
    finally:
        lab.cable_is("up")
    runner.run("resume")
    runner.check_no_engine_runs()


def test_a_silent_cut_is_noticed_and_what_ran_is_found_again(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing says that the host is gone: the keep-alive does, within 20 s; then the attempt is found and stopped."""
    assert ssh_login._KEEPALIVE_SECONDS * (ssh_login._KEEPALIVE_COUNT + 1) <= 20
    monkeypatch.setattr(ssh_login, "_KEEPALIVE_SECONDS", 1)
    transport = make_worker(tmp_path, lab.sshd).transport
    folder = transport.root / "w" / "a1"
    transport.put([Upload(b"mkdir claim && echo $$ >claim/pid\nsleep 881\n", folder / "run.sh")])
    transport.launch("a1", folder, "run.sh")
    probe = Probe("a1", folder, "")
    lab.cable_is("down")
    with pytest.raises(RasRunnerError, match=lab.sshd.address):
        transport.poll([probe])
    lab.cable_is("up")
    wait_until_found(transport, probe)
    transport.stop(probe)
    assert not transport.poll([probe])["a1"].alive
