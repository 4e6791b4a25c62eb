"""What goes from a worker's store when it is too large. Pure: transports say what is there, and take it away."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What was used less than so many minutes ago stays: somebody may be about to make a workspace of it.
KEEP_MINUTES = 60
#: What a transfer has left behind goes after so many minutes: it may still go on where it was cut.
STALE_MINUTES = 24 * 60
#: Names of files in a store, relative to it: others are not ours to count or to take.
CONTENT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A file in a store.

    Attributes:
        name: relative to the store, with forward slashes.
        size: bytes.
        used: seconds since 1970, by the worker's clock: when it came or was last used, whichever is later.
        links: names that the file has; more than one while a workspace has it.
    """

    name: str
    size: int
    used: float
    links: int


def evicted(files: Iterable[StoreFile], limit: int, now: float) -> list[StoreFile]:
    """What has to go so that the rest is at most ``limit`` bytes: the longest unused first.

    Less goes when the others are in use: linked to by a workspace, or used lately. Files that are not named as content
    are not counted, and stay.
    """
    content = [file for file in files if CONTENT.fullmatch(file.name)]
    excess = sum(file.size for file in content) - limit
    before = now - 60.0 * KEEP_MINUTES
    gone = []
    for file in sorted((f for f in content if f.links == 1 and f.used < before), key=lambda f: (f.used, f.name)):
        if excess <= 0:
            break
        gone.append(file)
        excess -= file.size
    return gone
