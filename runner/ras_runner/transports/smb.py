"""Files on a Windows host over SMB: a store by content, workspaces of hard links and copies, verified results.

What is verified, and why no hash is read back: docs/decisions/015-what-is-verified-over-smb.md.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING, TypeVar

from ras_runner.errors import RasRunnerError, WorkerError
from ras_runner.hashing import SourceChangedError, hash_bytes
from ras_runner.retrying import retrying
from ras_runner.transports.base import Collected, Found, Place, Probe, Upload, exit_code, never
from ras_runner.transports.smb_errors import (
    COLLISION,
    DELETE_PENDING,
    NO_LINKS,
    NOT_FOUND,
    SHARING_VIOLATION,
    AgainError,
    SmbStatusError,
    status_error,
)
from ras_runner.transports.smb_login import SmbLinks
from ras_runner.transports.smb_share import Entry, Share, below
from ras_runner.transports.smb_transfer import Sent, changed, readable, writable, written
from ras_runner.transports.store import CONTENT
from ras_runner.transports.windows_names import check_windows_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ras_runner.transports.smb_login import Link, SmbLogin

Result = TypeVar("Result")
_SMALL_BYTES = 1 << 18
_TRIES, _PAUSE = 3, 0.2
#: Seconds after which a host that does not answer is given up. What takes many calls may take longer.
_LIMIT, _SHORT_LIMIT = 60.0, 20.0
_USED_SECONDS, _LEFTOVER_SECONDS = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What an attempt has written at its end.

    Attributes:
        exit_code: from exit.json; None while there is none.
        seconds: from the claim to exit.json, by the host's clock.
    """

    exit_code: int | None
    seconds: float | None = None


class SmbFiles:
    """The file half of a transport: ``stored``, ``put``, ``place``, ``trim``, ``read``, ``collect``, ``remove`` and
    ``claim`` of :class:`~ras_runner.transports.base.Transport`, on a share of a Windows host. Programs are started by
    others; :meth:`look` reads exit.json, :meth:`tails` the ends of progress files.

    Args:
        share: ``\\\\host\\share``, or a folder in one.
        root: the same folder as programs on the host see it (``C:\\RasRemote``).
        login: who logs on, and where. Nothing is done before the first call; :meth:`prepare` is a good first one.
    """

    sees_our_files = False

    def __init__(self, share: PureWindowsPath, root: PureWindowsPath, login: SmbLogin) -> None:
        self.share, self.root = share, root
        self.links = SmbLinks(login)
        #: Seconds that the host's clock is ahead of this machine's.
        self.ahead = 0.0
        #: The claim of an attempt is ours when this is in it.
        self._token = uuid.uuid4().hex
        self._tree = share.drive
        self._base = "\\".join(share.parts[1:])

    @property
    def host(self) -> str:
        """The host's name."""
        return self.links.login.host

    def prepare(self) -> None:
        """Log on, make ``store`` and ``w``, write there, and read the host's clock.

        Raises:
            WorkerError, OperatorError: it cannot be; says why.
        """

        def work(share: Share) -> float:
            for name in ("store", "w"):
                self._make_folders(share, self.root / name)
            before = time.time()
            now = share.clock(self._path(self.root / "store" / f"clock.{uuid.uuid4().hex[:8]}.part"))
            return now - (before + time.time()) / 2

        self.ahead = self._do("init worker", work)

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files; they count as used now."""

        def work(share: Share) -> dict[PurePath, int]:
            found = {}
            for path in paths:
                entry = _or_none(share.info, self._path(path))
                if entry is not None and not entry.is_folder:
                    found[path] = entry.size
                    now = time.time() + self.ahead
                    if now - entry.atime > _USED_SECONDS / 2:
                        share.used(self._path(path), now)
            return found

        return self._do("stage", work)

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, each atomically; folders are made.

        Raises:
            InputError: one cannot be read, or has a name that Windows cannot have: then nothing is sent.
            SourceChangedError: some no longer have their digest; the others are there.
        """
        check_windows_paths([file.target for file in files], self.root, self.host)
        late: SourceChangedError | None = None
        for file in files:
            if stopped():
                break
            try:
                self._put(file)
            except SourceChangedError as error:
                late = error
        if late is not None:
            raise late

    def _put(self, file: Upload) -> None:
        temporary = file.target.with_name(f"{uuid.uuid4().hex[:12]}.part")
        with readable(file.source):
            size = len(file.source) if isinstance(file.source, bytes) else file.source.stat().st_size
            data = file.source if isinstance(file.source, bytes) else b""
            if size > _SMALL_BYTES:
                self._put_large(file, temporary)
                return
            if isinstance(file.source, Path):
                data = file.source.read_bytes()
        if file.digest and hash_bytes(data) != file.digest:
            raise changed(file.source)
        old, new = self._path(temporary), self._path(file.target)
        self._do("stage", lambda share: self._in_folder(share, file.target, lambda: share.write(old, new, data)))

    def _put_large(self, file: Upload, temporary: PurePath) -> None:
        """Send in pieces, and go on where a lost connection has cut it; then rename."""
        sent = Sent(file.source)
        path = self._path(temporary)

        def work(share: Share) -> None:
            self._make_folders(share, file.target.parent)
            there = _or_none(share.info, path)  # it is gone when only the answer to the rename was lost
            sent.arrived = min(sent.arrived, there.size if there else 0)
            for arrived in share.write_pieces(path, sent.arrived, sent.pieces()):
                sent.arrived = arrived
            if file.digest and sent.digest != file.digest:
                raise changed(file.source)
            found = share.info(path).size
            if found != sent.read:
                sent.arrived = 0
                raise AgainError(f"{path} has {found} of {sent.read} bytes", step="stage", host=self.host)
            share.rename(path, self._path(file.target))

        try:
            with readable(file.source):
                self._do("stage", work)
        except Exception:
            with contextlib.suppress(RasRunnerError):  # what cannot be removed now is found by trim
                self._do("stage", lambda share: _or_none(share.delete, path, folder=False))
            raise

    def place(self, places: Sequence[Place]) -> None:
        """Hard links (copies where the file system has none) and private copies, made on the host."""
        check_windows_paths([place.target for place in places], self.root, self.host)

        def work(share: Share) -> None:
            for folder in dict.fromkeys(place.target.parent for place in places):
                self._make_folders(share, folder)
            for place in places:
                self._place(share, place)

        if places:
            self._do("stage", work)

    def _place(self, share: Share, place: Place) -> None:
        source, target = self._path(place.source), self._path(place.target)
        if place.link:
            try:
                share.link(source, target)
            except Exception as error:
                if getattr(error, "status", None) not in NO_LINKS:
                    raise
            else:
                return
        # writing into an old file could reach the store through its other link
        _or_none(share.delete, target, folder=False)
        share.copy(source, target)

    def trim(self, limit: int) -> int:
        """Make room in the store down to ``limit`` bytes; the bytes that were freed."""

        def work(share: Share) -> int:
            now, freed = time.time() + self.ahead, 0
            held: list[tuple[float, int, str]] = []
            for path, entry in self._store_files(share):
                if path.endswith(".part"):
                    if now - entry.mtime > _LEFTOVER_SECONDS:
                        freed += _freed(share, path, entry.size)
                elif CONTENT.fullmatch("/".join(path.split("\\")[-2:])):
                    held.append((max(entry.atime, entry.mtime), entry.size, path))
            room = sum(size for _, size, _ in held) - limit
            for used, size, path in sorted(held):
                if room <= 0 or now - used < _USED_SECONDS:
                    break
                if _or_none(share.links, path) == 1:
                    gone = _freed(share, path, size)
                    room, freed = room - gone, freed + gone
            return freed

        return self._do("trim", work)

    def _store_files(self, share: Share) -> Iterator[tuple[str, Entry]]:
        top = self._path(self.root / "store")
        for folder in share.folder(top):
            if folder.is_folder and not folder.is_link:
                inside = f"{top}\\{folder.name}"
                yield from ((f"{inside}\\{entry.name}", entry) for entry in share.folder(inside) if not entry.is_folder)
            elif not folder.is_folder:
                yield f"{top}\\{folder.name}", folder

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file, from byte ``start`` at the earliest; None when it does not exist."""
        return self._do("read", lambda share: _or_none(share.read, self._path(path), start, last))

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """Fetch what the attempt has written and matches, its times moved onto this machine's clock.

        Of the folder's other files ``scratch`` gets the names alone, as empty files: an engine may judge a run by what
        it has left lying about.
        """
        claim = self._path(probe.folder / "claim")
        claimed = self._do("collect", lambda share: _or_none(share.info, claim))
        listed = self._do("collect", lambda share: _or_none(share.folder, self._path(folder))) or []
        files = [entry for entry in listed if not entry.is_folder and not entry.is_link]
        matching = [f for pattern in patterns for f in files if fnmatchcase(f.name.lower(), pattern.lower())]
        wanted = [] if claimed is None else list(dict.fromkeys(f for f in matching if f.mtime >= claimed.mtime))
        with writable(scratch):
            scratch.mkdir(parents=True, exist_ok=True)
            for entry in files:
                if entry not in matching:
                    with contextlib.suppress(OSError, ValueError):  # a name that this machine cannot have
                        (scratch / entry.name).touch()
        for entry in wanted:
            self._fetch(folder / entry.name, entry, scratch / entry.name)
        return Collected(scratch, tuple(entry.name for entry in wanted))

    def _fetch(self, path: PurePath, entry: Entry, target: Path) -> None:
        def work(share: Share) -> int:
            with writable(target):
                out = target.open("wb")
            with out:
                return sum(written(out, target, piece) for piece in share.pieces(self._path(path)))

        got = self._do("collect", work)
        if got != entry.size:
            raise AgainError(
                f"{entry.name} came with {got} of {entry.size} bytes",
                step="collect",
                host=self.host,
                action="tried again",
            )
        os.utime(target, (entry.mtime - self.ahead, entry.mtime - self.ahead))

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder; nothing happens when it does not exist."""
        if not below(self.root.parts, path.parts):
            raise WorkerError(
                f"{path} is not below the worker folder {self.root}: not removed", step="clean", host=self.host
            )

        def work(share: Share) -> None:
            entry = _or_none(share.info, self._path(path))
            if entry is not None:
                self._remove(share, self._path(path), entry)

        self._do("clean", work)

    def _remove(self, share: Share, path: str, entry: Entry) -> None:
        if entry.is_folder and not entry.is_link:
            for inside in share.folder(path):
                self._remove(share, f"{path}\\{inside.name}", inside)
        _or_none(share.delete, path, folder=entry.is_folder)

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim; False when its script has it."""

        def work(share: Share) -> bool:
            try:
                share.make_folder(self._path(folder / "claim"), exist_ok=False)
            except Exception as error:
                status = getattr(error, "status", None)
                if status in NOT_FOUND:
                    return True  # there is no workspace
                if status != COLLISION:
                    raise
                by = _or_none(share.read, self._path(folder / "claim" / "by"), 0, 64)
                return by == self._token.encode()
            by_path = self._path(folder / "claim" / "by")
            share.write(f"{by_path}.part", by_path, self._token.encode())
            return True

        return self._do("claim", work)

    def look(self, folder: PurePath) -> RunFiles:
        """Whether an attempt has ended, and how: one request while it has not."""
        ended, claim = self._path(folder / "exit.json"), self._path(folder / "claim")

        def work(share: Share) -> RunFiles:
            code = exit_code(_or_none(share.read, ended, 0, 4096))
            if code is None:
                return RunFiles(None)
            times = [entry.mtime for path in (claim, ended) if (entry := _or_none(share.info, path))]
            return RunFiles(code, max(0.0, times[1] - times[0]) if len(times) == 2 else None)

        return self._do("poll", work, limit=_SHORT_LIMIT)

    def attempts(self) -> list[Found]:
        """The folders of attempts."""

        def work(share: Share) -> list[Found]:
            folder = self._path(self.root / "w")
            found, now = [], time.time() + self.ahead
            for entry in _or_none(share.folder, folder) or []:
                inside = _or_none(share.folder, f"{folder}\\{entry.name}") if entry.is_folder else None
                if inside is not None:
                    last = max(item.mtime for item in (entry, *inside))
                    found.append(Found(entry.name, now - last))
            return found

        return self._do("look for leftovers", work)

    def exists(self, path: PurePath) -> bool:
        """Whether a file or folder is there."""
        return self._do("look", lambda share: _or_none(share.info, self._path(path))) is not None

    def older_than(self, folder: PurePath, seconds: float) -> list[PurePath]:
        """What lies in a folder and has not changed for so long, by the host's clock."""
        entries = self._do("look for leftovers", lambda share: _or_none(share.folder, self._path(folder))) or []
        return [folder / entry.name for entry in entries if time.time() + self.ahead - entry.mtime > seconds]

    def tails(self, paths: Sequence[PurePath], last: int = 4096) -> tuple[str, ...]:
        """The ends of those of ``paths`` that are files with something in them."""

        def work(share: Share) -> list[bytes | None]:
            return [_or_none(share.read, self._path(path), 0, last) for path in paths]

        return tuple(tail.decode("latin-1") for tail in self._do("poll", work, limit=_SHORT_LIMIT) if tail)

    def _do(self, step: str, work: Callable[[Share], Result], *, limit: float = 0.0) -> Result:
        """Do something that may be done twice; a lost connection is made anew, an open file is waited for."""

        seconds = limit or _LIMIT

        def once() -> Result:
            try:
                return self.links.call(step, lambda link: work(self._share(link, seconds)), limit=seconds)
            except SmbStatusError as error:
                error.path = error.path or str(self.share)
                raise status_error(self.host, step, str(self.root), error) from error

        try:  # what retries costs more than the call itself
            return once()
        except AgainError:
            time.sleep(_PAUSE)
            return retrying(once, AgainError, attempts=_TRIES - 1, first=_PAUSE, longest=3.0)

    def _share(self, link: Link, seconds: float) -> Share:
        return Share(link.tree(self._tree.rstrip("\\")), lambda: link.watch(seconds))

    def _path(self, path: PurePath) -> str:
        """A path of the host as the share has it."""
        inside = path.relative_to(self.root).parts
        return "\\".join(part for part in (self._base, *inside) if part)

    def _make_folders(self, share: Share, folder: PurePath) -> None:
        """Make a folder and its parents below the share; the common case costs one call."""
        path = self._path(folder)
        try:
            share.make_folder(path)
        except Exception as error:
            if getattr(error, "status", None) not in NOT_FOUND or folder == self.root:
                raise
            self._make_folders(share, folder.parent)
            share.make_folder(path)

    def _in_folder(self, share: Share, target: PurePath, work: Callable[[], None]) -> None:
        """Do it; when the target's folder is missing, make it and do it again."""
        try:
            work()
        except Exception as error:
            if getattr(error, "status", None) not in NOT_FOUND:
                raise
            self._make_folders(share, target.parent)
            work()


def _or_none(call: Callable[..., Result], *args: object, **named: object) -> Result | None:
    """None when the file is not there, or is just being renamed or removed."""
    try:
        return call(*args, **named)
    except Exception as error:
        if getattr(error, "status", None) in (*NOT_FOUND, SHARING_VIOLATION, DELETE_PENDING):
            return None
        raise


def _freed(share: Share, path: str, size: int) -> int:
    """Remove a file; its bytes, 0 when it has gone already, or is being read."""
    try:
        share.delete(path, folder=False)
    except Exception as error:
        if getattr(error, "status", None) in (*NOT_FOUND, SHARING_VIOLATION, DELETE_PENDING):
            return 0
        raise
    return size
