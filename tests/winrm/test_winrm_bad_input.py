"""Hosts, certificates, passwords and parameters that cannot be used: typed errors that say what to do."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Runner
from tests.simulators.windows_host.smbd import USER
from tests.simulators.windows_host.state import Session
from tests.ssh.sshd import free_port
from tests.winrm.conftest import PASSWORD_VARIABLE, WinRmHost

from ras_runner import init_ras_worker
from ras_runner.errors import InputError, OperatorError, RasRunnerError, WorkerError
from ras_runner.hecras.project import Project
from ras_runner.transports import winrm_login


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate in a PEM file."""
    pem = certificate.read_text().partition("-----BEGIN PRIVATE")[0]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def refused(host: WinRmHost, folder: Path, **parameters: object) -> RasRunnerError:
    """The error that making a worker with these parameters ends with."""
    with pytest.raises(RasRunnerError) as caught:
        init_ras_worker("winrm", **host.parameters(folder, **parameters))
    return caught.value


def test_a_certificate_of_an_unknown_issuer_is_not_trusted_and_shown(winrm_host: WinRmHost, tmp_path: Path):
    error = refused(winrm_host, tmp_path, ca_path=None)
    assert isinstance(error, OperatorError)
    assert "the host's certificate is not trusted: nobody we know has issued it" in error.cause
    assert fingerprint(winrm_host.server.certificate) in error.cause
    assert "ca_path" in error.action
    assert winrm_host.server.logins == winrm_host.server.refused == []


@pytest.mark.parametrize(
    ("name", "days", "said"), [("localhost", -1, "it has expired"), ("elsewhere", 30, "it is made out to another name")]
)
def test_a_certificate_that_does_not_hold(winrm_host: WinRmHost, tmp_path: Path, name: str, days: int, said: str):
    listener = winrm_host.listener(winrm_host.issuer.issue(name, days=days))
    error = refused(winrm_host, tmp_path, port=listener.port)
    assert said in error.cause
    assert listener.logins == listener.refused == []


def test_a_pinned_certificate_needs_no_issuer_and_no_other_passes(winrm_host: WinRmHost, tmp_path: Path):
    pin = fingerprint(winrm_host.server.certificate)
    shown = ":".join(pin[i : i + 2] for i in range(0, 64, 2)).upper()
    assert init_ras_worker("winrm", **winrm_host.parameters(tmp_path, ca_path=None, fingerprint=shown)).type == "winrm"
    winrm_host.server.logins.clear()
    error = refused(winrm_host, tmp_path, ca_path=None, fingerprint="0" * 64)
    assert "the host's certificate is not the one that was pinned" in error.cause
    assert pin in error.cause
    assert winrm_host.server.logins == winrm_host.server.refused == []


def test_a_client_certificate_logs_on_without_a_password(winrm_host: WinRmHost, tmp_path: Path):
    ours = str(winrm_host.issuer.issue(USER))
    login = {"auth": "certificate", "certificate_path": ours, "key_path": ours, "username": "", "password": ""}
    assert init_ras_worker("winrm", **winrm_host.parameters(tmp_path, **login)).hostname.startswith("localhost")
    assert set(winrm_host.server.logins) == {USER}


def test_a_wrong_password_is_tried_once(
    winrm_host: WinRmHost, runner: Runner, project: Project, monkeypatch: pytest.MonkeyPatch
):
    runner.environment[PASSWORD_VARIABLE] = "Falsch-5511"
    done = runner.run("execute", project.folder, "-i", runner.inventory, code=3)
    assert f"{USER} is refused: wrong or expired password" in done.stderr
    assert "it is not tried again" in done.stderr
    assert "Falsch-5511" not in done.stdout + done.stderr
    assert len(winrm_host.server.refused) == 1
    assert winrm_host.server.logins == []


def test_hosts_that_are_not_to_be_reached(winrm_host: WinRmHost, tmp_path: Path):
    error = refused(winrm_host, tmp_path, port=free_port())
    assert isinstance(error, WorkerError)
    assert "is not to be reached" in error.cause
    assert "quickconfig" in error.action
    error = refused(winrm_host, tmp_path, hostname="no-such-host.invalid")
    assert isinstance(error, OperatorError)
    assert "the name is not known" in error.cause


class Page(http.server.BaseHTTPRequestHandler):
    """Any web server."""

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        """Says something that is not SOAP."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html><p>Welcome!</html>")


@pytest.fixture(params=["https", "http"])
def web_server(request: pytest.FixtureRequest, winrm_host: WinRmHost) -> Iterator[tuple[int, str]]:
    """A port where no WinRM is, and what is there."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(winrm_host.server.certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server.server_address[1], request.param
    server.shutdown()
    server.server_close()


def test_a_web_server_is_not_taken_for_winrm(winrm_host: WinRmHost, tmp_path: Path, web_server: tuple[int, str]):
    port, kind = web_server
    error = refused(winrm_host, tmp_path, port=port)
    assert isinstance(error, OperatorError)
    expected = "but not as Windows Remote Management does" if kind == "https" else "does not talk HTTPS"
    assert expected in error.cause


@pytest.mark.parametrize(
    ("fault", "said"),
    [("not windows", "it is not Windows"), ("denied", "may not run programs there")],
)
def test_a_service_that_does_not_run_programs_for_us(winrm_host: WinRmHost, tmp_path: Path, fault: str, said: str):
    winrm_host.server.faults.add(fault)
    error = refused(winrm_host, tmp_path)
    assert isinstance(error, OperatorError)
    assert said in error.cause


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no powershell", "PowerShell gave no answer (exit code 1): 'powershell.exe' is not recognized"),
        ("disk full", "the disk of the worker folder"),
        ("folder denied", "Access to the path is denied"),
    ],
)
def test_a_host_that_cannot_be_used(winrm_host: WinRmHost, tmp_path: Path, fault: str, said: str):
    winrm_host.host.faults.add(fault)
    error = refused(winrm_host, tmp_path)
    assert isinstance(error, OperatorError)
    assert said in error.cause
    assert error.step == "init worker"


def test_nobody_on_the_desktop(winrm_host: WinRmHost, tmp_path: Path):
    winrm_host.host.state.sessions = [Session(2, "", USER, "Disc"), Session(1, "console", "other", "Active")]
    error = refused(winrm_host, tmp_path)
    assert f"{USER} has no Active session" in error.cause
    assert "1 (other, console, Active)" in error.cause
    assert init_ras_worker("winrm", **winrm_host.parameters(tmp_path, desktop_user="other")).type == "winrm"


def test_an_engine_that_is_not_installed(winrm_host: WinRmHost, tmp_path: Path):
    error = refused(winrm_host, tmp_path, engine="hecras-windows")
    assert r"looked for C:\Program Files (x86)\HEC\HEC-RAS\<version>\Ras.exe" in error.cause
    error = refused(winrm_host, tmp_path, engine="hecras-windows", ras_exe_path=r"Z:\no\6.6\Ras.exe")
    assert r"looked for Z:\no\6.6\Ras.exe" in error.cause
    error = refused(winrm_host, tmp_path, standin_command=[r"Z:\no\python.exe"])
    assert "the host has no command" in error.cause


def test_the_newest_hecras_is_taken_unless_another_is_asked_for(winrm_host: WinRmHost, tmp_path: Path):
    installed = [rf"C:\Program Files (x86)\HEC\HEC-RAS\{version}\Ras.exe" for version in ("6.5", "6.10", "5.0.7")]
    winrm_host.host.installed = installed
    hecras = {"engine": "hecras-windows"}
    for version, name in (("", "HEC-RAS 6.10"), ("6.5", "HEC-RAS 6.5")):
        worker = init_ras_worker("winrm", **winrm_host.parameters(tmp_path, version=version, **hecras))
        assert worker.engine.name == name
    error = refused(winrm_host, tmp_path, version="6.4", **hecras)
    assert "HEC-RAS 6.4 is not installed" in error.cause


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"password": "Geheim!"}, "give a reference, not the secret"),
        ({"username": ""}, "ntlm needs username and password"),
        ({"auth": "certificate"}, "certificate needs certificate_path and key_path"),
        ({"auth": "basic"}, "'ntlm', 'kerberos', 'credssp' or 'certificate'"),
        ({"fingerprint": "ab:cd"}, "64 hexadecimal digits"),
        ({"ca_path": "/no/such.pem"}, "there is no file /no/such.pem"),
        ({"worker_folder": r"\\host\share"}, "give a folder of the host with its drive"),
        ({"worker_folder": r"C:\50%"}, "without %"),
        ({"share_path": r"R:\RasRemote"}, "mapped drive"),
        ({"credential": "env:X"}, "unknown parameter 'credential'"),
    ],
)
def test_wrong_parameters(winrm_host: WinRmHost, tmp_path: Path, parameters: dict[str, object], said: str):
    error = refused(winrm_host, tmp_path, **parameters)
    assert isinstance(error, InputError)
    assert said in str(error)
    assert "Geheim!" not in str(error)


@pytest.mark.parametrize(
    ("method", "missing", "command"),
    [
        ("ntlm", "winrm", "pip install ras-runner[winrm]"),
        ("kerberos", "kerberos", 'pip install "pywinrm[kerberos]"'),
        ("credssp", "requests_credssp", 'pip install "pywinrm[credssp]"'),
    ],
)
def test_a_missing_package_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, method: str, missing: str, command: str
):
    monkeypatch.setattr(winrm_login, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(OperatorError) as caught:
        winrm_login.require_winrm(method)
    assert caught.value.action == command
