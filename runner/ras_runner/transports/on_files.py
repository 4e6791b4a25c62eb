"""What transports share that run programs their own way, on files that another transport reaches (decision 009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ras_runner.transports.base import never

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import PurePath

    from ras_runner.transports.base import Place, Transport, Upload


class OnFiles:
    """The part of a transport that is about files.

    Args:
        files: how they are reached.
    """

    #: What runs there sees its workspace, and this machine's files only by chance.
    sees_our_files = False

    def __init__(self, files: Transport) -> None:
        self.files = files

    @property
    def root(self) -> PurePath:
        """The worker folder."""
        return self.files.root

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files."""
        return self.files.stored(paths)

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, each atomically."""
        self.files.put(files, stopped)

    def place(self, places: Sequence[Place]) -> None:
        """Hard links and copies: what runs sees the file, not the store."""
        self.files.place(places)

    def trim(self, limit: int) -> int:
        """Make room in the store."""
        return self.files.trim(limit)

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file."""
        return self.files.read(path, start=start, last=last)

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim, so that its run script can never start."""
        return self.files.claim(folder)
