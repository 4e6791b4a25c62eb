"""One campaign on a mixed pool of real workers, against the shortest that it could be; prints its part of the page.

The engine sleeps for as long as its plan takes on its worker, so that two cores are enough for eleven slots, and what a
plan takes is known: nothing else than the order of the plans, and what the runner adds to them, makes the difference.
"""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from statistics import median
from typing import Any

import places
from measure import MeasureError, become_subreaper
from page import table
from places import engine_image, spent
from setting import PLANS, make_project, write_results
from tests.simulate.world import Chooser, FirstCome, Play, RoundRobin, Scenario, World

from ras_runner.campaign.scheduler import Scheduler, TaskAdded, WorkerJoined

#: Projects, and plans of each.
PROJECTS, PLANS_EACH = ("Upper", "Lower"), 75
#: Seconds that the plans take at speed 1: lognormal, as in tests/simulate.
MEDIAN, SIGMA, SEED = 5.5, 0.8, 20261122
#: What a plan takes is off its size by this (sigma of the logarithm).
ERROR = 0.2
#: Minutes of simulated time a second of run time.
_MINUTES = 200.0


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker of the pool: its type and group in the inventory, its slots, and how fast its engine is."""

    kind: str
    group: str
    slots: int
    speed: float


POOL = (
    Machine("local", "local", 2, 1.0),
    Machine("docker", "docker_workers", 3, 0.7),
    Machine("ssh", "ssh_workers", 2, 2.0),
    Machine("slurm", "slurm_workers", 4, 1.4),
)


def lower_bound(work: Sequence[float], machines: Iterable[Machine]) -> float:
    """No campaign of these plans (seconds at speed 1) is shorter: all slots busy to the end, or the longest plan."""
    pool = list(machines)
    speed = sum(one.slots * one.speed for one in pool)
    return max(sum(work) / speed, max(work) / max(one.speed for one in pool))


class PoolWorld(World):
    """The same plans on the same workers, on a virtual clock: nothing but the plans themselves takes time."""

    def __init__(self, work: Sequence[float], expected: Sequence[float], workers: Sequence[tuple[int, float]]) -> None:
        """``workers``: slots and speed of each."""
        self.scenario = Scenario(len(work), len(workers), seed=SEED)
        self.work, self.expected = list(work), list(expected)
        self.slots, self.speed = [slots for slots, _ in workers], [speed for _, speed in workers]
        self.spot, self.lost_at = [False] * len(workers), {}

    def workers(self) -> Iterable[WorkerJoined]:
        """The workers as they join."""
        return (WorkerJoined(str(number), slots) for number, slots in enumerate(self.slots))

    def tasks(self) -> Iterable[TaskAdded]:
        """The plans as they are added."""
        return (TaskAdded(str(number), seconds, "g") for number, seconds in enumerate(self.expected))


def without_overhead(work: Sequence[float], expected: Sequence[float]) -> list[tuple[str, float]]:
    """Makespans of the pool on the virtual clock: who gives the plans out, seconds."""
    whole = [(one.slots, one.speed) for one in POOL]
    apart = [(1, speed) for slots, speed in whole for _ in range(slots)]
    choosers: list[tuple[str, Chooser, list[tuple[int, float]]]] = [
        ("ras-runner's scheduler", Scheduler(), whole),
        ("first come, first served", FirstCome(), apart),
        ("round robin", RoundRobin(), apart),
    ]
    return [
        (name, Play(PoolWorld(work, expected, workers), chooser).run().makespan) for name, chooser, workers in choosers
    ]


@dataclass(frozen=True, slots=True)
class Study:
    """Two projects, and what their plans take."""

    folders: tuple[Path, ...]
    #: ``Upper.p01`` -> seconds at speed 1.
    seconds: Mapping[str, float]
    #: The same, by the size of the plan.
    guessed: Mapping[str, float]


def make_study(folder: Path) -> Study:
    """Projects whose plans have simulation windows in proportion to what they take, give or take."""
    dice = random.Random(SEED)
    seconds, guessed, folders = {}, {}, []
    for name in PROJECTS:
        made = make_project(folder / name).parent
        with (made / "Muncie.g04").open("a", encoding="latin-1", newline="") as geometry:
            geometry.write("Storage Area 2D Points=1000\r\n")  # the size of a plan counts them
        for path in made.glob("Muncie.*"):
            path.rename(made / (name + path.name.removeprefix("Muncie")))
        for number in PLANS[:PLANS_EACH]:
            plan = f"{name}.p{number}"
            guessed[plan] = MEDIAN * dice.lognormvariate(0.0, SIGMA)
            seconds[plan] = guessed[plan] * dice.lognormvariate(0.0, ERROR)
            _lasts(made / plan, round(guessed[plan] * _MINUTES))
        folders.append(made)
    return Study(tuple(folders), seconds, guessed)


def _lasts(plan: Path, minutes: int) -> None:
    text = plan.read_bytes().decode("latin-1")
    old = next(line for line in text.splitlines() if line.startswith("Simulation Date="))
    days, rest = divmod(minutes, 24 * 60)
    end = f"{2 + days:02d}JAN1900,{rest // 60:02d}{rest % 60:02d}"
    plan.write_bytes(text.replace(old, f"Simulation Date=02JAN1900,0000,{end}").encode("latin-1"))


@dataclass
class Pool:
    """The workers, each with an engine that is as fast as it."""

    folder: Path
    study: Study

    def __post_init__(self) -> None:
        self.results = self.folder / "results.hdf"
        write_results(self.results, 0)

    def inventory(self, stack: ExitStack) -> Path:
        """Start the daemons; the inventory of all workers."""
        tables = {one.kind: self._table(one) for one in POOL}
        engines = {kind: self._engine(kind, text, self.results) for kind, text in tables.items()}
        daemon = stack.enter_context(places.docker(self.folder))
        inside = self._engine("inside", Path("/times"), Path("/results.hdf"))
        engine_image(
            daemon, "bench-pool", inside.read_bytes(), {"times": tables["docker"], "results.hdf": self.results}
        )
        sshd = stack.enter_context(places.ssh(self.folder))
        cluster = stack.enter_context(places.slurm(self.folder))
        given: dict[str, dict[str, Any]] = {
            "local": {"engine": "hecras-windows", "ras_exe_path": str(engines["local"])},
            "docker": daemon.parameters(self.folder, docker_image="bench-pool"),
            "ssh": sshd.parameters(self.folder, standin_command=quote(str(engines["ssh"]))),
            "slurm": cluster.parameters(self.folder, standin_command=quote(str(engines["slurm"]))),
        }
        groups = {}
        for one in POOL:
            slots = "max_parallel_plans" if one.kind == "slurm" else "cores_total"
            folder = str(self.folder / f"worker-{one.kind}")
            parameters = {**given[one.kind], "worker_folder": folder, slots: one.slots, "cores_per_plan": 1}
            host = {f"ras_{name}": value for name, value in parameters.items()}
            groups[one.group] = {"hosts": {one.kind: host}}
        path = self.folder / "inventory.yml"
        path.write_text(json.dumps(groups), encoding="utf-8")
        return path

    def _table(self, one: Machine) -> Path:
        path = self.folder / f"times-{one.kind}"
        lines = (f"{plan} {seconds / one.speed:.3f}\n" for plan, seconds in self.study.seconds.items())
        path.write_text("".join(lines), encoding="ascii")
        return path

    def _engine(self, name: str, times: Path, results: Path) -> Path:
        """A program that takes ``-c A.prj A.p01`` as well as ``compute A.prj A.p01``."""
        program = self.folder / f"engine-{name}" / "Ras.exe"
        program.parent.mkdir()
        lines = [
            "#!/bin/sh",
            f's=$(sed -n "s/^$3 //p" {times}) && [ "$s" ] && sleep "$s" && exec cp {results} "$3.hdf"',
        ]
        program.write_text("\n".join(lines) + "\n", encoding="utf-8")
        program.chmod(0o755)
        return program


@dataclass(frozen=True, slots=True)
class Run:
    """A campaign on the pool.

    Attributes:
        succeeded: plans that have their results.
        command: seconds of the whole command, from its start to its end.
        between: seconds from the first attempt that was made to the end of the last.
        cpu: CPU seconds of the command.
        attempts: worker -> for each attempt, seconds from its being made to its end, and those that its engine slept.
    """

    succeeded: int
    command: float
    between: float
    cpu: float
    attempts: Mapping[str, Sequence[tuple[float, float]]]

    def share(self, one: Machine) -> str:
        """How much of the time of a worker's slots a plan was there, and how much of it its engine ran."""
        times = self.attempts.get(one.kind, ())
        whole, slept = sum(time for time, _ in times), sum(time for _, time in times)
        return f"{whole / (one.slots * self.between):.0%} ({slept / (one.slots * self.between):.0%})"

    def added(self, one: Machine) -> float:
        """Median of the seconds that a plan was on a worker without its engine."""
        return median([whole - slept for whole, slept in self.attempts.get(one.kind, ())] or [0.0])


def campaign(study: Study, folder: Path, inventory: Path) -> Run:
    """Compute all plans, whether they are current or not.

    Raises:
        MeasureError: the command failed.
    """
    state = folder / "state"
    command = [sys.executable, "-m", "ras_runner", "execute", *map(str, study.folders), "--force", "--json"]
    options = ["--plans", ",".join(PLANS[:PLANS_EACH]), "-i", str(inventory), "--state-dir", str(state)]
    cost = spent([*command, *options], folder / "log")
    with contextlib.closing(sqlite3.connect(state / "journal.sqlite")) as db:
        latest = "(SELECT id FROM campaigns ORDER BY created DESC LIMIT 1)"
        rows = db.execute(
            f"SELECT worker, plan, created, ended, outcome FROM attempts WHERE campaign = {latest}"
        ).fetchall()
    speed = {one.kind: one.speed for one in POOL}
    attempts: dict[str, list[tuple[float, float]]] = {}
    for worker, plan, created, ended, outcome in rows:
        if outcome == "completed":
            attempts.setdefault(worker, []).append((ended - created, study.seconds[plan] / speed[worker]))
    between = max(row[3] for row in rows) - min(row[2] for row in rows)
    return Run(sum(map(len, attempts.values())), cost.near.wall, between, cost.near.cpu, attempts)


def document(study: Study, runs: Mapping[str, Run]) -> str:
    """Its part of docs/benchmarks.md."""
    work = list(study.seconds.values())
    bound = lower_bound(work, POOL)
    rows = [
        (name, f"{run.succeeded} / {len(work)}", f"{run.between / bound:.3f}", f"{run.command / bound:.3f}")
        for name, run in runs.items()
    ]
    for name, makespan in without_overhead(work, list(study.guessed.values())):
        rows.append((f"{name}, computed, nothing costs time", "-", f"{makespan / bound:.3f}", "-"))
    who = table(("who", "succeeded", "makespan / bound", "whole command / bound"), rows)
    head = ("worker", "slots", "speed", *(f"plans, {name}" for name in runs), *(f"in use, {name}" for name in runs))
    workers = [
        (
            one.kind,
            str(one.slots),
            f"{one.speed:g}",
            *(str(len(run.attempts.get(one.kind, ()))) for run in runs.values()),
            *(run.share(one) for run in runs.values()),
            ", ".join(f"{run.added(one):.2f} s" for run in runs.values()),
        )
        for one in POOL
    ]
    return "\n\n".join(["## A mixed pool", _NOTE, who, table((*head, "added to a plan"), workers)])


_COUNT = len(PROJECTS) * PLANS_EACH
_NOTE = f"""{_COUNT} plans of {len(PROJECTS)} projects (`ras-runner execute A B`) on four real workers at once:
this machine, a dockerd, an sshd, and a Slurm cluster of two nodes with two cores each, all on the cores of one machine.
So the engine does not compute, it sleeps: for as long as its plan takes (lognormal, median {MEDIAN:g} s,
sigma {SIGMA:g}, seed {SEED}) over the speed of its worker, which nobody tells the scheduler. In the first run the
scheduler knows the plans' sizes (simulation window times cells), which are off what they take by {ERROR:.0%} (sigma);
in the second it knows how long each took in the first, on whatever worker. `max_parallel_plans` of the Slurm worker is
its number of cores: with its default of 200 all plans would go into Slurm's queue.

The bound is max(total work / total speed, longest plan on the fastest worker). Makespan: from the first attempt that is
made to the end of the last, by the journal; the whole command also starts, reads the projects and reaches the workers.
"Computed": the same plans on the same slots on the virtual clock of `tests/simulate`, where only engines take time. Its
scheduler is the one of the real runs, and is told the sizes as seconds at speed 1.

In use: how much of the time of its slots a plan was there, and (in brackets) how much of it its engine ran. Added to a
plan: seconds from the making of its attempt to the end, less those that its engine slept (median): staging, launch, the
wait for the next look, verifying, publishing. It does not grow with the plan, but with the load of the machine."""


def main() -> int:
    """Measure; 2 with the reason when it cannot be."""
    try:
        become_subreaper()
        with places.short_folder() as folder:
            study = make_study(folder)
            pool = Pool(folder, study)
            with ExitStack() as stack:
                inventory = pool.inventory(stack)
                runs = {name: campaign(study, folder, inventory) for name in ("first run", "second run")}
            print(document(study, runs))
    except (MeasureError, *places.UNAVAILABLE) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
