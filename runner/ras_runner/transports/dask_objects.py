"""Attempts as tasks of a Dask cluster whose workers share no folder: files go through object storage."""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, TransientError, WorkerError
from ras_runner.hashing import SourceChangedError, hash_bytes
from ras_runner.outcomes import Outcome
from ras_runner.transports import dask_object_task as task
from ras_runner.transports.base import Collected, Found, Place, Probe, Status, Upload, never
from ras_runner.transports.dask import gone, key, wait_until_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ras_runner.transports.dask_cluster import Cluster
    from ras_runner.transports.dask_storage import Storage

#: How long the tree of an attempt may take to hear that it is to stop, and to end; seconds.
_STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.5
#: Seconds between two looks at what the guard of an attempt says, growing from the first to the longest.
_FIRST, _LONGEST = 0.25, task.REPORT_SECONDS
#: For so many seconds a content that was seen in the storage is not asked for again.
_SEEN_SECONDS = 600.0
_TAIL_BYTES = 4096
_INIT = "init worker"
#: Each Dask worker imports the protocol's package, and asks the storage.
_FACTS_SECONDS = 60.0
_ATTEMPT = re.compile(r"[0-9A-Za-z_-]+")


@dataclass
class _Seen:
    """What the guard of an attempt has said, and when it is to be read again."""

    state: dict[str, Any] = field(default_factory=dict)
    read: float = 0.0
    due: float = 0.0
    delay: float = _FIRST

    @property
    def over(self) -> bool:
        """Nothing of it runs any more, and what it wrote is uploaded."""
        return self.state.get("phase") == task.OVER


class DaskObjects:
    """Files in object storage, programs by Dask.

    Args:
        cluster: runs the attempts.
        root: the worker folder: each Dask worker's own.
        storage: where files travel through.
        store_limit: bytes that the store in each worker folder may grow to.
    """

    sees_our_files = False

    def __init__(self, cluster: Cluster, root: PurePath, storage: Storage, store_limit: int) -> None:
        self.cluster, self.root, self.storage, self.store_limit = cluster, root, storage, store_limit
        #: Workspaces that are being described: of each attempt, file -> its entry in the manifest.
        self._drafts: dict[str, dict[str, dict[str, Any]]] = {}
        self._contents: dict[str, tuple[int, float]] = {}
        self._seen: dict[str, _Seen] = {}

    @property
    def host(self) -> str:
        """The scheduler's address."""
        return self.cluster.address

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are in the storage, or in the last report of their attempt."""
        found: dict[PurePath, int] = {}
        asked: dict[str, PurePath] = {}
        now = time.monotonic()
        for path in paths:
            attempt, name = self._split(path)
            if attempt:
                size = self._looked(attempt).state.get("sizes", {}).get(name)
                found |= {} if size is None else {path: size}
            elif now - self._contents.get(name, (0, -_SEEN_SECONDS))[1] < _SEEN_SECONDS:
                found[path] = self._contents[name][0]
            else:
                asked[name] = path
        sizes = self.storage.sizes(asked)
        self._contents |= {name: (size, now) for name, size in sizes.items()}
        return found | {asked[name]: size for name, size in sizes.items()}

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Upload contents, verified; what is an attempt's own goes into its manifest."""
        changed: list[object] = []
        for file in files:
            if stopped():
                return
            attempt, name = self._split(file.target)
            data = file.source if isinstance(file.source, bytes) else None
            if attempt and data is not None:
                self._draft(attempt)[name] = {"base64": base64.b64encode(data).decode("ascii")}
            elif data is None:
                try:
                    self.storage.upload(file.source, name, "stage", file.digest)  # type: ignore[arg-type]
                except SourceChangedError:
                    changed.append(file.source)
            else:
                self.storage.write(name, data, "stage")
        if changed:
            raise SourceChangedError(*changed)

    def place(self, places: Sequence[Place]) -> None:
        """Note what is to be placed: the Dask worker that gets the attempt does it."""
        for place in places:
            attempt, name = self._split(place.target)
            self._draft(attempt)[name] = {"digest": place.source.name, "link": place.link}

    def trim(self, limit: int) -> int:
        """Nothing: what others use of the storage cannot be seen; rules of the bucket keep it small."""
        del limit
        return 0

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file; of an attempt that runs, of what its last report holds."""
        attempt, name = self._split(path)
        if not attempt:
            return _part(self.storage.read(name), start, last)
        state = self._looked(attempt).state
        size = state.get("sizes", {}).get(name)
        if taken := state.get("files", {}).get(name):
            start = max(start, taken["size"] - last, 0)
            return b"" if start >= taken["size"] else self.storage.read(f"w/{attempt}/{taken['object']}", start=start)
        if name in state.get("tails", {}):
            tail = state["tails"][name].encode("latin-1")
            return _part(tail, start - (size - len(tail)), last)
        return _part(self._staged(attempt, name), start, last)

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """What the attempt has written and its guard has uploaded, each file verified by the digest that it had there.

        Raises:
            TransientError: an object is not what it was.
            WorkerError: it has vanished.
        """
        _, below = self._split(folder)
        taken = self._looked(probe.attempt).state.get("files", {})
        here = {PurePath(name).name: item for name, item in taken.items() if name.rpartition("/")[0] == below}
        names = [name for pattern in patterns for name in sorted(here) if fnmatch.fnmatchcase(name, pattern)]
        names = list(dict.fromkeys(names))
        for name in names:
            item = here[name]
            try:
                self.storage.fetch(f"w/{probe.attempt}/{item['object']}", scratch / name, item["digest"], "collect")
            except FileNotFoundError as error:
                raise WorkerError(
                    f"the result {name} of attempt {probe.attempt} has vanished from {self.storage.url}",
                    step="collect",
                    host=self.host,
                    action="see who else removes objects there",
                ) from error
        return Collected(scratch, tuple(names))

    def remove(self, path: PurePath) -> None:
        """Remove the objects of an attempt. Its workspace is removed by its guard, on the Dask worker."""
        attempt, name = self._split(path)
        if name or not _ATTEMPT.fullmatch(attempt):
            raise WorkerError(f"{path} is not the folder of an attempt below {self.root}: not removed", step="clean")
        self._drafts.pop(attempt, None)
        self._seen.pop(attempt, None)
        self.storage.remove(f"w/{attempt}", tree=True)

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim, so that its run script can never start."""
        attempt, _ = self._split(folder)
        self._drafts.pop(attempt, None)
        if not self.storage.sizes([f"w/{attempt}/{task.MANIFEST}"], "claim"):
            return True
        nobody = json.dumps({"worker": "", "by": uuid.uuid4().hex}).encode()
        return self.storage.create(f"w/{attempt}/{task.CLAIM}", nobody, "claim")

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Put the manifest into the storage, and submit the attempt as a task; the task's key."""
        del cores, campaign  # a plan takes the resources that the worker was told
        manifest = json.dumps({"files": self._draft(attempt)}).encode()
        self.storage.write(f"w/{attempt}/{task.MANIFEST}", manifest, "launch")
        said = (attempt, str(folder), script, self.storage.url, hash_bytes(manifest), self.store_limit)
        self.cluster.submit(key(attempt), task.run_attempt, *said)
        self._drafts.pop(attempt, None)
        return key(attempt)

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts: one question to the scheduler, and the reports that are due. The storage is not asked
        for what the scheduler knows: it costs."""
        going_on = self.cluster.going_on([key(probe.attempt) for probe in probes])
        now = time.monotonic()
        # after the scheduler's answer: the last word is written before the task ends
        self._read([p.attempt for p in probes if key(p.attempt) not in going_on or self._known(p.attempt).due <= now])
        silent = [p.attempt for p in probes if key(p.attempt) not in going_on and not self._known(p.attempt).over]
        lost = self._lost(silent) if silent else {}
        self._read(list(lost))  # again: it may have said its last word while it was asked for
        lost = {attempt: why for attempt, why in lost.items() if not self._known(attempt).over}
        for probe in probes:  # its worker may have lost the scheduler only, and compute for nobody
            if probe.attempt in lost and probe.native_id:  # what we did not launch may have another scheduler
                self._tell_to_stop(probe.attempt)
        found = {p.attempt: self._status(p, self._known(p.attempt), lost.get(p.attempt)) for p in probes}
        if any(status.outcome for status in found.values()):  # contents may have been damaged, or have vanished
            self._contents.clear()
        return found

    def stop(self, probe: Probe) -> None:
        """End the whole process tree of an attempt: its guard sees the word, whatever became of the scheduler."""
        self._tell_to_stop(probe.attempt)
        with contextlib.suppress(TransientError):  # of a scheduler that is down: what runs is told by the object
            self.cluster.cancel(key(probe.attempt))
        if self.claim(probe.folder):
            return
        wait_until_over(
            lambda: self._has_ended(probe.attempt),
            lambda: self._claimed_by(probe.attempt),
            probe.attempt,
            self.host,
            seconds=_STOP_SECONDS,
            pause=_LOOK_SECONDS,
        )

    def _has_ended(self, attempt: str) -> bool:
        self._read([attempt])
        return self._known(attempt).state.get("phase") in (task.ENDED, task.OVER) or bool(self._lost([attempt]))

    def _tell_to_stop(self, attempt: str) -> None:
        self.storage.write(f"w/{attempt}/{task.STOP}", b"stop", "stop")

    def attempts(self) -> list[Found]:
        """What attempts have left in the storage."""
        youngest: dict[str, float] = {}
        for name, age in self.storage.names("w/", "sweep").items():
            attempt = name.split("/")[1]
            youngest[attempt] = min(age, youngest.get(attempt, age))
        return [Found(attempt, age) for attempt, age in sorted(youngest.items())]

    def ask(self, workers: Sequence[str], programs: list[str]) -> dict[str, Any]:
        """``dask_object_task.facts`` of each Dask worker; raises what :meth:`probed` does, and TransientError."""
        with self.probed() as probe:
            question = (task.facts, self.storage.url, probe, str(self.root), programs)
            return self.cluster.ask_workers(workers, *question, seconds=_FACTS_SECONDS)

    @contextlib.contextmanager
    def probed(self) -> Iterator[str]:
        """An object ``asked`` below a prefix of its own, for the time of a ``with`` block; the prefix.

        Raises:
            InputError, OperatorError, TransientError: this machine cannot use the storage.
        """
        probe = f"probe-{uuid.uuid4().hex}"
        self.storage.write(f"{probe}/asked", b"ras-runner", _INIT)
        try:
            if self.storage.create(f"{probe}/asked", b"again", _INIT):
                raise InputError(
                    f"{self.storage.url} replaces objects that are to be made only once",
                    step=_INIT,
                    action="use another storage: a plan could run twice at the same time",
                )
            yield probe
        finally:
            self.storage.remove(probe, tree=True)

    def _split(self, path: PurePath) -> tuple[str, str]:
        """The attempt that a path below the worker folder belongs to, and its name there; else no attempt."""
        if self.root not in path.parents or ".." in path.parts:
            raise WorkerError(f"{path} is not below the worker folder {self.root}", step="stage", host=self.host)
        parts = path.relative_to(self.root).parts
        return (parts[1], "/".join(parts[2:])) if parts[0] == "w" and len(parts) > 1 else ("", "/".join(parts))

    def _draft(self, attempt: str) -> dict[str, dict[str, Any]]:
        return self._drafts.setdefault(attempt, {})

    def _known(self, attempt: str) -> _Seen:
        return self._seen.setdefault(attempt, _Seen())

    def _looked(self, attempt: str) -> _Seen:
        """What its guard has said, read again when that is due."""
        seen = self._known(attempt)
        if not seen.over and seen.due <= time.monotonic():
            self._read([attempt])
        return seen

    def _read(self, attempts: Sequence[str]) -> None:
        names = {f"w/{attempt}/{task.STATE}": attempt for attempt in attempts if not self._known(attempt).over}
        found = self.storage.read_all(names, "poll") if names else {}
        now = time.monotonic()
        for name, attempt in names.items():
            seen, state = self._known(attempt), task.as_object(found.get(name))
            if state and state != seen.state:
                if state.get("phase") != seen.state.get("phase"):
                    seen.delay = _FIRST
                seen.state, seen.read = state, now
            seen.due, seen.delay = now + seen.delay, min(seen.delay * 1.5, _LONGEST)

    def _lost(self, attempts: Sequence[str]) -> dict[str, str]:
        """Those that have no last word, and will have none: why."""
        there = self.cluster.workers_there()
        lost = {}
        for attempt in attempts:
            worker = self._claimed_by(attempt)
            said = self.cluster.ask_workers([worker], task.said, attempt)[worker] if worker in there else gone(worker)
            if said != "":
                lost[attempt] = str(said or f"the Dask worker {worker} has ended its task without a last word")
        return lost

    def _claimed_by(self, attempt: str) -> str:
        return str(task.as_object(self.storage.read(f"w/{attempt}/{task.CLAIM}", "poll")).get("worker", ""))

    @staticmethod
    def _status(probe: Probe, seen: _Seen, lost: str | None) -> Status:
        state = seen.state
        tails = (state.get("tails", {}).get(path.relative_to(probe.folder).as_posix()) for path in probe.progress_files)
        ends = tuple(tail[-_TAIL_BYTES:] for tail in tails if tail)
        if not seen.over and lost is None:
            ran = state.get("ran")
            waiting = "its inputs are being fetched" if state else "it is in the queue of the Dask scheduler"
            if ran is None:
                return Status(True, None, tails=ends, waiting=waiting)
            return Status(True, None, tails=ends, ran=ran + time.monotonic() - seen.read)
        code = state.get("exit_code") if seen.over else None
        if code is not None:
            return Status(False, int(code), state.get("seconds"), ends)
        why = lost or state.get("reason", "")
        return Status(False, None, None, ends, note=why, outcome=Outcome.INFRASTRUCTURE_LOST if why else None)

    def _staged(self, attempt: str, name: str) -> bytes | None:
        """A file as it was staged, which the attempt has not written again."""
        manifest = task.as_object(self.storage.read(f"w/{attempt}/{task.MANIFEST}"))
        item: Mapping[str, Any] = manifest.get("files", {}).get(name, {})
        if "base64" in item:
            return base64.b64decode(item["base64"])
        data = self.storage.read(task.content_name(item["digest"]), start=None) if "digest" in item else None
        return data if data is not None and hash_bytes(data) == item["digest"] else None


def _part(data: bytes | None, start: int, last: int) -> bytes | None:
    return None if data is None else data[max(start, len(data) - last, 0) :]
