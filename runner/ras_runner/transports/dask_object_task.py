"""What a Dask worker runs of an attempt whose files lie in object storage: a guard that brings the inputs, runs the
script, and takes the results away.

Objects of an attempt, below ``w/<attempt>/``: ``manifest.json`` (what the workspace is made of), ``claim`` (made by
one guard, or by the controller, and never replaced: the attempt runs at most once), ``stop``, ``state.json`` (what the
guard says, its last word last), ``out/<number>`` (results).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner import oscalls
from ras_runner.errors import RasRunnerError, TransientError
from ras_runner.hashing import hash_bytes
from ras_runner.retrying import retrying
from ras_runner.transports.base import Place, Probe, Upload
from ras_runner.transports.dask_storage import Storage, WrongContentError
from ras_runner.transports.dask_task import answer, run_guard, this_worker, watch, worker_gone
from ras_runner.transports.local import LocalTransport, make_durable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MANIFEST, CLAIM, STOP, STATE = "manifest.json", "claim", "stop", "state.json"
#: What a guard does: it fetches inputs; the script runs; nothing of it runs any more; that, and its files are uploaded.
BRINGING, RUNNING, ENDED, OVER = "bringing", "running", "ended", "over"
#: Seconds between two looks for ``stop``, and the longest between two reports while the script runs.
STOP_SECONDS, REPORT_SECONDS = 2.0, 15.0
#: A report is made after this part of the time that the script has run.
_REPORT_PART = 0.1
#: Bytes that a report holds of the end of a stream, and of another text file; how many of those.
_STREAM_BYTES, _TAIL_BYTES, _TAILS = 1 << 18, 1 << 14, 8
#: Tries of an upload of results, and the seconds between two at most.
_TRIES, _LONGEST = 10, 60.0
_STALE_SECONDS = 86400.0
_LOCK = "guard.lock"
_MODULE = "ras_runner.transports.dask_object_task"

#: Attempts that tasks of this Dask worker run (empty), or could not say the last word of (why).
_said: dict[str, str] = {}


def content_name(digest: str) -> str:
    """The object that holds the content with this digest."""
    return f"store/{digest[:2]}/{digest}"


async def facts(url: str, probe: str, folder: str, programs: list[str]) -> dict[str, object]:
    """What a Dask worker is, and whether it can read and write where the controller does; see ``dask_task.facts``.

    Args:
        url: of the storage.
        probe: prefix of objects of this question; ``<probe>/asked`` was just put there.
        folder: the worker's own folder, made when it is not there.
        programs: of the engine.

    Returns:
        ``ras_runner``, ``windows``, ``missing``, and ``problem`` with the storage or the folder: a sentence.
    """
    problem = await asyncio.to_thread(_problem, Storage(url), probe, folder)  # the worker's heartbeat goes on
    return answer(programs, problem)


def _problem(storage: Storage, probe: str, folder: str) -> str:
    try:
        if storage.read(f"{probe}/asked") is None:
            return f"it does not see what this machine has just put into {storage.url}"
        storage.write(f"{probe}/{uuid.uuid4().hex}", b"seen", "init worker")
        Path(folder).mkdir(parents=True, exist_ok=True)
    except RasRunnerError as error:
        return f"{error.cause}. {error.action}"
    except OSError as error:
        return f"its folder {folder} cannot be made: {error.strerror}"
    return ""


def run_attempt(attempt: str, folder: str, script: str, url: str, digest: str, limit: int) -> None:
    """Run an attempt to its end. A second run of it (its first worker was lost) finds the claim, and only says so.

    Args:
        attempt: its id.
        folder: its folder, to be made on this machine.
        script: name of the run script in it.
        url: of the storage.
        digest: of its manifest.
        limit: bytes that the store of contents on this machine may grow to.

    Raises:
        OSError: the worker folder cannot be made.
    """
    root, worker = Path(folder).parent.parent, this_worker()
    root.mkdir(parents=True, exist_ok=True)
    log = root / f"guard-{attempt}.log"
    _said[attempt] = ""
    problem = run_guard(_MODULE, log, attempt, folder, script, url, digest, str(limit), worker)
    if problem:
        oscalls.stop_attempt(attempt)
        with contextlib.suppress(OSError):
            problem += ": " + log.read_bytes()[-2000:].decode("utf-8", "replace").strip()
        _said[attempt] = problem
        last = {"phase": OVER, "worker": worker, "reason": problem}
        Storage(url).write(f"w/{attempt}/{STATE}", json.dumps(last).encode(), "collect")
    else:
        log.unlink(missing_ok=True)
    _said.pop(attempt, None)  # twice here: a second run of the task, which found the claim


def said(attempt: str) -> str | None:
    """Of a Dask worker: empty while it runs an attempt; else why there is no last word; None when it knows nothing."""
    return _said.get(attempt)


@dataclass
class _Guard:
    """Beside one attempt."""

    attempt: str
    here: Path
    script: str
    storage: Storage
    digest: str
    limit: int
    worker: str
    orphaned: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.local = LocalTransport(self.here.parent.parent)

    def run(self) -> None:
        """The attempt from its claim to its last word.

        Raises:
            RasRunnerError, OSError: its last word or its results could not be uploaded; the workspace is kept.
        """
        if not self._claim():
            return
        _tidy(self.here.parent)
        self.here.mkdir(parents=True, exist_ok=True)
        lock = oscalls.FileLock(self.here / _LOCK)
        with lock.held():
            reason = self._bring() or self._watched()
            last = {"reason": reason, **self._report()}
            if not (reason and self.orphaned.is_set()):  # else its machine may be about to end: only the word is said
                last |= self._outcome()
                last["files"] = self._taken_away(last)
            self._patiently(lambda: self._say(OVER, **last))
        shutil.rmtree(self.here, ignore_errors=True)

    def _claim(self) -> bool:
        """Whether this guard is the one to run it; says what became of the first, when there was one."""
        mine = json.dumps({"worker": self.worker, "guard": uuid.uuid4().hex}).encode()
        name = f"w/{self.attempt}/{CLAIM}"
        if self.storage.create(name, mine, "claim"):
            return True
        claim = self.storage.read(name, "claim")
        if claim == mine:  # the answer to a first try was lost on its way
            return True
        first = str(as_object(claim).get("worker", ""))
        state = as_object(self.storage.read(f"w/{self.attempt}/{STATE}", "claim"))
        if first and state.get("phase") != OVER:
            self._say(OVER, reason=f"the Dask worker that ran it has gone ({first})")
        return False

    def _why(self) -> str:
        """Why it is to end now; empty while it is not."""
        if self.orphaned.is_set():
            return f"the Dask worker that ran it has ended ({self.worker})"
        return "stopped" if self.stopped.is_set() else ""

    def _bring(self) -> str:
        """Make the workspace; why it cannot be made."""
        self._touch(BRINGING)
        try:
            manifest = self.storage.read(f"w/{self.attempt}/{MANIFEST}", "stage")
            if manifest is None or hash_bytes(manifest) != self.digest:
                return f"the manifest of attempt {self.attempt} is not the one that was put into {self.storage.url}"
            files: Mapping[str, Mapping[str, Any]] = json.loads(manifest)["files"]
            contents = {item["digest"] for item in files.values() if "digest" in item}
            if reason := self._fetched(sorted(contents)):
                return reason
            self._look_for_stop()
            if reason := self._why():
                return reason
            placed = [(self.here / name, item) for name, item in files.items()]
            self.local.place([Place(self._cached(i["digest"]), to, i["link"]) for to, i in placed if "digest" in i])
            self.local.put([Upload(base64.b64decode(i["base64"]), to) for to, i in placed if "base64" in i])
        except (RasRunnerError, OSError) as error:
            return str(error)
        return ""

    def _fetched(self, digests: list[str]) -> str:
        """Have contents in this machine's store: one guard at a time fetches, so that each comes once."""
        lock, due = oscalls.FileLock(self.local.root / "store.lock"), 0.0
        while not lock.acquire():
            if time.monotonic() >= due:
                self._look_for_stop()
                due = time.monotonic() + STOP_SECONDS
            if reason := self._why():
                return reason
            self.orphaned.wait(0.2)
        try:
            there = self.local.stored(self._cached(digest) for digest in digests)
            missing = [digest for digest in digests if self._cached(digest) not in there]
            for digest in missing:
                self._look_for_stop()
                if reason := self._why() or self._fetch(digest):
                    return reason
        finally:
            lock.release()
        if missing:
            self.local.trim(self.limit)
        return ""

    def _fetch(self, digest: str) -> str:
        name = content_name(digest)
        try:
            self.storage.fetch(name, self._cached(digest), digest, "stage", make_durable)
        except FileNotFoundError:
            return f"{self.storage.url}/{name} has vanished: an input of the plan; it is sent again with the next try"
        except WrongContentError as error:
            self.storage.remove(name)
            return f"{error.cause}: it was removed, and is sent again with the next try"
        return ""

    def _cached(self, digest: str) -> Path:
        return self.local.root / content_name(digest)

    def _watched(self) -> str:
        """Run the script; why it was ended."""
        touch = threading.Thread(target=self._keep_in_touch, daemon=True)
        touch.start()
        try:
            return watch(self.attempt, self.here, self.script, self._why)
        finally:
            self.ended.set()
            touch.join()

    def _keep_in_touch(self) -> None:
        """Report, and look for ``stop``. A storage that is away is no reason to end a plan."""
        started, due = time.monotonic(), 0.0
        while not self.ended.is_set():
            self._look_for_stop()
            ran = time.monotonic() - started
            if ran >= due:
                self._touch(RUNNING)
                due = ran + min(REPORT_SECONDS, max(STOP_SECONDS / 2, ran * _REPORT_PART))
            self.ended.wait(STOP_SECONDS / 2 if ran < REPORT_SECONDS else STOP_SECONDS)

    def _look_for_stop(self) -> None:
        with contextlib.suppress(RasRunnerError):
            if self.storage.read(f"w/{self.attempt}/{STOP}", "poll"):
                self.stopped.set()

    def _touch(self, phase: str) -> None:
        with contextlib.suppress(RasRunnerError, OSError):
            self._say(phase, **(self._report() if phase == RUNNING else {}))

    def _say(self, phase: str, **more: object) -> None:
        state = {"phase": phase, "worker": self.worker, **more}
        self.storage.write(f"w/{self.attempt}/{STATE}", json.dumps(state).encode(), "poll")

    def _report(self) -> dict[str, object]:
        """What can be seen of the workspace: sizes of its files, the ends of texts that were written, since when."""
        found = {path: path.stat() for path in self._files()}
        # what has come since then is for the next report: an end without a size could not be placed
        written = sorted(found.keys() & self._written(), key=lambda path: -found[path].st_mtime_ns)
        ends: dict[str, str] = {}
        for path in written:
            stream = path.parent == self.here
            end = self.local.read(path, last=_STREAM_BYTES if stream else _TAIL_BYTES) or b""
            if end and b"\0" not in end and (stream or len(ends) < _TAILS):
                ends[self._name(path)] = end.decode("latin-1")
        claimed = self._claimed()
        ran = None if claimed is None else max(0.0, time.time() - claimed / 1e9)
        return {
            "ran": ran,
            "sizes": {self._name(path): status.st_size for path, status in found.items()},
            "tails": ends,
        }

    def _outcome(self) -> dict[str, object]:
        status = self.local.poll([Probe(self.attempt, self.here, "", files_only=True)])[self.attempt]
        return {"exit_code": status.exit_code, "seconds": status.seconds}

    def _taken_away(self, outcome: Mapping[str, object]) -> dict[str, object]:
        """Upload what was written, each file verified."""
        self._patiently(lambda: self._say(ENDED, **outcome))
        taken: dict[str, object] = {}
        for number, path in enumerate(self._written()):
            name = f"out/{number}"
            digest = self._patiently(
                lambda path=path, name=name: self.storage.upload(path, f"w/{self.attempt}/{name}", "collect")
            )
            taken[self._name(path)] = {"object": name, "digest": digest, "size": path.stat().st_size}
        return taken

    @staticmethod
    def _patiently(call: Any) -> Any:
        return retrying(call, TransientError, attempts=_TRIES, first=1.0, longest=_LONGEST, within=None)

    def _written(self) -> list[Path]:
        """What the attempt has written: its streams, and what is younger than its claim."""
        claimed = self._claimed()
        files = self._files()
        return [
            path
            for path in files
            if path.parent == self.here or (claimed is not None and path.stat().st_mtime_ns >= claimed)
        ]

    def _files(self) -> list[Path]:
        ours = (self.here / _LOCK, self.here / self.script)
        found = (path for path in sorted(self.here.rglob("*")) if path.is_file() and not path.is_symlink())
        return [path for path in found if path not in ours and path.parent != self.here / "claim"]

    def _claimed(self) -> int | None:
        try:
            return (self.here / "claim").stat().st_mtime_ns
        except OSError:
            return None

    def _name(self, path: Path) -> str:
        return path.relative_to(self.here).as_posix()


def as_object(data: bytes | None) -> dict[str, Any]:
    """A JSON object; empty when there is none, or when it is being written just now."""
    try:
        return dict(json.loads(data or b"{}"))
    except (ValueError, TypeError):
        return {}


def _tidy(folder: Path) -> None:
    """Remove workspaces that nobody watches any more: their machine was switched off, or their upload failed."""
    for path in _stale(folder):
        lock = oscalls.FileLock(path / _LOCK)
        with contextlib.suppress(OSError, RasRunnerError):
            if lock.acquire():
                lock.release()
                if not oscalls.stop_attempt(path.name):
                    shutil.rmtree(path, ignore_errors=True)


def _stale(folder: Path) -> Iterator[Path]:
    before = time.time() - _STALE_SECONDS
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if (path / _LOCK).is_file() and max(p.stat().st_mtime for p in (path, *path.iterdir())) < before:
                yield path


def main(attempt: str, folder: str, script: str, url: str, digest: str, limit: str, worker: str) -> None:
    """Guard an attempt; ends with what went wrong on stderr."""
    guard = _Guard(attempt, Path(folder), script, Storage(url), digest, int(limit), worker, worker_gone())
    try:
        guard.run()
    except (RasRunnerError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
