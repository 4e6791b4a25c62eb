"""File operations on one share, each in as few round trips as SMB 2 allows: related requests travel together.

A thin layer over smbprotocol's ``Open``. smbclient, its twin of ``os``, needs up to five round trips for a rename and
makes a lost connection anew without credentials.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smbprotocol.open import Open
    from smbprotocol.tree import TreeConnect

#: Windows file times count 100 ns since 1601.
_EPOCH, _TICKS = 116444736000000000, 10_000_000
_COPY_CHUNK, _COPY_CHUNKS = 1 << 20, 16  # what MS-SMB2 3.3.3 lets every server copy at once
#: Bytes of a write. Larger ones hold the connection's credits for longer than they save round trips.
WRITE_BYTES = 1 << 20
_IN_FLIGHT = 4
_SHARE_ALL = 0x7
_READ, _WRITE, _DELETE = 0x1 | 0x80, 0x2 | 0x100, 0x10000
_OPEN, _CREATE, _OPEN_IF, _OVERWRITE_IF = 1, 2, 3, 5
_FOLDER, _FILE, _REPARSE, _DELETE_ON_CLOSE = 0x1, 0x40, 0x200000, 0x1000


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder on a share.

    Attributes:
        name: without its folder.
        size: bytes.
        mtime, atime: unix time of the last change and use, by the host's clock.
        attributes: Windows file attributes.
    """

    name: str
    size: int
    mtime: float
    atime: float
    attributes: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder (or a link to one)."""
        return bool(self.attributes & stat.FILE_ATTRIBUTE_DIRECTORY)

    @property
    def is_link(self) -> bool:
        """Whether it only points elsewhere."""
        return bool(self.attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT)


class Share:
    """A connected share. Paths are relative to it, with backslashes; all calls raise smbprotocol's errors.

    Args:
        tree: of smbprotocol.
        answered: called whenever the host has answered.
    """

    def __init__(self, tree: TreeConnect, answered: Callable[[], None] = lambda: None) -> None:
        self._tree, self._answered = tree, answered

    def info(self, path: str) -> Entry:
        """What is there."""
        opened = self._open(path)
        self._send(opened, self._create(opened, 0x80), opened.close(send=False))
        return _entry(path, opened)

    def links(self, path: str) -> int:
        """How many names a file has."""
        from smbprotocol.file_info import FileStandardInformation
        from smbprotocol.open import SMB2QueryInfoRequest, SMB2QueryInfoResponse

        wanted = FileStandardInformation()
        query = SMB2QueryInfoRequest()
        query["info_type"], query["file_info_class"] = wanted.INFO_TYPE, wanted.INFO_CLASS
        query["file_id"], query["output_buffer_length"] = b"\xff" * 16, len(wanted)

        def received(request: Any) -> int:
            response = SMB2QueryInfoResponse()
            response.unpack(opened.connection.receive(request)["data"].get_value())
            return int(response.parse_buffer(FileStandardInformation)["number_of_links"].get_value())

        opened = self._open(path)
        answers = self._send(opened, self._create(opened, 0x80), (query, received), opened.close(send=False))
        return int(answers[1])

    def used(self, path: str, now: float) -> None:
        """Set the time of last use."""
        from smbprotocol.file_info import FileBasicInformation

        times = FileBasicInformation()
        for name in ("creation_time", "last_write_time", "change_time", "file_attributes"):
            times[name] = 0  # as it was
        times["last_access_time"] = int(now * _TICKS) + _EPOCH
        opened = self._open(path)
        self._send(opened, self._create(opened, 0x100), self._set(opened, times), opened.close(send=False))

    def make_folder(self, path: str, *, exist_ok: bool = True) -> None:
        """Make a folder; its parent exists."""
        opened = self._open(path)
        disposition = _OPEN_IF if exist_ok else _CREATE
        created = self._create(opened, 0x80, disposition, _FOLDER)
        self._send(opened, created, opened.close(send=False))

    def write(self, temporary: str, target: str, data: bytes) -> None:
        """Make a small file under a temporary name and rename it: four requests, one round trip."""
        opened = self._open(temporary)
        self._send(
            opened,
            self._create(opened, _WRITE | _DELETE, _OVERWRITE_IF, _FILE, share=0),
            *([opened.write(data, send=False)] if data else []),
            self._rename(opened, target),
            opened.close(send=False),
        )

    def clock(self, path: str) -> float:
        """The host's clock: the time at which it made a file for us, which is gone again."""
        opened = self._open(path)
        created = self._create(opened, _WRITE | _DELETE, _OVERWRITE_IF, _FILE | _DELETE_ON_CLOSE)
        self._send(opened, created, opened.close(send=False))
        return _entry(path, opened).mtime

    def link(self, source: str, target: str) -> None:
        """Give a file one more name, which is taken from whatever has it."""
        from smbprotocol.file_info import FileLinkInformation

        link = FileLinkInformation()
        link["replace_if_exists"], link["file_name"] = True, target
        opened = self._open(source)
        self._send(opened, self._create(opened, 0x100), self._set(opened, link), opened.close(send=False))

    def copy(self, source: str, target: str) -> None:
        """Copy a file on the host, without its content travelling."""
        old, new = self._open(source), self._open(target)
        self._send(old, self._create(old, _READ, _OPEN, _FILE))
        try:
            key = self._resume_key(old)
            self._send(new, self._create(new, _READ | _WRITE, _OVERWRITE_IF, _FILE, share=0))
            try:
                for start in range(0, int(old.end_of_file), _COPY_CHUNK * _COPY_CHUNKS):
                    self._copy_chunks(new, key, start, min(int(old.end_of_file), start + _COPY_CHUNK * _COPY_CHUNKS))
            finally:
                new.close()
        finally:
            old.close()

    def read(self, path: str, start: int, last: int) -> bytes:
        """At most the ``last`` bytes of a file, from byte ``start`` at the earliest."""
        opened = self._open(path)
        self._send(opened, self._create(opened, _READ, _OPEN, _FILE))
        try:
            position, end = max(start, int(opened.end_of_file) - last, 0), int(opened.end_of_file)
            return b"".join(self._pieces(opened, position, end))
        finally:
            opened.close()

    def pieces(self, path: str) -> Iterator[bytes]:
        """A whole file."""
        opened = self._open(path)
        self._send(opened, self._create(opened, _READ, _OPEN, _FILE))
        try:
            yield from self._pieces(opened, 0, int(opened.end_of_file))
        finally:
            opened.close()

    def write_pieces(self, path: str, start: int, pieces: Iterator[bytes]) -> Iterator[int]:
        """Write a large file from byte ``start`` on and bring it to the disk; yields how much of it the host has."""
        opened = self._open(path)  # shared: the host may still hold it for a connection that was lost
        self._send(opened, self._create(opened, _WRITE | _DELETE, _OPEN_IF, _FILE))
        try:
            position = arrived = start
            waiting: list[tuple[Any, Any]] = []
            for piece in pieces:
                message, received = opened.write(piece, offset=position, send=False)
                waiting.append((self._post(message), received))
                position += len(piece)
                if len(waiting) == _IN_FLIGHT:
                    arrived += self._received(*waiting.pop(0))
                    yield arrived
            while waiting:
                arrived += self._received(*waiting.pop(0))
                yield arrived
            opened.flush()
        finally:
            opened.close()

    def rename(self, source: str, target: str) -> None:
        """Rename a file over another."""
        opened = self._open(source)
        self._send(
            opened,
            self._create(opened, _DELETE | 0x80, _OPEN, _FILE),
            self._rename(opened, target),
            opened.close(send=False),
        )

    def folder(self, path: str) -> list[Entry]:
        """What is in a folder, by name."""
        from smbprotocol.exceptions import NoMoreFiles, NoSuchFile
        from smbprotocol.file_info import FileInformationClass

        opened = self._open(path)
        self._send(opened, self._create(opened, _READ, _OPEN, _FOLDER))
        found: list[Any] = []
        try:
            while True:
                found += opened.query_directory("*", FileInformationClass.FILE_DIRECTORY_INFORMATION, flags=0)
        except (NoMoreFiles, NoSuchFile):
            pass
        finally:
            opened.close()
        entries = (_listed(item) for item in found)
        return sorted((e for e in entries if e.name not in (".", "..")), key=lambda e: e.name)

    def delete(self, path: str, *, folder: bool) -> None:
        """Remove a file, an empty folder, or a link itself."""
        kind = _FOLDER if folder else _FILE
        opened = self._open(path)
        created = self._create(opened, _DELETE, _OPEN, kind | _REPARSE | _DELETE_ON_CLOSE)
        self._send(opened, created, opened.close(send=False))

    def _open(self, path: str) -> Open:
        from smbprotocol.open import Open

        return Open(self._tree, path)

    @staticmethod
    def _create(
        opened: Open, access: int, disposition: int = _OPEN, options: int = 0, share: int = _SHARE_ALL
    ) -> tuple[Any, Any]:
        from smbprotocol.open import ImpersonationLevel

        attributes = 0x10 if options & _FOLDER else 0x80
        level = ImpersonationLevel.Impersonation
        made: tuple[Any, Any] = opened.create(level, access, attributes, share, disposition, options, send=False)
        return made

    @staticmethod
    def _set(opened: Open, content: Any) -> tuple[Any, Any]:
        from smbprotocol.open import SMB2SetInfoRequest

        request = SMB2SetInfoRequest()
        request["info_type"], request["file_info_class"] = content.INFO_TYPE, content.INFO_CLASS
        request["file_id"], request["buffer"] = b"\xff" * 16, content
        return request, opened.connection.receive

    def _rename(self, opened: Open, target: str) -> tuple[Any, Any]:
        from smbprotocol.file_info import FileRenameInformation

        rename = FileRenameInformation()
        rename["replace_if_exists"], rename["file_name"] = True, target
        return self._set(opened, rename)

    def _send(self, opened: Open, *messages: tuple[Any, Any]) -> list[Any]:
        """Send related requests in one packet; every answer is taken, then the first error raised."""
        from smbprotocol.exceptions import SMBResponseException

        session = self._tree.session.session_id
        requests = opened.connection.send_compound(
            [message for message, _ in messages], session, self._tree.tree_connect_id, related=True
        )
        answers, errors = [], []
        for request, (_, received) in zip(requests, messages, strict=True):
            try:
                answers.append(received(request))
            except SMBResponseException as error:
                errors.append(error)
        self._answered()
        if errors:
            errors[0].path = f"{self._tree.share_name}\\{opened.file_name}"
            raise errors[0]
        return answers

    def _post(self, message: Any) -> Any:
        return self._tree.session.connection.send(message, self._tree.session.session_id, self._tree.tree_connect_id)

    def _received(self, request: Any, received: Callable[[Any], int]) -> int:
        count = int(received(request))
        self._answered()
        return count

    def _pieces(self, opened: Open, position: int, end: int) -> Iterator[bytes]:
        while position < end:
            data: bytes = opened.read(position, min(end - position, WRITE_BYTES))
            self._answered()
            if not data:
                return
            yield data
            position += len(data)

    def _control(self, opened: Open, code: int, content: Any, size: int) -> bytes:
        from smbprotocol.ioctl import IOCTLFlags, SMB2IOCTLRequest, SMB2IOCTLResponse

        request = SMB2IOCTLRequest()
        request["ctl_code"], request["file_id"] = code, opened.file_id
        request["max_output_response"], request["flags"] = size, IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL
        request["buffer"] = content
        response = SMB2IOCTLResponse()
        response.unpack(opened.connection.receive(self._post(request))["data"].get_value())
        return bytes(response["buffer"].get_value())

    def _resume_key(self, opened: Open) -> bytes:
        from smbprotocol.ioctl import CtlCode, SMB2SrvRequestResumeKey

        key = SMB2SrvRequestResumeKey()
        key.unpack(self._control(opened, CtlCode.FSCTL_SRV_REQUEST_RESUME_KEY, b"", 32))
        return bytes(key["resume_key"].get_value())

    def _copy_chunks(self, opened: Open, key: bytes, start: int, end: int) -> None:
        from smbprotocol.ioctl import CtlCode, SMB2SrvCopyChunk, SMB2SrvCopyChunkCopy, SMB2SrvCopyChunkResponse

        chunks = []
        for offset in range(start, end, _COPY_CHUNK):
            chunk = SMB2SrvCopyChunk()
            chunk["source_offset"] = chunk["target_offset"] = offset
            chunk["length"] = min(_COPY_CHUNK, end - offset)
            chunks.append(chunk)
        copy = SMB2SrvCopyChunkCopy()
        copy["source_key"], copy["chunks"] = key, chunks
        answer = SMB2SrvCopyChunkResponse()
        answer.unpack(self._control(opened, CtlCode.FSCTL_SRV_COPYCHUNK_WRITE, copy, 12))
        if answer["total_bytes_written"].get_value() != end - start:
            raise OSError(f"the host copied {answer['total_bytes_written'].get_value()} of {end - start} bytes")


def _unix(time: Any) -> float:
    """smbprotocol has times as datetimes, of some structures as Windows' own."""
    return (time - _EPOCH) / _TICKS if isinstance(time, int) else float(time.timestamp())


def _entry(path: str, opened: Open) -> Entry:
    times = (_unix(opened.last_write_time), _unix(opened.last_access_time))
    return Entry(path.rpartition("\\")[2], int(opened.end_of_file), *times, int(opened.file_attributes))


def _listed(item: Any) -> Entry:
    return Entry(
        item["file_name"].get_value().decode("utf-16-le"),
        int(item["end_of_file"].get_value()),
        _unix(item["last_write_time"].get_value()),
        _unix(item["last_access_time"].get_value()),
        int(item["file_attributes"].get_value()),
    )


def below(parent: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a path is really below another, by its words and without regard to case."""
    folded = [part.casefold() for part in path]
    return len(path) > len(parent) and folded[: len(parent)] == [p.casefold() for p in parent] and ".." not in path
