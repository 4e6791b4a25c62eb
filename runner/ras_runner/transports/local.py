"""This machine: plain files and detached processes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ras_runner import oscalls
from ras_runner.errors import DiskFullError, RasRunnerError, TransientError, WorkerError
from ras_runner.hashing import SourceChangedError, copy_hashed, unreadable
from ras_runner.transports.base import Collected, Found, Place, Probe, Status, Upload, exit_code, never
from ras_runner.transports.store import KEEP_MINUTES, STALE_MINUTES, StoreFile, evicted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_TAIL_BYTES = 4096
#: What os.link says where there are no hard links, or not to this file: then it is copied.
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES)
_WINDOWS = sys.platform == "win32"


class LocalTransport:
    """The machine that the controller runs on.

    Args:
        root: the worker folder; made when it does not exist.
    """

    host = "this machine"
    sees_our_files = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files; they count as used now."""
        return {path: size for path in paths if (size := _used_now(Path(path))) is not None}

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, each atomically, verified by its digest if it has one."""
        changed = []
        for file in files:
            if stopped():
                return
            try:
                with self._step("stage", file.target), _readable(file.source):
                    self._write(Path(file.target), file.source, file.digest)
            except SourceChangedError:
                changed.append(file.source)
        if changed:
            raise SourceChangedError(*changed)

    def place(self, places: Sequence[Place]) -> None:
        """Hard links (copies where the file system has none) and private copies."""
        for place in places:
            with self._step("stage", place.target):
                self._clear(Path(place.target))
                if not (place.link and self._linked(place)):
                    shutil.copyfile(place.source, place.target)

    @staticmethod
    def _linked(place: Place) -> bool:
        try:
            os.link(place.source, place.target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return False
        return True

    def trim(self, limit: int) -> int:
        """Make room in the store. What is used meanwhile, by this controller or another, stays."""
        store, now = self.root / "store", time.time()
        stale = now - 60.0 * STALE_MINUTES
        freed = sum(_unlinked(path, stale) for path in store.glob("*/*.part"))
        found = (_store_file(path, store) for path in store.glob("*/*"))
        for file in evicted([file for file in found if file], limit, now):
            freed += _unlinked(store / file.name, now - 60.0 * KEEP_MINUTES)
        return freed

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file, from byte ``start`` at the earliest; None when it does not exist."""
        try:
            with Path(path).open("rb") as handle:
                size = handle.seek(0, os.SEEK_END)
                handle.seek(max(start, size - last, 0))
                return handle.read(last)
        except (
            FileNotFoundError,
            PermissionError,
            NotADirectoryError,
        ):  # PermissionError: just being renamed on Windows
            return None

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """What the attempt has written, read where it lies."""
        del scratch
        here = Path(folder)
        try:
            claimed = (Path(probe.folder) / "claim").stat().st_mtime_ns
        except FileNotFoundError:  # it ended before it began
            return Collected(here, ())
        matching = dict.fromkeys(path for pattern in patterns for path in sorted(here.glob(pattern)))
        written = (p for p in matching if p.is_file() and not p.is_symlink() and p.stat().st_mtime_ns >= claimed)
        return Collected(here, tuple(path.name for path in written))

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder."""
        real = Path(path)
        if self.root not in real.parents or ".." in real.parts:
            raise WorkerError(
                f"{real} is not below the worker folder {self.root}: not removed", step="clean", host=self.host
            )
        if real.is_dir() and not real.is_symlink():
            shutil.rmtree(real, ignore_errors=True)
            if real.exists():
                raise TransientError(
                    f"{real} cannot be removed now: a program has a file in it open",
                    step="clean",
                    host=self.host,
                    action="it is tried again when the campaign is resumed",
                )
        else:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                real.unlink()

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim; False when its script has it."""
        if not Path(folder).is_dir():
            return True
        with self._step("claim", folder):
            try:
                Path(folder, "claim").mkdir()
            except FileExistsError:
                return False
        return True

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Start the run script in a session of its own."""
        del cores, campaign  # the engine was told in its files
        with self._step("launch", folder):
            child = oscalls.start_script(attempt, Path(folder), script)
        self._children[attempt] = child
        return oscalls.native_id(child.pid)

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts."""
        return {probe.attempt: self._look(probe) for probe in probes}

    def stop(self, probe: Probe) -> None:
        """End the whole process tree of an attempt."""
        left = oscalls.stop_attempt(probe.attempt, probe.native_id)
        self._forget(probe.attempt)
        if left:
            raise WorkerError(
                f"processes {', '.join(map(str, left))} of attempt {probe.attempt} could not be ended",
                step="stop",
                host=self.host,
                action="end them by hand; their workspace is kept",
            )

    def attempts(self) -> list[Found]:
        """The folders of attempts."""
        found, folder = [], self.root / "w"
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(OSError):  # it has just gone
                if path.is_dir() and not path.is_symlink():
                    last = max(p.stat(follow_symlinks=False).st_mtime for p in (path, *path.iterdir()))
                    found.append(Found(path.name, time.time() - last))
        return found

    def _look(self, probe: Probe) -> Status:
        alive = not probe.files_only and self._alive(probe)
        code = self._exit_code(probe.folder)  # after the look at the process: it writes this as its last act
        if code is not None:
            self._forget(probe.attempt)
        tails = (self.read(path, last=_TAIL_BYTES) for path in probe.progress_files)
        seconds = None if code is None else self._seconds(Path(probe.folder))
        cpu = oscalls.cpu_seconds(probe.attempt, probe.native_id) if probe.cpu and alive else None
        return Status(alive, code, seconds, tuple(tail.decode("latin-1") for tail in tails if tail), cpu_seconds=cpu)

    @staticmethod
    def _seconds(folder: Path) -> float | None:
        try:
            return max(0.0, (folder / "exit.json").stat().st_mtime - (folder / "claim").stat().st_mtime)
        except OSError:
            return None

    def _alive(self, probe: Probe) -> bool:
        child = self._children.get(probe.attempt)
        if child is not None:
            if child.poll() is None:
                return True
        elif oscalls.process_alive(probe.native_id):
            return True
        if not probe.whole_tree and self._exit_code(probe.folder) is not None:
            return False
        return bool(oscalls.attempt_processes(probe.attempt, probe.native_id))

    def _exit_code(self, folder: PurePath) -> int | None:
        return exit_code(self.read(Path(folder) / "exit.json"))

    def _forget(self, attempt: str) -> None:
        child = self._children.pop(attempt, None)
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)

    @staticmethod
    def _clear(target: Path) -> None:
        """Make room for a new file: writing into an old one could reach the store through its other link."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)

    @staticmethod
    def _write(target: Path, source: Path | bytes, digest: str) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            if isinstance(source, bytes):
                temporary.write_bytes(source)
            else:
                copy_hashed(source, temporary, expected=digest)
                make_durable(temporary)
            try:
                temporary.replace(target)
            except PermissionError:  # Windows: another controller has put the same content, and it is in use
                if not digest or not target.exists():
                    raise
        finally:
            temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _step(self, step: str, path: PurePath) -> Iterator[None]:
        try:
            yield
        except RasRunnerError:
            raise
        except OSError as error:
            raise self._explained(step, path, error) from error

    def _explained(self, step: str, path: PurePath, error: OSError) -> RasRunnerError:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
            return DiskFullError(self.root, step=step, host=self.host)
        return WorkerError(
            f"{path}: {error.strerror or error}",
            step=step,
            host=self.host,
            action=f"check that {self.root} exists and can be written",
        )


def make_durable(path: Path) -> None:
    """Bring a store file to the disk before it gets its name, and let no engine write to it through a link."""
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())
    if not _WINDOWS:  # there the mark would keep the file from being replaced and removed
        path.chmod(0o444)


@contextlib.contextmanager
def _readable(source: Path | bytes) -> Iterator[None]:
    """What the user's file cannot give is the user's to mend."""
    try:
        yield
    except OSError as error:
        if error.filename != str(source):
            raise
        raise unreadable(source, error) from error


def _used_now(path: Path) -> int | None:
    """The size of a file, whose time of access is set to now; its other times are shared with workspaces."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
    except OSError:
        return None
    with contextlib.suppress(OSError):  # another user's: trim may take it, and then it is sent again
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
    return status.st_size


def _store_file(path: Path, store: Path) -> StoreFile | None:
    try:
        status = path.stat()
    except OSError:  # another controller has taken it
        return None
    return StoreFile(
        path.relative_to(store).as_posix(), status.st_size, max(status.st_atime, status.st_mtime), status.st_nlink
    )


def _unlinked(path: Path, before: float) -> int:
    """Remove a file that was not used since ``before`` and has no other name; its bytes, 0 if it stays."""
    try:
        status = path.stat()
        if status.st_nlink != 1 or max(status.st_atime, status.st_mtime) >= before:
            return 0
        path.unlink()
    except OSError:  # it has gone, or on Windows somebody reads it
        return 0
    return status.st_size
