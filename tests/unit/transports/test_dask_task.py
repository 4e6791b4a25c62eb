"""What a Dask worker does of an attempt when its guard fails: see tests/dask for the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ras_runner.transports.dask_task import OVER, run_attempt


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


def test_last_word_of_an_attempt_whose_guard_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    run_attempt("0123456789", str(tmp_path), "run.sh", "tcp://127.0.0.1:1")
    assert "its guard could not be started" in json.loads((tmp_path / OVER).read_bytes())["reason"]
