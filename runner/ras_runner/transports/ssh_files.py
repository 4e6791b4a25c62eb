"""Files on their way to and from an SSH host: hashed while they travel, never read twice."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_CHUNK = 1 << 18


class Outgoing:
    """A file to be sent; can go on from a byte of what was sent.

    Args:
        source: what is sent.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self.restart(0)

    def restart(self, arrived: int) -> None:
        """Send from byte ``arrived``; what lies before it is only hashed."""
        from blake3 import blake3

        self._skip, self.sent = arrived, 0
        self._sha256, self._blake3 = hashlib.sha256(), blake3()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The pieces to be sent. Raises OSError."""
        with self._source.open("rb") as handle:
            while data := handle.read(_CHUNK):
                before = self.sent
                self._count(data)
                if self.sent > self._skip:
                    yield data[max(0, self._skip - before) :]

    def _count(self, data: bytes) -> None:
        self._sha256.update(data)
        self._blake3.update(data)
        self.sent += len(data)

    @property
    def sha256(self) -> str:
        """Of what was sent."""
        return self._sha256.hexdigest()

    @property
    def blake3(self) -> str:
        """Of what was sent."""
        return str(self._blake3.hexdigest())


class Incoming:
    """Files that come one after the other in one stream.

    Args:
        files: where each goes, and how many bytes it has.

    Attributes:
        sums: SHA-256 of each file that is complete.
        rest: what came after the last file.
    """

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        self._files = list(files)
        self._handle: BinaryIO | None = None
        self._missing = 0
        self.sums: list[str] = []
        self.rest = b""

    def __enter__(self) -> Self:
        self._next()
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.close()

    def _next(self) -> None:
        """Open the next file that has content; empty ones are made on the way."""
        while self._files:
            path, self._missing = self._files.pop(0)
            self._handle, self._sha256 = path.open("wb"), hashlib.sha256()
            if self._missing:
                return
            self._close()

    def _close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None
            self.sums.append(self._sha256.hexdigest())

    def take(self, data: bytes) -> None:
        """The next bytes of the stream."""
        view = memoryview(data)
        while view and self._handle is not None:
            piece = view[: self._missing]
            self._handle.write(piece)
            self._sha256.update(piece)
            self._missing -= len(piece)
            view = view[len(piece) :]
            if not self._missing:
                self._close()
                self._next()
        self.rest += bytes(view)
