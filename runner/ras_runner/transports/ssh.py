"""A Linux host behind sshd: plain sh and coreutils there, asyncssh here."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
import time
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from shlex import quote
from typing import TYPE_CHECKING, NoReturn

from ras_runner.errors import DiskFullError, RasRunnerError, TransientError, WorkerError
from ras_runner.hashing import SourceChangedError, unreadable
from ras_runner.retrying import retrying
from ras_runner.transports import ssh_programs as programs
from ras_runner.transports import ssh_store as store
from ras_runner.transports.base import Collected, Place, Upload, never
from ras_runner.transports.ssh_bundle import DAMAGED, NO_LINKS, Bundle, receive_bundle_program
from ras_runner.transports.ssh_connection import TRANSFERS, Connection
from ras_runner.transports.ssh_files import SUM_TOOLS, Incoming, Outgoing, SumTool
from ras_runner.transports.ssh_shell import Done
from ras_runner.transports.store import evicted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    from ras_runner.transports.base import Found, Probe, Status

    Result = TypeVar("Result")

#: What is not more goes with the program, through a shell that is open. Where sh is bash it reads it byte by byte.
_TINY_BYTES = 1 << 17
#: Files that are not larger go in bundles, and how much goes into one: a cut costs no more than that.
_SMALL_BYTES, _BUNDLE_BYTES, _BUNDLE_FILES = 4 << 20, 64 << 20, 4000
#: Compression pays where the network is slower than gzip: beyond the office. Seconds of a round trip.
_FAR_SECONDS = 0.005
_TRIES = 3
_FULL = re.compile(r"No space left on device|Disk quota exceeded")


class SshTransport:
    """Files and commands on one Linux host.

    Args:
        connection: the way there.
        root: the worker folder, absolute.
    """

    sees_our_files = False

    def __init__(self, connection: Connection, root: PurePosixPath) -> None:
        self.connection = connection
        self.root: PurePath = root
        #: The claim of an attempt is ours when this is in it.
        self._token = uuid.uuid4().hex
        self._no_links = False

    @property
    def host(self) -> str:
        """The host's name."""
        return self.connection.login.host

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files, in one call; they count as used now."""
        made = programs.posix_paths(paths)

        def look() -> dict[PurePath, int]:
            done = self._checked(self.connection.run(store.sizes_program(made), step="stage"), "stage")
            return self._parsed(lambda: store.read_sizes(done.output, made), "stage")

        return self._again(look) if made else {}

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, each atomically: small ones in bundles, large ones each in a stream that goes on where it was
        cut; several streams at once. Verified at the far end by a strong sum, at this one by the digest if it has one.
        """
        with _readable("a file of the project"):
            bundles, large = _divided(files)
        jobs = [functools.partial(self._put_large, file) for file in large]
        jobs += [functools.partial(self._put_bundle, bundle) for bundle in bundles]
        failed = threading.Event()

        def work(job: Callable[[], list[Path | bytes]]) -> list[Path | bytes]:
            if failed.is_set() or stopped():
                return []
            try:
                return job()
            except BaseException:
                failed.set()
                raise

        if len(jobs) == 1:
            changed = work(jobs[0])
        else:
            with ThreadPoolExecutor(TRANSFERS, thread_name_prefix="put") as pool:
                changed = [source for found in pool.map(work, jobs) for source in found]
        if changed:
            raise SourceChangedError(*changed)

    @functools.cached_property
    def _tool(self) -> SumTool:
        """What makes strong sums on the host in the least time."""
        named = self._run(store.SUM_PROGRAM, "stage").output.decode("ascii", "replace").strip()
        return SUM_TOOLS.get(named) or SUM_TOOLS["sha256sum"]

    def _put_large(self, file: Upload) -> list[Path | bytes]:
        """Send, and go on where a lost connection has cut it; then verify and rename. What changed meanwhile."""
        if isinstance(file.source, bytes):
            raise TypeError("what comes from memory is small")
        temporary = self._temporary(file.target)
        outgoing = Outgoing(file.source, self._tool)

        def send() -> bool:
            arrived = self.stored([temporary]).get(temporary, 0) if outgoing.sent else 0
            program = _sh(store.receive_program(temporary, append=arrived > 0))
            self._checked(self.connection.send(program, outgoing.pieces(arrived), step="stage"), "stage", file.target)
            if file.digest and outgoing.blake3 != file.digest:
                return False
            commit = store.commit_program(
                temporary, file.target, outgoing.sum, self._tool.command, store=bool(file.digest)
            )
            if self._run(commit, "stage", limit=61.0 + outgoing.sent / 20e6).output.strip() != b"ok":
                raise self._damaged(file.target)
            return True

        with _readable(file.source):
            try:
                if self._again(send):
                    return []
            except BaseException:
                self._forget(temporary)
                raise
        self._forget(temporary)
        return [file.source]

    def _put_bundle(self, files: Sequence[Upload]) -> list[Path | bytes]:
        """Send small files in one stream; what is tiny comes with its program, through a shell that is open already."""
        bundle = Bundle(files, self.root, self._tool)
        program = receive_bundle_program(self._spare())

        def send() -> None:
            if sum(map(_size, files)) <= _TINY_BYTES:
                data = b"".join(bundle.pieces())
                done = self.connection.run(store.carried(data, program), step="stage")
            else:
                done = self.connection.send(_sh(program), bundle.pieces(), step="stage")
            if done.code == DAMAGED:
                raise self._damaged(files[0].target)
            self._checked(done, "stage", files[0].target if len(files) == 1 else None)

        with _readable("a file of the project"):
            self._again(send)
        return bundle.changed

    def _temporary(self, target: PurePath) -> PurePath:
        return target.with_name(f"{target.name[:200]}.{uuid.uuid4().hex[:8]}.part")

    def _spare(self) -> PurePath:
        """A temporary folder on the host; :meth:`trim` finds it when it is left behind."""
        return self.root / "store" / f"in.{uuid.uuid4().hex[:8]}.part"

    def place(self, places: Sequence[Place]) -> None:
        """Many links and copies on the host in one call; two where the file system has no hard links."""
        if not places:
            return
        if not self._no_links:
            program = store.place_program(places, self.root, self._spare())
            done = self._again(lambda: self.connection.run(program, step="stage", limit=600.0))
            if done.code != NO_LINKS:
                self._checked(done, "stage")
                return
        self._run(store.place_each_program(places), "stage", limit=600.0)
        self._no_links = True  # had a file been missing, this would not have been reached

    def trim(self, limit: int) -> int:
        """Make room in the store, in two calls. What is used meanwhile, by this controller or another, stays."""
        folder = self.root / "store"
        answer = self._run(store.list_store_program(folder), "trim the store", limit=600.0).output
        now, freed, files = self._parsed(lambda: store.read_store(answer), "trim the store")
        victims = {file.name: file.size for file in evicted(files, limit, now)}
        if not victims:
            return freed
        done = self._run(store.evict_program(folder, list(victims)), "trim the store", limit=600.0)
        gone = done.output.decode("utf-8", "surrogateescape").splitlines()
        if not gone and done.errors and "No such file" not in done.errors:
            raise WorkerError(done.errors.splitlines()[-1], step="trim the store", host=self.host)
        return freed + sum(victims.get(name, 0) for name in gone)

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file, from byte ``start`` at the earliest; None when it does not exist."""
        head, _, content = self._run(programs.read_program(path, start, last), "read").output.partition(b"\n")
        return content if head == b"yes" else None

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """Fetch what the attempt has written and matches, verified, its times moved onto this machine's clock.

        Of the folder's other files ``scratch`` gets the names alone, as empty files: an engine may judge a run by what
        it has left lying about.
        """
        answer = self._run(programs.list_program(probe, folder), "collect").output
        listing = self._parsed(lambda: programs.read_listing(answer), "collect")
        ahead = listing.now - time.time()
        matching = [f for pattern in patterns for f in listing.files if fnmatchcase(f.name, pattern)]
        since = listing.claimed
        wanted = [] if since is None else list(dict.fromkeys(f for f in matching if f.mtime >= since))
        scratch.mkdir(parents=True, exist_ok=True)
        fetched = {f.name for f in wanted}
        for file in listing.files:
            if file.name not in fetched and file not in matching:
                _leave_name(scratch, file.name)
        self._again(lambda: self._fetch(folder, wanted, scratch))
        for file in wanted:
            os.utime(scratch / file.name, (file.mtime - ahead, file.mtime - ahead))
        return Collected(scratch, tuple(file.name for file in wanted))

    def _fetch(self, folder: PurePath, wanted: Sequence[programs.RemoteFile], scratch: Path) -> None:
        if not wanted:
            return
        compress = self.connection.round_trip > _FAR_SECONDS
        program = programs.send_program(folder, [file.name for file in wanted], self._tool.command, compress=compress)
        incoming = Incoming([(scratch / file.name, file.size) for file in wanted], self._tool)
        inflate = zlib.decompressobj(wbits=31) if compress else None
        with incoming:
            done = self.connection.receive(
                _sh(program), lambda data: incoming.take(inflate.decompress(data) if inflate else data), step="collect"
            )
            self._checked(done, "collect")
        sums = self._parsed(lambda: programs.read_sums(incoming.rest, len(wanted)), "collect")
        for file, expected, found in zip(wanted, sums, incoming.sums, strict=True):
            if expected != found:
                raise TransientError(
                    f"{file.name} did not arrive as it was sent", step="collect", host=self.host, action="tried again"
                )

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder."""
        if not programs.below(self.root, path):
            raise WorkerError(
                f"{path} is not below the worker folder {self.root}: not removed", step="clean", host=self.host
            )
        self._run(programs.remove_program(path), "clean", limit=600.0)

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim; False when its script has it."""
        return self._run(programs.claim_program(folder, self._token), "claim").output.strip() == b"taken"

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Start the run script detached; its pid, or nothing when it is slow to start. Never tried twice."""
        del cores, campaign  # the script itself keeps to its cores
        done = self.connection.run(programs.launch_program(attempt, folder, script), step="launch")
        pid = self._checked(done, "launch").output.decode("ascii", "replace").strip()
        return pid if pid.isdigit() else ""

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts in one call. It does not wait for a host that is away: the next look may find it."""
        boundary = uuid.uuid4().hex
        done = self.connection.run(programs.poll_program(probes, boundary), step="poll", limit=30.0, patience=2.0)
        return self._parsed(lambda: programs.read_poll(done.output, probes, boundary), "poll")

    def attempts(self) -> list[Found]:
        """The folders of attempts."""
        answer = self._run(programs.attempts_program(self.root), "sweep").output
        return self._parsed(lambda: programs.read_attempts(answer), "sweep")

    def stop(self, probe: Probe) -> None:
        """End the whole process tree of an attempt."""
        left = self._run(programs.stop_program(probe), "stop").output.split()
        if left:
            raise WorkerError(
                f"processes {b', '.join(left).decode()} of attempt {probe.attempt} could not be ended",
                step="stop",
                host=self.host,
                action="end them by hand; their workspace is kept",
            )

    def _run(self, program: str, step: str, *, limit: float = 60.0) -> Done:
        """Run a program that may be run twice."""
        return self._again(lambda: self._checked(self.connection.run(program, step=step, limit=limit), step))

    @staticmethod
    def _again(call: Callable[[], Result]) -> Result:
        return retrying(call, TransientError, attempts=_TRIES, first=0.2, longest=3.0)

    def _checked(self, done: Done, step: str, path: PurePath | None = None) -> Done:
        if done.code == 0:
            return done
        said = done.errors.splitlines()[-1] if done.errors else f"exit code {done.code}"
        if _FULL.search(done.errors):
            raise DiskFullError(self.root, step=step, host=self.host)
        raise WorkerError(
            f"{path}: {said}" if path else said,
            step=step,
            host=self.host,
            action=f"check that {self.root} exists and can be written",
        )

    def _damaged(self, target: PurePath) -> TransientError:
        return TransientError(
            f"{target} did not arrive as it was sent", step="stage", host=self.host, action="it is tried again"
        )

    def _forget(self, temporary: PurePath) -> None:
        try:
            self.connection.run(programs.remove_program(temporary), step="clean")
        except RasRunnerError:
            return  # the host is away: the sweep of the store finds it

    def _parsed(self, parse: Callable[[], Result], step: str) -> Result:
        try:
            return parse()
        except programs.BadAnswerError as error:
            self._bad_answer(step, error)

    def _bad_answer(self, step: str, error: Exception) -> NoReturn:
        raise TransientError(str(error), step=step, host=self.host, action="it is tried again") from error


def _sh(program: str) -> str:
    """A program as a command, where stdin carries data."""
    return f"exec sh -c {quote(program)}"


def _size(file: Upload) -> int:
    return len(file.source) if isinstance(file.source, bytes) else file.source.stat().st_size


def _divided(files: Sequence[Upload]) -> tuple[list[list[Upload]], list[Upload]]:
    """Bundles of small files, and the others, the largest first. Raises OSError."""
    bundles: list[list[Upload]] = []
    large, room, full = list[tuple[int, Upload]](), 0, 0
    for file in files:
        size = _size(file)
        if isinstance(file.source, Path) and size > _SMALL_BYTES:
            large.append((size, file))
            continue
        if not bundles or room < size or full == _BUNDLE_FILES:
            bundles.append([])
            room, full = _BUNDLE_BYTES, 0
        bundles[-1].append(file)
        room, full = room - size, full + 1
    return bundles, [file for _, file in sorted(large, key=lambda pair: -pair[0])]


@contextlib.contextmanager
def _readable(source: Path | bytes | str) -> Iterator[None]:
    """What the user's files cannot give is the user's to mend; errors of the connection are typed already."""
    try:
        yield
    except OSError as error:
        raise unreadable(source, error) from error


def _leave_name(folder: Path, name: str) -> None:
    """An empty file of this name; names that this machine cannot have are left out."""
    try:
        (folder / name).touch()
    except (OSError, ValueError):
        return
