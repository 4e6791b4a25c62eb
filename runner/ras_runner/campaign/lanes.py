"""Threads for what blocks, apart for each worker: one that is slow or silent holds up nobody but itself."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec

    Given = ParamSpec("Given")

#: Of one worker, in one set of lanes.
_THREADS = 4


class Lanes:
    """A few threads for each worker. For one deciding thread.

    Args:
        name: of the threads.
        threads: how many a worker gets.
    """

    def __init__(self, name: str, threads: Callable[[str], int] = lambda worker: _THREADS) -> None:
        self._name, self._threads = name, threads
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def submit(
        self, worker: str, work: Callable[Given, None], *args: Given.args, **kwargs: Given.kwargs
    ) -> Future[None]:
        """Do ``work`` in a thread of the worker, as soon as one is free."""
        if worker not in self._pools:
            self._pools[worker] = ThreadPoolExecutor(self._threads(worker), thread_name_prefix=f"{self._name} {worker}")
        return self._pools[worker].submit(work, *args, **kwargs)

    def shutdown(self, *, cancel: bool = False) -> None:
        """Wait until everything is done; with ``cancel`` what has not begun is left out."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=cancel)
        for pool in self._pools.values():
            pool.shutdown(wait=True)
