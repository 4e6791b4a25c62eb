"""Attempts as tasks of a Dask cluster. Files go through a folder that the controller and all Dask workers share."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ras_runner.errors import TransientError, WorkerError
from ras_runner.outcomes import Outcome
from ras_runner.transports import dask_task
from ras_runner.transports.base import Collected, Found, Place, Probe, Status, Upload, never
from ras_runner.transports.dask_task import OVER, RUN_BY, STOP
from ras_runner.transports.local import LocalTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ras_runner.transports.dask_cluster import Cluster

#: How long the tree of an attempt may take to end, seconds.
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.05


class DaskTransport:
    """Files in a shared folder, programs by Dask.

    Args:
        cluster: runs the attempts.
        root: the shared folder, as the Dask workers see it.
        shared: the same folder, as this machine sees it.
    """

    sees_our_files = False

    def __init__(self, cluster: Cluster, root: PurePath, shared: Path) -> None:
        self.cluster, self.root, self.shared = cluster, root, shared
        self.files = LocalTransport(shared)

    @property
    def host(self) -> str:
        """The scheduler's address."""
        return self.cluster.address

    def here(self, path: PurePath) -> Path:
        """A path of the Dask workers, on this machine."""
        return self.shared.joinpath(*path.relative_to(self.root).parts)

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files."""
        theirs: dict[PurePath, PurePath] = {self.here(path): path for path in paths}
        return {theirs[path]: size for path, size in self.files.stored(theirs).items()}

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, each atomically."""
        self.files.put([replace(file, target=self.here(file.target)) for file in files], stopped)

    def place(self, places: Sequence[Place]) -> None:
        """Hard links and private copies."""
        self.files.place([Place(self.here(p.source), self.here(p.target), p.link) for p in places])

    def trim(self, limit: int) -> int:
        """Make room in the store."""
        return self.files.trim(limit)

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file."""
        return self.files.read(self.here(path), start=start, last=last)

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """What the attempt has written, read where it lies."""
        return self.files.collect(self._ours(probe), self.here(folder), patterns, scratch)

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder."""
        if self.root not in path.parents or ".." in path.parts:
            raise WorkerError(f"{path} is not below the worker folder {self.root}: not removed", step="clean")
        self.files.remove(self.here(path))

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim, so that its run script can never start."""
        return self.files.claim(self.here(folder))

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Submit the attempt as a task.

        Returns:
            The task's key.

        Raises:
            TransientError, OperatorError: the scheduler does not answer, or refuses.
        """
        del cores, campaign  # a plan takes the resources that the worker was told
        self.cluster.submit(key(attempt), dask_task.run_attempt, attempt, str(folder), script)
        return key(attempt)

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts: one question to the scheduler for all that have left no word, and their files."""
        going_on = self.cluster.going_on([key(probe.attempt) for probe in probes])
        # after the scheduler's answer: the last word is written before the task ends
        files = self.files.poll([replace(self._ours(probe), files_only=True) for probe in probes])
        over = {probe.attempt: self._said(probe.folder, OVER) for probe in probes}
        silent = [p.attempt for p in probes if key(p.attempt) not in going_on and over[p.attempt] is None]
        there = self.cluster.workers_there() if silent else set()
        return {
            p.attempt: self._status(p, files[p.attempt], over[p.attempt], p.attempt in silent, there) for p in probes
        }

    def _status(
        self, probe: Probe, files: Status, over: dict[str, str] | None, silent: bool, there: set[str]
    ) -> Status:
        """What a look has found.

        Args:
            probe, files: the attempt, and what its files tell.
            over: the last word of what ran it.
            silent: there is no last word, and the scheduler knows nothing of its task (any more).
            there: addresses of the Dask workers.
        """
        by = self._run_by(probe.folder) if silent else ""
        if over is None and (not silent or by in there):  # the thread of a task that was forgotten goes on
            ran = self._ran(probe.folder)
            waiting = "it is in the queue of the Dask scheduler" if ran is None else ""
            return replace(files, alive=True, seconds=None, waiting=waiting, ran=ran)
        if files.exit_code is not None:
            return replace(files, alive=False)
        # it may have lost its scheduler only, and compute for nobody; what we did not launch may have another scheduler
        if over is None and by and probe.native_id:
            self._tell_to_stop(probe)
        why = over.get("reason", "") if over else gone(by)
        return replace(files, alive=False, note=why, outcome=Outcome.INFRASTRUCTURE_LOST if why else None)

    def _ran(self, folder: PurePath) -> float | None:
        """Seconds since the run script claimed its workspace; None while it has not."""
        try:
            return max(0.0, time.time() - (self.here(folder) / "claim").stat().st_mtime)
        except OSError:
            return None

    def stop(self, probe: Probe) -> None:
        """End the whole process tree of an attempt: its guard sees the word, whatever became of the scheduler."""
        self._tell_to_stop(probe)
        with contextlib.suppress(TransientError):  # of a scheduler that is down: what runs is told by the file
            self.cluster.cancel(key(probe.attempt))
        if self.files.claim(self.here(probe.folder)):
            return
        wait_until_over(
            lambda: self._said(probe.folder, OVER) is not None or not self._runs_somewhere(probe),
            lambda: self._run_by(probe.folder),
            probe.attempt,
            self.host,
            seconds=_STOP_SECONDS,
            pause=_LOOK_SECONDS,
        )

    def _tell_to_stop(self, probe: Probe) -> None:
        self.files.put([Upload(b"", self.here(probe.folder) / STOP)])

    def attempts(self) -> list[Found]:
        """The folders of attempts."""
        return self.files.attempts()

    def ask(self, workers: Sequence[str], programs: list[str]) -> dict[str, Any]:
        """``dask_task.facts`` of each Dask worker: whether it sees a file that nobody else can have put there."""
        name = f"probe-{uuid.uuid4().hex}"
        self.files.put([Upload(b"", self.shared / name)])
        try:
            return self.cluster.ask_workers(workers, dask_task.facts, str(self.root), name, programs)
        finally:
            self.files.remove(self.shared / name)

    def _ours(self, probe: Probe) -> Probe:
        files = tuple(self.here(path) for path in probe.progress_files)
        return replace(probe, folder=self.here(probe.folder), progress_files=files, native_id="")

    def _runs_somewhere(self, probe: Probe) -> bool:
        return self._run_by(probe.folder) in self.cluster.workers_there()

    def _run_by(self, folder: PurePath) -> str:
        return (self._said(folder, RUN_BY) or {}).get("worker", "")

    def _said(self, folder: PurePath, name: str) -> dict[str, str] | None:
        try:
            return dict(json.loads(self.files.read(self.here(folder) / name) or b"null"))
        except (ValueError, TypeError):
            return None


def wait_until_over(
    over: Callable[[], bool], worker: Callable[[], str], attempt: str, host: str, *, seconds: float, pause: float
) -> None:
    """Wait for the end of an attempt that was told to stop.

    Args:
        over: whether nothing of it runs any more.
        worker: the Dask worker that runs it, for the message.
        attempt, host: its id, and the scheduler's address.
        seconds, pause: the longest wait, and the time between two looks.

    Raises:
        TransientError: it has not ended in time.
    """
    until = time.monotonic() + seconds
    while not over():
        if time.monotonic() > until:
            raise TransientError(
                f"attempt {attempt} was told to stop, and has not ended in {seconds:.0f} s",
                step="stop",
                host=host,
                action=f"it is asked again; look at the Dask worker that runs it: {worker()}",
            )
        time.sleep(pause)


def gone(worker: str) -> str:
    """What became of an attempt that was claimed by a Dask worker, or by none (empty)."""
    if worker:
        return f"the Dask worker that ran it has gone ({worker})"
    return (
        "the Dask scheduler has lost its task, or a Dask worker could not begin it: see that all of them have "
        "ras-runner, and see what this machine puts there for them (ras-runner doctor)"
    )


def key(attempt: str) -> str:
    """The key of an attempt's task."""
    return f"ras-runner-{attempt}"
