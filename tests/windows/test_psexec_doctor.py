"""``ras-runner doctor`` and ``sessions`` on a simulated Windows host that is reached over SMB."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Runner
from tests.simulators.windows_host.host import WindowsHost
from tests.simulators.windows_host.state import SERVICES_SESSION, HostState, Service, Session


def runner_for(host: WindowsHost, tmp_path: Path, **others: Any) -> Runner:
    runner = Runner(tmp_path)
    given = host.parameters(engine="hecras-windows", **others)
    del given["standin_command"]
    variables = {f"ras_{name}": value for name, value in given.items()}
    runner.inventory.write_text(json.dumps({"windows_workers": {"hosts": {"pc": variables}}}), encoding="utf-8")
    return runner


def examined(runner: Runner, code: int, *args: object) -> dict[str, dict[str, Any]]:
    (host,) = runner.json("doctor", "-i", runner.inventory, *args, "--json", code=code)
    return {check["requirement"]: check for check in host["checks"]}


def failed(checks: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, check in checks.items() if check["verdict"] == "failed"]


def test_a_host_that_is_well(plain_host: WindowsHost, tmp_path: Path):
    runner = runner_for(plain_host, tmp_path)
    checks = examined(runner, 0)
    assert failed(checks) == []
    assert checks["windows-session"]["evidence"].startswith("session 2 (Administrator")
    assert checks["windows-hecras"]["evidence"].endswith(r"6.6\Ras.exe")
    assert checks["terms"]["verdict"] == "not checked"
    assert plain_host.leftovers() == []
    assert [path.name for path in plain_host.share.iterdir() if path.name != "q"] == []


def _filtered(state: HostState) -> None:
    state.admins.clear()


def _nobody(state: HostState) -> None:
    state.sessions = [SERVICES_SESSION, Session(3, "", "Administrator", "Disc")]


def _registry(state: HostState) -> None:
    state.remote_registry = ("Stopped", "Disabled")


def _rights(state: HostState) -> None:
    state.rights = ["SeNetworkLogonRight = *S-1-1-0", "SeInteractiveLogonRight = *S-1-1-0"]


def _no_hecras(state: HostState) -> None:
    state.ras_exe = []


def _full(state: HostState) -> None:
    state.free = 1 << 20


@pytest.mark.parametrize(
    ("change", "requirement", "evidence", "remedy", "role"),
    [
        (_filtered, "windows-remote-uac", "ccess", "LocalAccountTokenFilterPolicy", "windows_remote_uac"),
        (_nobody, "windows-session", "3 (Administrator, not connected, Disc)", "log on there", "windows_session"),
        (_registry, "windows-remote-registry", "Stopped, starts disabled", "RemoteRegistry", "windows_remote_registry"),
        (_rights, "windows-user-rights", "SeBatchLogonRight", "User Rights Assignment", "windows_user_rights"),
        (_no_hecras, "windows-hecras", "there is no Ras.exe", "ras_exe_path", "hecras_windows"),
        (_full, "disk", "0.0 GB free", "free space", ""),
    ],
)
def test_each_thing_that_lacks_has_its_evidence_remedy_and_role(
    plain_host: WindowsHost,
    tmp_path: Path,
    change: Callable[[HostState], None],
    requirement: str,
    evidence: str,
    remedy: str,
    role: str,
):
    change(plain_host.state)
    checks = examined(runner_for(plain_host, tmp_path), 3)
    assert failed(checks) == [requirement]
    found = checks[requirement]
    assert evidence in found["evidence"]
    assert remedy in found["remedy"]
    assert found["role"] == role


def test_a_share_that_is_another_folder(plain_host: WindowsHost, tmp_path: Path):
    checks = examined(runner_for(plain_host, tmp_path, worker_folder=r"C:\Elsewhere"), 3)
    assert failed(checks) == ["share-is-folder"]
    assert "not the same folder" in checks["share-is-folder"]["evidence"]


def test_services_that_were_left_behind_are_named_and_reaped_and_others_stay(plain_host: WindowsHost, tmp_path: Path):
    from ras_runner.workers.psexec import PsExecSpec, psexec_transport

    ours = psexec_transport(PsExecSpec(worker_id="pc", **plain_host.parameters())).services._owner
    left, foreign = f"PAExec-9-rasr{ours}-60000000-0123abcd", "PAExec-9-other"
    for name in (left, foreign):
        plain_host.state.services[name] = Service(rf"C:\Windows\{name}.exe")
        (plain_host.windows / f"{name}.exe").write_bytes(b"")
    runner = runner_for(plain_host, tmp_path)
    checks = examined(runner, 0)
    assert checks["leftovers"]["verdict"] == "warning"
    assert left in checks["leftovers"]["evidence"]
    assert foreign not in checks["leftovers"]["evidence"]
    assert examined(runner, 0, "--reap")["leftovers"]["verdict"] == "ok"
    assert plain_host.leftovers() == [foreign, f"{foreign}.exe"]


def test_sessions(plain_host: WindowsHost, tmp_path: Path):
    runner = runner_for(plain_host, tmp_path)
    rows = runner.json("sessions", "pc", "-i", runner.inventory)
    assert [(row["id"], row["plans"]) for row in rows] == [(0, False), (2, True)]
    _nobody(plain_host.state)
    done = runner.run("sessions", "pc", "-i", runner.inventory, code=3)
    assert "Administrator" in done.stdout
    assert "log on there" in done.stderr
