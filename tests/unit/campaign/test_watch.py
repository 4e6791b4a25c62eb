"""Looks at workers: when they are made, and what is made of those that are not answered."""

from __future__ import annotations

import queue
import threading
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest

from ras_runner.campaign import watch as watch_module
from ras_runner.campaign.watch import POLL_FIRST, POLL_LAST, Looked, Watch
from ras_runner.errors import WorkerError


class Clock:
    """Time that goes on when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(watch_module, "time", made)
    return made


def attempt(poll: Any) -> Any:
    worker = SimpleNamespace(worker_id="w", transport=SimpleNamespace(poll=poll))
    return SimpleNamespace(worker=worker, probe=lambda: "probe")


def test_looks_get_rarer_until_things_happen(clock: Clock):
    reports: queue.SimpleQueue[Looked] = queue.SimpleQueue()
    watch, running = Watch(reports.put), [attempt(lambda probes: {})]
    pauses = []
    for _ in range(20):
        watch.look(running)
        watch.over(reports.get(timeout=30))
        pauses.append(watch.look(running))
        clock.now += pauses[-1]
    assert pauses[0] == pytest.approx(POLL_FIRST)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(POLL_LAST)
    watch.look(running)
    watch.over(reports.get(timeout=30))
    watch.soon("w")
    assert watch.look(running) == pytest.approx(POLL_FIRST)
    watch.close()


@pytest.mark.parametrize(("error", "said"), [(WorkerError("gone"), "gone"), (KeyError("k"), "internal error")])
def test_how_long_looks_have_failed_is_told(clock: Clock, error: Exception, said: str):
    reports: queue.SimpleQueue[Looked] = queue.SimpleQueue()
    outcomes: list[Any] = [error, error, {}, error]

    def poll(probes: object) -> dict[str, Any]:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return dict(outcome)

    watch, unseen = Watch(reports.put), []
    while outcomes:
        watch.look([attempt(poll)])
        looked = reports.get(timeout=30)
        unseen.append(watch.over(looked))
        clock.now += 10.0
    assert unseen == [0.0, 10.0, -1.0, 0.0]
    assert said in str(looked.found)
    watch.close()


def test_a_look_that_hangs_is_overdue_but_not_because_this_machine_slept(clock: Clock):
    answer = threading.Event()
    watch, running = Watch(lambda looked: None), [attempt(lambda probes: answer.wait() and {})]
    watch.look(running)
    clock.now += 3600.0  # asleep
    assert watch.overdue(running, 10.0) == []
    for _ in range(9):
        clock.now += 1.0
        assert watch.overdue(running, 10.0) == []
    clock.now += 1.0
    (silent,) = watch.overdue(running, 10.0)
    assert silent.attempts == tuple(running)
    answer.set()
    watch.close()


def test_what_starts_while_an_old_look_still_hangs_is_waited_for_anew(clock: Clock):
    answer = threading.Event()
    watch, running = Watch(lambda looked: None), [attempt(lambda probes: answer.wait() and {})]
    watch.look(running)
    watch.overdue([], 10.0)
    while not watch.overdue(running, 10.0):
        clock.now += 1.0
    later = [attempt(lambda probes: {})]
    for _ in range(10):
        clock.now += 1.0
        assert watch.overdue(later, 10.0) == []
    answer.set()
    watch.close()


def test_the_notice_of_a_machine_is_one_line_read_now_and_then(clock: Clock):
    """Only where it was asked for; whatever lies there, the user's terminal gets plain characters."""
    reports: queue.SimpleQueue[Looked] = queue.SimpleQueue()
    reads: list[PurePosixPath] = []

    def read(path: PurePosixPath, *, last: int) -> bytes:
        reads.append(path)
        return b"taken at 20:00\x1b]0;\x07 " + b"x" * 500 + b"\nmore\n"

    looked_at = attempt(lambda probes: {})
    looked_at.worker.transport.root, looked_at.worker.transport.read = PurePosixPath("/w"), read
    watch, notices = Watch(reports.put), []
    for seconds in (0.0, 1.0, 2.0, 5.0):
        watch.look([looked_at])
        looked = reports.get(timeout=30)
        watch.over(looked)
        notices.append(looked.notice)
        watch.look_for_notices("w")
        clock.now += seconds + 1.0
    watch.close()
    assert reads == [PurePosixPath("/w/notice")] * 2
    assert [notice[:18] for notice in notices] == ["", "taken at 20:00]0; ", "", "taken at 20:00]0; "]
    assert len(notices[1]) == 200
