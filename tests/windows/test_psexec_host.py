"""Whether a Windows host can be used: rights, services, sessions, leftovers. No programs run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Runner
from tests.simulators.windows_host.host import SHARE, WindowsHost, plain_host
from tests.simulators.windows_host.smbd import running_smbd
from tests.simulators.windows_host.state import SERVICES_SESSION, Service, Session
from tests.ssh.sshd import free_port

from ras_runner.errors import OperatorError, RasRunnerError, WorkerError
from ras_runner.transports import psexec as psexec_module
from ras_runner.transports import psexec_service
from ras_runner.transports.base import Probe, Upload
from ras_runner.transports.psexec import PsExecTransport
from ras_runner.workers.base import Worker
from ras_runner.workers.registry import make_worker

LEFT = Session(3, "", "Administrator", "Disc")


def ready(host: WindowsHost, **others: Any) -> Worker:
    return make_worker("psexec", host.parameters(**others))


def transport_of(worker: Worker) -> PsExecTransport:
    assert isinstance(worker.transport, PsExecTransport)
    return worker.transport


def test_a_host_that_can_be_used_is_left_as_it_was(plain_host: WindowsHost):
    transport = transport_of(ready(plain_host))
    assert transport.session().id == 2
    assert plain_host.leftovers() == []
    assert sorted(path.name for path in plain_host.share.iterdir()) == ["q", "store", "w"]
    assert [list((plain_host.share / name).iterdir()) for name in ("q", "store", "w")] == [[], [], []]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"StartServiceW": [1053] * 9}, "the service did not start in time"),
        ({"StartServiceW": [1072] * 9}, "the service is marked for deletion"),
        ({"StartServiceW": [225] * 9}, "a virus scanner forbids the service"),
        ({"StartServiceW": [2] * 9}, "a virus scanner may have taken it"),
        ({"CreateServiceW": [5] * 9}, "LocalAccountTokenFilterPolicy is not 1"),
        ({"OpenSCManagerW": [1722] * 9}, "the service manager says error 1722"),
    ],
)
def test_services_that_fail(plain_host: WindowsHost, fault: dict[str, list[int]], said: str):
    plain_host.state.faults.update(fault)
    with pytest.raises(RasRunnerError, match=said):
        ready(plain_host)
    assert plain_host.leftovers() == []


def test_a_service_that_fails_once_is_tried_again_under_another_name(plain_host: WindowsHost):
    plain_host.state.faults.update({"StartServiceW": [1053], "CreateServiceW": [1072]})
    assert transport_of(ready(plain_host)).session().id == 2
    assert plain_host.leftovers() == []


def test_a_filtered_token_is_named_with_its_remedy(plain_host: WindowsHost):
    plain_host.state.admins.clear()
    with pytest.raises(OperatorError, match=r"set the registry value .*LocalAccountTokenFilterPolicy to 1"):
        ready(plain_host)


def test_admin_share_refused(plain_host: WindowsHost):
    plain_host.smbd.options["ADMIN$"] = ["invalid users = root"]
    plain_host.smbd.stop()
    plain_host.smbd.start()
    with pytest.raises(OperatorError, match=r"access to ADMIN\$ is denied"):
        ready(plain_host)


def test_a_file_server_that_is_not_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with running_smbd({SHARE: tmp_path / "share"}, free_port()) as smbd:
        host = WindowsHost(smbd, None, tmp_path / "share", r"C:\RasRemote")  # type: ignore[arg-type]
        monkeypatch.setenv("RAS_TEST_WINDOWS_PASSWORD", "Passw0rd!-marked-7c1f")
        with pytest.raises(OperatorError, match="answers as a file server, but programs cannot be started there"):
            ready(host)


@pytest.mark.parametrize(
    ("sessions", "wanted", "said"),
    [
        ([SERVICES_SESSION], "auto", "has no Active session on the desktop"),
        (
            [SERVICES_SESSION, Session(3, "", "Administrator", "Disc")],
            "auto",
            r"3 \(Administrator, not connected, Disc\)",
        ),
        ([SERVICES_SESSION, Session(3, "", "Administrator", "Disc")], 3, "session 3 is not Active"),
        (
            [SERVICES_SESSION, Session(1, "console", "jo", "Active")],
            "auto",
            r"user Administrator has no Active session",
        ),
        ([SERVICES_SESSION], 0, "session 0 is that of the services"),
        ([], "auto", "does not tell its sessions"),
    ],
)
def test_sessions_that_would_not_do(plain_host: WindowsHost, sessions: list[Session], wanted: Any, said: str):
    plain_host.state.sessions = sessions
    with pytest.raises(OperatorError, match=said):
        ready(plain_host, session_id=wanted)


def test_a_session_that_has_ended_is_noticed_before_the_next_start(
    plain_host: WindowsHost, monkeypatch: pytest.MonkeyPatch
):
    transport = transport_of(ready(plain_host))
    monkeypatch.setattr(psexec_module, "_SESSION_SECONDS", 0.0)
    plain_host.state.sessions = [SERVICES_SESSION]
    with pytest.raises(OperatorError, match="no Active session"):
        transport.launch("a1", transport.root / "w" / "a1", "run.cmd")


def test_a_share_that_is_another_folder_than_the_worker_folder(plain_host: WindowsHost):
    with pytest.raises(OperatorError, match="they are not the same folder") as caught:
        ready(plain_host, worker_folder=r"C:\RasRemote\elsewhere")
    assert "net share" in str(caught.value)


def test_the_start_names_the_attempt_and_carries_no_password(tmp_path: Path):
    with plain_host(tmp_path, play=lambda folder: (folder / "claim").mkdir()) as host:
        transport = transport_of(ready(host))
        folder = transport.root / "w" / "a1b2c3"
        transport.put([Upload(b"@echo off", folder / "run.cmd")])
        assert transport.launch("a1b2c3", folder, "run.cmd").isdigit()
        started = host.state.starts[-1]
    assert started["arguments"] == r"/d /c .\run.cmd a1b2c3"
    assert (started["interactive"], started["interactive_session"]) == (True, 2)
    assert started["working_dir"] == r"C:\RasRemote\w\a1b2c3"
    assert all(start["password"] == start["username"] == "" for start in host.state.starts)


def test_a_stalled_service_is_given_up_and_the_attempt_may_run(
    plain_host: WindowsHost, monkeypatch: pytest.MonkeyPatch
):
    transport = transport_of(ready(plain_host))
    monkeypatch.setattr(psexec_service, "_START_SECONDS", 1.0)
    monkeypatch.setattr(psexec_module, "_CLAIM_SECONDS", 0.5)
    plain_host.state.faults["paexec-stall"] = [1]
    transport.put([Upload(b"", transport.root / "w" / "a1" / "run.cmd")])
    with pytest.raises(psexec_service.LostLaunchError, match="no answer within 1 s"):
        transport.launch("a1", transport.root / "w" / "a1", "run.cmd")
    assert len(plain_host.leftovers()) == 2
    monkeypatch.setattr(psexec_service, "_START_SECONDS", 60.0)
    transport.sessions()  # the next start removes what that one has left
    assert plain_host.leftovers() == []


def test_the_reaper_takes_ours_that_are_old_and_nothing_else(plain_host: WindowsHost):
    services = transport_of(ready(plain_host)).services
    mine, now = services._owner, int(time.time())
    names = {
        "old": f"PAExec-77-rasr{mine}-{now - 3600:08x}-00000001",
        "file only": f"PAExec-78-rasr{mine}-{now - 3600:08x}-00000002",
        "fresh": f"PAExec-79-rasr{mine}-{now:08x}-00000003",
        "another controller's": f"PAExec-80-rasrffffffff-{now - 3600:08x}-00000004",
        "another tool's": "PAExec-81-OFFICE",
    }
    for kind, name in names.items():
        (plain_host.windows / f"{name}.exe").write_bytes(b"x")
        if kind != "file only":
            plain_host.state.services[name] = Service(rf'"%SystemRoot%\{name}.exe" -service')
    assert services.leftovers() == sorted([names["old"], names["file only"]])
    assert services.reap() == sorted([names["old"], names["file only"]])
    kept = [names[kind] for kind in ("fresh", "another controller's", "another tool's")]
    assert plain_host.leftovers() == sorted([*kept, *(f"{name}.exe" for name in kept)])
    (plain_host.windows / f"{names['old']}.exe").write_bytes(b"x")
    ready(plain_host)  # as a controller does that comes after one that was killed
    assert plain_host.leftovers() == sorted([*kept, *(f"{name}.exe" for name in kept)])


def test_processes_that_cannot_be_listed(plain_host: WindowsHost):
    transport = transport_of(ready(plain_host))
    probe = Probe("a1", transport.root / "w" / "a1", "4000")
    with pytest.raises(WorkerError, match="was not started"):
        transport.stop(probe)
    assert transport.poll([probe])["a1"].alive


def test_hecras_is_found_on_the_hosts_drive(plain_host: WindowsHost):
    with pytest.raises(OperatorError, match=r"HEC-RAS is not installed: looked for C:\\Program Files \(x86\)"):
        ready(plain_host, engine="hecras-windows")
    installed = plain_host.smbd.shares["C$"] / "Program Files (x86)" / "HEC" / "HEC-RAS"
    for version in ("6.3.1", "6.10", "6.6"):
        (installed / version).mkdir(parents=True)
        (installed / version / "Ras.exe").touch()
    assert ready(plain_host, engine="hecras-windows").engine.name == "HEC-RAS 6.10"
    assert ready(plain_host, engine="hecras-windows", version="6.6").engine.name == "HEC-RAS 6.6"
    with pytest.raises(OperatorError, match=r"found 6\.10, 6\.3\.1, 6\.6"):
        ready(plain_host, engine="hecras-windows", version="5.0.7")
    path = r"C:\Program Files (x86)\HEC\HEC-RAS\6.6\ras.EXE"
    assert ready(plain_host, engine="hecras-windows", ras_exe_path=path).engine.name == "HEC-RAS 6.6"
    with pytest.raises(OperatorError, match=r"Ras9\.exe"):
        ready(plain_host, engine="hecras-windows", ras_exe_path=path.replace("ras.EXE", "Ras9.exe"))


def test_the_user_is_told_in_one_line(plain_host: WindowsHost, tmp_path: Path):
    named = plain_host.parameters(system_account=True, session_id=2)
    runner = Runner(tmp_path, group="windows_workers", variables={f"ras_{key}": named[key] for key in named})
    done = runner.run("workers", "-i", runner.inventory)
    assert done.stderr.startswith("ras-runner: warning: worker here runs plans as SYSTEM")
    assert "UserWarning" not in done.stderr
    plain_host.state.sessions = [SERVICES_SESSION]
    assert "session 2 is not Active" in runner.run("workers", "-i", runner.inventory, code=None).stdout


def test_system_account_is_warned_about_and_told_to_the_service(tmp_path: Path):
    with plain_host(tmp_path, play=lambda folder: (folder / "claim").mkdir()) as host:
        with pytest.warns(UserWarning, match="runs plans as SYSTEM"):
            transport = transport_of(ready(host, system_account=True, session_id=2))
        transport.put([Upload(b"", transport.root / "w" / "a1" / "run.cmd")])
        transport.launch("a1", transport.root / "w" / "a1", "run.cmd")
        assert [start["use_system_account"] for start in host.state.starts] == [False, True]
