"""Many small store files in one stream: a tar whose last member is the program that verifies and places the others."""

from __future__ import annotations

import hashlib
import tarfile
from shlex import quote
from typing import TYPE_CHECKING

from ras_runner.hashing import hash_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path, PurePath

    from ras_runner.transports.base import Upload

_CHUNK = 1 << 18
_BLOCK = tarfile.BLOCKSIZE


class Bundle:
    """Files to be sent together.

    Args:
        files: each small enough to be read at once.

    Attributes:
        changed: files that no longer have their digest; they are not sent.
    """

    def __init__(self, files: Sequence[Upload]) -> None:
        self._files = files
        self.changed: list[Path | bytes] = []

    async def pieces(self) -> AsyncIterator[bytes]:
        """The tar stream. Raises OSError."""
        self.changed.clear()
        buffer, sums = bytearray(), dict[str, str]()
        folders: dict[PurePath, str] = {}
        for file in self._files:
            data = file.source if isinstance(file.source, bytes) else file.source.read_bytes()
            if hash_bytes(data) != file.digest:
                self.changed.append(file.source)
                continue
            name = f"{folders.setdefault(file.target.parent, f'f{len(folders)}')}/{file.target.name}"
            if name not in sums:
                buffer += _member(name, data)
                sums[name] = hashlib.sha256(data).hexdigest()
            if len(buffer) > _CHUNK:
                yield bytes(buffer)
                buffer.clear()
        buffer += _member("sums", "".join(f"{found}  {name}\n" for name, found in sums.items()).encode("ascii"))
        buffer += _member("place", place_script(folders).encode("utf-8", "surrogateescape"))
        yield bytes(buffer) + bytes(2 * _BLOCK)


def _member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o444
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % _BLOCK)


def place_script(folders: dict[PurePath, str]) -> str:
    """Verify what has arrived and rename it into place: two processes a folder, however many files.

    Args:
        folders: folder on the host -> its name in the stream.
    """
    lines = ["[ ! -s sums ] || sha256sum -c sums >/dev/null || exit 3"]
    for folder, name in folders.items():
        there = quote(str(folder))
        lines.append(f"mkdir -p {there} && chmod 0444 {name}/* && mv -f {name}/* {there}/ || exit 1")
    return "\n".join(lines) + "\n"


def receive_bundle_program(folder: PurePath) -> str:
    """Unpack a bundle from stdin into a temporary folder, place what is in it, and remove the folder."""
    here = quote(str(folder))
    return (
        f"export LC_ALL=C; umask 022; mkdir -p {here} && cd {here} && tar -xf - && sh ./place; "
        f"code=$?; cd /; rm -rf {here}; exit $code"
    )
