"""This machine's side of transfers to and from a share: what is sent, hashed on its way, and what is received."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ras_runner.errors import OperatorError
from ras_runner.hashing import SourceChangedError, unreadable
from ras_runner.transports.smb_share import WRITE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sent:
    """A file on its way: hashed while it travels, and sent on from where the host has it."""

    def __init__(self, source: Path | bytes) -> None:
        self._source = source
        self.arrived = self.read = 0
        self.digest = ""

    def pieces(self) -> Iterator[bytes]:
        """From byte ``arrived`` on; what lies before it is only hashed."""
        from blake3 import blake3

        hasher, start = blake3(), self.arrived
        self.read = 0
        for piece in _file_pieces(self._source):
            hasher.update(piece)
            skip = max(0, start - self.read)
            self.read += len(piece)
            if skip < len(piece):
                yield piece[skip:]
        self.digest = hasher.hexdigest()


def _file_pieces(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[at : at + WRITE_BYTES] for at in range(0, len(source), WRITE_BYTES))
        return
    with readable(source), source.open("rb") as handle:
        while piece := handle.read(WRITE_BYTES):
            yield piece


def changed(source: Path | bytes) -> SourceChangedError:
    """A file that no longer has the digest it had."""
    return SourceChangedError(source)


@contextlib.contextmanager
def readable(source: Path | bytes) -> Iterator[None]:
    """What the user's files cannot give is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise unreadable(source, error) from error


def written(out: BinaryIO, path: Path, piece: bytes) -> int:
    """Write a piece of what was received; its bytes."""
    with writable(path):
        return out.write(piece)


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """What this machine cannot store is an operator's to mend, not the host's fault."""
    try:
        yield
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be written: {error.strerror or error}",
            step="collect",
            action="free space on this machine; then: ras-runner resume",
        ) from error
