"""The benchmark itself works: its self-check holds, ten plans are computed, their rerun stages nothing; and where it
could lie: the bound, the parts of the page.
"""

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


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the bench import each other by their names alone."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "bench"))


@pytest.mark.usefixtures("bench")
def test_a_part_that_is_measured_anew_leaves_the_others_as_they_are():
    from page import with_part

    order = ("one", "two", "three")
    page = with_part("# An older page\n", order, "three", "## Three\n\n| 3 |")
    page = with_part(page, order, "one", "## One")
    both = with_part(page, order, "two", "## Two\n\ntext\n\n")
    assert [line for line in both.splitlines() if line.startswith("## ")] == ["## One", "## Two", "## Three"]
    assert "older" not in both
    again = with_part(both, order, "two", "## Two, again")
    assert again == both.replace("## Two\n\ntext", "## Two, again")
    assert with_part(again, order, "two", "## Two\n\ntext") == both


@pytest.mark.usefixtures("bench")
@pytest.mark.skipif(sys.platform != "linux", reason="the bench's places are on Linux")
def test_the_bound_of_the_pool_is_the_slots_or_the_longest_plan():
    from pool import Machine, lower_bound

    slow, fast = Machine("a", "a", 2, 1.0), Machine("b", "b", 1, 2.0)
    assert lower_bound([8.0] * 10, [slow, fast]) == 80.0 / 4.0
    assert lower_bound([2.0, 60.0], [slow, fast]) == 60.0 / 2.0


@pytest.mark.usefixtures("bench")
@pytest.mark.skipif(sys.platform != "linux", reason="the bench's places are on Linux")
def test_without_overhead_no_way_to_give_plans_out_is_below_the_bound():
    from pool import POOL, lower_bound, without_overhead

    work = [float(1 + number % 7) for number in range(60)]
    made = dict(without_overhead(work, work))
    assert set(made) == {"ras-runner's scheduler", "first come, first served", "round robin"}
    assert all(makespan >= lower_bound(work, POOL) for makespan in made.values())
    assert made["ras-runner's scheduler"] <= made["round robin"]
