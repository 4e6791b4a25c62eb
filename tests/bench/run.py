"""What the runner itself costs, beside its closest peer: writes docs/benchmarks.md. `make bench`; about twenty minutes.

The engine takes no time, so that all of the measured time is the runner's. See ``setting.py`` for what is measured on,
``measure.py`` for how. ``--quick`` measures ten plans without the peer, and writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import MeasureError, become_subreaper, check_method, measured, tree_bytes
from report import Figures, document
from rows import Case, Row
from setting import PLANS, ROOT, Engine, build_engine, install_peer, make_project

LARGE = 5_000_000
OURS, PEER = "ras-runner", "ras-commander"
OUR_CASES = (
    Case(OURS, 1, 10),
    Case(OURS, 1, 20),
    Case(OURS, 1, 99),
    Case(OURS, 4, 10),
    Case(OURS, 4, 99, rerun=True),
    Case(OURS, 4, 60, LARGE),
)
#: One slot with 10 plans only: 99 would take the peer two minutes more.
PEER_CASES = (
    Case(PEER, 1, 10, rerun=True),
    Case(PEER, 4, 10),
    Case(PEER, 4, 99),
    Case(PEER, 4, 60, LARGE),
)
QUICK_CASES = (Case(OURS, 4, 10, rerun=True),)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are.

    Attributes:
        folder: temporary, removed at the end.
        engine: takes no time.
        pythons: the Python that has the package, by tool; a tool without one could not be installed.
    """

    folder: Path
    engine: Engine
    pythons: dict[str, Path]

    def run(self, case: Case) -> list[Row]:
        """Measure a case on a fresh project, and its rerun if it has one.

        Raises:
            MeasureError: the tool failed as a whole.
        """
        home = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            self.engine.results(case.result_size)
            project = make_project(home / "project")
            rows = [self._measure(case, project, home, rerun=False)]
            if case.rerun:
                time.sleep(3.5)  # both trust a file's time stamp only when it is a few seconds old
                rows.append(self._measure(case, project, home, rerun=True))
            return rows
        finally:
            shutil.rmtree(home)

    def _measure(self, case: Case, project: Path, home: Path, *, rerun: bool) -> Row:
        worker_folder, answer = home / "worker", home / "answer.json"
        worker_folder.mkdir(exist_ok=True)
        before = tree_bytes(worker_folder)
        self.engine.workspaces()
        worker = {"worker_folder": str(worker_folder), "cores_total": case.slots, "cores_per_plan": 1}
        own = {"engine": "hecras-windows", "ras_exe_path": str(self.engine.ras_exe)} if case.tool == OURS else {}
        job = {
            "package": case.tool.replace("-", "_"),
            "project": str(project.parent),
            "ras_exe": str(self.engine.ras_exe),
            "worker": ["local", {**worker, **own}],
            "state_dir": str(home / "state"),
            "plans": PLANS[: case.plans],
            "autoclean": not rerun,  # what a rerun stages is looked at afterwards, as no engine is there to see it
            "answer": str(answer),
        }
        drive = Path(__file__).with_name("drive.py")
        cost = measured([str(self.pythons[case.tool]), str(drive), json.dumps(job)], home / "log")
        if cost.exit_code != 0:
            raise MeasureError(f"{case.tool} ended with {cost.exit_code}: {last_line(home / 'log')}")
        said = json.loads(answer.read_text(encoding="utf-8"))
        workspaces = self.engine.workspaces()
        return Row(
            case,
            cost,
            rerun=rerun,
            succeeded=said["succeeded"],
            error=first_error(said["errors"], home),
            engine_runs=len(workspaces),
            staged=sum(workspaces) + tree_bytes(worker_folder) - before,
            travelled=travelled(home / "state" / "journal.sqlite"),
            peak_memory=said["peak_memory"],
        )

    def engine_alone(self, plans: int) -> float:
        """CPU seconds a plan of the engine, started by a shell."""
        project = make_project(self.folder / "alone")
        loop = 'for plan in "$@"; do "$0" -c Muncie.prj "Muncie.p$plan" || exit 1; done'
        script = f"cd '{project.parent}' && {loop}"
        self.engine.results(0)
        cost = measured(["/bin/sh", "-c", script, str(self.engine.ras_exe), *PLANS[:plans]], self.folder / "alone.log")
        if cost.exit_code != 0:
            raise MeasureError(f"the engine failed: {last_line(self.folder / 'alone.log')}")
        return cost.cpu / plans

    def help_times(self, count: int = 10) -> tuple[float, float]:
        """Median wall and CPU seconds of ``ras-runner --help``."""
        command = [str(self.pythons[OURS]), "-m", "ras_runner", "--help"]
        costs = [measured(command, self.folder / "help.log") for _ in range(count)]
        if any(cost.exit_code for cost in costs):
            raise MeasureError(f"ras-runner --help failed: {last_line(self.folder / 'help.log')}")
        return statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs)


def travelled(journal: Path) -> int | None:
    """Bytes that had to travel to the worker in the latest campaign, by our journal; None where there is none."""
    if not journal.exists():
        return None
    latest = "SELECT id FROM campaigns ORDER BY created DESC LIMIT 1"
    with contextlib.closing(sqlite3.connect(journal)) as db:
        return db.execute(f"SELECT COALESCE(SUM(staged), 0) FROM attempts WHERE campaign = ({latest})").fetchone()[0]


def last_line(log: Path) -> str:
    """The last line that a program wrote."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def first_error(messages: Sequence[str], home: Path) -> str:
    """Why the first failed plan failed: by the tool's message, or by its log where that says ``None``."""
    if not messages:
        return ""
    if messages[0] != "None":
        return messages[0]
    lines = (home / "log").read_text(encoding="utf-8", errors="replace").replace(f"{home}/", "").splitlines()
    logged = next((line for line in lines if re.search(" - (ERROR|CRITICAL) - ", line)), messages[0])
    return f"message None; in its log: {re.split(' - (?:ERROR|CRITICAL) - ', logged)[-1]}"


def measure_all(bench: Bench, cases: Sequence[Case], missing: dict[str, str]) -> list[Row]:
    """All cases; a tool that fails is noted in ``missing`` with the reason, and the others go on."""
    rows = []
    for case in cases:
        if case.tool in missing:
            continue
        try:
            rows += bench.run(case)
        except MeasureError as error:
            if case.tool == OURS:
                raise
            missing[case.tool] = str(error)
            continue
        for row in rows[-2 if case.rerun else -1 :]:
            print(f"  {row.summary()}", flush=True)
    return rows


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder below .bench, removed at the end."""
    (ROOT / ".bench").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=ROOT / ".bench"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def measure_remote() -> dict[str, Any]:
    """Docker and SSH workers, and files over SSH."""
    script = Path(__file__).with_name("remote.py")
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def measure_large() -> str:
    """The section of a campaign of 10,000 plans."""
    script = Path(__file__).with_name("large.py")
    return subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout


def quick(bench: Bench) -> int:
    """Ten plans and their rerun; 0 when all is as it must be."""
    first, again = bench.run(QUICK_CASES[0])
    print(first.summary(), again.summary(), sep="\n")
    good = first.succeeded == first.engine_runs == again.succeeded == first.case.plans
    return 0 if good and again.staged == again.engine_runs == 0 else 1


def full(bench: Bench, method: str, remote: dict[str, Any], large: str) -> int:
    """Everything; writes docs/benchmarks.md."""
    missing: dict[str, str] = {}
    try:
        bench.pythons[PEER] = install_peer(ROOT / ".bench" / "peer")
    except MeasureError as error:
        missing[PEER] = str(error)
    rows = measure_all(bench, (*OUR_CASES, *PEER_CASES), missing)
    figures = Figures(rows, method, bench.engine_alone(99), bench.help_times(), missing.get(PEER, ""), remote)
    text = document(figures) + f"\n{large}" + windows_section(bench.folder)
    (ROOT / "docs" / "benchmarks.md").write_text(text, encoding="utf-8", newline="\n")
    print(text)
    return 0


def windows_section(folder: Path) -> str:
    """The figures of Windows hosts, or why there are none."""
    from windows import measure

    try:
        lines = measure(folder)
    except (MeasureError, ImportError) as error:
        return f"\n## Windows hosts\n\nNot measured: {error}\n"
    return "\n" + "\n".join(lines.lines()) + "\n"


def main() -> int:
    """Measure; 0 when it could be done, 2 with the reason when it could not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ten plans, without the peer; writes nothing")
    options = parser.parse_args()
    # before this process takes in what others leave: daemons do not belong to a measurement
    remote = {} if options.quick else measure_remote()
    large = "" if options.quick else measure_large()
    try:
        become_subreaper()
        with temporary_folder() as folder:
            method = check_method(folder / "check.log")
            print(f"self-check: {method}", flush=True)
            bench = Bench(folder, build_engine(folder), {OURS: Path(sys.executable)})
            return quick(bench) if options.quick else full(bench, method, remote, large)
    except MeasureError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
