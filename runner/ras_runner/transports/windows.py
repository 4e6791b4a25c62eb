"""A Windows host that runs our fixed PowerShell programs: plans start on the desktop of its logged-on user.

What is started over the network has no desktop, on which HEC-RAS hangs. So a plan is a scheduled task of the logged-on
user, "run only when user is logged on".
"""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from concurrent.futures import Future
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Protocol

from ras_runner.errors import OperatorError, RasRunnerError, WorkerError
from ras_runner.transports.base import Collected, Found, Place, Probe, Status, Upload, exit_code, never
from ras_runner.transports.windows_powershell import Pace
from ras_runner.transports.windows_processes import KnownTree, Process, attempt_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ras_runner.transports.windows_powershell import PowerShell

#: What our tasks are called, before the attempt's id.
TASK = "ras-runner-"
#: What the tasks say of themselves; one that says something else is not ours.
DESCRIPTION = "A plan that ras-runner runs. It is removed when the plan has ended."
_CLAIM_SECONDS = 20
_TAIL_BYTES = 4096
#: Seconds that a look is waited for.
_PATIENCE = 2.0
_STOP_ROUNDS = 6
_STOP_PAUSE = 0.2
#: Results of a task that did not start: https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-error-and-success-constants
_NOBODY = "nobody is logged on there as {user}: HEC-RAS needs a desktop"
_RESULTS = {
    0x41303: _NOBODY,
    0x800710E0: _NOBODY,
    0x80070569: "{user} has not the right to run tasks there (SeBatchLogonRight)",
    0x8007052E: "the password of {user} is refused there",
}


class FileHalf(Protocol):
    """The part of a transport that moves files."""

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """Sizes of the files that are there."""

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files."""

    def place(self, places: Sequence[Place]) -> None:
        """Make links and copies."""

    def trim(self, limit: int) -> int:
        """Make room in the store."""

    def attempts(self) -> list[Found]:
        """The folders of attempts."""

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """The end of a file."""

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """Fetch what an attempt has written."""

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree."""

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim."""


class WindowsTransport:
    """Plans on the desktop of a Windows host.

    Args:
        powershell: runs our programs there.
        files: moves files there and back.
        root: the worker folder.
        user: who is logged on there, and runs the plans.
    """

    sees_our_files = False

    def __init__(self, powershell: PowerShell, files: FileHalf, root: PureWindowsPath, user: str) -> None:
        self.root: PurePath = root
        self.stored, self.put, self.place, self.trim = files.stored, files.put, files.place, files.trim
        self.read, self.claim, self.attempts = files.read, files.claim, files.attempts
        self._powershell, self._files, self._user = powershell, files, user
        self._pace = Pace()
        self._looking: Future[None] | None = None
        self._learning = threading.Lock()  # a stop and a look may come at the same time
        self._trees: dict[str, KnownTree] = {}
        self._running: dict[str, list[Process]] = {}
        self._statuses: dict[str, Status] = {}
        #: Attempt -> its tree, to be kept beside it by the next look.
        self._notes: dict[str, dict[str, str]] = {}

    @property
    def host(self) -> str:
        """The host's name."""
        return self._powershell.host

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """Make what an attempt has written readable here; its task is removed, as it has ended."""
        self._unregister(probe.attempt)
        return self._files.collect(probe, folder, patterns, scratch)

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder."""
        self._files.remove(path)
        for memory in (self._trees, self._running, self._statuses, self._notes):
            memory.pop(path.name, None)

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Start the run script as a task of the logged-on user; never tried twice."""
        del cores, campaign  # the engine was told in its files
        asked = {
            "task": TASK + attempt,
            "description": DESCRIPTION,
            "arguments": f"/d /c .\\{script} {attempt}",
            "folder": str(folder),
            "user": self._user,
            "seconds": _CLAIM_SECONDS,
        }
        answer = self._powershell.call("launch", asked, step="launch", once=True)
        if not answer["claimed"]:
            self._unregister(attempt)
            raise self._not_started(int(answer["result"]) & 0xFFFFFFFF)
        listed = [Process(int(r["pid"]), 0, int(r["created"]), 0.0, str(r["command"])) for r in answer["roots"]]
        self._trees[attempt] = KnownTree()
        ours = attempt_processes(listed, 0, attempt, self._trees[attempt])
        return f"{ours[0].pid}:{ours[0].created}" if ours else ""

    def _not_started(self, result: int) -> RasRunnerError:
        if result in _RESULTS:
            return OperatorError(
                _RESULTS[result].format(user=self._user),
                step="launch",
                host=self.host,
                action=f"log on there as {self._user} and stay logged on (autologon does it after a restart); "
                "then: ras-runner resume",
            )
        return WorkerError(
            f"the scheduled task has not started the run script after {_CLAIM_SECONDS} s (last result {result:#x})",
            step="launch",
            host=self.host,
            action="look at the Task Scheduler's history there",
        )

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts in one call; what the last look found, where it is too soon for another.

        A host that takes long to answer is not waited for, lest other workers be kept waiting: the next call tells.
        """
        unseen = any(probe.attempt not in self._statuses for probe in probes)
        if self._looking is None and (unseen or self._pace.due()):
            self._looking = self._start_look(tuple(probes))
        if self._looking is not None:
            with contextlib.suppress(TimeoutError):
                self._looking.exception(_PATIENCE)
                looked, self._looking = self._looking, None
                looked.result()
        unknown = Status(alive=True, exit_code=None)
        return {probe.attempt: self._statuses.get(probe.attempt, unknown) for probe in probes}

    def _start_look(self, probes: tuple[Probe, ...]) -> Future[None]:
        """Look in a thread of its own, which nobody waits for when the program ends."""
        future: Future[None] = Future()

        def work() -> None:
            started = time.monotonic()
            try:
                self._look(probes)
                lost = [p for p in probes if _is_lost(self._statuses[p.attempt])]
                if lost:  # nothing is given up for a single list that may have been incomplete
                    self._look(lost)
            except BaseException as error:  # it is raised where the answer is asked for
                future.set_exception(error)
            else:
                self._pace.took(time.monotonic() - started)
                future.set_result(None)

        threading.Thread(target=work, name="look", daemon=True).start()
        return future

    def _look(self, probes: Sequence[Probe]) -> None:
        """Bring what is known of these attempts up to date."""
        notes = dict(self._notes)
        asked = {
            "attempts": [{"folder": str(p.folder), "tails": [str(t) for t in p.progress_files]} for p in probes],
            "bytes": _TAIL_BYTES,
            "notes": list(notes.values()),
        }
        answer = self._powershell.call("look", asked, step="poll", limit=30.0, once=True)
        for attempt, note in notes.items():
            if self._notes.get(attempt) is note:
                del self._notes[attempt]
        processes = _processes(answer)
        with self._learning:
            for probe, found in zip(probes, answer["attempts"], strict=True):
                self._running[probe.attempt] = self._tree(probe, found, processes, int(answer["now"]))
                self._statuses[probe.attempt] = _status(probe, found, self._running[probe.attempt])

    def _tree(self, probe: Probe, found: dict[str, Any], processes: list[Process], now: int) -> list[Process]:
        """Its running processes; what it was seen to start is kept beside it, for the next controller."""
        kept = KnownTree.from_json(base64.b64decode(found["tree"] or ""))
        tree = self._trees.setdefault(probe.attempt, KnownTree(dict(kept.gone)))
        running = attempt_processes(processes, now, probe.attempt, tree)
        if tree != kept:
            text = tree.to_json().decode("ascii")
            self._notes[probe.attempt] = {"path": str(probe.folder / "tree.json"), "text": text}
        return running

    def stop(self, probe: Probe) -> None:
        """End the whole process tree of an attempt: what it was seen to start, recognised by number and time."""
        for _ in range(_STOP_ROUNDS):  # a process may have been started between listing and ending
            self._look([probe])
            running = self._running[probe.attempt]
            if not running:
                self._unregister(probe.attempt)
                return
            asked = {"processes": [{"pid": p.pid, "created": str(p.created)} for p in running]}
            self._powershell.call("stop", asked, step="stop")
            time.sleep(_STOP_PAUSE)
        raise WorkerError(
            f"processes {', '.join(str(p.pid) for p in running)} of attempt {probe.attempt} could not be ended",
            step="stop",
            host=self.host,
            action="end them by hand; their workspace is kept",
        )

    def _unregister(self, attempt: str) -> None:
        """Remove an attempt's task; one that stays is harmless: it has no trigger, and its claim is taken."""
        asked = {"tasks": [TASK + attempt], "description": DESCRIPTION}
        with contextlib.suppress(RasRunnerError):
            self._powershell.call("unregister", asked, step="clean")


def _processes(answer: dict[str, Any]) -> list[Process]:
    commands = {int(item["pid"]): str(item["command"]) for item in answer["commands"]}
    lines = (map(int, line.split()) for line in answer["processes"])
    return [Process(pid, parent, made, cpu / 1e7, commands.get(pid, "")) for pid, parent, made, cpu in lines]


def _status(probe: Probe, found: dict[str, Any], running: list[Process]) -> Status:
    code = exit_code(base64.b64decode(found["exit"] or ""))
    alive = bool(running) and (probe.whole_tree or code is None)
    seconds = None if code is None or found["seconds"] is None else max(0.0, float(found["seconds"]))
    tails = tuple(base64.b64decode(tail).decode("latin-1") for tail in found["tails"] if tail)
    cpu = sum(process.cpu_seconds for process in running) if probe.cpu and running else None
    return Status(alive, code, seconds, tails, cpu_seconds=cpu)


def _is_lost(status: Status) -> bool:
    return not status.alive and status.exit_code is None
