"""What docker and ssh workers cost, and how fast files travel beside rsync; prints its part of the page.

Workers run on this machine, behind a real sshd and a real dockerd; the engine copies a finished result.
"""

from __future__ import annotations

import contextlib
import functools
import json
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from measure import tree_bytes
from places import engine_image
from remote_report import remote_section
from setting import PLANS, ROOT, make_project, write_results

sys.path.insert(0, str(ROOT))
from tests.commands import wait_until
from tests.docker.daemon import DockerUnavailable, running_daemon
from tests.ssh.sshd import Sshd, SshdUnavailable, make_worker, running_sshd

from ras_runner.hashing import hash_file
from ras_runner.transports.base import Upload

TERRAIN, LARGE = 500_000_000, 5_000_000
BIG, SMALL_FILES, SMALL = 300_000_000, 2000, 4000
ROUNDS = 5
NO_OP = "bench-engine"
#: A worker is logged on before it gets its first plan.
STAYS = "ras-runner, logged on already"


def tree_cpu(pid: int) -> float:
    """CPU seconds of a daemon, of what runs below it, and of what has ended there."""
    total = 0.0
    top = psutil.Process(pid)
    for process in (top, *top.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def own_cpu() -> float:
    """CPU seconds of this process and of those that it waited for."""
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


def campaign(
    kind: str, worker: dict[str, Any], daemon: int, home: Path, *, plans: int, slots: int, terrain: int = 0
) -> dict[str, Any]:
    """Compute plans on a worker: what it cost, and what travelled."""
    project = make_project(home / "project")
    if terrain:
        (project.parent / "Terrain.tif").write_bytes(np.random.default_rng(1).bytes(terrain))
        layer = '<Layer Name="T" Type="TerrainLayer" Filename=".\\Terrain.tif"/>'
        text = f"<RASMapper><Terrains>{layer}</Terrains></RASMapper>"
        (project.parent / "Muncie.rasmap").write_text(text, encoding="utf-8")
    job = {
        "package": "ras_runner",
        "project": str(project.parent),
        "ras_exe": None,
        "worker": [kind, {**worker, "cores_total": slots, "cores_per_plan": 1}],
        "state_dir": str(home / "state"),
        "plans": PLANS[:plans],
        "autoclean": True,
        "answer": str(home / "answer.json"),
    }
    far, near, begun = tree_cpu(daemon), own_cpu(), time.monotonic()
    drive = Path(__file__).with_name("drive.py")
    with (home / "log").open("wb") as log:
        subprocess.run([sys.executable, str(drive), json.dumps(job)], stdout=log, stderr=log, check=True)
    wall = time.monotonic() - begun
    said = json.loads((home / "answer.json").read_text(encoding="utf-8"))
    with contextlib.closing(sqlite3.connect(home / "state" / "journal.sqlite")) as db:
        staged = [row[0] for row in db.execute("SELECT staged FROM attempts ORDER BY created")]
    return {
        "kind": kind,
        "plans": plans,
        "slots": slots,
        "succeeded": said["succeeded"],
        "error": (said["errors"] or [""])[0],
        "cpu": (own_cpu() - near) / plans,
        "far_cpu": (tree_cpu(daemon) - far) / plans,
        "wall": wall,
        "travelled": sum(staged),
        "last_half": sum(staged[plans // 2 :]) / (plans - plans // 2),
        "unique": tree_bytes(Path(worker["worker_folder"]) / "store"),
    }


def campaigns(
    kind: str, worker: dict[str, Any], daemon: int, folder: Path, prepare: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    """The cases of a worker type, each with an empty worker folder; ``prepare`` makes the engine's result of a size."""
    cases: list[tuple[str, int, dict[str, int]]] = [
        ("dispatch", 0, {"plans": 99, "slots": 4}),
        ("terrain", 0, {"plans": 99, "slots": 4, "terrain": TERRAIN}),
        ("results", LARGE, {"plans": 60, "slots": 6}),
    ]
    for name, size, case in cases:
        prepare(size)
        with tempfile.TemporaryDirectory(dir=folder) as home:
            given = {**worker, "worker_folder": f"{home}/worker"}
            row = campaign(kind, given, daemon, Path(home), **case)
        print(f"  {kind} {name}: {row['succeeded']} / {row['plans']}, {row['cpu']:.3f} CPU s a plan", file=sys.stderr)
        yield {"case": name, **row}


def on_docker(folder: Path) -> Iterator[dict[str, Any]]:
    """The cases of docker workers."""
    (folder / "dockerd").mkdir()
    with running_daemon(folder / "dockerd") as daemon:
        results = folder / "results.hdf"

        def prepare(size: int) -> None:
            write_results(results, size)
            engine_image(daemon, NO_OP, b'#!/bin/sh\nexec cp /results.hdf "$3.hdf"\n', {"results.hdf": results})

        worker = {"engine": "standin", "docker_image": NO_OP, "docker_host": daemon.host}
        if daemon.process is not None:
            yield from campaigns("docker", worker, daemon.process.pid, folder, prepare)


def on_ssh(sshd: Sshd, folder: Path) -> Iterator[dict[str, Any]]:
    """The cases of SSH workers."""
    engine, results = folder / "engine", folder / "results.hdf"
    engine.write_text(f"#!/bin/sh\nexec cp '{results}' \"$3.hdf\"\n", encoding="utf-8")
    engine.chmod(0o755)
    worker = sshd.parameters(folder, standin_command=str(engine))
    yield from campaigns("ssh", worker, sshd.process.pid, folder, lambda size: write_results(results, size))


def transfers(sshd: Sshd, folder: Path) -> Iterator[dict[str, Any]]:
    """One large file, then many small ones, by us and by rsync in turn, each to an empty place."""
    source = folder / "source"
    (source / "small").mkdir(parents=True)
    random = np.random.default_rng(3)
    (source / "big").write_bytes(random.bytes(BIG))
    for number in range(SMALL_FILES):
        (source / "small" / f"f{number}").write_bytes(random.bytes(SMALL))
    shell = f"ssh -F none -i {sshd.folder}/key -o UserKnownHostsFile={sshd.folder}/known_hosts -p {sshd.port}"
    for name in ("big", "small"):
        paths = sorted(path for path in (source / name, *(source / name).glob("*")) if path.is_file())
        digests = [hash_file(path) for path in paths]  # rsync makes its sums of what is sent on the way, as we do

        def ours(
            target: Path, paths: list[Path] = paths, digests: list[str] = digests, *, stay: bool = False
        ) -> Callable[[], None]:
            worker = make_worker(target, sshd)
            if not stay:
                worker.transport.connection.close()
                wait_until(lambda: not sshd.sessions(), "it is logged off")
            files = [Upload(path, worker.store_path(d), d) for path, d in zip(paths, digests, strict=True)]

            def send() -> None:
                worker.transport.stored([file.target for file in files])
                worker.transport.put(files)
                worker.transport.connection.close()

            return send

        def rsync(target: Path, name: str = name) -> Callable[[], None]:
            command = ["rsync", "-a", "-e", shell, str(source / name), f"127.0.0.1:{target}/"]
            return lambda: subprocess.run(command, check=True) and None

        ways = {"rsync": rsync, "ras-runner": ours, STAYS: functools.partial(ours, stay=True)}
        found: dict[str, list[tuple[float, float]]] = {tool: [] for tool in ways}
        for _ in range(ROUNDS):
            for tool, way in ways.items():
                with tempfile.TemporaryDirectory(dir=folder) as target:
                    found[tool].append(timed(way(Path(target)), sshd))
        for tool, times in found.items():
            wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"  {name} {tool}: {wall:.2f} s, {cpu:.2f} CPU s", file=sys.stderr)
            yield {"what": name, "tool": tool, "wall": wall, "cpu": cpu, "best": min(times)[0]}


def timed(work: Callable[[], None], sshd: Sshd) -> tuple[float, float]:
    """Wall and CPU seconds of both ends."""
    cpu, begun = own_cpu() + tree_cpu(sshd.process.pid), time.monotonic()
    work()
    wall = time.monotonic() - begun
    wait_until(lambda: not sshd.sessions(), "its time counts when it has ended")
    return wall, own_cpu() + tree_cpu(sshd.process.pid) - cpu


def main() -> None:
    """Measure the parts that the arguments name, or all; what cannot be had here is named with the reason."""
    parts = sys.argv[1:] or ["transfers", "ssh", "docker"]
    rows: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    if "transfers" in parts and shutil.which("rsync") is None:
        missing["files over SSH"] = "rsync is not installed"
        parts.remove("transfers")
    (ROOT / ".bench").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="remote-", dir=ROOT / ".bench"))
    try:
        try:
            with running_sshd(folder / "sshd") as sshd:
                sent += transfers(sshd, folder) if "transfers" in parts else []
                rows += on_ssh(sshd, folder) if "ssh" in parts else []
        except SshdUnavailable as reason:
            missing["ssh"] = str(reason)
        try:
            rows += on_docker(folder) if "docker" in parts else []
        except DockerUnavailable as reason:
            missing["docker"] = str(reason)
    finally:
        shutil.rmtree(folder)
    print(remote_section({"rows": rows, "transfers": sent, "missing": missing}))


if __name__ == "__main__":
    main()
