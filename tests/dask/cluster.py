"""A Dask cluster on loopback: a scheduler and workers, each a process of its own, ended with the test session."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.commands import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The stand-in of this installation, as a Dask worker would have it.
STANDIN = Path(sys.executable).with_name("ras-standin")
#: No dashboard, and no question to the scheduler's host about its cores or its version.
QUIET = {"DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False", "PYTHONWARNINGS": "ignore"}


class DaskUnavailable(Exception):  # noqa: N818  a reason to skip, not an error
    """There is no Dask here."""


@dataclass
class DaskCluster:
    """A running cluster.

    Attributes:
        folder: its files.
        address: of its scheduler.
        tls: options of its programs for TLS; none without.
        workers: by name.
        environment: added to that of its programs.
    """

    folder: Path
    address: str = ""
    tls: tuple[str, ...] = ()
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    scheduler: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start the scheduler, at the address that it had before, if it had one."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        kind, _, port = self.address.rpartition(":")
        options = ["--host", "127.0.0.1", "--port", port if kind else "0", "--scheduler-file", str(file)]
        protocol = ["--protocol", "tls"] if self.tls else []
        self.scheduler = self._run("scheduler", *options, *protocol, "--no-dashboard", *self.tls)
        text = wait_until(lambda: file.exists() and file.read_text(encoding="utf-8"), "the scheduler is up")
        self.address = json.loads(text)["address"]

    def add(self, name: str, threads: int = 1, resources: str = "", own: Path | None = None) -> None:
        """Start a worker, and wait until it has joined.

        Args:
            name: of the worker.
            threads: plans that it runs at once.
            resources: as ``dask worker --resources`` takes them.
            own: a folder that is another one for this worker than for everybody else: it has an own file system there.
        """
        options = ["--name", name, "--nthreads", str(threads), "--no-nanny", "--memory-limit", "0", "--no-dashboard"]
        given = ["--resources", resources] if resources else []
        folder = self.folder / name
        self.workers[name] = self._run(
            "worker", self.address, *options, *given, "--local-directory", str(folder), *self.tls, own=own
        )
        log = self.folder / f"worker-{name}.log"
        wait_until(lambda: log.exists() and "Registered to" in log.read_text("utf-8"), f"worker {name} has joined")

    def kill(self, name: str) -> None:
        """End a worker as a power cut does."""
        process = self.workers.pop(name)
        process.kill()
        process.wait()

    def parameters(self, folder: Path, **more: Any) -> dict[str, Any]:
        """Parameters of a Dask worker of ours with the stand-in engine."""
        return {
            "scheduler_address": self.address,
            "shared_folder": str(folder),
            "engine": "standin",
            "standin_command": str(STANDIN),
            "cores_per_plan": 1,
            **more,
        }

    def stop(self) -> None:
        """End all of it."""
        for process in (*self.workers.values(), *([self.scheduler] if self.scheduler else [])):
            process.kill()
            process.wait()
        self.workers.clear()

    def stored(self, folder: Path, **more: Any) -> dict[str, Any]:
        """The same for a cluster that shares no folder: its storage is what the folder of the others was."""
        given = {"storage_url": f"file://{folder}", "worker_folder": f"{folder}-there", **more}
        return {name: value for name, value in self.parameters(folder, **given).items() if name != "shared_folder"}

    def _run(self, program: str, *arguments: str, own: Path | None = None) -> subprocess.Popen[bytes]:
        name = arguments[arguments.index("--name") + 1] if "--name" in arguments else ""
        log = self.folder / (f"{program}-{name}.log" if name else f"{program}.log")
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments]
        env = {k: v for k, v in os.environ.items() if not k.startswith("RAS_")}
        if own:
            own.mkdir(parents=True, exist_ok=True)
            command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs own "$0" && exec "$@"', str(own), *command]
        env |= QUIET | self.environment
        with log.open("ab") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)


@contextlib.contextmanager
def running_cluster(folder: Path, tls: tuple[str, ...] = ()) -> Iterator[DaskCluster]:
    """A scheduler without workers, for the time of a ``with`` block.

    Raises:
        DaskUnavailable: distributed is not installed.
    """
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise DaskUnavailable("Dask is not installed: pip install -e '.[dask]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    cluster = DaskCluster(folder, tls=tls)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority's certificate, and one that it has signed with its key, for both ends on loopback."""
    folder.mkdir()
    paths = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    openssl = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509"]
    authority = ["-days", "2", "-subj", "/CN=tests", "-keyout", str(folder / "ca.key"), "-out", str(paths[0])]
    signed = ["-days", "2", "-subj", "/CN=127.0.0.1", "-CA", str(paths[0]), "-CAkey", str(folder / "ca.key")]
    leaf = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
    files = ["-keyout", str(paths[2]), "-out", str(paths[1])]
    for arguments in (authority, [*signed, *leaf, *files]):
        subprocess.run([*openssl, *arguments], check=True, capture_output=True)
    return paths
