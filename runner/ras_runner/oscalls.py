"""The calls that differ between operating systems, in one place: detached processes, process trees, file locks.

Everything else in ras_runner is written once for Windows, macOS and Linux.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ras_runner.errors import OperatorError
from ras_runner.retrying import retrying

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psutil

#: Environment variable that marks every process of an attempt, so that a whole tree can be found again
#: after its parent has died and its children were given to init.
ATTEMPT_VARIABLE = "RAS_RUNNER_ATTEMPT"

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: BinaryIO) -> None:
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)

    #: The second set is for a controller that runs in a job which forbids its children to leave it.
    _CREATION_FLAGS: tuple[int, ...] = (
        subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_BREAKAWAY_FROM_JOB,
        subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP,
    )
    _NEW_GROUP, _INTERRUPT = subprocess.CREATE_NEW_PROCESS_GROUP, signal.CTRL_BREAK_EVENT
else:
    import fcntl

    def _lock(handle: BinaryIO) -> None:
        fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    _CREATION_FLAGS: tuple[int, ...] = (0,)
    _NEW_GROUP, _INTERRUPT = 0, signal.SIGINT


#: What a lock that another process holds says; 0 is wine's way.
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK, 0)


class FileLock:
    """An exclusive lock on a file that the operating system frees when its holder ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: BinaryIO | None = None

    def acquire(self) -> bool:
        """Take the lock; False when another process holds it.

        Raises:
            OperatorError: its file system has no locks.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = self.path.open("ab+")
        try:
            handle.seek(0)
            _lock(handle)
        except OSError as error:
            handle.close()
            if error.errno in _HELD:
                return False
            raise OperatorError(
                f"{self.path} cannot be locked: {error.strerror or error}",
                step="lock",
                action="keep the state folder on a local disk (--state-dir)",
            ) from error
        self._handle = handle
        return True

    @contextlib.contextmanager
    def held(self, limit: float = 30.0) -> Iterator[None]:
        """Hold the lock for the time of a ``with`` block, waiting for it.

        Raises:
            TimeoutError: another process has held it for ``limit`` seconds.
        """
        end = time.monotonic() + limit
        while not self.acquire():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.path} is held by another process for more than {limit:.0f} s")
            time.sleep(0.02)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def spawn_detached(
    argv: Sequence[str], *, folder: Path, stdout: Path, stderr: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program that outlives this one: own session, no console, streams to files.

    Args:
        argv: program and arguments; never a shell string.
        folder: its working folder.
        stdout, stderr: files that are appended to. Files and not pipes: HEC-RAS's grandchildren inherit them.
        environment: variables added to this process's own.
    """
    env = {**os.environ, **environment}
    with stdout.open("ab") as out, stderr.open("ab") as err:
        for last, flags in enumerate(_CREATION_FLAGS, start=1 - len(_CREATION_FLAGS)):
            try:
                return subprocess.Popen(
                    argv,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=env,
                    start_new_session=True,
                    creationflags=flags,
                )
            except PermissionError:
                if last == 0:
                    raise
    raise AssertionError("unreachable: the last start either returned or raised")


def start_script(attempt: str, folder: Path, script: str) -> subprocess.Popen[bytes]:
    """Start a run script detached, marked as its attempt's; what its shell says goes to ``launch.log``.

    Args:
        attempt: its id.
        folder: the attempt's folder, which it starts in.
        script: its name there.
    """
    # cmd.exe mangles &, ^ and parentheses of a path after /c: the script is named relative to its folder
    windows = [os.environ.get("COMSPEC", "cmd.exe"), "/d", "/c", f".\\{script}"]
    argv = windows if sys.platform == "win32" else ["/bin/sh", script]
    log = folder / "launch.log"
    return spawn_detached(argv, folder=folder, stdout=log, stderr=log, environment={ATTEMPT_VARIABLE: attempt})


def native_id(pid: int) -> str:
    """``pid:start time`` of a process, so that a reused pid is not taken for ours; ``pid:0`` when it has ended."""
    import psutil

    try:
        return f"{pid}:{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return f"{pid}:0"


def _process(identity: str) -> psutil.Process | None:
    import psutil

    pid, _, started = identity.partition(":")
    try:
        process = psutil.Process(int(pid))
        # psutil's start times of one process may differ by a clock tick between two readers
        if abs(process.create_time() - float(started)) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (psutil.Error, ValueError):  # gone, or its number now belongs to somebody else
        return None
    return None


def process_alive(identity: str) -> bool:
    """True while the process that :func:`native_id` named is running."""
    return _process(identity) is not None


def attempt_processes(attempt: str, identity: str = "") -> list[psutil.Process]:
    """All running processes of an attempt: those that carry its mark, and the descendants of its script.

    Args:
        attempt: value of the attempt variable.
        identity: native id of the run script, if known.
    """
    import psutil

    found: dict[int, psutil.Process] = {}
    if (root := _process(identity)) is not None:
        with contextlib.suppress(psutil.Error):
            found.update({p.pid: p for p in (root, *root.children(recursive=True))})
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in found and process.environ().get(ATTEMPT_VARIABLE) == attempt:
                found[process.pid] = process
    return [p for p in found.values() if _running(p)]


def _running(process: psutil.Process) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def cpu_seconds(attempt: str, identity: str = "") -> float:
    """CPU time, user and system, that the running processes of an attempt have used so far.

    While the script runs only it and its descendants are looked at: reading every process's environment, which finds
    orphans as well, is slow on Windows, and this is asked every second.
    """
    import psutil

    total = 0.0
    root = _process(identity)
    tree = attempt_processes(attempt) if root is None else [root, *root.children(recursive=True)]
    for process in tree:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def stop_attempt(attempt: str, identity: str = "", *, wait: float = 5.0) -> list[int]:
    """End the whole process tree of an attempt; nothing else, and nothing by name.

    Args:
        attempt: value of the attempt variable that its processes carry.
        identity: native id of the run script, if known.
        wait: seconds to wait for them to go, per round.

    Returns:
        The pids that could not be ended (empty on success).
    """
    import psutil

    alive: list[psutil.Process] = []
    for _ in range(3):  # a process may have been started between listing and killing
        alive = attempt_processes(attempt, identity)
        if not alive:
            break
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=wait)
    return [p.pid for p in attempt_processes(attempt, identity)] if alive else []


def start_apart(argv: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a program that Ctrl-C in the user's terminal does not reach: it is for the caller to pass it on, once.

    Args:
        argv: program and arguments; never a shell string.
        folder: its working folder.
        environment: all of its variables.

    Returns:
        The program; its stdout and stderr are one pipe of UTF-8 text.
    """
    return subprocess.Popen(
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=dict(environment),
        start_new_session=True,
        creationflags=_NEW_GROUP,
    )


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ask a program that :func:`start_apart` started to end in an orderly way, as Ctrl-C does."""
    with contextlib.suppress(OSError):  # it has ended by itself
        process.send_signal(_INTERRUPT)


def end_apart(process: subprocess.Popen[str]) -> None:
    """End a program that :func:`start_apart` started, with what it has started, at once."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.kill()


def write_whole(path: Path, text: str) -> None:
    """Write a file that only its owner may read: there is the old one or the new one, also after a power cut."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:  # noqa: PTH123
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    # on Windows somebody who reads the old one is in the way
    retrying(lambda: new.replace(path), PermissionError, attempts=10, first=0.05, longest=0.5)
    if sys.platform != "win32":  # the new name, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
