"""Runs ``ras-runner`` as a user does: as a program, with a state folder and an inventory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ras_runner import oscalls
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.view import campaign_view
from ras_runner.engines.scripts import HEARTBEAT_SECONDS

#: Nothing here takes longer unless it hangs.
LIMIT = 120.0


def wait_until(condition: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
    """Look until ``condition`` is true and return it; fail when that takes too long."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {limit:.0f} s")


@dataclass
class Runner:
    """``ras-runner`` with its folders below one test's folder.

    Attributes:
        folder: the test's folder.
        slots: of the local worker in its inventory.
        environment: added to the programs' own.
        started: the commands that :meth:`start` started.
        group, variables: of its only host in the inventory; a local worker when left out.
    """

    folder: Path
    slots: int = 2
    environment: dict[str, str] = field(default_factory=dict)
    group: str = "local"
    variables: dict[str, object] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state, self.worker_folder = self.folder / "state", self.folder / "worker"
        self.inventory = self.folder / "inventory.yml"
        host = {
            "ras_engine": "standin",
            "ras_cores_total": self.slots,
            "ras_cores_per_plan": 1,
            "ras_worker_folder": str(self.worker_folder),
            **self.variables,
        }
        self.inventory.write_text(json.dumps({self.group: {"hosts": {"here": host}}}), encoding="utf-8")

    def _command(self, *args: object) -> tuple[list[str], dict[str, str]]:
        env = {**os.environ, "RAS_RUNNER_STATE_DIR": str(self.state), "PYTHONIOENCODING": "utf-8", **self.environment}
        return [sys.executable, "-m", "ras_runner", *map(str, args)], env

    def run(self, *args: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code (None: any)."""
        command, env = self._command(*args)
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", env=env, timeout=LIMIT, cwd=self.folder, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *args: object) -> subprocess.Popen[bytes]:
        """Start a command and go on."""
        command, env = self._command(*args)
        with (self.folder / "started.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd=self.folder)
        self.started.append(process)
        return process

    def start_running(self, count: int, project: Path, *args: object) -> subprocess.Popen[bytes]:
        """Start ``ras-runner execute`` with this inventory, and go on when ``count`` plans run."""
        process = self.start("execute", project, "-i", self.inventory, *args)
        wait_until(lambda: self._running() >= count, f"{count} plans run")
        return process

    def leave_running(self, count: int, project: Path, *args: object) -> None:
        """The same, and then kill the controller: its plans go on without it."""
        process = self.start_running(count, project, *args)
        process.kill()
        process.wait()

    def execute(self, project: Path, *args: object, code: int | None = 0) -> list[dict[str, Any]]:
        """``ras-runner execute --json`` with this inventory: the list of results."""
        done = self.run("execute", project, "-i", self.inventory, "--json", *args, code=code)
        return json.loads(done.stdout)

    def json(self, *args: object, code: int | None = 0) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.run(*args, "--json", code=code).stdout)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """The plans of the latest campaign by number, as ``status`` has them; empty before there is one."""
        done = self.run("status", "--json", code=None)
        return {task["plan_number"]: task for task in json.loads(done.stdout)["tasks"]} if done.returncode == 0 else {}

    def _running(self) -> int:
        """How many plans of the latest campaign run, by the journal: a command would take as long as a short plan."""
        with contextlib.closing(Journal(self.state)) as journal:
            latest = journal.row("SELECT id FROM campaigns ORDER BY created DESC LIMIT 1")
            return sum(task.state == "running" for task in campaign_view(journal, latest["id"]).tasks) if latest else 0

    def engines(self) -> list[psutil.Process]:
        """The engine processes that run below this test's worker folder."""
        return [process for process, _ in self._engines()]

    def engine_attempts(self) -> set[str]:
        """The attempts that they belong to."""
        return {attempt for _, attempt in self._engines()}

    def _engines(self) -> Iterator[tuple[psutil.Process, str]]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                attempt = process.environ().get(oscalls.ATTEMPT_VARIABLE)
                if attempt and str(self.worker_folder) in process.cwd():
                    yield process, attempt

    def check_no_engine_runs(self) -> None:
        """Nothing of any attempt runs; what just ended gets a moment, less than a forgotten heartbeat would stay."""
        wait_until(lambda: not self.engines(), "no process of an attempt runs", HEARTBEAT_SECONDS / 2)

    def attempts(self) -> list[dict[str, Any]]:
        """All attempts in the journal, oldest first."""
        journal = Journal(self.state)
        rows = [dict(row) for row in journal.rows("SELECT * FROM attempts ORDER BY created")]
        journal.close()
        return rows

    def workspaces(self) -> list[str]:
        """The attempt folders that exist on the worker."""
        folder = self.worker_folder / "w"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    def stop_engines(self) -> None:
        """End what a test left running: controllers first, lest they start anew what is ended."""
        for started in self.started:
            started.kill()
            started.wait()
        for process in self.engines():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
