"""A host that says nothing any more: the others go on, and nobody waits for it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.commands import Runner, wait_until

from ras_runner import ExecutionResult, compute_parallel_remote, init_ras_project, init_ras_worker
from ras_runner.hecras.project import Project
from ras_runner.transports.local import LocalTransport


class Silent(LocalTransport):
    """This machine; looks at it hang until it is ``back``."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.back = threading.Event()
        self._looks = threading.Semaphore(1)

    def poll(self, probes):
        assert self._looks.acquire(blocking=False), "two looks at a time"
        try:
            self.back.wait()
            return super().poll(probes)
        finally:
            self._looks.release()


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Silent]:
    """Its threads end with the test."""
    made = Silent(tmp_path / "worker" / "gone")
    yield made
    made.back.set()


def compute(silent: Silent, project: Project, tmp_path: Path, **options) -> dict[str, ExecutionResult]:
    """Plans 1 to 4 on the silent worker, which comes first, and on another; one slot each."""
    workers = [
        init_ras_worker(
            "local",
            worker_id=name,
            engine="standin",
            worker_folder=tmp_path / "worker" / name,
            cores_total=1,
            cores_per_plan=1,
            queue_priority=priority,
        )
        for priority, name in enumerate(("gone", "here"))
    ]
    workers[0] = replace(workers[0], transport=silent)
    chosen = init_ras_project(project.folder)
    return compute_parallel_remote("1,2,3,4", workers, chosen, 1, state_dir=tmp_path / "state", **options)


def test_the_others_go_on_while_a_look_hangs_and_what_ran_there_is_collected(
    silent: Silent, project: Project, tmp_path: Path
):
    """The look is answered only when all other plans are done: had anything waited for it, nothing would be."""
    done: list[str] = []

    def say(line: str) -> None:
        done.extend([line] if line.endswith("completed") else [])
        if len(done) == 3:
            silent.back.set()

    results = compute(silent, project, tmp_path, say=say)
    assert {r.attempts for r in results.values()} == {1}
    assert [r.worker_id for r in results.values()] == ["gone", "here", "here", "here"]


def test_plans_of_a_host_that_stays_silent_are_computed_elsewhere(silent: Silent, project: Project, tmp_path: Path):
    """It never answers, not even at the end: the campaign ends all the same."""
    said: list[str] = []
    results = compute(silent, project, tmp_path, lost_after=0.5, say=said.append)
    assert all(r.success and r.worker_id == "here" for r in results.values())
    assert results["01"].attempts >= 2
    assert any("not to be reached for 0.5 s: it does not answer" in line for line in said)


def test_an_interrupt_does_not_wait_for_a_look_that_hangs(runner: Runner, project: Project, tmp_path: Path):
    """A program of its own: not even its end waits for the thread."""
    program = f"""
import threading
from ras_runner import compute_parallel_remote, init_ras_project, init_ras_worker
from ras_runner.transports.local import LocalTransport
def poll(self, probes):
    print("looks", flush=True)
    threading.Event().wait()
LocalTransport.poll = poll
worker = init_ras_worker("local", engine="standin", worker_folder={str(runner.worker_folder)!r}, cores_total=1)
compute_parallel_remote("1", [worker], init_ras_project({str(project.folder)!r}), state_dir={str(runner.state)!r})
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        runner.started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"looks\n"
        process.send_signal(signal.SIGINT)
        wait_until(lambda: process.poll() is not None, "it ends", 30)
        assert process.stderr is not None
        assert b"KeyboardInterrupt" in process.stderr.read()
