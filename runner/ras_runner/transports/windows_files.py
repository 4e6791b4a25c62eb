"""Files on a Windows host where there is no share: in archives, through the way that runs programs there too."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import tempfile
import time
import uuid
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Protocol, TypeVar

from ras_runner.errors import TransientError, WorkerError
from ras_runner.hashing import SourceChangedError, unreadable
from ras_runner.retrying import retrying
from ras_runner.transports.base import Collected, Found, Place, Probe, Upload, never
from ras_runner.transports.windows_names import check_windows_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ras_runner.transports.windows_powershell import PowerShell

Item = TypeVar("Item")
#: Of an archive in one call. Its JSON stays below the 2 MiB that ConvertFrom-Json of PowerShell 5.1 takes.
_PIECE = 1280 * 1024
#: Files and places named in one call: for the same reason.
_NAMES = 1000
#: Files are sent together until their archive has this size, then they are unpacked there.
_ARCHIVE_BYTES = 64 << 20
_READ = 1 << 20
_TRIES = 3
_USED_SECONDS, _LEFTOVER_SECONDS = 3600, 86400
#: Seconds between 1601, where Windows counts from, and 1970.
_EPOCH = 11644473600
#: Bytes a second that the slowest host packs and hashes.
_SLOWEST = 5e6


class Carrier(Protocol):
    """Takes the bytes of one file to a host and back."""

    def send(self, source: IO[bytes], target: PureWindowsPath) -> None:
        """Write a file there, from the beginning of ``source``."""

    def fetch(self, source: PureWindowsPath, size: int, target: IO[bytes]) -> None:
        """Read a file of ``size`` bytes from there."""


class PieceCarrier:
    """Files in pieces, each a call of its own: where nothing else goes through.

    Args:
        powershell: runs our programs there.
    """

    def __init__(self, powershell: PowerShell) -> None:
        self._powershell = powershell

    def send(self, source: IO[bytes], target: PureWindowsPath) -> None:
        """Write a file there; a piece whose answer is lost is sent again."""
        offset = source.seek(0)
        while piece := source.read(_PIECE):
            data = base64.b64encode(piece).decode("ascii")
            self._powershell.call("write", {"path": str(target), "offset": offset, "data": data}, step="stage")
            offset += len(piece)

    def fetch(self, source: PureWindowsPath, size: int, target: IO[bytes], *, start: int = 0) -> None:
        """Read a file from there, from byte ``start`` on."""
        offset = start
        while offset < size:
            asked = {"path": str(source), "start": offset, "count": min(_PIECE, size - offset), "end": False}
            answer = self._powershell.call("read", asked, step="collect")
            piece = base64.b64decode(answer.get("data") or "")
            if not piece:
                raise TransientError(
                    f"{source} ended after {offset} of {size} bytes", step="collect", host=self._powershell.host
                )
            target.write(piece)
            offset += len(piece)


class WindowsFiles:
    """The file half of a transport: see :class:`~ras_runner.transports.base.Transport`.

    Args:
        powershell: runs our programs there.
        root: the worker folder.
        carrier: takes archives there and back.
    """

    sees_our_files = False

    def __init__(self, powershell: PowerShell, root: PureWindowsPath, carrier: Carrier) -> None:
        self.root = root
        self._powershell, self._carrier = powershell, carrier
        #: The claim of an attempt is ours when this is in it.
        self._token = uuid.uuid4().hex

    @property
    def host(self) -> str:
        """The host's name."""
        return self._powershell.host

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files."""
        asked, found = list(paths), {}
        for some in _parts(asked):
            answer = self._powershell.call("stored", {"paths": [str(path) for path in some]}, step="stage")
            sizes = zip(some, map(int, answer["sizes"]), strict=True)
            found.update({path: size for path, size in sizes if size >= 0})
        return found

    def attempts(self) -> list[Found]:
        """The folders of attempts."""
        found = self._powershell.call("attempts", {"work": str(self.root / "w")}, step="look for leftovers")
        return [Found(str(item["name"]), float(item["idle"])) for item in found["attempts"]]

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, several in an archive; each is verified there by SHA-256, here by its digest if it has one."""
        check_windows_paths([file.target for file in files], self.root, self.host)
        changed: list[Upload] = []
        waiting = iter(files)
        while not stopped():
            with tempfile.TemporaryFile() as archive:
                packed = self._packed(archive, waiting, stopped, changed)
                if not packed:
                    break
                self._send(archive, packed)
        if changed:
            raise SourceChangedError(*(file.source for file in changed))

    def _packed(
        self, archive: IO[bytes], waiting: Iterator[Upload], stopped: Callable[[], bool], changed: list[Upload]
    ) -> list[dict[str, str]]:
        """Fill an archive with the next files; what the host is told of each."""
        packed: list[dict[str, str]] = []
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
            while len(packed) < _NAMES and archive.tell() < _ARCHIVE_BYTES and not stopped():
                if (file := next(waiting, None)) is None:
                    break
                entry = f"f{len(packed)}"
                with _readable(), out.open(entry, "w", force_zip64=True) as member:
                    sha256, digest = _copy(file.source, member)
                if file.digest and digest != file.digest:
                    changed.append(file)  # what was packed of it is not named to the host
                    continue
                packed.append({"entry": entry, "target": str(file.target), "sha256": sha256.upper()})
        return packed

    def _send(self, archive: IO[bytes], packed: list[dict[str, str]]) -> None:
        token = uuid.uuid4().hex[:12]
        there = self.root / "store" / f"{token}.part"
        size = archive.seek(0, os.SEEK_END)
        asked: dict[str, object] = {"archive": str(there), "token": token, "files": packed, "data": ""}
        if size <= _PIECE:
            archive.seek(0)
            asked["data"] = base64.b64encode(archive.read()).decode("ascii")

        def send() -> None:
            if size > _PIECE:
                self._carrier.send(archive, there)
            bad = self._powershell.call("unpack", asked, step="stage", limit=60.0 + size / _SLOWEST, once=True)["bad"]
            if bad:
                raise TransientError(
                    f"{bad[0]} did not arrive as it was sent", step="stage", host=self.host, action="it is tried again"
                )

        retrying(send, TransientError, attempts=_TRIES, first=0.2, longest=3.0)

    def place(self, places: Sequence[Place]) -> None:
        """Hard links (copies where the file system has none) and private copies, made on the host."""
        check_windows_paths([place.target for place in places], self.root, self.host)
        for some in _parts(list(places)):
            asked = [{"source": str(p.source), "target": str(p.target), "link": p.link} for p in some]
            self._powershell.call("place", {"places": asked}, step="stage", limit=600.0)

    def trim(self, limit: int) -> int:
        """Make room in the store down to ``limit`` bytes; the bytes that were freed."""
        asked = {
            "store": str(self.root / "store"),
            "work": str(self.root / "w"),
            "limit": limit,
            "lately": _USED_SECONDS,
            "parts": _LEFTOVER_SECONDS,
        }
        return int(self._powershell.call("trim", asked, step="trim", limit=600.0)["freed"])

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file, from byte ``start`` at the earliest; None when it does not exist."""
        asked = {"path": str(path), "start": start, "count": min(last, _READ), "end": True}
        answer = self._powershell.call("read", asked, step="read")
        if not answer["exists"]:
            return None
        end = base64.b64decode(answer.get("data") or "")
        size = int(answer["size"])
        at = max(start, size - last, 0)
        if size - at <= len(end):
            return end
        whole = io.BytesIO()
        PieceCarrier(self._powershell).fetch(PureWindowsPath(path), size, whole, start=at)
        return whole.getvalue()

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """Fetch what the attempt has written and matches, verified, its times moved onto this machine's clock.

        Of the folder's other files ``scratch`` gets the names alone, as empty files: an engine may judge a run by what
        it has left lying about.
        """
        asked = {"folder": str(folder), "claim": str(probe.folder / "claim")}
        answer = self._powershell.call("list", asked, step="collect")
        ahead = int(answer["now"]) / 1e7 - _EPOCH - time.time()
        written = {str(f["name"]): int(f["written"]) for f in answer["files"]}
        claimed = None if answer["claimed"] is None else int(answer["claimed"])
        matching = [name for pattern in patterns for name in sorted(written) if _matches(name, pattern)]
        wanted = [] if claimed is None else [n for n in dict.fromkeys(matching) if written[n] >= claimed]
        scratch.mkdir(parents=True, exist_ok=True)
        for name in written.keys() - set(matching):
            with contextlib.suppress(OSError, ValueError):  # a name that this machine cannot have
                (scratch / name).touch()
        if wanted:
            size = sum(int(f["size"]) for f in answer["files"] if f["name"] in wanted)
            self._fetch(probe, folder, wanted, scratch, size)
        for name in wanted:
            at = written[name] / 1e7 - _EPOCH - ahead
            os.utime(scratch / name, (at, at))
        return Collected(scratch, tuple(wanted))

    def _fetch(self, probe: Probe, folder: PurePath, names: Sequence[str], scratch: Path, size: int) -> None:
        there = PureWindowsPath(probe.folder / f"{uuid.uuid4().hex[:12]}.part")
        asked = {"folder": str(folder), "names": list(names), "archive": str(there), "inline": _PIECE}
        packed = self._powershell.call("pack", asked, step="collect", limit=60.0 + size / _SLOWEST, once=True)
        sums = dict(zip(names, packed["sums"], strict=True))
        if packed["data"]:
            self._unpack(io.BytesIO(base64.b64decode(packed["data"])), sums, scratch)
            return
        try:
            with tempfile.TemporaryFile() as archive:
                self._carrier.fetch(there, int(packed["size"]), archive)
                self._unpack(archive, sums, scratch)
        finally:
            self._powershell.call("remove", {"path": str(there)}, step="collect")

    def _unpack(self, archive: IO[bytes], sums: dict[str, str], scratch: Path) -> None:
        try:
            with zipfile.ZipFile(archive) as packed:
                for name, expected in sums.items():
                    with packed.open(name) as member, (scratch / name).open("wb") as out:
                        found, _ = _copy(member, out)
                    if found.upper() != expected.upper():
                        raise zipfile.BadZipFile(name)  # noqa: TRY301  one end for all that may be wrong with it
        except (zipfile.BadZipFile, KeyError) as error:
            raise TransientError(
                f"{error} did not arrive as it was sent", step="collect", host=self.host, action="it is tried again"
            ) from error

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder; nothing happens when it does not exist."""
        if self.root not in path.parents or ".." in path.parts:
            raise WorkerError(
                f"{path} is not below the worker folder {self.root}: not removed", step="clean", host=self.host
            )
        self._powershell.call("remove", {"path": str(path)}, step="clean", limit=600.0)

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim; False when its script has it."""
        answer = self._powershell.call("claim", {"folder": str(folder), "token": self._token}, step="claim")
        return bool(answer["taken"])


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[at : at + _NAMES] for at in range(0, len(items), _NAMES))


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())


def _copy(source: Path | bytes | IO[bytes], target: IO[bytes]) -> tuple[str, str]:
    """Copy, and tell SHA-256 and BLAKE3 of what was copied. Raises OSError."""
    from blake3 import blake3

    sha256, digest = hashlib.sha256(), blake3()
    with contextlib.ExitStack() as stack:
        if isinstance(source, bytes):
            source = io.BytesIO(source)
        elif isinstance(source, Path):
            source = stack.enter_context(source.open("rb"))
        while piece := source.read(_READ):
            sha256.update(piece)
            digest.update(piece)
            target.write(piece)
    return sha256.hexdigest(), digest.hexdigest()


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """What the user's files cannot give is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise unreadable("a file of the project", error) from error
