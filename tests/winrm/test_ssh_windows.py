"""OpenSSH on Windows: plans on the simulated host of the WinRM tests, through an SSH server of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.commands import wait_until
from tests.simulators.windows_host.smbd import USER
from tests.simulators.winrm.sshd import SshServer
from tests.winrm.conftest import WinRmHost, WinRmRunner

from ras_runner import init_ras_worker
from ras_runner.errors import InputError, OperatorError, WorkerError
from ras_runner.hecras.project import Project
from ras_runner.transports.base import Probe, Upload


@pytest.fixture
def server(winrm_host: WinRmHost, tmp_path: Path) -> Iterator[SshServer]:
    """The host's SSH server."""
    made = SshServer(tmp_path / "sshd", winrm_host.host.execute)
    yield made
    made.stop()


def parameters(server: SshServer, host: WinRmHost, folder: Path, **others: object) -> dict[str, object]:
    """Of a worker there."""
    wanted = ("worker_folder", "engine", "standin_command", "cores_total", "cores_per_plan")
    return {
        "os": "windows",
        "hostname": "127.0.0.1",
        "port": server.port,
        "username": USER,
        "ssh_key_path": str(server.key),
        "known_hosts": str(server.known_hosts),
        **{name: value for name, value in host.parameters(folder).items() if name in wanted},
        **others,
    }


@pytest.fixture
def runner(server: SshServer, winrm_host: WinRmHost, tmp_path: Path) -> Iterator[WinRmRunner]:
    """``ras-runner`` with one such worker."""
    made = WinRmRunner(tmp_path, group="ssh_workers")
    host = {f"ras_{key}": value for key, value in parameters(server, winrm_host, made.worker_folder).items()}
    made.inventory.write_text(json.dumps({"ssh_workers": {"hosts": {"here": host}}}), encoding="utf-8")
    yield made
    made.stop_engines()


def test_plans_run_on_the_desktop(runner: WinRmRunner, winrm_host: WinRmHost, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "p02=exit:7"
    results = runner.execute(project.folder, "--plans", "1,2", code=1)
    assert {r["plan_number"]: r["outcome"] for r in results} == {"01": "completed", "02": "engine-error"}
    assert winrm_host.host.calls.count("launch") == 2
    assert winrm_host.host.tasks == {}
    assert winrm_host.host.unknown == []
    assert winrm_host.server.logins == []


def test_the_doctor_asks_it_as_a_windows_host(runner: WinRmRunner, winrm_host: WinRmHost):
    (host,) = runner.json("doctor", "-i", runner.inventory, "--json")
    checks = {check["requirement"]: check for check in host["checks"]}
    assert {check["verdict"] for check in checks.values()} <= {"ok", "not checked"}
    assert checks["windows-session"]["role"] == "windows_session"
    assert winrm_host.host.calls == ["facts"]


def test_cancel_leaves_no_process(runner: WinRmRunner, winrm_host: WinRmHost, project: Project):
    runner.environment["RAS_STANDIN_FAULT"] = "hang:0.1"
    controller = runner.start_running(1, project.folder, "--plans", "1")
    wait_until(runner.engines, "the engine runs")
    runner.run("cancel")
    assert controller.wait(60) == 1
    runner.check_no_engine_runs()


def test_archives_go_over_sftp(server: SshServer, winrm_host: WinRmHost, tmp_path: Path):
    transport = init_ras_worker("ssh", **parameters(server, winrm_host, tmp_path / "worker")).transport
    large = np.random.default_rng(1).bytes(9_000_000)
    folder, there = transport.root / "w" / "a1", tmp_path / "worker" / "w" / "a1"
    (tmp_path / "large").write_bytes(large)
    transport.put([Upload(tmp_path / "large", folder / "large.hdf")])
    assert (there / "large.hdf").read_bytes() == large
    assert transport.claim(folder)
    (there / "large.hdf").write_bytes(large[::-1])
    collected = transport.collect(Probe("a1", folder, ""), folder, ("*.hdf",), tmp_path / "got")
    assert (tmp_path / "got" / collected.names[0]).read_bytes() == large[::-1]
    assert "write" not in winrm_host.host.calls
    assert list((tmp_path / "worker").rglob("*.part")) == []


def test_a_server_without_sftp_is_named(winrm_host: WinRmHost, tmp_path: Path):
    server = SshServer(tmp_path / "sshd", winrm_host.host.execute, sftp=False)
    try:
        transport = init_ras_worker("ssh", **parameters(server, winrm_host, tmp_path / "worker")).transport
        (tmp_path / "large").write_bytes(np.random.default_rng(1).bytes(3_000_000))
        with pytest.raises(WorkerError, match="SFTP"):
            transport.put([Upload(tmp_path / "large", transport.root / "w" / "a1" / "x")])
    finally:
        server.stop()


def test_a_host_that_is_not_windows_and_wrong_parameters(server: SshServer, winrm_host: WinRmHost, tmp_path: Path):
    winrm_host.host.faults.add("no powershell")
    with pytest.raises(OperatorError, match="the host must be Windows"):
        init_ras_worker("ssh", **parameters(server, winrm_host, tmp_path))
    for wrong, said in (
        ({"hecras_folder": "/opt"}, "unknown parameter 'hecras_folder'"),
        ({"os": "beos"}, "'linux' or"),
    ):
        with pytest.raises(InputError, match=said):
            init_ras_worker("ssh", **parameters(server, winrm_host, tmp_path, **wrong))
