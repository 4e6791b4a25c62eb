"""Measures the PsExec worker on a simulated Windows host whose own side costs next to nothing; prints its part.

Needs root, Samba and smbclient (tests/install-services.sh windows). The host is a real smbd; its service manager and
PAExec run in this process and are not counted; its engine is this process too: it copies a finished result at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from measure import Cost, MeasureError, last_line  # noqa: E402
from pydantic import SecretStr  # noqa: E402
from setting import make_project, write_results  # noqa: E402
from tests.simulators.windows_host.host import PASSWORD_VARIABLE, SHARE, WindowsHost, plain_host  # noqa: E402
from tests.simulators.windows_host.smbd import PASSWORD, USER, SambaUnavailable  # noqa: E402

from ras_runner.hashing import hash_file  # noqa: E402
from ras_runner.transports.base import Upload  # noqa: E402
from ras_runner.transports.smb import SmbFiles  # noqa: E402
from ras_runner.transports.smb_login import SmbLogin  # noqa: E402

_PLANS = 20
_TRANSFER = 50_000_000
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        wall, cpu: seconds for one plan more, in one slot: of a campaign of 20, without what one that has nothing to do
            takes.
        start_wall, start_cpu: seconds of a campaign that finds all its results current.
        first, others: bytes that travelled for the first plan, and at most for any other.
        together: of 8 plans in 8 slots: how many succeeded, how many starts there were, the seconds in all.
        ours, theirs: MB/s of 50 MB sent by us and by smbclient, medians.
    """

    wall: float
    cpu: float
    start_wall: float
    start_cpu: float
    first: int
    others: int
    together: tuple[int, int, float]
    ours: float
    theirs: float

    def lines(self) -> list[str]:
        """As a section of docs/benchmarks.md."""
        succeeded, starts, seconds = self.together
        return [
            "## Windows hosts (PsExec worker, simulated host)",
            "",
            "| what | measured | wanted |",
            "|---|---|---|",
            f"| overhead of one plan more (engine 0 s; {_PLANS} plans, one slot), wall | {self.wall:.2f} s | < 1.0 s |",
            f"| the same, CPU of the controller | {self.cpu:.3f} s | < 0.15 s |",
            f"| a campaign that finds {_PLANS} results current: wall, CPU | {self.start_wall:.2f} s, "
            f"{self.start_cpu:.2f} s | |",
            f"| bytes that travel for the first plan of a project; for each other one at most "
            f"| {self.first:,}; {self.others:,} | its own files |",
            f"| 8 plans at once: succeeded, runs started, seconds in all | {succeeded}, {starts}, {seconds:.1f} s "
            "| 8, 8 |",
            f"| 50 MB over SMB: ours (encrypted, hashed, flushed to disk), smbclient (signed) | {self.ours:.0f}, "
            f"{self.theirs:.0f} MB/s: {self.ours / self.theirs:.0%} | 70 % |",
            "",
            "By `tests/bench/windows.py`. The host is a real smbd on loopback; its service manager and PAExec are the",
            "tests' simulator, its engine copies a 9 KB result at once: what is measured is the controller and SMB.",
            "A real host adds the start of PAExec, of cmd.exe and of PowerShell (once a plan of HEC-RAS).",
        ]


def play(results: Path):
    """An engine that takes no time: it leaves a finished result of the plan that run.cmd names."""

    def played(folder: Path) -> None:
        (folder / "claim").mkdir()
        match = re.search(r'"([^"]+)\.prj" "\1\.p(\d\d)"', (folder / "run.cmd").read_text("ascii"))
        assert match is not None
        shutil.copyfile(results, folder / "p" / f"{match[1]}.p{match[2]}.hdf")
        (folder / "exit.json").write_text('{"exit_code": 0}', encoding="ascii")

    return played


def controller(command: list[str], log: Path) -> Cost:
    """Run the controller; nothing that it starts runs on this machine."""
    begun = time.monotonic()
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(child.pid, 0)
    cpu = usage.ru_utime + usage.ru_stime
    child.returncode = os.waitstatus_to_exitcode(status)
    return Cost(cpu, cpu, time.monotonic() - begun, child.returncode)


def campaign(host: WindowsHost, home: Path, name: str, plans: int, slots: int):
    """Run a campaign; its cost, and the bytes that travelled for each attempt."""
    project = home / name
    if not project.exists():
        make_project(project)
    host_variables = host.parameters(
        host.share / name, engine="hecras-windows", ras_exe_path=r"C:\HEC\6.6\Ras.exe", cores_total=slots
    )
    del host_variables["standin_command"]
    variables = {f"ras_{key}": value for key, value in host_variables.items()}
    inventory = home / f"{name}.yml"
    inventory.write_text(json.dumps({"windows_workers": {"hosts": {"pc": variables}}}), encoding="utf-8")
    numbers = ",".join(str(number) for number in range(1, plans + 1))
    state = home / f"{name}-state"
    command = [sys.executable, "-m", "ras_runner", "execute", str(project), "-i", str(inventory), "--plans", numbers]
    cost = controller([*command, "--state-dir", str(state), "--json"], home / f"{name}.log")
    if cost.exit_code:
        raise MeasureError(f"a campaign ended with {cost.exit_code}: {last_line(home / f'{name}.log')}")
    return cost, state


def staged(state: Path) -> list[int]:
    """Bytes that travelled for each attempt, in their order."""
    import sqlite3

    with sqlite3.connect(state / "journal.sqlite") as journal:
        return [row[0] for row in journal.execute("SELECT staged FROM attempts ORDER BY created")]


def transfers(host: WindowsHost, home: Path) -> tuple[float, float]:
    """MB/s of ours and of smbclient, in turn; medians."""
    source = home / "large"
    source.write_bytes(os.urandom(_TRANSFER))
    digest = hash_file(source)
    login = SmbLogin("127.0.0.1", USER, SecretStr(PASSWORD), host.smbd.port)
    files = SmbFiles(PureWindowsPath(rf"\\127.0.0.1\{SHARE}"), PureWindowsPath(r"C:\RasRemote"), login)
    files.prepare()
    auth = home / "auth"
    auth.write_text(f"username={USER}\npassword={PASSWORD}\n", encoding="ascii")
    ours, theirs = [], []
    for number in range(_ROUNDS):
        begun = time.monotonic()
        files.put([Upload(source, files.root / "store" / "aa" / f"{number}", digest)])
        ours.append(_TRANSFER / 1e6 / (time.monotonic() - begun))
        command = ["smbclient", "-p", str(host.smbd.port), "-A", str(auth), f"//127.0.0.1/{SHARE}"]
        done = subprocess.run(
            [*command, "-c", f"put {source} theirs{number}"], check=True, capture_output=True, text=True
        )
        match = re.search(r"average ([\d.]+) kb/s", done.stdout + done.stderr)
        if match is None:
            raise MeasureError(f"smbclient does not tell its rate: {done.stdout}")
        theirs.append(float(match[1]) * 1024 / 1e6)  # without its start and logon
    return statistics.median(ours), statistics.median(theirs)


def throughput(home: Path, plans: int, slots: int) -> tuple[Cost, int]:
    """A campaign of plans of no work on a simulated host.

    Returns:
        What the controller cost, and how many plans have their results.

    Raises:
        MeasureError: it cannot be measured here.
    """
    home.mkdir()
    results = home / "results.hdf"
    write_results(results, 0)
    try:
        with simulated(home, results) as host:
            cost, _ = campaign(host, home, "many", plans, slots)
    except SambaUnavailable as error:
        raise MeasureError(str(error)) from error
    return cost, len(list((home / "many").glob("Muncie.p??.hdf")))


@contextlib.contextmanager
def simulated(home: Path, results: Path) -> Iterator[WindowsHost]:
    """A host with HEC-RAS, whose runs leave ``results`` at once."""
    with plain_host(home / "host", play(results)) as host:
        os.environ[PASSWORD_VARIABLE] = PASSWORD
        installed = host.smbd.shares["C$"] / "HEC" / "6.6"
        installed.mkdir(parents=True)
        (installed / "Ras.exe").touch()
        yield host


def measure(home: Path) -> Figures:
    """Everything.

    Raises:
        MeasureError: it cannot be measured here.
    """
    results = home / "results.hdf"
    write_results(results, 0)
    try:
        with simulated(home, results) as host:
            one, state = campaign(host, home, "one", _PLANS, 1)
            moved = staged(state)
            time.sleep(3.5)  # a time stamp is trusted when it is a few seconds old
            again, _ = campaign(host, home, "one", _PLANS, 1)
            before = len(host.state.starts)
            eight, state = campaign(host, home, "eight", 8, 8)
            runs = sum("run.cmd" in str(start["arguments"]) for start in host.state.starts[before:])
            ours, theirs = transfers(host, home)
    except SambaUnavailable as error:
        raise MeasureError(str(error)) from error
    together = (len(staged(state)), runs, eight.wall)
    return Figures(
        (one.wall - again.wall) / _PLANS,
        (one.cpu - again.cpu) / _PLANS,
        again.wall,
        again.cpu,
        moved[0],
        max(moved[1:]),
        together,
        ours,
        theirs,
    )


def main() -> int:
    """Measure and print; 2 with the reason when it cannot be."""
    try:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short: socket names end at 108 bytes
            print("\n".join(measure(Path(folder)).lines()))
    except MeasureError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
