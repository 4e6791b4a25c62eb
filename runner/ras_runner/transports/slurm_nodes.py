"""Nodes of a cluster that lose one plan after the other: no more are sent there. Pure: what happened in, names out.

A node that is broken, but not so that Slurm sees it, ends its jobs at once; so it is always free, and takes the next.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

#: Incidents in a row after which a node is left out; for how many seconds; and how many nodes at most.
_INCIDENTS, _OUT_SECONDS, _MOST = 2, 3600.0, 32


@dataclass(slots=True)
class _Node:
    incidents: int = 0
    #: When the last one was seen, by the cluster's clock.
    seen: float = 0.0


@dataclass
class Nodes:
    """What the nodes have lost. Times in seconds by the cluster's clock; safe to use from several threads."""

    _known: dict[str, _Node] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def did_well(self, name: str) -> None:
        """A plan has run to its end there."""
        with self._lock:
            self._known.pop(name, None)

    def lost(self, name: str, started: float | None, now: float) -> bool:
        """A plan that began at ``started`` was lost there; what ran side by side is one incident.

        Returns:
            Whether no more plans are sent there for now.
        """
        with self._lock:
            node = self._known.setdefault(name, _Node())
            if not node.incidents or (started or now) >= node.seen:
                node.incidents, node.seen = node.incidents + 1, now
            return node.incidents >= _INCIDENTS

    def left_out(self, now: float) -> list[str]:
        """The nodes that plans are not to be sent to, those that were lost on last."""
        with self._lock:
            bad = [
                (node.seen, name)
                for name, node in self._known.items()
                if node.incidents >= _INCIDENTS and now < node.seen + _OUT_SECONDS
            ]
        return sorted(name for _, name in sorted(bad)[-_MOST:])

    def forget(self) -> None:
        """There would be none left: all may be tried again."""
        with self._lock:
            self._known.clear()
