"""Whose processes are whose on a Windows host: the tree of an attempt, found in a list of all processes.

Pure functions. Windows shows nobody another process's environment, so the mark of an attempt is the last word of its
run script's command line; what it started is found by parents and creation times, and remembered, as the parent of a
solver may end before it (Ras.exe does).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TICKS = 10_000_000
_LIST = (
    "[Console]::OutputEncoding = [Text.Encoding]::UTF8; [DateTime]::UtcNow.ToFileTimeUtc(); "
    "Get-CimInstance Win32_Process | Where-Object { $_.CreationDate } | ForEach-Object { '{0} {1} {2} {3} {4}' -f "
    "$_.ProcessId, $_.ParentProcessId, $_.CreationDate.ToFileTimeUtc(), ($_.KernelModeTime + $_.UserModeTime), "
    "($_.CommandLine -replace '\\s+', ' ') }"
)


def list_command(ending: Sequence[Process] = ()) -> str:
    """A command for PowerShell 5.1: end some processes, then print the host's time and a line for each process.

    It has no double quotes, so that a batch file can say it. A process is known by its number and creation time: a
    number alone may be another's by now.
    """
    keys = ", ".join(f"'{process.pid} {process.created}'" for process in ending)
    end = (
        f"$keys = @({keys}); Get-CimInstance Win32_Process | Where-Object {{ $_.CreationDate -and $keys -contains "
        "('{0} {1}' -f $_.ProcessId, $_.CreationDate.ToFileTimeUtc()) } | "
        "Invoke-CimMethod -MethodName Terminate | Out-Null; "
    )
    return (end if keys else "") + _LIST


class BadListError(Exception):
    """A list of processes is cut short or is none."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running process.

    Attributes:
        pid, parent: numbers; the parent may be gone, and its number another's.
        created: when it was started; Windows file time (100 ns since 1601).
        cpu_seconds: CPU time it has used.
        command: its command line; empty where it may not be seen.
    """

    pid: int
    parent: int
    created: int
    cpu_seconds: float = 0.0
    command: str = ""


@dataclass(slots=True)
class KnownTree:
    """What is known of the processes of an attempt, running or not.

    Attributes:
        gone: (pid, created) -> when it was first seen to be gone; None while it runs.
    """

    gone: dict[tuple[int, int], int | None] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """As it is kept in the attempt's folder, for the next controller."""
        return json.dumps([[*key, gone] for key, gone in sorted(self.gone.items())]).encode("ascii")

    @classmethod
    def from_json(cls, text: bytes | None) -> KnownTree:
        """What an earlier controller has kept; nothing when it is not to be read."""
        try:
            return cls({(int(pid), int(created)): gone for pid, created, gone in json.loads(text or b"[]")})
        except (ValueError, TypeError):
            return cls()


def read_processes(output: str) -> tuple[int, list[Process]]:
    """What :func:`list_command` printed: the host's time, and its processes.

    Raises:
        BadListError: it is cut short or something else.
    """
    lines = [line for line in output.lstrip("\ufeff").splitlines() if line.strip()]
    try:
        now = int(lines[0])
        found = []
        for line in lines[1:]:
            pid, parent, created, cpu, *command = line.split(" ", 4)
            found.append(Process(int(pid), int(parent), int(created), int(cpu) / _TICKS, *command))
    except (ValueError, IndexError) as error:
        raise BadListError(f"the list of processes cannot be read: {error}") from error
    if not found:
        raise BadListError("the list of processes is empty")
    return now, found


def attempt_processes(processes: Sequence[Process], now: int, attempt: str, known: KnownTree) -> list[Process]:
    """The running processes of an attempt, parents before children; ``known`` learns of them.

    A process is the attempt's when its command line ends in the attempt's id, when it is known to be, or when its
    parent is the attempt's: the parent with that number that lived when the process was started.

    Args:
        processes: all of the host.
        now: when they were listed, by the host's clock.
        attempt: its id.
        known: what earlier lists have told.
    """
    running = {(p.pid, p.created): p for p in processes}
    for key in known.gone:
        if known.gone[key] is None and key not in running:
            known.gone[key] = now
    ours = [p for key, p in running.items() if key in known.gone or p.command.rstrip().endswith(f" {attempt}")]
    found = {(p.pid, p.created) for p in ours}
    for key in found:
        known.gone[key] = None
    while True:
        more = [p for key, p in running.items() if key not in found and _is_child(p, known, running)]
        if not more:
            return sorted(ours, key=lambda p: p.created)
        for process in more:
            key = (process.pid, process.created)
            found.add(key)
            known.gone[key] = None
            ours.append(process)


def _is_child(process: Process, known: KnownTree, running: Iterable[tuple[int, int]]) -> bool:
    """Whether one of the attempt's processes has started this one."""
    parents = [c for pid, c in running if pid == process.parent and c <= process.created]
    if parents:  # a running process has the number; what had it before is gone
        return (process.parent, max(parents)) in known.gone
    return any(
        pid == process.parent and created <= process.created and (gone is None or process.created <= gone)
        for (pid, created), gone in known.gone.items()
    )
