"""Files on their way to and from an SSH host: hashed while they travel, never read twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class SumTool:
    """What makes strong sums on a host, and here.

    Attributes:
        command: prints the sum of its stdin first.
        check: checks a list of sums with ``-c``.
        new: the same here.
    """

    command: str
    check: str
    new: Callable[..., Any]

    def of(self, data: bytes) -> str:
        """The sum of some bytes, hexadecimal."""
        return str(self.new(data).hexdigest())


#: The sums of a 300 MB file take 0.15 s with openssl where the processor has instructions for SHA-256, 0.3 s with b2sum
#: and 0.75 s with sha256sum, which every host has.
SUM_TOOLS = {
    "openssl": SumTool("openssl dgst -sha256 -r", "sha256sum", hashlib.sha256),
    "b2sum": SumTool("b2sum", "b2sum", hashlib.blake2b),
    "sha256sum": SumTool("sha256sum", "sha256sum", hashlib.sha256),
}


class Outgoing:
    """A file to be sent; can go on from a byte of what was sent.

    Args:
        source: what is sent.
        tool: makes the sum on the host.
    """

    def __init__(self, source: Path, tool: SumTool) -> None:
        self._source, self._tool = source, tool
        self.sent = 0

    def pieces(self, arrived: int) -> Iterator[bytes]:
        """The pieces to be sent, from byte ``arrived``; what lies before it is only hashed. Raises OSError."""
        from blake3 import blake3

        self.sent, self._sum, self._blake3 = 0, self._tool.new(), blake3()
        with self._source.open("rb") as handle:
            while data := handle.read(_CHUNK):
                before = self.sent
                self._sum.update(data)
                self._blake3.update(data)
                self.sent += len(data)
                if self.sent > arrived:
                    yield data[max(0, arrived - before) :]

    @property
    def sum(self) -> str:
        """Of what was sent, as the host's tool has it."""
        return str(self._sum.hexdigest())

    @property
    def blake3(self) -> str:
        """Of what was sent."""
        return str(self._blake3.hexdigest())


class Incoming:
    """Files that come one after the other in one stream.

    Args:
        files: where each goes, and how many bytes it has.
        tool: makes the sums on the host.

    Attributes:
        sums: sum of each file that is complete.
        rest: what came after the last file.
    """

    def __init__(self, files: Sequence[tuple[Path, int]], tool: SumTool) -> None:
        self._files, self._new_sum = list(files), tool.new
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
            self._handle, self._sum = path.open("wb"), self._new_sum()
            if self._missing:
                return
            self._close()

    def _close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None
            self.sums.append(self._sum.hexdigest())

    def take(self, data: bytes) -> None:
        """The next bytes of the stream."""
        view = memoryview(data)
        while view and self._handle is not None:
            piece = view[: self._missing]
            self._handle.write(piece)
            self._sum.update(piece)
            self._missing -= len(piece)
            view = view[len(piece) :]
            if not self._missing:
                self._close()
                self._next()
        self.rest += bytes(view)
