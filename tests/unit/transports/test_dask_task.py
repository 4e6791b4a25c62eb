"""What a Dask worker does of an attempt when its guard fails: see tests/dask for the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from ras_runner.transports.base import Probe
from ras_runner.transports.dask import DaskTransport
from ras_runner.transports.dask_task import OVER, STOP, run_attempt

if TYPE_CHECKING:
    from ras_runner.transports.dask_cluster import Cluster


def test_last_word_of_an_attempt_whose_guard_is_lost(tmp_path: Path) -> None:
    (tmp_path / "launch.log").mkdir()  # the guard cannot open it
    run_attempt("0123456789", str(tmp_path), "run.sh", "tcp://127.0.0.1:1")
    said = json.loads((tmp_path / OVER).read_bytes())["reason"]
    assert "its guard was lost, with exit code 1" in said
    assert "launch.log" in (tmp_path / "guard.log").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="runs a script of sh")
def test_guard_ends_in_peace_while_its_dask_worker_lives(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("exit 0\n")
    argv = [sys.executable, "-m", "ras_runner.transports.dask_task", "0123456789", str(tmp_path), "run.sh"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as watching:
        assert watching.wait(60) == 0
    assert json.loads((tmp_path / OVER).read_bytes()) == {"reason": ""}


class NewScheduler:
    """At the old address, without the old tasks and workers."""

    address = "tcp://127.0.0.1:1"

    def going_on(self, keys: list[str]) -> set[str]:
        return set()

    def workers_there(self) -> set[str]:
        return {"tcp://127.0.0.1:3"}


@pytest.mark.skipif(sys.platform == "win32", reason="runs a script of sh")
def test_what_a_lost_dask_worker_still_runs_is_ended(tmp_path: Path) -> None:
    """A new scheduler does not know its worker: the plan goes to another one, and nothing is computed for nobody."""
    folder = tmp_path / "w" / "0123456789"
    folder.mkdir(parents=True)
    (folder / "run.sh").write_text("exec sleep 600\n")
    (folder / "dask.json").write_text('{"worker": "tcp://127.0.0.1:2"}')
    argv = [sys.executable, "-m", "ras_runner.transports.dask_task", "0123456789", str(folder), "run.sh"]
    transport = DaskTransport(cast("Cluster", NewScheduler()), tmp_path, tmp_path)
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as watching:
        transport.poll([Probe("0123456789", folder, "")])  # as a sweep does, which does not know it
        assert not (folder / STOP).exists()
        status = transport.poll([Probe("0123456789", folder, "ras-runner-0123456789")])["0123456789"]
        assert (status.alive, status.note) == (False, "the Dask worker that ran it has gone (tcp://127.0.0.1:2)")
        assert watching.wait(60) == 0
    assert json.loads((folder / OVER).read_bytes()) == {"reason": "stopped"}


def test_last_word_of_an_attempt_whose_guard_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    run_attempt("0123456789", str(tmp_path), "run.sh", "tcp://127.0.0.1:1")
    assert "its guard could not be started" in json.loads((tmp_path / OVER).read_bytes())["reason"]
