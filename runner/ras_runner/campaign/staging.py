"""Staging by content: what a workspace is made of, and how it gets to a worker once."""

from __future__ import annotations

import threading
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.errors import InputError
from ras_runner.hashing import SourceChangedError
from ras_runner.hecras.inputs import Access
from ras_runner.transports.base import Place, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import PurePath

    from ras_runner.engines.base import StagedFile
    from ras_runner.hashing import FileHasher
    from ras_runner.workers.base import Worker

#: The staged tree below an attempt's folder. One letter: HEC-RAS paths on Windows end at 260 characters.
TREE = "p"
_TRIES = 3


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


class Stager:
    """Puts files into a worker's store once, and into workspaces from there.

    Args:
        worker: where to.
        hasher: hashes the user's files.
    """

    def __init__(self, worker: Worker, hasher: FileHasher) -> None:
        self._worker = worker
        self.hasher = hasher
        self._mutex = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def stage(
        self,
        files: Sequence[StagedFile],
        attempt_folder: PurePath,
        folder: PurePosixPath,
        stopped: Callable[[], bool] = lambda: False,
    ) -> int:
        """Make a workspace.

        Args:
            files: what it holds.
            attempt_folder: the attempt's folder on the worker.
            folder: the staged project folder, relative to it.
            stopped: asked before each file; when true the rest is left out.

        Returns:
            The bytes that had to travel to the worker.

        Raises:
            InputError: a file cannot be read, or keeps changing.
            WorkerError, OperatorError: the worker could not take them.
        """
        transport = self._worker.transport
        moved = 0
        for file in files:
            if stopped():
                break
            target = attempt_folder / inside_tree(folder, file.place)
            if isinstance(file.source, bytes):
                transport.put([Upload(file.source, target)])
                moved += len(file.source)
                continue
            stored, size = self._store(file.source)
            moved += size
            transport.place([Place(stored, target, file.access is Access.READ_ONLY)])
        return moved

    def _lock(self, digest: str) -> threading.Lock:
        """One lock a content: two plans that share a terrain send it once, and others need not wait for it."""
        with self._mutex:
            return self._locks.setdefault(digest, threading.Lock())

    def _store(self, source: Path) -> tuple[PurePath, int]:
        """Where the file's content lies in the store, and the bytes that were sent for it."""
        for _ in range(_TRIES):
            digest = self.hasher.digest(source)
            stored = self._worker.store_path(digest)
            with self._lock(digest):
                size = source.stat().st_size
                if self._worker.transport.stored([stored]).get(stored) == size:  # a crash may have left it short
                    return stored, 0
                try:
                    self._worker.transport.put([Upload(source, stored, digest)])
                except SourceChangedError:
                    continue
                return stored, size
        raise InputError(
            f"{source} keeps changing while it is being staged",
            step="stage",
            action="close the program that writes it, then run the plan again",
        )
