"""The workers of a run: from an inventory or this machine, each ready or left out with its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ras_runner.errors import InputError, RasRunnerError
from ras_runner.fleet.inventory import GROUP_TYPES, WorkerEntry, find_inventory, read_inventory
from ras_runner.workers.registry import WORKER_TYPES, make_workers

if TYPE_CHECKING:
    from pathlib import Path

    from ras_runner.workers.group import AnyWorker

#: Why a host is no worker.
NO_TYPE = "it is in no worker group and has no ras_worker_type"


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers, and the hosts that are none.

    Attributes:
        source: where they come from, for the user.
        workers: ready to take plans; groups may have no machine yet.
        left_out: host name -> reason.
    """

    source: str
    workers: tuple[AnyWorker, ...]
    left_out: dict[str, str]


def worker_entries(inventory: Path | None = None, engine: str = "") -> tuple[str, list[WorkerEntry]]:
    """Where the workers come from, and what they are made from; arguments and errors as for :func:`make_pool`."""
    path = find_inventory(inventory)
    if path is None:
        source, entries = "this machine (no inventory given)", [WorkerEntry("local", "local", {"worker_id": "local"})]
    else:
        source, entries = str(path), read_inventory(path)
    if engine:
        entries = [replace(entry, parameters={**entry.parameters, "engine": engine}) for entry in entries]
    return source, entries


def make_pool(inventory: Path | None = None, engine: str = "") -> Pool:
    """The workers of an inventory, or this machine with its own HEC-RAS when there is none.

    Args:
        inventory: the file named by the user; ``inventory/workers.json``, else
            ``inventory/local.yml`` below the current folder is used when it exists.
        engine: engine to use on all workers instead of their own.

    Raises:
        InputError: the inventory, a worker type or a parameter is wrong; names the host.
    """
    source, entries = worker_entries(inventory, engine)
    left_out = {entry.name: reason for entry in entries if (reason := why_not(entry))}
    meant = [entry for entry in entries if entry.name not in left_out]
    workers: list[AnyWorker] = []
    for entry, made in zip(meant, make_workers([(entry.type, entry.parameters) for entry in meant]), strict=True):
        if isinstance(made, InputError):  # for the user, whatever the other hosts are
            raise InputError(made.cause, action=made.action, step=made.step, host=made.host or entry.name) from made
        if isinstance(made, RasRunnerError):
            left_out[entry.name] = str(made)
        else:
            workers.append(made)
    return Pool(source, tuple(workers), left_out)


def why_not(entry: WorkerEntry) -> str:
    """Why a host is no worker, as far as the inventory tells; empty when it is meant to be one."""
    if entry.left_out:
        return entry.left_out
    if not entry.type:
        return f"it is in no worker group ({', '.join(GROUP_TYPES)}) and has no ras_worker_type"
    if entry.type in GROUP_TYPES.values() and entry.type not in WORKER_TYPES:
        return f"plans cannot be sent to {entry.type} workers yet; types that can be used: {', '.join(WORKER_TYPES)}"
    return ""
