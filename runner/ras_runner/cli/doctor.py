"""``ras-runner doctor``: what keeps machines from being workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ras_runner.cli.output import console, print_json, print_table, talk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ras_runner.fleet.doctor import Examination
    from ras_runner.fleet.inventory import WorkerEntry

_STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "not checked": "dim"}


def doctor(inventory: Path | None, hosts: Sequence[str], *, reap: bool, as_json: bool) -> bool:
    """Examine hosts and show what was found; with ``reap`` our leftovers on Windows hosts go first.

    Returns:
        False when one of them cannot be a worker as it is.
    """
    from ras_runner.fleet.doctor import as_data, examine
    from ras_runner.fleet.pool import worker_entries

    source, entries = worker_entries(inventory)
    chosen = _chosen(entries, hosts, source)
    if reap:
        _reap(chosen)
    talk(f"examining {len(chosen)} worker{'s' * (len(chosen) != 1)} from {source}; nothing is changed")
    found = examine(chosen)
    if as_json:
        print_json(as_data(found))
    else:
        for examination in found:
            _show(examination, every=len(found) == 1)
    return not any(examination.failed for examination in found)


def _reap(chosen: Sequence[WorkerEntry]) -> None:
    from ras_runner.errors import RasRunnerError
    from ras_runner.fleet.doctor import reap

    for entry in chosen:
        try:
            for name in reap(entry):
                talk(f"{entry.name}: removed the service {name}")
        except RasRunnerError as error:
            talk(f"{entry.name}: nothing was removed: {error}")


def sessions(inventory: Path | None, host: str, *, as_json: bool) -> bool:
    """Show the sessions of a host.

    Returns:
        False when none of them has a desktop for its plans.
    """
    from ras_runner.errors import OperatorError
    from ras_runner.fleet.doctor import host_sessions
    from ras_runner.fleet.pool import worker_entries

    source, entries = worker_entries(inventory)
    (entry,) = _chosen(entries, [host], source)
    found, chosen = host_sessions(entry)
    used = "" if isinstance(chosen, OperatorError) else chosen.id
    rows = [{"id": s.id, "user": s.user, "session": s.name, "state": s.state, "plans": s.id == used} for s in found]
    if as_json:
        print_json(rows)
    else:
        cells = [
            [str(row["id"]), str(row["user"]), str(row["session"]), str(row["state"]), "here" * bool(row["plans"])]
            for row in rows
        ]
        print_table(f"Sessions of {entry.name}", ["id", "user", "session", "state", "plans"], cells, right=(0,))
    if isinstance(chosen, OperatorError):
        talk(str(chosen))
        return False
    return True


def _chosen(entries: Sequence[WorkerEntry], hosts: Sequence[str], source: str) -> list[WorkerEntry]:
    from ras_runner.errors import InputError

    names = {entry.name for entry in entries} | {str(entry.parameters.get("worker_id")) for entry in entries}
    unknown = [host for host in hosts if host not in names]
    if unknown:
        raise InputError(
            f"{source} has no host {', '.join(unknown)}",
            step="doctor",
            action=f"it has {', '.join(sorted(entry.name for entry in entries))}",
        )
    return [e for e in entries if not hosts or e.name in hosts or e.parameters.get("worker_id") in hosts]


def _show(examination: Examination, *, every: bool) -> None:
    """One host: a line when all is well, else what was found, with the remedies; all of it with ``every``."""
    from rich.table import Table
    from rich.text import Text

    from ras_runner.fleet.doctor import Verdict

    out = console()
    head = f"{examination.worker_id} ({examination.type})"
    if not every and all(row.finding.verdict is Verdict.OK for row in examination.rows):
        out.print(Text.assemble(head, ": ", (f"all {len(examination.rows)} checks ok", "green")))
        return
    out.print(Text(head, style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in examination.rows:
        if not every and row.finding.verdict is Verdict.NOT_CHECKED:
            continue
        verdict = row.finding.verdict.value
        table.add_row(Text(verdict, style=_STYLES[verdict]), row.requirement.title, Text(row.finding.evidence))
        if row.remedy:
            table.add_row("", "", Text(f"next: {row.remedy}"))
            if row.requirement.role:
                table.add_row("", "", Text(f"Ansible role: {row.requirement.role}", style="dim"))
    out.print(table)
    left = sum(row.finding.verdict is Verdict.NOT_CHECKED for row in examination.rows)
    if left and not every:
        out.print(Text(f"not checked: {left} (ras-runner doctor {examination.worker_id} shows why)", style="dim"))
