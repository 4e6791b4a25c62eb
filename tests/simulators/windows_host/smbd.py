"""A private smbd on a high loopback port: the file sharing of a simulated Windows host. Needs root and Samba."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from tests.commands import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "Administrator", "Passw0rd!-marked-7c1f"
#: A second account, for tests of rights.
OTHER = "modeller"


class SambaUnavailable(Exception):  # noqa: N818  a reason to skip, not an error
    """There is no Samba here."""


@dataclass
class Smbd:
    """A running smbd.

    Attributes:
        folder: its files. Short, as the names of unix sockets end at 108 bytes.
        port: on 127.0.0.1.
        shares: share name -> folder.
        options: further lines of the configuration, by share; ``global`` for all.
    """

    folder: Path
    port: int
    shares: dict[str, Path]
    options: dict[str, list[str]] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def pipes(self) -> Path:
        """Where smbd hands on the named pipes, each to a unix socket of its lower-case name."""
        return self.folder / "r" / "np"

    def start(self) -> None:
        """Write the configuration and start it."""
        self.write_config()
        self.process = subprocess.Popen(
            ["smbd", "--foreground", "--no-process-group", f"--configfile={self.folder}/smb.conf"],
            start_new_session=True,  # or its end would end the tests
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, f"smbd answers (see {self.folder}/l/log)")
        self.pipes.mkdir(parents=True, exist_ok=True)

    def write_config(self) -> None:
        """Write smb.conf; a running smbd gives what is new in it to new connections."""
        for folder in (*(self.folder / name for name in "plr"), *self.shares.values()):
            folder.mkdir(parents=True, exist_ok=True)
        places = {
            f"{kind} dir{'ectory' if kind in ('lock', 'state', 'cache', 'pid') else ''}": self.folder / short
            for kind, short in (("private", "p"), ("lock", "l"), ("state", "l"), ("cache", "l"), ("pid", "l"))
        }
        lines = [
            "[global]",
            "server role = standalone server",
            f"smb ports = {self.port}",
            "interfaces = 127.0.0.1/8",
            "bind interfaces only = yes",
            "disable netbios = yes",
            *(f"{name} = {path}" for name, path in places.items()),
            f"ncalrpc dir = {self.folder}/r",
            f"passdb backend = tdbsam:{self.folder}/p/passdb.tdb",
            f"username map = {self.folder}/map",
            f"log file = {self.folder}/l/log",
            "hide dot files = no",  # Windows has no such rule
            "log level = 0 auth_audit:2",
            "rpc start on demand helpers = no",
            "load printers = no",
            "printcap name = /dev/null",
            *self.options.get("global", []),
        ]
        for name, path in self.shares.items():
            lines += [f"[{name}]", f"path = {path}", "read only = no", *self.options.get(name, [])]
        (self.folder / "map").write_text(f"!root = {USER}\n", encoding="ascii")
        (self.folder / "smb.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def set_password(self, password: str = PASSWORD) -> None:
        """Give the account its password."""
        command = ["smbpasswd", "-c", f"{self.folder}/smb.conf", "-s", "-a", "root"]
        subprocess.run(command, input=f"{password}\n{password}\n", text=True, check=True, capture_output=True)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise SambaUnavailable((self.folder / "l" / "log").read_text("utf-8", "replace")[-2000:])
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def connections(self) -> list[int]:
        """Process ids of those that serve a connection."""
        if self.process is None:
            return []
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if any(c.laddr and c.laddr.port == self.port and c.raddr for c in child.net_connections("tcp")):
                    found.append(child.pid)
        return found

    def cut(self) -> int:
        """Drop all connections, as a lost network does; how many there were."""
        found = self.connections()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing is answered for the time of a ``with`` block, and nobody can tell why."""
        assert self.process is not None
        stopped = [self.process.pid, *self.connections()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and its connections."""
        if self.process is not None:
            self.cut()
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@contextlib.contextmanager
def running_smbd(shares: dict[str, Path], port: int) -> Iterator[Smbd]:
    """An smbd with these shares, gone afterwards."""
    if shutil.which("smbd") is None:
        raise SambaUnavailable("Samba is not installed (tests/install-services.sh windows)")
    if os.geteuid() != 0:
        raise SambaUnavailable("the simulated Windows host needs root (sudo -E .venv/bin/pytest -m windows)")
    folder = Path(tempfile.mkdtemp(prefix="ras", dir="/tmp"))
    made = Smbd(folder, port, shares)
    try:
        made.write_config()
        made.set_password()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
