"""Content hashes (BLAKE3): of files, remembered while a file does not change, and of copies while they are made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ras_runner.errors import InputError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20
#: A file changed less than this many seconds before it was hashed may change again within the same time stamp.
_SETTLED_SECONDS = 3.0


class SourceChangedError(TransientError):
    """Files changed between being hashed and being copied.

    Args:
        sources: which.
    """

    def __init__(self, *sources: object) -> None:
        named = ", ".join(map(str, sources))
        super().__init__(f"{named} changed while it was being staged", step="stage", action="it is tried again")


def unreadable(source: object, error: OSError) -> InputError:
    """A user's file that cannot be read is theirs to mend."""
    return InputError(
        f"{error.filename or source} cannot be read: {error.strerror or error}",
        step="stage",
        action="check the file and its rights",
    )


def hash_bytes(data: bytes) -> str:
    """BLAKE3 of bytes, hexadecimal."""
    from blake3 import blake3

    return blake3(data).hexdigest()


def hash_file(path: Path) -> str:
    """BLAKE3 of a file's content, hexadecimal. Raises OSError."""
    from blake3 import blake3

    hasher = blake3()
    for chunk in _chunks(path):
        hasher.update(chunk)
    return hasher.hexdigest()


def copy_hashed(source: Path, target: Path, *, expected: str = "") -> str:
    """Copy a file and return the BLAKE3 of what was copied.

    Raises:
        SourceChangedError: the content is not the ``expected`` one; the target is not to be used.
        OSError: reading or writing failed.
    """
    from blake3 import blake3

    hasher = blake3()
    with target.open("wb") as out:
        for chunk in _chunks(source):
            hasher.update(chunk)
            out.write(chunk)
    digest = hasher.hexdigest()
    if expected and digest != expected:
        raise SourceChangedError(source)
    return digest


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            yield chunk


class HashMemory(Protocol):
    """Where digests are kept between runs."""

    def get_digest(self, path: str, signature: str) -> str | None:
        """The digest stored for this path with this signature."""

    def put_digest(self, path: str, signature: str, digest: str) -> None:
        """Remember a digest."""


class FileHasher:
    """Hashes each file once, while its size, times and inode stay the same."""

    def __init__(self, memory: HashMemory) -> None:
        self._memory = memory
        self._known: dict[Path, tuple[str, str]] = {}

    def digest(self, path: Path) -> str:
        """BLAKE3 of the file.

        Raises:
            InputError: it cannot be read.
        """
        try:
            stat = path.stat()
            signature = f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}:{stat.st_ino}"
            seen, digest = self._known.get(path, ("", ""))
            if seen == signature:
                return digest
            if known := self._memory.get_digest(str(path), signature):
                self._known[path] = (signature, known)
                return known
            digest = hash_file(path)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read: {error.strerror or error}",
                step="hash inputs",
                action="check the file and its rights",
            ) from error
        if time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED_SECONDS:
            self._memory.put_digest(str(path), signature, digest)
            self._known[path] = (signature, digest)
        return digest
