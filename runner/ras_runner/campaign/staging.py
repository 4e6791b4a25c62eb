"""Staging by content: what a workspace is made of, and how it gets to a worker once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.errors import DiskFullError, InputError, RasRunnerError, WorkerError
from ras_runner.hashing import SourceChangedError, unreadable
from ras_runner.hecras.inputs import Access
from ras_runner.transports.base import Place, Upload, never

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import PurePath

    from ras_runner.engines.base import StagedFile
    from ras_runner.hashing import FileHasher
    from ras_runner.workers.base import Worker

#: The staged tree below an attempt's folder. One letter: HEC-RAS paths on Windows end at 260 characters.
TREE = "p"
_TRIES = 3
#: How often one who waits for another's transfer looks whether it was stopped itself.
_LOOK_SECONDS = 1.0
#: The store is trimmed when this part of its limit was sent since the last time.
_TRIM_PART = 0.1


def project_folder(places: Sequence[PurePosixPath]) -> PurePosixPath:
    """The staged project folder, relative to the attempt's: deep enough that every ``..`` stays inside the tree.

    >>> str(project_folder([PurePosixPath("a.prj"), PurePosixPath("../dss/rain.dss")]))
    'p/d'
    """
    depth = max((_climb(place) for place in places), default=0)
    taken = {part.casefold() for place in places for part in place.parts}
    name = "d"
    while name in taken:  # a neighbour of the project folder may be called so
        name += "d"
    return PurePosixPath(TREE, *([name] * depth))


def _climb(place: PurePosixPath) -> int:
    """How far above its start a relative path gets at most."""
    level = lowest = 0
    for part in place.parts:
        level += -1 if part == ".." else 1
        lowest = min(lowest, level)
    return -lowest


def inside_tree(folder: PurePosixPath, place: PurePosixPath) -> PurePosixPath:
    """``folder / place`` with every ``..`` taken out.

    Raises:
        InputError: the place would leave the tree.
    """
    parts: list[str] = list(folder.parts)
    for part in place.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
        if not parts or place.is_absolute():
            raise InputError(
                f"{place} would leave the workspace",
                step="stage",
                action="move the file into or beside the project folder",
            )
    return PurePosixPath(*parts)


@dataclass(frozen=True, slots=True)
class _Shared:
    """A user's file that goes through the store."""

    source: Path
    target: PurePath
    link: bool


class Stager:
    """Puts files into a worker's store once, and into workspaces from there; keeps the store at its size.

    Args:
        worker: where to.
        hasher: hashes the user's files.
        say: takes a line for the user.
    """

    def __init__(self, worker: Worker, hasher: FileHasher, say: Callable[[str], None] = lambda line: None) -> None:
        self._worker = worker
        self.hasher = hasher
        self._say = say
        self._mutex = threading.Lock()
        #: What is being sent, by digest; set when that has ended, well or not.
        self._coming: dict[str, threading.Event] = {}
        #: Bytes sent since the store was trimmed; at first it is as if it had been very much.
        self._since_trim = float("inf")

    def stage(
        self,
        files: Sequence[StagedFile],
        attempt_folder: PurePath,
        folder: PurePosixPath,
        stopped: Callable[[], bool] = never,
    ) -> int:
        """Make a workspace.

        Args:
            files: what it holds.
            attempt_folder: the attempt's folder on the worker.
            folder: the staged project folder, relative to it.
            stopped: asked between files; when true the rest is left out.

        Returns:
            The bytes that had to travel to the worker.

        Raises:
            InputError: a file cannot be read, or keeps changing.
            WorkerError, OperatorError: the worker could not take them.
        """
        shared, private = [], []
        for file in files:
            target = attempt_folder / inside_tree(folder, file.place)
            if isinstance(file.source, bytes):
                private.append(Upload(file.source, target))
            else:
                shared.append(_Shared(file.source, target, file.access is Access.READ_ONLY))
        sent: list[Upload] = []
        try:
            self._make(shared, private, stopped, sent)
        except DiskFullError:
            if not self._trim(0):
                raise
            self._make(shared, private, stopped, sent)
        moved = sum(_size(upload.source) for upload in sent)
        self._keep_to_limit(moved)
        return moved

    def _make(
        self,
        shared: Sequence[_Shared],
        private: Sequence[Upload],
        stopped: Callable[[], bool],
        sent: list[Upload],
    ) -> None:
        """Bring what is missing, then make the workspace: a few calls, however many files. Notes what was ``sent``."""
        transport = self._worker.transport
        changed: Exception | None = None
        for _ in range(_TRIES):
            wanted = self._hashed(shared)
            try:
                self._bring(wanted, stopped, sent)
                if stopped():
                    return
                if self._placed(wanted):
                    transport.put(private)
                    sent.extend(private)
                    return
            except SourceChangedError as error:
                changed = error
        if changed is None:
            raise WorkerError(
                "files of the store vanish while they are being staged",
                step="stage",
                host=self._worker.hostname,
                action="see what else removes files there; the worker folder must belong to ras-runner alone",
            )
        raise InputError(
            f"files keep changing while they are being staged: {changed}",
            step="stage",
            action="close the program that writes them, then run the plan again",
        )

    def _hashed(self, shared: Sequence[_Shared]) -> dict[str, list[_Shared]]:
        """The files by digest."""
        found: dict[str, list[_Shared]] = {}
        for file in shared:
            found.setdefault(self.hasher.digest(file.source), []).append(file)
        return found

    def _bring(self, wanted: Mapping[str, Sequence[_Shared]], stopped: Callable[[], bool], sent: list[Upload]) -> None:
        """Send what the store lacks.

        What another attempt is sending is waited for, never while anything is kept from others; then it is looked at
        again, as that may have failed.
        """
        left = set(wanted)
        while left and not stopped():
            mine, others = self._take(left)
            try:
                self._send({digest: wanted[digest][0].source for digest in sorted(mine)}, stopped, sent)
            finally:
                self._release(mine)
            left -= mine
            for event in others:
                while not stopped() and not event.wait(_LOOK_SECONDS):
                    pass

    def _send(self, sources: Mapping[str, Path], stopped: Callable[[], bool], sent: list[Upload]) -> None:
        missing = self._missing(sources)
        if not missing:
            return
        try:
            self._worker.transport.put(missing, stopped)
        except SourceChangedError:  # the others are there
            left = {upload.digest for upload in self._missing(sources)}
            sent.extend(upload for upload in missing if upload.digest not in left)
            raise
        sent.extend(missing)

    def _take(self, digests: set[str]) -> tuple[set[str], list[threading.Event]]:
        """What is ours to send from now on, and what to wait for."""
        with self._mutex:
            others = [self._coming[digest] for digest in digests if digest in self._coming]
            mine = {digest for digest in digests if digest not in self._coming}
            self._coming |= {digest: threading.Event() for digest in mine}
        return mine, others

    def _release(self, digests: set[str]) -> None:
        with self._mutex:
            ended = [self._coming.pop(digest) for digest in digests]
        for event in ended:
            event.set()

    def _missing(self, sources: Mapping[str, Path]) -> list[Upload]:
        """What the store does not have whole: a crash may have left a file short."""
        paths = {digest: self._worker.store_path(digest) for digest in sources}
        sizes = self._worker.transport.stored(paths.values())
        return [
            Upload(source, paths[digest], digest)
            for digest, source in sources.items()
            if sizes.get(paths[digest]) != _size(source)
        ]

    def _placed(self, wanted: Mapping[str, Sequence[_Shared]]) -> bool:
        """Make links and copies; False when another controller has taken a store file before it was linked to."""
        paths = {digest: self._worker.store_path(digest) for digest in wanted}
        transport = self._worker.transport
        try:
            transport.place([Place(paths[d], file.target, file.link) for d, same in wanted.items() for file in same])
        except WorkerError:
            if len(transport.stored(paths.values())) == len(paths):
                raise
            return False
        return True

    def _keep_to_limit(self, moved: int) -> None:
        """Trim at the first workspace of a campaign, and when much was sent since."""
        limit = self._worker.spec.store_limit
        with self._mutex:
            self._since_trim += moved
            if self._since_trim < limit * _TRIM_PART:
                return
            self._since_trim = 0.0
        self._trim(limit)

    def _trim(self, limit: int) -> int:
        """The bytes that were freed; a store that cannot be trimmed is no reason to run nothing."""
        try:
            return self._worker.transport.trim(limit)
        except (RasRunnerError, OSError) as error:
            self._say(f"{self._worker.worker_id}: the store of inputs could not be trimmed: {error}")
            return 0


def _size(source: Path | bytes) -> int:
    """Bytes of a user's file.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(source, bytes):
        return len(source)
    try:
        return source.stat().st_size
    except OSError as error:
        raise unreadable(source, error) from error
