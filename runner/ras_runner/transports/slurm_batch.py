"""Launches that come together become one job array."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.transports.slurm_errors import QueueFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ras_runner.transports.slurm_jobs import Ref

#: Launches that come within this time go together, seconds; and all those that come while others are submitted.
_WINDOW = 0.2
#: Bounds of the time between two tries while the queue is full, seconds.
_FULL_FIRST, _FULL_LAST = 2.0, 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What elements of one array have in common."""

    cores: int
    campaign: str
    script: str


@dataclass
class _Launch:
    kind: Kind
    attempt: str
    made: Ref | Exception | None = None
    withdrawn: bool = False


class Batches:
    """Collects launches and submits them. Safe to use from several threads.

    Args:
        submit: makes an array of one kind, named after the batch, for these attempts; returns the job of each.
        most: elements that an array may have.
        some_run: whether jobs of ours are in the queue that will be over one day.
    """

    def __init__(
        self, submit: Callable[[str, Kind, Sequence[str]], list[Ref]], most: int, some_run: Callable[[], bool]
    ) -> None:
        self._submit, self._most, self._some_run = submit, max(1, most), some_run
        self._mutex, self._submitting = threading.Lock(), threading.Lock()
        self._waiting: list[_Launch] = []

    def launch(self, kind: Kind, attempt: str) -> Ref:
        """Submit an attempt, with all that come at about the same time. Raises what the submission raises."""
        mine = _Launch(kind, attempt)
        with self._mutex:
            self._waiting.append(mine)
        while mine.made is None:
            with self._submitting:  # whoever gets here first takes the others along
                if mine.made is None:
                    time.sleep(_WINDOW)
                    self._submit_like(kind)
        if isinstance(mine.made, Exception):
            raise mine.made
        return mine.made

    def withdraw(self, attempt: str) -> None:
        """An attempt that still waits for room in the queue is not to be submitted."""
        with self._mutex:
            for launch in self._waiting:
                launch.withdrawn = launch.withdrawn or launch.attempt == attempt

    def _submit_like(self, kind: Kind) -> None:
        with self._mutex:
            together = [launch for launch in self._waiting if launch.kind == kind][: self._most]
        pause, size = _FULL_FIRST, len(together)
        while together:
            part = together[:size]
            try:
                names = [launch.attempt for launch in part]
                made: list[Ref | Exception] = list(self._submit(uuid.uuid4().hex[:12], kind, names))
            except QueueFullError as error:
                withdrawn = [launch for launch in together if launch.withdrawn]
                if size > 1:  # an array counts as all its elements: a smaller one may have room
                    size //= 2
                    continue
                if self._some_run() and not withdrawn:
                    time.sleep(pause)
                    pause = min(pause * 2, _FULL_LAST)
                    continue
                part = withdrawn or part
                made = [error] * len(part)
            except Exception as error:  # each of those who wait has to hear of it
                made = [error] * len(part)
            self._tell(part, made)
            together = [launch for launch in together if launch.made is None]
            size = min(size, len(together)) or 1

    def _tell(self, part: Sequence[_Launch], made: Sequence[Ref | Exception]) -> None:
        with self._mutex:
            for launch, result in zip(part, made, strict=True):
                self._waiting.remove(launch)
                launch.made = result
