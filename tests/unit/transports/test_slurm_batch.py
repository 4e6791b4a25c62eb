"""Launches that come together are one array; a queue that is full takes them bit by bit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ras_runner.errors import TransientError
from ras_runner.transports.slurm_batch import Batches, Kind
from ras_runner.transports.slurm_errors import QueueFullError
from ras_runner.transports.slurm_jobs import Ref

KIND = Kind(2, "c1", "run.sh")


class Queue:
    """Takes arrays; at most ``room`` elements at once.

    The first submission waits until all launches have come.
    """

    def __init__(self, launches: int, room: int = 1000) -> None:
        self.arrays: list[tuple[Kind, list[str]]] = []
        self.refused: list[int] = []
        self.room, self.taken = room, 0
        self.come = threading.Barrier(launches)

    def submit(self, batch: str, kind: Kind, attempts: Sequence[str]) -> list[Ref]:
        assert batch.isalnum()
        if self.taken + len(attempts) > self.room:
            self.refused.append(len(attempts))
            raise QueueFullError("full", step="launch")
        self.taken += len(attempts)
        self.arrays.append((kind, list(attempts)))
        return [Ref(len(self.arrays), index, batch) for index in range(len(attempts))]


def launch_all(queue: Queue, batches: Batches, launches: Sequence[tuple[Kind, str]]) -> list[Ref]:
    def launch(one: tuple[Kind, str]) -> Ref:
        queue.come.wait()
        return batches.launch(*one)

    with ThreadPoolExecutor(len(launches)) as threads:
        return list(threads.map(launch, launches))


def test_one_array_for_each_kind_and_no_more_elements_than_slurm_takes():
    queue = Queue(12)
    batches = Batches(queue.submit, 4)
    other = Kind(8, "c1", "run.sh")
    wanted = [(KIND, f"a{i}") for i in range(10)] + [(other, "b0"), (other, "b1")]
    refs = launch_all(queue, batches, wanted)
    assert sorted(attempt for _, array in queue.arrays for attempt in array) == sorted(name for _, name in wanted)
    assert max(len(array) for _, array in queue.arrays) == 4
    assert len(queue.arrays) == 4
    for (kind, attempt), ref in zip(wanted, refs, strict=True):
        assert queue.arrays[ref.job - 1][0] == kind
        assert queue.arrays[ref.job - 1][1][ref.index] == attempt
    assert len({ref.batch for ref in refs}) == 4


def test_a_full_queue_gets_smaller_arrays_and_what_does_not_fit_is_told():
    queue = Queue(1, room=3)
    names = [f"a{i}" for i in range(8)]
    made = Batches(queue.submit, 100).submit(KIND, names)
    assert queue.refused == [8, 4, 2, 1]
    assert [array for _, array in queue.arrays] == [["a0", "a1"], ["a2"]]
    assert [name for name, result in made.items() if isinstance(result, QueueFullError)] == names[3:]


def test_each_of_those_who_wait_hears_of_an_error_and_the_next_go_on():
    failing = [True]
    queue = Queue(3)

    def submit(batch: str, kind: Kind, attempts: Sequence[str]) -> list[Ref]:
        if failing.pop() if failing else False:
            raise TransientError("away", step="launch")
        return queue.submit(batch, kind, attempts)

    batches = Batches(submit, 100)

    def launch(attempt: str) -> Ref | TransientError:
        queue.come.wait()
        try:
            return batches.launch(KIND, attempt)
        except TransientError as error:
            return error

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(launch, ["a0", "a1", "a2"]))
    assert any(isinstance(result, TransientError) for result in results)
    assert isinstance(batches.launch(KIND, "a3"), Ref)
