"""The benchmark itself works: its self-check holds, ten plans are computed, their rerun stages nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUNCIE = ROOT.parent / "shared" / "data" / "muncie"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the bench measures detached processes, which takes Linux")
@pytest.mark.skipif(shutil.which("cc") is None, reason="the bench's engine needs a C compiler (cc)")
@pytest.mark.skipif(not MUNCIE.is_dir(), reason=f"no example data: {MUNCIE}")
def test_quick_bench_measures_ten_plans_and_their_rerun() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "bench" / "run.py"), "--quick"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check, first, again = done.stdout.strip().splitlines()
    assert "a process that detached itself burnt 0.4 CPU s: 0.4" in check
    assert "10 / 10 succeeded, 10 engine runs" in first
    assert "10 / 10 succeeded, 0 engine runs" in again
    assert " 0 bytes staged" in again
