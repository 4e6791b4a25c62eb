"""Real places that run plans here, each started for the time of a ``with`` block: dockerd, sshd, Slurm, Dask."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Cost, MeasureError, apart, everything, last_line
from setting import PLANS, ROOT

sys.path.insert(0, str(ROOT))
from tests.dask.cluster import DaskCluster, DaskUnavailable
from tests.dask.cluster import running_cluster as running_dask
from tests.docker.daemon import STANDIN, Daemon, DockerUnavailable, running_daemon
from tests.slurm.cluster import SlurmCluster, SlurmUnavailable
from tests.slurm.cluster import running_cluster as running_slurm
from tests.ssh.sshd import Sshd, SshdUnavailable, running_sshd

#: Raised where a place cannot be had, with the reason.
UNAVAILABLE = (DaskUnavailable, DockerUnavailable, SlurmUnavailable, SshdUnavailable)
#: In an image, where the engine is, and what it may read.
IMAGE_ENGINE, IMAGE_RESULTS = Path("/usr/local/bin/ras-standin"), Path("/results.hdf")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder whose name is short: those of sockets end at 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="rb-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


def docker(folder: Path) -> AbstractContextManager[Daemon]:
    """A dockerd with the stand-in's image."""
    (folder / "docker").mkdir()
    return running_daemon(folder / "docker")


def ssh(folder: Path) -> AbstractContextManager[Sshd]:
    """An sshd."""
    return running_sshd(folder / "ssh")


def slurm(folder: Path) -> AbstractContextManager[SlurmCluster]:
    """A Slurm cluster: its partition ``main`` has two nodes of two cores."""
    (folder / "slurm").mkdir()
    return running_slurm(folder / "slurm", array_size=1001)


@contextlib.contextmanager
def dask(folder: Path) -> Iterator[DaskCluster]:
    """A Dask scheduler, and two workers of two threads."""
    with running_dask(folder / "dask") as cluster:
        cluster.add("a", threads=2)
        cluster.add("b", threads=2)
        yield cluster


def engine_image(daemon: Daemon, tag: str, engine: bytes, files: Mapping[str, Path]) -> None:
    """An image whose stand-in is ``engine``, with files at its root; found anew at every run by its tag."""
    names = {"ras-standin": (engine, 0o755)} | {name: (path.read_bytes(), 0o644) for name, path in files.items()}
    lines = [f"FROM {STANDIN}", f"COPY ras-standin {IMAGE_ENGINE}", *(f"COPY {name} /{name}" for name in files)]
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, (data, mode) in {"Dockerfile": ("\n".join(lines).encode(), 0o644), **names}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    context.seek(0)
    for line in daemon.client.build(fileobj=context, custom_context=True, tag=tag, decode=True):
        if "error" in line:
            raise DockerUnavailable(line["error"])


@dataclass(frozen=True, slots=True)
class Spent:
    """What a program cost here.

    Attributes:
        near: of the program and all that it started itself.
        far: CPU seconds of the daemons meanwhile, and of all that they started.
    """

    near: Cost
    far: float


def spent(argv: Sequence[str], log: Path) -> Spent:
    """Run a program, and wait until it and all that it made others start has ended. Needs a subreaper.

    Raises:
        MeasureError: it failed, or what it made others start does not end.
    """
    before, there = everything(), _living()
    cost, own = apart(argv, log)
    if cost.exit_code != 0:
        raise MeasureError(f"{' '.join(argv[:3])} ended with {cost.exit_code}: {last_line(log)}")
    end = time.monotonic() + 60.0
    while _living() - there:
        if time.monotonic() > end:
            raise MeasureError(f"what {' '.join(argv[:3])} made others start has not ended after a minute")
        time.sleep(0.05)
    return Spent(cost, max(0.0, everything() - before - cost.cpu - own))


def _living() -> set[int]:
    import psutil

    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


def drive(home: Path, project: Path, kind: str, worker: Mapping[str, Any], plans: int) -> tuple[Spent, int]:
    """Compute plans with ras-runner on one worker.

    Returns:
        What it cost, and how many plans succeeded.

    Raises:
        MeasureError: it failed as a whole.
    """
    job = {
        "package": "ras_runner",
        "project": str(project),
        "ras_exe": None,
        "worker": [kind, dict(worker)],
        "state_dir": str(home / "state"),
        "plans": PLANS[:plans],
        "autoclean": True,
        "answer": str(home / "answer.json"),
    }
    program = Path(__file__).with_name("drive.py")
    cost = spent([sys.executable, str(program), json.dumps(job)], home / "log")
    said = json.loads((home / "answer.json").read_text(encoding="utf-8"))
    if said["errors"]:
        print(f"  {kind}: {said['errors'][0]}", file=sys.stderr)
    return cost, said["succeeded"]
