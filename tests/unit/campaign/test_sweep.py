"""What a sweep takes from a worker and what it leaves, by what the journal says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ras_runner.campaign.events import attempt_ended
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.sweep import Kind, Wish, find_leftovers, remove_leftovers
from ras_runner.oscalls import ATTEMPT_VARIABLE
from ras_runner.outcomes import Outcome
from ras_runner.workers.base import Worker
from ras_runner.workers.registry import make_worker

DAY = 86400.0
NAMES = ("unlaunched", "cancelled", "completed", "uncleaned", "kept", "failed", "lost", "running", "unpublished")
STRANGERS = ("0123456789", "aaaaaaaaaa", "notes")
#: What is no folder: a file and, where everybody may make one, a link to a folder.
OTHERS = ("file",) if sys.platform == "win32" else ("file", "bbbbbbbbbb")


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return make_worker("local", {"engine": "standin", "worker_folder": tmp_path / "worker", "cores_total": 1})


@pytest.fixture
def crowd(journal: Journal, worker: Worker) -> Path:
    """Campaign ``c`` with attempts in every state, campaign ``k`` that keeps workspaces, and strangers' folders."""
    head = {"project": "/x/a.prj", "title": "T", "workers": "[]"}
    journal.record("c", "campaign-created", settings="{}", **head)
    journal.record("k", "campaign-created", settings='{"keep_workspaces": true}', **head)
    ends = {
        "unlaunched": Outcome.INFRASTRUCTURE_LOST,
        "cancelled": Outcome.CANCELLED,
        "completed": Outcome.COMPLETED,
        "uncleaned": Outcome.UNSTABLE,
        "kept": Outcome.COMPLETED,
        "failed": Outcome.UNSTABLE,
        "lost": Outcome.INFRASTRUCTURE_LOST,
    }
    for name in NAMES:
        add_attempt(journal, worker, name, ends.get(name))
    journal.record("c", "attempt-unpublished", attempt="unpublished", message="")
    journal.record("c", "attempt-cleaned", attempt="uncleaned")  # it was to go, and is still there
    folder = Path(worker.transport.root) / "w"
    for name in (*NAMES, *STRANGERS):
        (folder / name / "p").mkdir(parents=True)
        (folder / name / "heartbeat").touch()
    for path in ("aaaaaaaaaa/heartbeat", "aaaaaaaaaa/p", "aaaaaaaaaa", "notes/heartbeat", "notes/p", "notes"):
        os.utime(folder / path, (0, time.time() - 2 * DAY))
    (folder / "file").touch()
    if "bbbbbbbbbb" in OTHERS:
        (folder / "bbbbbbbbbb").symlink_to(folder / "failed")
    return folder


def add_attempt(journal: Journal, worker: Worker, name: str, outcome: Outcome | None) -> None:
    campaign = "k" if name == "kept" else "c"
    where = str(worker.attempt_folder(name))
    journal.record(campaign, "attempt-created", attempt=name, plan="01", number=1, worker="w", slot=0, folder=where)
    if name != "unlaunched":
        journal.record(campaign, "attempt-launching", attempt=name, staged=5, tree="p", inputs="i")
        journal.record(campaign, "attempt-launched", attempt=name, native_id="")
    if outcome is not None:
        ended = time.time() - (10 * DAY if name == "failed" else 0)
        journal.record_all(campaign, [attempt_ended(name, outcome, "")], at=ended)


def swept(journal: Journal, worker: Worker, wish: Wish) -> dict[str, str]:
    found = find_leftovers(journal, worker, wish)
    return {item.attempt: item.done for item in remove_leftovers(journal, worker, wish, found)}


def test_what_is_listed(journal: Journal, worker: Worker, crowd: Path):
    found = {item.attempt: (item.kind, item.due) for item in find_leftovers(journal, worker, Wish())}
    over = dict.fromkeys(("unlaunched", "cancelled", "completed", "uncleaned"), (Kind.OVER, True))
    kept = dict.fromkeys(("kept", "failed", "lost"), (Kind.KEPT, False))
    assert found == {**over, **kept, "0123456789": (Kind.UNKNOWN, False), "aaaaaaaaaa": (Kind.UNKNOWN, False)}
    assert {path.name for path in crowd.iterdir()} == {*NAMES, *STRANGERS, *OTHERS}


def test_only_what_is_over_goes(journal: Journal, worker: Worker, crowd: Path):
    done = swept(journal, worker, Wish())
    gone = {"unlaunched", "cancelled", "completed", "uncleaned"}
    assert {name for name, what in done.items() if what == "removed"} == gone
    assert {path.name for path in crowd.iterdir()} == {*NAMES, *STRANGERS, *OTHERS} - gone
    cleaned = {row["id"] for row in journal.rows("SELECT id FROM attempts WHERE cleaned = 1")}
    assert cleaned == gone
    assert not set(swept(journal, worker, Wish())) & gone


def test_kept_workspaces_go_by_their_age_and_strangers_by_theirs(journal: Journal, worker: Worker, crowd: Path):
    assert swept(journal, worker, Wish(kept_days=5))["failed"] == "removed"
    assert (crowd / "lost").is_dir() and (crowd / "kept").is_dir() and (crowd / "aaaaaaaaaa").is_dir()
    done = swept(journal, worker, Wish(kept_days=0, unknown=True))
    assert done == {"lost": "removed", "kept": "removed", "aaaaaaaaaa": "removed", "0123456789": ""}
    assert {path.name for path in crowd.iterdir()} == {
        *("running", "unpublished", "0123456789", "notes", *OTHERS),
    }


def test_a_stranger_that_never_began_may_wait_in_a_queue(journal: Journal, worker: Worker, crowd: Path):
    """Of a Slurm worker that shares the folder, say, in a campaign of somebody else."""
    waits = crowd / "cccccccccc"
    for name, days in (("p", 29), (".", 29)):
        (waits / name).mkdir(parents=True, exist_ok=True)
        os.utime(waits / name, (0, time.time() - days * DAY))
    assert swept(journal, worker, Wish(unknown=True))["cccccccccc"] == ""
    for name in ("p", "."):
        os.utime(waits / name, (0, time.time() - 31 * DAY))
    assert swept(journal, worker, Wish(unknown=True))["cccccccccc"] == "removed"


def test_campaigns_that_are_being_run_are_left_alone(journal: Journal, worker: Worker, crowd: Path):
    wish = Wish(kept_days=0)
    found = find_leftovers(journal, worker, wish)
    with journal.lock("c").held():
        assert {item.attempt for item in find_leftovers(journal, worker, wish)} == {"kept", "0123456789", "aaaaaaaaaa"}
        done = {item.attempt: item.done for item in remove_leftovers(journal, worker, wish, found)}
    assert done["failed"] == "left alone: its campaign is being run"
    assert (crowd / "failed").is_dir() and (crowd / "completed").is_dir()
    assert done["kept"] == "removed"


def test_what_has_changed_since_it_was_listed_stays(journal: Journal, worker: Worker, crowd: Path):
    wish = Wish(unknown=True)
    found = find_leftovers(journal, worker, wish)
    assert [item.attempt for item in found if item.due and item.kind is Kind.UNKNOWN] == ["aaaaaaaaaa"]
    (crowd / "aaaaaaaaaa" / "heartbeat").touch()
    remove_leftovers(journal, worker, wish, found)
    assert (crowd / "aaaaaaaaaa").is_dir()


@pytest.fixture
def engine(crowd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the attempt ``lost``, which was given up."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(command, env={**os.environ, ATTEMPT_VARIABLE: "lost"}, stdout=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()


def test_what_still_runs_of_an_attempt_that_was_given_up_ends(
    journal: Journal, worker: Worker, crowd: Path, engine: subprocess.Popen[bytes]
):
    lost = next(item for item in find_leftovers(journal, worker, Wish()) if item.attempt == "lost")
    assert (lost.running, lost.due) == (True, False)
    assert swept(journal, worker, Wish())["lost"] == "ended; its workspace is kept"
    engine.wait(timeout=10)
    assert (crowd / "lost").is_dir()
