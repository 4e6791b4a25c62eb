"""What a user can get wrong about an SSH worker: each its own message, with host, step and next action."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.services import needs_mounts
from tests.ssh.sshd import Sshd, free_port, make_key, make_worker, running_sshd

from ras_runner.errors import InputError, OperatorError, RasRunnerError, WorkerError
from ras_runner.transports import ssh_connection, ssh_login
from ras_runner.transports.base import Upload
from ras_runner.workers.registry import make_worker as make_any


def refused(tmp_path: Path, sshd: Sshd, kind: type[RasRunnerError], **parameters: Any) -> str:
    with pytest.raises(kind) as caught:
        make_worker(tmp_path, sshd, **parameters)
    assert type(caught.value) is kind
    return str(caught.value)


def fingerprint(key: Path) -> str:
    return subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True).stdout.split()[1]


def test_an_unknown_host_key_is_shown_with_the_command_that_accepts_it(sshd: Sshd, tmp_path: Path):
    said = refused(tmp_path, sshd, OperatorError, known_hosts=str(tmp_path / "none"))
    assert fingerprint(sshd.folder / "host_key.pub") in said
    assert "127.0.0.1" in said
    command = said[said.index("ssh-keyscan") :].splitlines()[0]
    assert "compare the fingerprint" in said
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert make_worker(tmp_path, sshd, known_hosts=str(tmp_path / "none")).type == "ssh"


def test_a_changed_host_key_is_refused_harder(sshd: Sshd, tmp_path: Path):
    other = make_key(tmp_path / "other")
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.port} {(tmp_path / 'other.pub').read_text()}", encoding="ascii")
    said = refused(tmp_path, sshd, OperatorError, known_hosts=str(known))
    assert "HAS CHANGED" in said
    assert fingerprint(other) in said
    assert fingerprint(sshd.folder / "host_key.pub") in said
    assert "ssh-keygen" in said


def test_a_key_that_others_can_read(sshd: Sshd, tmp_path: Path):
    key = shutil.copyfile(sshd.folder / "key", tmp_path / "key")
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refused(tmp_path, sshd, OperatorError, ssh_key_path=str(key))


def test_keys_that_are_none(sshd: Sshd, tmp_path: Path):
    assert "cannot be read" in refused(tmp_path, sshd, OperatorError, ssh_key_path=str(tmp_path / "none"))
    text = tmp_path / "text"
    text.write_text("hello", encoding="ascii")
    text.chmod(0o600)
    assert "is not a private key" in refused(tmp_path, sshd, OperatorError, ssh_key_path=str(text))


def test_passphrases(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key = shutil.copyfile(sshd.folder / "key", tmp_path / "key")
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", key], check=True)
    monkeypatch.setenv("RIGHT", "open sesame")
    monkeypatch.setenv("WRONG", "something else")
    path = str(key)
    assert "needs a passphrase" in refused(tmp_path, sshd, OperatorError, ssh_key_path=path)
    said = refused(tmp_path, sshd, OperatorError, ssh_key_path=path, passphrase="env:WRONG")
    assert "is not opened by its passphrase" in said
    assert "something else" not in said
    assert "NOT_SET is not set" in refused(tmp_path, sshd, OperatorError, ssh_key_path=path, passphrase="env:NOT_SET")
    said = refused(tmp_path, sshd, InputError, ssh_key_path=path, passphrase="open sesame")
    assert "env:NAME" in said
    assert "sesame" not in said
    worker = make_worker(tmp_path, sshd, ssh_key_path=path, passphrase="env:RIGHT")
    assert "sesame" not in repr(worker)
    (tmp_path / "secret").write_text("open sesame\n", encoding="utf-8")
    make_worker(tmp_path, sshd, ssh_key_path=path, passphrase=f"file:{tmp_path / 'secret'}")


def test_a_user_who_is_not_let_in(sshd: Sshd, tmp_path: Path):
    said = refused(tmp_path, sshd, OperatorError, username="nobody-of-here")
    assert "nobody-of-here is not let in" in said
    assert "authorized_keys" in said
    other = make_key(tmp_path / "other")
    assert str(other) in refused(tmp_path, sshd, OperatorError, ssh_key_path=str(other))


def test_a_port_that_refuses_and_a_name_that_is_none(sshd: Sshd, tmp_path: Path):
    assert "refuses connections" in refused(tmp_path, sshd, WorkerError, port=free_port())
    assert "does not resolve" in refused(tmp_path, sshd, WorkerError, hostname="no-such-host.invalid")


def test_a_host_that_accepts_and_then_says_nothing(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert ssh_login.CONNECT_SECONDS == 15.0
    for module in (ssh_login, ssh_connection):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refused(tmp_path, sshd, WorkerError, port=silent.getsockname()[1])
    assert "nothing useful came" in said and "within 1 s" in said


def test_a_server_that_is_no_ssh_server(sshd: Sshd, tmp_path: Path):
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        said = refused(tmp_path, sshd, WorkerError, port=server.getsockname()[1])
        thread.join()
    assert "check that an SSH server answers there" in said


def test_a_folder_or_an_engine_that_is_not_there(sshd: Sshd, tmp_path: Path):
    said = refused(tmp_path, sshd, OperatorError, worker_folder="/proc/no-such-place")
    assert "/proc/no-such-place" in said
    (tmp_path / "file").touch()
    assert "cannot be made" in refused(tmp_path, sshd, OperatorError, worker_folder=f"{tmp_path}/file/below")
    said = refused(tmp_path, sshd, OperatorError, standin_command="/no/such/ras-standin")
    assert "no command /no/such/ras-standin" in said
    said = refused(tmp_path, sshd, OperatorError, engine="hecras-linux", hecras_folder="/no/such/6.6")
    assert "/no/such/6.6" in said


@pytest.mark.disk
def test_a_worker_folder_that_cannot_be_written_to(sshd: Sshd, tmp_path: Path):
    needs_mounts()
    mount = tmp_path / "read-only"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", mount], check=True)
    try:
        said = refused(tmp_path, sshd, OperatorError, worker_folder=str(mount))
    finally:
        subprocess.run(["umount", mount], check=True)
    assert said.startswith(
        f"127.0.0.1:{sshd.port}: init worker: the worker folder {mount} cannot be made or written to"
    )
    assert "Read-only file system" in said


def test_hecras_is_found_there(sshd: Sshd, tmp_path: Path):
    program = tmp_path / "hec ras" / "6.6" / "bin" / "RasUnsteady"
    program.parent.mkdir(parents=True)
    program.touch()
    worker = make_worker(tmp_path, sshd, engine="hecras-linux", hecras_folder=str(program.parents[1]))
    assert worker.engine.name == "HEC-RAS 6.6 Linux"


@pytest.mark.parametrize(
    "wrong",
    [
        {"proxy_jump": "a@b@c"},
        {"engine": "hecras-windows"},
        {"hostname": "-oProxyCommand=x"},
        {"port": 0},
        {"worker_folder": "a\nb"},
        {"cores_total": 0},
        {"password": "x"},
        {"standin_command": "unclosed 'quote"},
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_sent(sshd: Sshd, tmp_path: Path, wrong: dict[str, Any]):
    said = refused(tmp_path, sshd, InputError, **wrong)
    assert next(iter(wrong)) in said


def test_cores_total_has_to_be_given(sshd: Sshd, tmp_path: Path):
    parameters = sshd.parameters(tmp_path)
    del parameters["cores_total"]
    with pytest.raises(InputError, match="cores_total"):
        make_any("ssh", parameters)


def test_the_missing_library_is_named_with_its_command(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    assert "pip install ras-runner[ssh]" in refused(tmp_path, sshd, OperatorError)


def test_through_another_host(sshd: Sshd, tmp_path: Path):
    with running_sshd(tmp_path / "jump") as jump:
        shutil.copyfile(sshd.folder / "authorized_keys", jump.folder / "authorized_keys")
        both = tmp_path / "known"
        both.write_text("".join((s.folder / "known_hosts").read_text("ascii") for s in (sshd, jump)), "ascii")
        way = f"127.0.0.1:{jump.port}"
        worker = make_worker(tmp_path, sshd, proxy_jump=way, known_hosts=str(both))
        worker.transport.put([Upload(b"x", worker.transport.root / "x")])
        assert jump.sessions()
        said = refused(tmp_path, sshd, OperatorError, proxy_jump=way)
        assert f"by way of 127.0.0.1:{jump.port}" in said
        said = refused(tmp_path, sshd, WorkerError, proxy_jump=way, known_hosts=str(both), port=free_port())
        assert "no connection" in said or "refuse" in said
