"""How files and commands reach a machine. Transports know nothing of HEC-RAS.

Paths on the worker are pure paths by the worker's system, never the controller's. Every call either does what it says
or raises a typed error that names the host and the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path, PurePath


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
    """

    attempt: str
    folder: PurePath
    native_id: str
    progress_files: tuple[PurePath, ...] = ()
    whole_tree: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """What a look at an attempt found.

    Attributes:
        alive: the run script or any process it started is running.
        exit_code: from exit.json; None while there is none.
        seconds: from the claim to exit.json, by the worker's clock; None while there is none.
        tails: the ends of the progress files that exist.
        note: one sentence on how it ended that its files cannot tell (``out of memory ...``); empty if there is none.
    """

    alive: bool
    exit_code: int | None
    seconds: float | None = None
    tails: tuple[str, ...] = ()
    note: str = ""


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

    def sizes(self, paths: Iterable[PurePath]) -> dict[PurePath, int]:
        """The size in bytes of those of ``paths`` that are files, in one call."""

    def put(self, source: Path | bytes, target: PurePath, *, digest: str = "") -> None:
        """Write a file atomically; folders are made. With ``digest`` (BLAKE3), what arrived is verified.

        Raises:
            SourceChangedError: the user's file no longer has that digest.
            WorkerError: the worker's disk is full or not writable.
        """

    def copy(self, source: PurePath, target: PurePath) -> None:
        """A private, writable copy on the worker."""

    def link(self, source: PurePath, target: PurePath) -> None:
        """A hard link on the worker (a copy where the file system has none)."""

    def read(self, path: PurePath, *, start: int = 0, last: int = 65536) -> bytes | None:
        """At most the ``last`` bytes of a file, from byte ``start`` at the earliest; None when it does not exist."""

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """Make what an attempt has written readable on this machine.

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
