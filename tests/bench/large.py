"""A campaign of 10,000 plans of many projects, run to its end; and one that is killed in the middle, and resumed.

The engine takes no time, the worker is this machine. ``python tests/bench/large.py`` prints the section of
docs/benchmarks.md, about six minutes; ``--plans N`` tries it with fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from measure import MeasureError
from page import table, targets
from setting import PLANS, ROOT, build_engine

from ras_runner.hecras.example import write_example_project

SLOTS = 4
_LOOK = 0.2
_LIMIT = 1800.0
_MB = 1e6
#: CPU a plan may be so much dearer in the last tenth than in the first: load alone makes it vary by a fifth here.
_FLAT = 1.25


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds that a command took, and what it printed."""

    wall: float
    cpu: float
    bytes: int

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.cpu:.2f} CPU s)"


@dataclass
class Campaign:
    """What was seen of a controller, from outside.

    Attributes:
        begun: unix time when it was started.
        first: seconds until the first plan started.
        over: plans that were over -> (seconds, CPU seconds of the controller) when that was first seen.
        memory: peak resident memory, bytes.
        files: most open files.
        threads: most threads.
        cpu: CPU seconds of the controller and of what it waited for, until now.
        wall: seconds until now.
    """

    begun: float
    first: float = 0.0
    over: dict[int, tuple[float, float]] = field(default_factory=dict)
    memory: int = 0
    files: int = 0
    threads: int = 0
    cpu: float = 0.0
    wall: float = 0.0

    def plan_cost(self, low: int, high: int) -> float:
        """CPU seconds a plan of the controller, from ``low`` to ``high`` plans that are over."""
        (begin, before), (end, after) = (min((n, self.over[n][1]) for n in self.over if n >= at) for at in (low, high))
        return (after - before) / (end - begin)


@dataclass(frozen=True)
class Place:
    """Projects, a worker and a state folder below one folder."""

    folder: Path
    plans: int

    @property
    def tree(self) -> Path:
        """The projects."""
        return self.folder / "projects"

    def make(self) -> None:
        """Write the projects, 99 plans each, all alike, and an inventory with the engine that takes no time."""
        for first in range(0, self.plans, len(PLANS)):
            _write_project(self.tree / f"P{first // len(PLANS):04}", min(len(PLANS), self.plans - first))
        engine = build_engine(self.folder / "engine")
        engine.results(0)
        host = {
            "ras_engine": "hecras-windows",
            "ras_exe_path": str(engine.ras_exe),
            "ras_cores_total": SLOTS,
            "ras_cores_per_plan": 1,
            "ras_worker_folder": str(self.folder / "worker"),
        }
        inventory = {"local": {"hosts": {"here": host}}}
        (self.folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """A ``ras-runner`` command."""
        return [sys.executable, "-m", "ras_runner", *arguments, "--state-dir", str(self.folder / "state")]

    def execute(self, *options: str) -> list[str]:
        """``ras-runner execute`` of all projects."""
        return self.command(
            "execute", str(self.tree), "-i", str(self.folder / "inventory.yml"), "--num-cores", "1", "--json", *options
        )

    def took(self, *arguments: str) -> Took:
        """Run a command; the median of three by wall time.

        Raises:
            MeasureError: it failed.
        """
        return sorted((self._took(arguments) for _ in range(3)), key=lambda took: took.wall)[1]

    def _took(self, arguments: Sequence[str]) -> Took:
        out = self.folder / "out"
        begun = time.monotonic()
        with out.open("wb") as stream:
            child = subprocess.Popen(self.command(*arguments), stdout=stream, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise MeasureError(f"ras-runner {' '.join(arguments)} ended with {child.returncode}")
        return Took(time.monotonic() - begun, usage.ru_utime + usage.ru_stime, out.stat().st_size)

    @contextmanager
    def controller(self, command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], Campaign]]:
        """Start a controller; it is killed at the end, if it has not ended."""
        with (self.folder / "log").open("wb") as log, (self.folder / "results.json").open("wb") as out:
            seen = Campaign(time.time())
            process = subprocess.Popen(command, stdout=out, stderr=log)
        try:
            yield process, seen
        finally:
            process.kill()
            process.wait()

    def follow(
        self, process: subprocess.Popen[bytes], seen: Campaign, until: Callable[[], bool] = lambda: False
    ) -> None:
        """Look at a controller until it ends, or until something is true.

        Raises:
            MeasureError: it failed, or takes too long.
        """
        look = psutil.Process(process.pid)
        while process.poll() is None and not until():
            time.sleep(_LOOK)
            seen.wall = time.time() - seen.begun
            if seen.wall > _LIMIT:
                raise MeasureError(f"not done after {_LIMIT:.0f} s; {max(seen.over, default=0)} plans are over")
            try:
                times, status = look.cpu_times(), Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
                seen.files = max(seen.files, look.num_fds())
                seen.threads = max(seen.threads, look.num_threads())
            except (psutil.Error, OSError):  # it ends just now
                continue
            if "VmHWM:" not in status:
                continue
            seen.cpu = times.user + times.system + times.children_user + times.children_system
            seen.memory = int(status.partition("VmHWM:")[2].split()[0]) * 1024
            self._note_progress(seen, times.user + times.system)
        if process.poll() not in (None, 0):
            said = (self.folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise MeasureError(f"ras-runner ended with {process.returncode}: {said[-1] if said else 'it said nothing'}")

    def _note_progress(self, seen: Campaign, cpu: float) -> None:
        journal = self.folder / "state" / "journal.sqlite"
        if not journal.exists():
            return
        latest = "SELECT id FROM campaigns ORDER BY created DESC, rowid DESC LIMIT 1"
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as db:
            try:
                over = f"SELECT COUNT(*) FROM tasks WHERE campaign = ({latest}) AND outcome IS NOT NULL"
                [count] = db.execute(over).fetchone()
                started = f"SELECT MIN(created) FROM attempts WHERE campaign = ({latest}) AND created > ?"
                [first] = db.execute(started, (seen.begun,)).fetchone()
            except sqlite3.OperationalError:  # its tables are being made
                return
        if first is not None:
            seen.first = seen.first or first - seen.begun
            seen.over.setdefault(count, (seen.wall, cpu))


def _write_project(folder: Path, plans: int) -> None:
    """The example project with one plan, and copies of that."""
    prj = write_example_project(folder, folder.name, plans=1)
    for number in PLANS[1:plans]:
        shutil.copyfile(prj.with_suffix(".p01"), prj.with_suffix(f".p{number}"))
    text = prj.read_bytes().decode("latin-1")
    listed = "\r\n".join(f"Plan File=p{number}" for number in PLANS[:plans])
    prj.write_bytes(text.replace("Plan File=p01", listed).encode("latin-1"))


@dataclass(frozen=True)
class Found:
    """Everything that the section says."""

    plans: int
    whole: Campaign
    resumed: Campaign
    middle: Took
    end: Took
    results: Took
    report: Took
    report_bytes: int
    journal_bytes: int


def measure(folder: Path, plans: int) -> Found:
    """Run the campaigns.

    Raises:
        MeasureError: something failed, or not all plans completed.
    """
    place = Place(folder, plans)
    place.make()
    with place.controller(place.execute()) as (process, whole):
        place.follow(process, whole, lambda: max(whole.over, default=0) >= plans // 2)
        middle = place.took("status")
        place.follow(process, whole)
    outcomes = [row["outcome"] for row in json.loads((folder / "results.json").read_text(encoding="utf-8"))]
    if outcomes != ["completed"] * plans:
        raise MeasureError(f"{outcomes.count('completed')} of {plans} plans completed")
    journal = sum(path.stat().st_size for path in (folder / "state").glob("journal.sqlite*"))
    end, results, report = place.took("status"), place.took("results", "--json"), place._took(("report",))
    [page] = (folder / "state" / "reports").glob("*/index.html")
    with place.controller(place.execute("--force")) as (process, killed):
        place.follow(process, killed, lambda: max(killed.over, default=0) >= plans // 2)
    with place.controller(place.command("resume", "--json")) as (process, resumed):
        place.follow(process, resumed, lambda: resumed.first > 0)
    return Found(plans, whole, resumed, middle, end, results, report, page.stat().st_size, journal)


def section(found: Found) -> str:
    """The section of docs/benchmarks.md."""
    whole, plans = found.whole, found.plans
    tenth = plans // 10
    early, late = whole.plan_cost(1, tenth), whole.plan_cost(plans - tenth, max(whole.over))
    judged = [
        ("the first plan starts within 10 s", f"{whole.first:.1f} s", whole.first < 10),
        (
            "memory of the controller stays below 500 MB, to the end",
            f"{whole.memory / _MB:.0f} MB",
            whole.memory < 500 * _MB,
        ),
        ("`status` within 1 s, in the middle", str(found.middle), found.middle.wall < 1),
        ("`status` within 1 s, at the end", str(found.end), found.end.wall < 1),
        (
            f"CPU a plan does not rise (at most {_FLAT} times)",
            f"{1000 * early:.1f} ms in the first tenth, {1000 * late:.1f} ms in the last",
            late <= _FLAT * early,
        ),
        (
            "after `kill -9` in the middle, `resume` starts a plan within 10 s",
            f"{found.resumed.first:.1f} s",
            found.resumed.first < 10,
        ),
    ]
    others = [
        ("whole campaign", f"{whole.wall:.0f} s, {whole.cpu:.0f} CPU s of the controller and what it waits for"),
        ("open files and threads of the controller, at most", f"{whole.files} and {whole.threads}"),
        ("journal", f"{found.journal_bytes / _MB:.0f} MB"),
        ("`results --json`", f"{found.results}, {found.results.bytes / _MB:.1f} MB"),
        ("`report`", f"{found.report}, {found.report_bytes / _MB:.1f} MB"),
    ]
    return "\n".join(
        [
            f"## A campaign of {plans:,} plans",
            "",
            f"{-(-plans // len(PLANS))} projects on {SLOTS} slots of this machine, with the engine that takes no time,",
            "from `ras-runner execute` to its last line; then again with `--force`, killed in the middle, and resumed.",
            "Made by `tests/bench/large.py`.",
            "",
            targets(judged),
            "",
            table(("", "found"), others),
            "",
            "A plan's CPU is the controller's own; the engine's and its script's are not in it. With a local worker it",
            "rises with the number of processes on the machine, which are looked through for those of a plan.",
        ]
    )


def main() -> int:
    """Measure and print; 0 when it could be done, 2 with the reason when it could not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=10_000)
    (ROOT / ".bench").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="large-", dir=ROOT / ".bench"))
    try:
        print(section(measure(folder, parser.parse_args().plans)))
    except MeasureError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
