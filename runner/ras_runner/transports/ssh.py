"""A Linux host behind sshd: plain sh and coreutils there, asyncssh here."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
import zlib
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from shlex import quote
from typing import TYPE_CHECKING, NoReturn

from ras_runner.errors import InputError, OperatorError, RasRunnerError, TransientError, WorkerError
from ras_runner.hashing import SourceChangedError, hash_bytes
from ras_runner.retrying import retrying
from ras_runner.transports import ssh_programs as programs
from ras_runner.transports.base import Collected, Place, Upload, never
from ras_runner.transports.ssh_bundle import Bundle, receive_bundle_program
from ras_runner.transports.ssh_connection import Connection
from ras_runner.transports.ssh_files import Incoming, Outgoing
from ras_runner.transports.ssh_shell import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    from ras_runner.transports.base import Found, Probe, Status

    Result = TypeVar("Result")

#: Smaller files go in one call, as a part of the program. Where sh is bash it reads its program byte by byte.
_SMALL_BYTES = 1 << 17
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

    @property
    def host(self) -> str:
        """The host's name."""
        return self.connection.login.host

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files, in one call."""
        made = programs.posix_paths(paths)
        return programs.read_sizes(self._run(programs.sizes_program(made), "stage").output, made) if made else {}

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, each atomically; verified at the far end by SHA-256, at this one by the digest if it has one."""
        for file in files:
            if stopped():
                return
            with _readable(file.source):
                self._put(file.source, file.target, file.digest)

    def _put(self, source: Path | bytes, target: PurePath, digest: str) -> None:
        temporary = target.with_name(f"{target.name[:200]}.{uuid.uuid4().hex[:8]}.part")
        if isinstance(source, Path) and source.stat().st_size > _SMALL_BYTES:
            self._put_large(source, temporary, target, digest)
            return
        data = source if isinstance(source, bytes) else source.read_bytes()
        if digest and hash_bytes(data) != digest:
            raise _changed(source)
        program = programs.put_program(data, temporary, target, store=bool(digest))
        self._again(
            lambda: self._committed(self._checked(self.connection.run(program, step="stage"), "stage", target), target)
        )

    def _put_large(self, source: Path, temporary: PurePath, target: PurePath, digest: str) -> None:
        """Send, and go on where a lost connection has cut it; then verify and rename."""
        outgoing = Outgoing(source)

        def send() -> bool:
            arrived = self.stored([temporary]).get(temporary, 0) if outgoing.sent else 0
            outgoing.restart(arrived)
            self._send(programs.receive_program(temporary, append=arrived > 0), outgoing, target)
            if digest and outgoing.blake3 != digest:
                return False
            program = programs.commit_program(temporary, target, outgoing.sha256, store=bool(digest))
            self._committed(self._run(program, "stage", limit=61.0 + outgoing.sent / 20e6), target)
            return True

        try:
            if not self._again(send):
                raise _changed(source)
        except RasRunnerError:
            self._forget(temporary)
            raise

    def put_many(self, files: Sequence[Upload]) -> None:
        """Send many store files in one stream: for those that are too small to be worth a call each.

        Raises:
            SourceChangedError: some no longer have their digest; the others are there.
        """
        bundle = Bundle(files)
        folder = self.root / "store" / f"in.{uuid.uuid4().hex[:8]}.part"
        program = _sh(receive_bundle_program(folder))
        with _readable("a file of the project"):
            self._again(lambda: self._checked(self.connection.send(program, bundle.pieces(), step="stage"), "stage"))
        if bundle.changed:
            raise _changed(bundle.changed[0])

    def place(self, places: Sequence[Place]) -> None:
        """Many links and copies on the host in one call."""
        self._run(programs.place_program(places), "stage", limit=600.0)

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
        wanted = list(dict.fromkeys(f for f in matching if f.mtime >= listing.claimed))
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
        program = programs.send_program(folder, [file.name for file in wanted], compress=compress)
        incoming = Incoming([(scratch / file.name, file.size) for file in wanted])
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

    def _send(self, program: str, data: Outgoing, target: PurePath) -> Done:
        return self._checked(self.connection.send(_sh(program), data.pieces(), step="stage"), "stage", target)

    @staticmethod
    def _again(call: Callable[[], Result]) -> Result:
        return retrying(call, TransientError, attempts=_TRIES, first=0.2, longest=3.0)

    def _checked(self, done: Done, step: str, path: PurePath | None = None) -> Done:
        if done.code == 0:
            return done
        said = done.errors.splitlines()[-1] if done.errors else f"exit code {done.code}"
        if _FULL.search(done.errors):
            raise OperatorError(
                f"the disk of the worker folder {self.root} is full",
                step=step,
                host=self.host,
                action="free space there, or give another worker_folder; then: ras-runner resume",
            )
        raise WorkerError(
            f"{path}: {said}" if path else said,
            step=step,
            host=self.host,
            action=f"check that {self.root} exists and can be written",
        )

    def _committed(self, done: Done, target: PurePath) -> None:
        if done.output.strip() != b"ok":
            raise TransientError(
                f"{target} did not arrive as it was sent", step="stage", host=self.host, action="tried again"
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


def _changed(source: Path | bytes) -> SourceChangedError:
    return SourceChangedError(f"{source!s} changed while it was being staged", step="stage", action="it is tried again")


@contextlib.contextmanager
def _readable(source: Path | bytes | str) -> Iterator[None]:
    """What the user's files cannot give is the user's to mend; errors of the connection are typed already."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or source!s} cannot be read: {error.strerror or error}",
            step="stage",
            action="check the file and its rights",
        ) from error


def _leave_name(folder: Path, name: str) -> None:
    """An empty file of this name; names that this machine cannot have are left out."""
    try:
        (folder / name).touch()
    except (OSError, ValueError):
        return
