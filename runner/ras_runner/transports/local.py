"""This machine: plain files and detached processes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ras_runner import oscalls
from ras_runner.errors import OperatorError, RasRunnerError, TransientError, WorkerError
from ras_runner.hashing import copy_hashed
from ras_runner.transports.base import Collected, Place, Probe, Status, Upload, never

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
        """The size in bytes of those of ``paths`` that are files."""
        return {path: Path(path).stat().st_size for path in paths if Path(path).is_file()}

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, each atomically, verified by its digest if it has one."""
        for file in files:
            if stopped():
                return
            with self._step("stage", file.target):
                self._write(Path(file.target), file.source, file.digest)

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
        try:
            Path(folder, "claim").mkdir()
        except FileExistsError:
            return False
        return True

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Start the run script in a session of its own."""
        del cores, campaign  # the engine was told in its files
        # cmd.exe mangles &, ^ and parentheses of a path after /c: the script is named relative to its folder
        argv = [os.environ.get("COMSPEC", "cmd.exe"), "/d", "/c", f".\\{script}"] if _WINDOWS else ["/bin/sh", script]
        with self._step("launch", folder):
            child = oscalls.spawn_detached(
                argv,
                folder=Path(folder),
                stdout=Path(folder) / "launch.log",
                stderr=Path(folder) / "launch.log",
                environment={oscalls.ATTEMPT_VARIABLE: attempt},
            )
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

    def _look(self, probe: Probe) -> Status:
        alive = self._alive(probe)
        exit_code = self._exit_code(probe.folder)  # after the look at the process: it writes this as its last act
        if exit_code is not None:
            self._forget(probe.attempt)
        tails = (self.read(path, last=_TAIL_BYTES) for path in probe.progress_files)
        seconds = None if exit_code is None else self._seconds(Path(probe.folder))
        cpu = oscalls.cpu_seconds(probe.attempt, probe.native_id) if probe.cpu and alive else None
        return Status(
            alive, exit_code, seconds, tuple(tail.decode("latin-1") for tail in tails if tail), cpu_seconds=cpu
        )

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
        text = self.read(Path(folder) / "exit.json")
        if text is None:
            return None
        try:
            return int(json.loads(text)["exit_code"])
        except (ValueError, KeyError, TypeError):
            return None  # not ours, or torn by a full disk: the attempt ends as lost when its processes are gone

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
                _make_durable(temporary)
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
            return OperatorError(
                f"the disk of the worker folder {self.root} is full",
                step=step,
                host=self.host,
                action="free space there, or give another worker_folder; then: ras-runner resume",
            )
        return WorkerError(
            f"{path}: {error.strerror or error}",
            step=step,
            host=self.host,
            action=f"check that {self.root} exists and can be written",
        )


def _make_durable(path: Path) -> None:
    """Bring a store file to the disk before it gets its name, and let no engine write to it through a link."""
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())
    if not _WINDOWS:  # there the mark would keep the file from being replaced and removed
        path.chmod(0o444)
