"""How fast plans of no work go through, by worker type, beside what a user would write without ras-runner.

Prints its part of docs/benchmarks.md. The daemons are real, and on this machine; so are the controller, the engines and
what is compared with: two cores do all of it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import places
from measure import MeasureError, become_subreaper, check_method
from page import table
from places import IMAGE_ENGINE, IMAGE_RESULTS, Spent, drive, engine_image, spent
from setting import PLANS, compile_engine, make_project, write_results

SLOTS, COUNT = 4, 99
#: Name and tag of the image with the engine.
_IMAGE = "bench-no-op"
OURS, XARGS = "ras-runner", f"`xargs -P {SLOTS}`"
_OURS_DOES = "stages by content, claims, verifies, publishes, journals, cleans"


@dataclass(frozen=True, slots=True)
class Row:
    """A way to compute the plans, and what it cost.

    Attributes:
        place: worker type.
        who: by what.
        succeeded: plans whose result is there.
        spent: CPU and wall time.
        does: what it does in that time.
        far: its other side was measured.
    """

    place: str
    who: str
    succeeded: int
    spent: Spent
    does: str
    far: bool = True

    @property
    def rate(self) -> float:
        """Plans a second."""
        return self.succeeded / self.spent.near.wall


@dataclass
class Bench:
    """Folders, the engine, and the rows so far."""

    folder: Path
    rows: list[Row] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.results, self.engine = self.folder / "results.hdf", self.folder / "engine" / "Ras.exe"
        self.engine.parent.mkdir()
        write_results(self.results, 0)
        compile_engine(self.engine, self.results, Path("/dev/null"))
        self.project = make_project(self.folder / "original").parent

    def ours(self, place: str, worker: Callable[[Path], Mapping[str, Any]], *, far: bool = True) -> None:
        """ras-runner, on a fresh project and an empty worker folder."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            home = Path(name)
            project = make_project(home / "project").parent
            cost, succeeded = drive(home, project, place, worker(home / "worker"), COUNT)
        self.add(Row(place, OURS, succeeded, cost, _OURS_DOES, far))

    def plain(
        self, place: str, who: str, does: str, argv: Callable[[Sequence[Path]], Sequence[str]], *, copied: bool = True
    ) -> None:
        """Another way, on folders that are there (``copied``), or that it makes itself."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folders = [Path(name) / number / "p" for number in PLANS[:COUNT]]
            for folder in folders:
                folder.parent.mkdir()
                if copied:
                    make_project(folder)
            cost = spent(argv(folders), self.folder / "log")
            there = sum((folder / f"Muncie.p{folder.parent.name}.hdf").is_file() for folder in folders)
        self.add(Row(place, who, there, cost, does, place != "local"))

    def xargs(self, folders: Sequence[Path], script: str) -> list[str]:
        """``script`` for each folder, ``$0``, and plan number, ``$1``."""
        listed = self.folder / "list"
        listed.write_text("".join(f"{folder}\n{folder.parent.name}\n" for folder in folders), encoding="utf-8")
        return ["xargs", "-a", str(listed), "-P", str(SLOTS), "-n", "2", "sh", "-c", script]

    def runs(self) -> str:
        """The engine's command line in such a script."""
        return f'{quote(str(self.engine))} -c Muncie.prj "Muncie.p$1"'

    def add(self, row: Row) -> None:
        """Take a row."""
        self.rows.append(row)
        print(
            f"  {row.place}, {row.who}: {row.succeeded} / {COUNT}, {row.rate:.1f} plans/s, "
            f"{row.spent.near.cpu / COUNT:.4f} + {row.spent.far / COUNT:.4f} CPU s a plan",
            file=sys.stderr,
            flush=True,
        )


def on_this_machine(bench: Bench) -> None:
    """Local workers."""
    bench.plain("local", XARGS, "starts the engine", lambda f: bench.xargs(f, f'cd "$0" && exec {bench.runs()}'))
    copies = f'cp -r {quote(str(bench.project))} "$0" && cd "$0" && {bench.runs()} && cp "Muncie.p$1.hdf" ..'
    bench.plain(
        "local",
        f"{XARGS}, `cp -r`",
        "copies the project in and the result out",
        lambda f: bench.xargs(f, copies),
        copied=False,
    )
    own = {"engine": "hecras-windows", "ras_exe_path": str(bench.engine), "cores_total": SLOTS, "cores_per_plan": 1}
    bench.ours("local", lambda folder: {**own, "worker_folder": str(folder)}, far=False)


def on_ssh(bench: Bench) -> None:
    """An sshd."""
    with places.ssh(bench.folder) as sshd:
        login = f"ssh -F none -i {sshd.folder}/key -o UserKnownHostsFile={sshd.folder}/known_hosts -p {sshd.port}"
        script = f"exec {login} {sshd.address} \"cd '$0' && exec {bench.runs().replace(chr(34), '')}\""
        bench.plain("ssh", f"{XARGS} ssh", "logs on, starts the engine", lambda f: bench.xargs(f, script))
        given = {"standin_command": quote(str(bench.engine)), "cores_total": SLOTS}
        bench.ours("ssh", lambda folder: sshd.parameters(folder, **given))


def on_docker(bench: Bench) -> None:
    """A dockerd."""
    with places.docker(bench.folder) as daemon:
        inside = bench.folder / "engine" / "inside"
        compile_engine(inside, IMAGE_RESULTS, Path("/dev/null"))
        engine_image(daemon, _IMAGE, inside.read_bytes(), {IMAGE_RESULTS.name: bench.results})
        options = f'--rm --network none --user 0:0 -v "$0":/w/p -w /w/p --entrypoint {IMAGE_ENGINE}'
        script = f'exec docker -H {daemon.host} run {options} {_IMAGE} -c Muncie.prj "Muncie.p$1"'
        if shutil.which("docker"):
            bench.plain("docker", f"{XARGS} docker run", "runs a container", lambda f: bench.xargs(f, script))
        else:
            bench.missing["docker run"] = "the command docker is not installed"
        given = {"docker_image": _IMAGE, "cores_total": SLOTS}
        bench.ours("docker", lambda folder: daemon.parameters(folder, **given))


def on_slurm(bench: Bench) -> None:
    """A Slurm cluster of four cores."""
    program = [sys.executable, str(Path(__file__).with_name("plain.py")), "slurm", str(bench.engine)]
    with places.slurm(bench.folder) as cluster:
        does = "one array, waits for the results"
        bench.plain("slurm", "`sbatch --array`", does, lambda f: [*program, *map(str, f)])
        given = {"standin_command": quote(str(bench.engine)), "max_parallel_plans": COUNT}
        bench.ours("slurm", lambda folder: cluster.parameters(folder, **given))


def on_dask(bench: Bench) -> None:
    """A Dask cluster of four threads."""
    program = [sys.executable, str(Path(__file__).with_name("plain.py")), "dask"]
    with places.dask(bench.folder) as cluster:
        ours = [*program, cluster.address, str(bench.engine)]
        does = "starts the engine in a task"
        bench.plain("dask", "`Client.map`", does, lambda f: [*ours, *map(str, f)])
        given = {"standin_command": quote(str(bench.engine))}
        bench.ours("dask", lambda folder: cluster.parameters(folder, **given))


def on_windows(bench: Bench) -> None:
    """A simulated Windows host, whose programs take no time and are not counted."""
    from windows import throughput

    try:
        cost, succeeded = throughput(bench.folder / "windows", COUNT, SLOTS)
    except MeasureError as reason:
        bench.missing["psexec"] = str(reason)
        return
    bench.add(Row("psexec", OURS, succeeded, Spent(cost, 0.0), _OURS_DOES, far=False))


PLACES: dict[str, Callable[[Bench], None]] = {
    "local": on_this_machine,
    "ssh": on_ssh,
    "docker": on_docker,
    "slurm": on_slurm,
    "dask": on_dask,
    "psexec": on_windows,
}


def lines(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    """The rows of the table."""
    xargs = next(row for row in rows if row.place == "local")
    for row in rows:
        plain = next((other for other in rows if other.place == row.place), row)
        yield (
            row.place,
            row.who,
            f"{row.succeeded} / {COUNT}",
            _ratio(row.rate / xargs.rate),
            _ratio(row.rate / plain.rate) if plain is not row or row.who != OURS else "-",
            f"{row.spent.near.cpu / COUNT:.3f}",
            f"{row.spent.far / COUNT:.3f}" if row.far else "-",
            row.does,
        )


def _ratio(value: float) -> str:
    return f"{value:#.2g}" if value < 9.95 else f"{value:.0f}"


def document(bench: Bench) -> str:
    """Its part of docs/benchmarks.md."""
    head = ("worker", "who", "succeeded", "plans/s, `xargs` = 1", "plans/s, the plain way there = 1")
    cpu = ("CPU s a plan", "of the worker's side", "in that time")
    parts = ["## Throughput on plans of no work", _NOTE, table((*head, *cpu), list(lines(bench.rows)))]
    parts += [f"Not measured: {name}: {reason}" for name, reason in bench.missing.items()]
    return "\n\n".join(parts)


_NOTE = f"""{COUNT} plans of Muncie (4 MB), {SLOTS} slots, an engine that copies a result of 9 KB. Controller, daemons
and engines share the cores of one machine. The plain ways run the same engine in folders where the project lies ready,
and leave the results there; with `cp -r` a script gets them there and back. Dask: two workers of two threads; Slurm:
two nodes of two cores, all plans in its queue; psexec: a simulated host, whose side is not measured.

Nothing is as fast as a bare loop where there is nothing to compute, and ras-runner is slower for what it does with each
plan: it compares the inputs with what the worker has, makes a workspace that only one run can claim, starts a script
that outlives its controller, fetches, checks and publishes the result, writes each step into the journal before it is
taken, and removes the workspace. Its start (Python, the project, the worker) is in its figures. CPU of the worker's
side: of the daemons, and of all that they started (run scripts, containers and their shims, engines)."""


def main() -> int:
    """Measure; 2 with the reason when it cannot be."""
    try:
        become_subreaper()
        with places.short_folder() as folder:
            check_method(folder / "check.log")
            bench = Bench(folder)
            for name, measure in PLACES.items():
                try:
                    measure(bench)
                except places.UNAVAILABLE as reason:
                    bench.missing[name] = str(reason)
            print(document(bench))
    except MeasureError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
