"""The workers of a run: from an inventory or this machine, each ready or left out with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.errors import InputError, RasRunnerError
from ras_runner.fleet.inventory import GROUP_TYPES, WorkerEntry, find_inventory, read_inventory
from ras_runner.workers.registry import WORKER_TYPES, make_worker

if TYPE_CHECKING:
    from pathlib import Path

    from ras_runner.workers.base import Worker


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers, and the hosts that are none.

    Attributes:
        source: where they come from, for the user.
        workers: ready to take plans.
        left_out: host name -> reason.
    """

    source: str
    workers: tuple[Worker, ...]
    left_out: dict[str, str]


def make_pool(inventory: Path | None = None, engine: str = "") -> Pool:
    """The workers of an inventory, or this machine with its own HEC-RAS when there is none.

    Args:
        inventory: the file named by the user; ``inventory/workers.json``, else
            ``inventory/local.yml`` below the current folder is used when it exists.
        engine: engine to use on all workers instead of their own.

    Raises:
        InputError: the inventory, a worker type or a parameter is wrong.
    """
    path = find_inventory(inventory)
    entries = read_inventory(path) if path else [WorkerEntry("local", "local", {"worker_id": "local"})]
    source = str(path) if path else "this machine (no inventory given)"
    workers: list[Worker] = []
    left_out: dict[str, str] = {}
    for entry in entries:
        reason = _why_not(entry)
        if reason:
            left_out[entry.name] = reason
            continue
        parameters = {**entry.parameters, "engine": engine} if engine else entry.parameters
        try:
            workers.append(make_worker(entry.type, parameters))
        except InputError:
            raise
        except RasRunnerError as error:
            left_out[entry.name] = str(error)
    return Pool(source, tuple(workers), left_out)


def _why_not(entry: WorkerEntry) -> str:
    """Why a host is no worker, as far as the inventory tells; empty when it is meant to be one."""
    if entry.left_out:
        return entry.left_out
    if not entry.type:
        return f"it is in no worker group ({', '.join(GROUP_TYPES)}) and has no ras_worker_type"
    if entry.type in GROUP_TYPES.values() and entry.type not in WORKER_TYPES:
        return f"plans cannot be sent to {entry.type} workers yet; types that can be used: {', '.join(WORKER_TYPES)}"
    return ""
