"""A Docker daemon of the tests' own: private folders and socket, no network, never the system's daemon."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from tests.commands import wait_until
from tests.ssh.sshd import Sshd

from ras_runner import init_ras_worker
from ras_runner.transports.docker import ATTEMPT_LABEL
from ras_runner.workers.base import Worker

REPO = Path(__file__).resolve().parents[2]
BASE, STANDIN = "ras-test-base", "ras-standin-test"


class DockerUnavailable(Exception):  # noqa: N818
    """Why there is no daemon to test with."""


@dataclass
class Daemon:
    """A dockerd.

    Attributes:
        folder: holds everything it writes.
    """

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def host(self) -> str:
        """Its address."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def client(self) -> docker.APIClient:
        """A new client of it."""
        return docker.APIClient(base_url=self.host, version="auto", timeout=30)

    def start(self) -> None:
        """Start it and wait until it answers."""
        quiet = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
        places = (f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid")
        with (self.folder / "dockerd.log").open("ab") as log:
            # a file of its own, so that settings of this machine's daemon do not count
            (self.folder / "daemon.json").write_text("{}", encoding="utf-8")
            command = ["dockerd", *places, *quiet, f"--config-file={self.folder}/daemon.json", "-H", self.host]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self.process.poll() is not None or self._answers(), "dockerd answers", 60)
        if self.process.poll() is not None:
            raise DockerUnavailable(f"dockerd does not run here: {self._last_words()}")

    def stop(self) -> None:
        """Stop it; its containers end with it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def containers(self) -> list[dict[str, Any]]:
        """The containers of attempts, running or not."""
        return self.client.containers(all=True, filters={"label": ATTEMPT_LABEL})

    def end_all(self) -> None:
        """Remove what a test left."""
        for row in self.containers():
            with contextlib.suppress(docker.errors.APIError):
                self.client.remove_container(row["Id"], force=True)

    def parameters(self, worker_folder: Path, **parameters: Any) -> dict[str, Any]:
        """Of a Docker worker on this daemon, with the stand-in engine."""
        return {
            "engine": "standin",
            "docker_image": STANDIN,
            "docker_host": self.host,
            "cores_total": 2,
            "cores_per_plan": 1,
            "worker_folder": str(worker_folder),
            **parameters,
        }

    def remote_parameters(self, sshd: Sshd, worker_folder: Path, **parameters: Any) -> dict[str, Any]:
        """The same, with the daemon behind an SSH server."""
        there = {
            "docker_host": f"ssh://{getpass.getuser()}@{sshd.address}:{sshd.port}{self.folder}/docker.sock",
            "ssh_key_path": str(sshd.folder / "key"),
            "known_hosts": str(sshd.folder / "known_hosts"),
        }
        return self.parameters(worker_folder, **{**there, **parameters})

    def make_worker(self, tmp_path: Path, **parameters: Any) -> Worker:
        """A ready worker."""
        return init_ras_worker("docker", **self.parameters(tmp_path / "worker", **parameters))

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (docker.errors.DockerException, OSError):
            return False

    def _last_words(self) -> str:
        return " | ".join((self.folder / "dockerd.log").read_text(errors="replace").splitlines()[-3:])


def base_tarball() -> Path:
    """Where tests/install-services.sh keeps the base image that fits this checkout."""
    script = REPO / "tests" / "install-services.sh"
    done = subprocess.run(["bash", str(script), "docker-base"], capture_output=True, encoding="utf-8", check=True)
    return Path(done.stdout.strip())


@contextlib.contextmanager
def running_daemon(folder: Path) -> Iterator[Daemon]:
    """A daemon with a base image and the stand-in's image, built by ``ras-runner image build``.

    Raises:
        DockerUnavailable: it cannot be had here; says why.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise DockerUnavailable("a Docker daemon of the tests' own needs root on Linux")
    if shutil.which("dockerd") is None or not base_tarball().is_file():
        raise DockerUnavailable("no dockerd or no base image: run tests/install-services.sh docker")
    daemon = Daemon(folder)
    try:
        daemon.start()
        daemon.client.import_image(src=str(base_tarball()), repository=BASE, tag="latest")
        build = ["image", "build", "--standin", "-t", STANDIN, "--base", BASE, "--docker-host", daemon.host]
        subprocess.run([sys.executable, "-m", "ras_runner", *build], check=True, capture_output=True, timeout=120)
        yield daemon
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.end_all()
        daemon.stop()
        _unmount_below(folder)
        shutil.rmtree(folder / "data", ignore_errors=True)


def _unmount_below(folder: Path) -> None:
    """What a daemon leaves mounted when it ends."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed([p for p in places if p.startswith(f"{folder}/")]):
        subprocess.run(["umount", place], check=False, capture_output=True)
