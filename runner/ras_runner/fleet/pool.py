"""The workers of a run: from an inventory or this machine, each ready or left out with its reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.errors import InputError, RasRunnerError
from ras_runner.fleet.inventory import WorkerEntry, find_inventory, read_inventory
from ras_runner.workers.registry import make_worker

if TYPE_CHECKING:
    from pathlib import Path

    from ras_runner.workers.base import Worker

#: Hosts that are looked at at once: those that do not answer take 15 s each.
_AT_ONCE = 32


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
        inventory: the file named by the user; ``inventory/local.yml`` below the current folder is used when it exists.
        engine: engine to use on all workers instead of their own.

    Raises:
        InputError: the inventory, a worker type or a parameter is wrong.
    """
    source, entries = read_pool(inventory)
    with ThreadPoolExecutor(min(_AT_ONCE, len(entries) or 1), thread_name_prefix="pool") as threads:
        made = list(threads.map(lambda entry: _made(entry, engine), entries))
    workers = tuple(found for found in made if not isinstance(found, str))
    left_out = {entry.name: found for entry, found in zip(entries, made, strict=True) if isinstance(found, str)}
    return Pool(source, workers, left_out)


def read_pool(inventory: Path | None = None) -> tuple[str, list[WorkerEntry]]:
    """Where the workers come from, for the user, and what is said of them there; none is looked at.

    Raises:
        InputError: the inventory cannot be read.
    """
    path = find_inventory(inventory)
    if path is None:
        return "this machine (no inventory given)", [WorkerEntry("local", "local", {"worker_id": "local"})]
    return str(path), read_inventory(path)


def _made(entry: WorkerEntry, engine: str) -> Worker | str:
    """The worker, or why the host is none. An InputError is for the user, whatever the other hosts are."""
    if not entry.type:
        return "it is in no worker group and has no ras_worker_type"
    parameters = {**entry.parameters, "engine": engine} if engine else entry.parameters
    try:
        return make_worker(entry.type, parameters)
    except InputError:
        raise
    except RasRunnerError as error:
        return str(error)
