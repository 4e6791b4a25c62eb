"""The process tree of an attempt, from a list of all processes of a Windows host.

Windows gives a process no mark that can be read from outside, forgets parents when they end, and uses their numbers again.
So each process of an attempt is remembered with the time it was created: the run script by its command line, the others as
children of one that is known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What our scheduled tasks are called, and what stands on the command line of their run scripts.
MARK = "ras-runner-"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that runs.

    Attributes:
        pid, parent: its number, and that of the process that made it.
        created: when, in units of 100 ns since 1601.
        cpu: user and system time so far, in units of 100 ns.
        command: command line of a cmd.exe; empty for other programs.
    """

    pid: int
    parent: int
    created: int
    cpu: int = 0
    command: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """A process that belongs, or belonged, to an attempt.

    Attributes:
        pid, created: which.
        gone: when it was first missed; None while it runs.
    """

    pid: int
    created: int
    gone: int | None = None


def grow(attempt: str, known: Sequence[Known], processes: Iterable[Process], now: int) -> tuple[Known, ...]:
    """The processes of an attempt, after one more look at the host.

    Args:
        attempt: its id.
        known: what an earlier look found.
        processes: all processes of the host.
        now: when they were listed, by the host's clock.
    """
    running = {process.pid: process for process in processes}
    tree = {(k.pid, k.created): k if _runs(k, running) else replace(k, gone=k.gone or now) for k in known}
    for process in running.values():
        if _marked(attempt, process.command):
            tree.setdefault((process.pid, process.created), Known(process.pid, process.created))
    waiting = [p for p in running.values() if (p.pid, p.created) not in tree]
    while True:
        by_pid: dict[int, list[Known]] = {}
        for k in tree.values():
            by_pid.setdefault(k.pid, []).append(k)
        children = [p for p in waiting if any(_made(k, p) for k in by_pid.get(p.parent, ()))]
        if not children:
            return tuple(tree.values())
        tree.update({(p.pid, p.created): Known(p.pid, p.created) for p in children})
        waiting = [p for p in waiting if (p.pid, p.created) not in tree]


def running_of(tree: Iterable[Known], processes: Iterable[Process]) -> list[Process]:
    """Those of a tree that run."""
    wanted = {(k.pid, k.created) for k in tree}
    return [p for p in processes if (p.pid, p.created) in wanted]


def _runs(known: Known, running: dict[int, Process]) -> bool:
    process = running.get(known.pid)
    return process is not None and process.created == known.created


def _made(parent: Known, child: Process) -> bool:
    """A process cannot be older than its parent, nor made by one that had ended (its number belonged to another)."""
    ended = parent.gone is not None and child.created > parent.gone
    return parent.pid != child.pid and parent.created <= child.created and not ended


def _marked(attempt: str, command: str) -> bool:
    return f"{MARK}{attempt}" in command.replace('"', " ").split()


def write_tree(tree: Iterable[Known]) -> str:
    """A tree as text, to be kept beside the attempt."""
    return json.dumps([[k.pid, k.created, k.gone] for k in tree])


def read_tree(text: bytes) -> tuple[Known, ...]:
    """What :func:`write_tree` wrote; empty for what it did not write."""
    try:
        return tuple(Known(int(pid), int(created), gone and int(gone)) for pid, created, gone in json.loads(text))
    except (ValueError, TypeError):
        return ()
