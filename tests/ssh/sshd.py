"""A private sshd on loopback: its own host key, accounts and configuration; ended with the test session."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import psutil
from tests.commands import wait_until

from ras_runner.workers.registry import make_worker as make_any_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras_runner.workers.base import Worker

#: The stand-in of this installation, as an SSH host would have it.
STANDIN = Path(sys.executable).with_name("ras-standin")


class SshdUnavailable(Exception):  # noqa: N818  a reason to skip, not an error
    """There is no sshd here."""


@dataclass
class Sshd:
    """A running sshd.

    Attributes:
        folder: its files: ``key`` opens it, ``known_hosts`` knows it.
        port: on the address.
        address: where it listens.
        command: before ``sshd`` on its command line (a network namespace).
        options: more of its configuration.
    """

    folder: Path
    port: int
    address: str = "127.0.0.1"
    command: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it, or start it again."""
        sshd = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if sshd is None:
            raise SshdUnavailable("sshd is not installed (tests/install-services.sh ssh)")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self._write_config()
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, sshd, "-D", "-e", "-f", self.folder / "sshd_config"], stdout=log, stderr=log
            )
        wait_until(self._answers, f"sshd answers (see {self.folder}/sshd.log)")

    def _write_config(self) -> None:
        lines = {
            "Port": self.port,
            "ListenAddress": self.address,
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": self.folder / "authorized_keys",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "yes",
            "MaxStartups": "100",
            "LogLevel": "ERROR",
            **self.options,
        }
        text = "".join(f"{key} {value}\n" for key, value in lines.items())
        (self.folder / "sshd_config").write_text(text, encoding="utf-8")

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise SshdUnavailable((self.folder / "sshd.log").read_text("utf-8", "replace"))
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), timeout=1) as sock:
            return sock.recv(4) == b"SSH-"
        return False

    def sessions(self) -> list[psutil.Process]:
        """Its processes that serve a connection. Engines are not among them: they are in sessions of their own."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd"):
                    found.append(process)
        return found

    def cut(self) -> int:
        """Kill what serves the connections; how many there were."""
        sessions = self.sessions()
        for session in sessions:
            with contextlib.suppress(psutil.NoSuchProcess):
                session.kill()
        return len(sessions)

    def stop(self) -> None:
        """End it and its connections."""
        self.cut()
        self.process.terminate()
        self.process.wait(timeout=10)

    def parameters(self, folder: Path, **others: Any) -> dict[str, Any]:
        """Parameters of a worker on it whose worker folder is ``folder``."""
        return {
            "hostname": self.address,
            "port": self.port,
            "username": getpass.getuser(),
            "ssh_key_path": str(self.folder / "key"),
            "known_hosts": str(self.folder / "known_hosts"),
            "worker_folder": str(folder),
            "engine": "standin",
            "standin_command": str(STANDIN),
            "cores_total": 2,
            "cores_per_plan": 1,
            **others,
        }


def make_key(path: Path, passphrase: str = "") -> Path:
    """A key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", path], check=True)
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running_sshd(folder: Path, **others: Any) -> Iterator[Sshd]:
    """An sshd that lets the key ``folder/key`` in."""
    if shutil.which("ssh-keygen") is None:
        raise SshdUnavailable("ssh-keygen is not installed (tests/install-services.sh ssh)")
    folder.mkdir(parents=True, exist_ok=True)
    make_key(folder / "key")
    make_key(folder / "host_key")
    shutil.copyfile(folder / "key.pub", folder / "authorized_keys")
    made = Sshd(folder, others.pop("port", 0) or free_port(), **others)
    host_key = (folder / "host_key.pub").read_text("ascii")
    (folder / "known_hosts").write_text(f"[{made.address}]:{made.port} {host_key}", encoding="ascii")
    made.start()
    try:
        yield made
    finally:
        made.stop()


def make_worker(tmp_path: Path, sshd: Sshd, **parameters: Any) -> Worker:
    """A ready SSH worker whose folder is ``tmp_path/ssh-worker``."""
    return make_any_worker("ssh", sshd.parameters(tmp_path / "ssh-worker", **parameters))


def inventory_variables(sshd: Sshd, folder: Path) -> dict[str, object]:
    """Variables of a host of the group ``ssh_workers`` for one test.

    Its worker folder is ``folder/worker``; its stand-in gets the environment that ``folder/engine.env`` exports when it
    starts, as nothing of the controller's environment reaches an SSH host.
    """
    engine = folder / "ras-standin"
    file = quote(f"{folder}/engine.env")
    text = f'#!/bin/sh\n[ ! -f {file} ] || . {file}\nexec {STANDIN} "$@"\n'
    engine.write_text(text, encoding="utf-8")
    engine.chmod(0o755)
    parameters = sshd.parameters(folder / "worker", standin_command=quote(str(engine)))
    return {f"ras_{name}": value for name, value in parameters.items()}
