"""``ras-runner sweep``: what crashes and hosts that were given up have left on workers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.sweep import Kind, Wish, find_leftovers, remove_leftovers, trim_transfers
from ras_runner.cli.listing import open_journal
from ras_runner.cli.options import EXIT_NO_WORKER, EXIT_OK
from ras_runner.cli.output import print_json, print_table, size, talk
from ras_runner.errors import InputError, RasRunnerError
from ras_runner.fleet.inventory import WorkerEntry, read_inventory
from ras_runner.workers.registry import WORKER_TYPES, is_group, make_worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.sweep import Leftover
    from ras_runner.workers.base import Worker


def sweep(
    inventory: Path | None, names: Sequence[str], wish: Wish, state_dir: Path | None, *, remove: bool, as_json: bool
) -> int:
    """List what is left on the workers of an inventory, or on all that the journal knows, and remove it if asked.

    Returns:
        0, or 3 when a worker could not be looked at.
    """
    journal = open_journal(state_dir)
    entries = _chosen(_inventory_entries(inventory) if inventory else _journal_entries(journal), names)
    found: list[Leftover] = []
    problems = False
    seen: set[tuple[str, ...]] = set()
    for entry in entries:
        try:
            worker = make_worker(entry.type, entry.parameters)
            daemon = str(entry.parameters.get("docker_host", ""))
            place = (worker.type, worker.hostname, str(worker.transport.root), daemon)
            if place not in seen:
                seen.add(place)
                found += _swept(journal, worker, wish, remove=remove)
        except RasRunnerError as error:
            problems = True
            talk(f"worker {entry.parameters['worker_id']} is left out: {error}")
    if as_json:
        print_json([asdict(replace(item, days=round(item.days, 3))) for item in found])
    elif found:
        _print(found, wish, removed=remove)
    else:
        talk(f"nothing is left on {len(seen)} workers")
    return EXIT_NO_WORKER if problems else EXIT_OK


def _inventory_entries(inventory: Path) -> list[WorkerEntry]:
    """Those of an inventory; the machines of its groups are known to the journal only."""
    entries = read_inventory(inventory)
    groups = [entry for entry in entries if entry.type in WORKER_TYPES and is_group(entry.type)]
    for entry in groups:
        talk(f"worker {entry.name} is a group of machines: ras-runner sweep without an inventory looks at them")
    return [entry for entry in entries if entry not in groups]


def _journal_entries(journal: Journal) -> list[WorkerEntry]:
    """The workers of all campaigns, those of the latest first."""
    entries: dict[str, WorkerEntry] = {}
    for row in journal.rows("SELECT workers FROM campaigns ORDER BY created DESC"):
        for item in json.loads(row["workers"]):
            if item.get("gone") or is_group(item["type"]):  # what is left of a group is on its machines
                continue
            name = str(item["parameters"]["worker_id"])
            entries.setdefault(json.dumps(item, sort_keys=True), WorkerEntry(name, item["type"], item["parameters"]))
    return list(entries.values())


def _chosen(entries: list[WorkerEntry], names: Sequence[str]) -> list[WorkerEntry]:
    known = list(dict.fromkeys(str(entry.parameters["worker_id"]) for entry in entries if entry.type))
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"there is no worker {', '.join(unknown)}",
            step="sweep",
            action=f"the workers are {', '.join(known)}" if known else "give an inventory with -i",
        )
    return [e for e in entries if e.type and (not names or e.parameters["worker_id"] in names)]


def _swept(journal: Journal, worker: Worker, wish: Wish, *, remove: bool) -> list[Leftover]:
    found = find_leftovers(journal, worker, wish)
    if not remove:
        return found
    done = remove_leftovers(journal, worker, wish, found)
    try:
        if freed := trim_transfers(worker):
            talk(f"worker {worker.worker_id}: {size(freed)} of transfers that were cut are removed")
    except RasRunnerError as error:  # what was done is told all the same
        talk(f"worker {worker.worker_id}: {error}")
    return done


def _print(found: Sequence[Leftover], wish: Wish, *, removed: bool) -> None:
    columns = ["worker", "attempt", "campaign", "plan", "outcome", "days", "left", "what becomes of it"]
    print_table("Left on workers", columns, [_cells(item) for item in found], right=(5,))
    if not removed and any(item.due or item.to_end for item in found):
        talk("nothing was removed; to do it: the same command with --yes")
    if wish.kept_days is None and any(item.kind is Kind.KEPT for item in found):
        talk("workspaces of plans that failed are kept for you to look at; --workspaces DAYS removes older ones")
    if not wish.unknown and any(item.kind is Kind.UNKNOWN for item in found):
        talk(
            "what this journal does not know may be of another controller; --unknown removes it after a day at rest "
            "(30, where it never began)"
        )


def _cells(item: Leftover) -> list[Any]:
    parts = ["running" if item.running else "", "container" if item.container else ""]
    left = ", ".join(part for part in (*parts, "kept workspace" if item.kind is Kind.KEPT else "workspace") if part)
    plan = item.done or ("to be removed" if item.due else "to be ended" if item.to_end else "stays")
    known = [item.campaign or "not known", item.plan, item.outcome]
    return [item.worker_id, item.attempt, *known, f"{item.days:.1f}", left, plan]
