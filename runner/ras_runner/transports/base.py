"""How files and commands reach a machine. Transports know nothing of HEC-RAS.

Paths on the worker are pure paths by the worker's system, never the controller's. Every call either does what it says
or raises a typed error that names the host and the step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path, PurePath

    from ras_runner.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way to a worker.

    Attributes:
        source: a file of this machine, or what the file is to hold.
        target: where it goes.
        digest: BLAKE3 that it must have; what has one is a store file, read-only. Empty for private files.
    """

    source: Path | bytes
    target: PurePath
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A file that a worker makes of one it has.

    Attributes:
        source: the file that is there.
        target: where it goes.
        link: a hard link (a copy where the file system has none); else a private, writable copy.
    """

    source: PurePath
    target: PurePath
    link: bool


def exit_code(content: bytes | None) -> int | None:
    """The exit code in an exit.json; None when there is none: not there, not ours, or torn by a full disk."""
    try:
        return int(json.loads(content or b"")["exit_code"])
    except (ValueError, KeyError, TypeError):
        return None


def never() -> bool:
    """Nobody wants it stopped."""
    return False


@dataclass(frozen=True, slots=True)
class Probe:
    """One attempt to look at.

    Attributes:
        attempt: its id, which all its processes carry.
        folder: its folder on the worker.
        native_id: what :meth:`Transport.launch` returned; empty when the answer was lost.
        progress_files: files below ``folder`` of which the ends are wanted.
        whole_tree: alive as long as any process of the attempt is, even when the script has ended
            (Ras.exe may end before its solver).
        files_only: no look at processes: something else knows whether it is alive.
        cpu: the CPU time of its processes is wanted.
    """

    attempt: str
    folder: PurePath
    native_id: str
    progress_files: tuple[PurePath, ...] = ()
    whole_tree: bool = field(default=False, kw_only=True)
    files_only: bool = field(default=False, kw_only=True)
    cpu: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Status:
    """What a look at an attempt found.

    Attributes:
        alive: the run script or any process it started is running.
        exit_code: from exit.json; None while there is none.
        seconds: from the claim to exit.json, by the worker's clock; None while there is none.
        tails: the ends of the progress files that exist.
        note: one sentence on how it ended that its files cannot tell (``out of memory ...``); empty if there is none.
        cpu_seconds: CPU time of the processes that it has now; None where that is not known or was not asked for.
        waiting: why its script has not begun (a queue), one sentence; empty where it begins at once, or has begun.
        ran: seconds since its script began, where that need not be at its launch; None while that is not known.
        outcome: how it ended by the word of what ran it (a queue), where there is no exit.json; None where nothing but
            the machine can be blamed. Infrastructure-lost: only the part of the machine that it ran on is to blame.
        needs_person: it waits, or ended, because of what only a person can change.
    """

    alive: bool
    exit_code: int | None
    seconds: float | None = None
    tails: tuple[str, ...] = ()
    note: str = ""
    cpu_seconds: float | None = None
    waiting: str = ""
    ran: float | None = None
    outcome: Outcome | None = None
    needs_person: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """An attempt that has left something on a worker.

    Attributes:
        attempt: its id: the name of a folder, which somebody else may have made.
        idle: seconds since anything was changed directly in its folder, by the worker's clock.
        container: it has a container, and that is ours.
        running: that container is running.
    """

    attempt: str
    idle: float
    container: bool = False
    running: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    """Files of an attempt, on this machine.

    Attributes:
        folder: holds them.
        names: the regular files in it that match and were written after the attempt had claimed its workspace:
            what was staged and left alone is not among them. In the order of the patterns, then by name.
    """

    folder: Path
    names: tuple[str, ...]


class Transport(Protocol):
    """Files and commands on one machine, below one worker folder."""

    @property
    def host(self) -> str:
        """The machine's name, for messages."""

    @property
    def root(self) -> PurePath:
        """The worker folder. Nothing outside it is ever touched."""

    @property
    def sees_our_files(self) -> bool:
        """Whether an engine there can read a file of this machine by its absolute path."""

    def stored(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files, in one call; they count as used now.

        What was used lately is not taken by :meth:`trim`.
        """

    def put(self, files: Sequence[Upload], stopped: Callable[[], bool] = never) -> None:
        """Write files, each atomically, several at once where that pays; folders are made. What arrived is verified.

        Args:
            files: what is to be sent.
            stopped: asked between files; when true the rest is left out.

        Raises:
            SourceChangedError: some of the user's files no longer have their digest; the others are there.
            InputError: one of them cannot be read.
            WorkerError, OperatorError: the worker's disk is full or not writable.
        """

    def place(self, places: Sequence[Place]) -> None:
        """Make links and copies on the worker, in one call; folders are made."""

    def trim(self, limit: int) -> int:
        """Make room in the store: the files that were not used for the longest time go, down to ``limit`` bytes.

        Never taken: what a workspace has a hard link to, and what was used in the last hour. What transfers that were
        cut have left behind goes after a day.

        Returns:
            The bytes that were freed.
        """

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file, from byte ``start`` at the earliest; None when it does not exist."""

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """Make what an attempt has written readable on this machine; nothing when it never claimed its workspace, or
        when that has gone.

        Args:
            probe: the attempt.
            folder: where to look, on the worker.
            patterns: glob patterns of file names.
            scratch: a folder on this machine for what has to be fetched.
        """

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder; nothing happens when it does not exist."""

    def claim(self, folder: PurePath) -> bool:
        """Take an attempt's claim, so that its run script can never start; False when it has started already."""

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Start the run script detached, on so many cores where the machine can limit it, and marked with its campaign
        where it can be; returns its native id at once."""

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts in one call."""

    def stop(self, probe: Probe) -> None:
        """End the whole process tree that this attempt started; nothing else, and nothing by name."""

    def attempts(self) -> list[Found]:
        """What attempts have left here, ours or of others who share the worker folder. Processes are not looked at."""
