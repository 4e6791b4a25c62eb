"""Many small files in one stream: a tar whose last member is the program that verifies and places the others."""

from __future__ import annotations

import tarfile
from shlex import quote
from typing import TYPE_CHECKING

from ras_runner.hashing import hash_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path, PurePath

    from ras_runner.transports.base import Place, Upload
    from ras_runner.transports.ssh_files import SumTool

_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_PLAIN = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/")
_MOVE = """sh -c 'for f; do mkdir -p "$0/${f%/*}" && mv -f "$f" "$0/$f" || exit 1; done'"""
#: Exit codes of the programs: content did not arrive as it was sent; files cannot be linked.
DAMAGED, NO_LINKS = 3, 4


class Bundle:
    """Files to be sent together.

    Args:
        files: each small enough to be read at once.
        root: the worker folder.
        tool: makes the sums, and checks them on the host.

    Attributes:
        changed: files that no longer have their digest; they are not sent.
    """

    def __init__(self, files: Sequence[Upload], root: PurePath, tool: SumTool) -> None:
        self._files, self._root, self._tool = files, root, tool
        self.changed: list[Path | bytes] = []

    def pieces(self) -> Iterator[bytes]:
        """The tar stream. Raises OSError."""
        self.changed.clear()
        buffer, sums = bytearray(), list[str]()
        singles: dict[PurePath, str] = {}
        for number, file in enumerate({file.target: file for file in self._files}.values()):
            data = file.source if isinstance(file.source, bytes) else file.source.read_bytes()
            if file.digest and hash_bytes(data) != file.digest:
                self.changed.append(file.source)
                continue
            name = str(file.target.relative_to(self._root))
            if file.digest and _PLAIN.issuperset(name):
                name = f"t/{name}"
            else:
                name = singles[file.target] = f"s/{number}"
            buffer += _member(name, data, 0o444 if file.digest else 0o644)
            sums.append(f"{self._tool.of(data)}  {name}\n")
            if len(buffer) > _CHUNK:
                yield bytes(buffer)
                buffer.clear()
        buffer += _member("sums", "".join(sums).encode("ascii"))
        script = place_script(self._tool.check, self._root, singles, durable=any(file.digest for file in self._files))
        yield bytes(buffer) + _member("place", script.encode("utf-8", "surrogateescape")) + _END


def _member(name: str, data: bytes, mode: int = 0o644) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % _BLOCK)


def place_script(tool: str, root: PurePath, singles: dict[PurePath, str], *, durable: bool) -> str:
    """Verify what has arrived and give it its names: one process for all store files, by links that replace what is
    there; on a file system without links each is renamed.

    Args:
        tool: command that checks the sums.
        root: the worker folder; what lies in ``t/`` has the same place below it.
        singles: path on the host -> its name in the stream, for all others.
        durable: bring it to the disk before it gets its names.
    """
    top = quote(str(root))
    lines = [f"[ ! -s sums ] || {tool} -c sums >/dev/null || exit {DAMAGED}"]
    if durable:
        lines.append("timeout 20 sync -f . 2>/dev/null || :")
    lines.append(
        f"[ ! -d t ] || cp -rlf t/. {top}/ 2>/dev/null || "
        f"( cd t && find . -type f -exec {_MOVE} {top} {{}} + ) || exit 1"
    )
    folders = dict.fromkeys(quote(str(target.parent)) for target in singles)
    if folders:
        lines.append(f"mkdir -p {' '.join(folders)} || exit 1")
    lines += [f"mv -f {name} {quote(str(target))} || exit 1" for target, name in singles.items()]
    return "\n".join(lines) + "\n"


def receive_bundle_program(folder: PurePath) -> str:
    """Unpack a bundle from stdin into a temporary folder, place what is in it, and remove the folder.

    Times are the host's: what was staged must not look as if it were written after the attempt had begun.
    """
    here = quote(str(folder))
    return (
        f"export LC_ALL=C; umask 022; mkdir -p {here} && cd {here} && tar -xmof - && sh ./place; "
        f"code=$?; cd /; rm -rf {here}; exit $code"
    )


def links_bundle(places: Sequence[Place], root: PurePath, spare: PurePath) -> bytes:
    """A tar of hard links: one process makes them all.

    Args:
        places: what is to be made; those that are no links get theirs below ``spare``, to be copied from.
        root: where the tar is unpacked.
        spare: a temporary folder.
    """
    pieces = []
    for place in places:
        target = place.target.relative_to(root)
        info = tarfile.TarInfo(str(target if place.link else spare.relative_to(root) / target))
        info.type, info.linkname = tarfile.LNKTYPE, str(place.source.relative_to(root))
        pieces.append(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    return b"".join(pieces) + _END
