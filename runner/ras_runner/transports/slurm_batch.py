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


class Batches:
    """Collects launches and submits them. Safe to use from several threads.

    Args:
        array: makes an array of one kind, named after the batch, for these attempts; returns the job of each.
        most: elements that an array may have.
    """

    def __init__(self, array: Callable[[str, Kind, Sequence[str]], list[Ref]], most: int) -> None:
        self._array, self._most = array, max(1, most)
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

    def submit(self, kind: Kind, attempts: Sequence[str]) -> dict[str, Ref | Exception]:
        """Submit attempts of one kind, in as few arrays as Slurm takes; the job of each, or why there is none."""
        made: dict[str, Ref | Exception] = {}
        left, size = list(attempts), self._most
        while left:
            part = left[:size]
            try:
                made |= zip(part, self._array(uuid.uuid4().hex[:12], kind, part), strict=True)
            except QueueFullError as error:
                if len(part) > 1:  # an array counts as all its elements: a smaller one may have room
                    size = len(part) // 2
                    continue
                part = left
                made |= dict.fromkeys(part, error)
            except Exception as error:  # each of those who wait has to hear of it
                made |= dict.fromkeys(part, error)
            left = left[len(part) :]
        return made

    def _submit_like(self, kind: Kind) -> None:
        with self._mutex:
            together = {launch.attempt: launch for launch in self._waiting if launch.kind == kind}
        made = self.submit(kind, list(together))
        with self._mutex:
            for attempt, launch in together.items():
                self._waiting.remove(launch)
                launch.made = made[attempt]
