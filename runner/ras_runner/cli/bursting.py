"""What the commands of ``ras-runner burst`` do; what a burst is and does is in :mod:`ras_runner.fleet.bursts`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.campaigns import create_campaign, prepare_plans
from ras_runner.campaign.membership import campaign_workers
from ras_runner.campaign.projects import choose_plans, open_projects
from ras_runner.campaign.receipts import find_receipt
from ras_runner.campaign.run import Mode, run_campaign
from ras_runner.cli.listing import open_journal
from ras_runner.cli.live import LiveView
from ras_runner.cli.options import EXIT_INPUT, EXIT_INTERRUPTED, EXIT_NO_WORKER, EXIT_OK
from ras_runner.cli.output import duration, print_json, print_table, talk, talk_of_standin
from ras_runner.cli.running import conclude
from ras_runner.errors import InputError, RasRunnerError
from ras_runner.fleet import bursts
from ras_runner.fleet.burst_life import Tempo
from ras_runner.fleet.burst_money import account_of
from ras_runner.fleet.burst_order import duration as minutes
from ras_runner.fleet.burst_order import make_order
from ras_runner.fleet.burst_record import State, burst_folder, burst_folders
from ras_runner.fleet.burst_watch import Watchman
from ras_runner.fleet.cost import estimate_text, measured_work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ras_runner.campaign.campaigns import CampaignSettings
    from ras_runner.campaign.journal import Journal
    from ras_runner.fleet.burst_record import BurstRecord
    from ras_runner.fleet.burst_sweep import Found
    from ras_runner.hecras.plan import Plan
    from ras_runner.workers.group import AnyWorker


def run(
    projects: Sequence[Path],
    plans: str,
    order: dict[str, Any],
    settings: CampaignSettings,
    state_dir: Path | None,
    *,
    yes: bool,
    as_json: bool,
) -> int:
    """``ras-runner burst run``."""
    journal = open_journal(state_dir)
    chosen = choose_plans(open_projects(projects), plans)
    burst = bursts.Burst(**order, state_dir=journal.state_dir, say=talk)
    prepared = prepare_plans(chosen, [burst.planned_group()], settings, journal)
    waiting = {name: item for name, item in prepared.items() if item.receipt is None and not item.ready.problem}
    if not waiting:
        talk("nothing is to be computed: all results are current, or their plans cannot run; nothing was bought")
        campaign = create_campaign(journal, chosen[0].project, prepared, [], settings)
        return _compute(journal, campaign, [], as_json=as_json)
    past = {name: item.expected for name, item in waiting.items() if item.expected is not None}
    work = measured_work(list(waiting), past, burst.order.hours_per_plan)
    estimate = burst.check(work, _results_gb(journal, [item.inputs.plan for item in waiting.values()]))
    if not _agreed(f"{burst.account}\n{estimate_text(estimate)}", yes=yes):
        return EXIT_INPUT
    if burst.order.engine == "standin":
        talk_of_standin(burst.order.docker_image, "burst")
    with burst as workers:
        prepared = prepare_plans(chosen, workers, settings, journal)
        campaign = create_campaign(journal, chosen[0].project, prepared, workers, settings)
        burst.note_campaign(campaign)
        code = _compute(journal, campaign, workers, as_json=as_json)
    if burst.stopped:
        talk(
            f"not all plans are computed: the burst was stopped, as {burst.stopped}\n"
            "  the same command again rents machines for the rest; what is computed is not run again"
        )
    return code


def _results_gb(journal: Journal, plans: Sequence[Plan]) -> float:
    """What comes out of the cloud, GB: as much as the last results of these plans."""
    receipts = [(plan.project.folder, find_receipt(journal, plan.project, plan.number)) for plan in plans]
    paths = [folder / receipt.result for folder, receipt in receipts if receipt is not None]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e9


def _agreed(text: str, *, yes: bool) -> bool:
    """Show what it will cost, and ask, unless that was said before.

    Raises:
        InputError: nobody is there to answer.
    """
    talk(text)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError("nobody is here to agree to the cost", step="confirm", action="say --yes")
    import typer

    if typer.confirm("rent the machines?", err=True):
        return True
    talk("nothing was bought")
    return False


def _compute(journal: Journal, campaign: str, workers: Sequence[AnyWorker], *, as_json: bool) -> int:
    """Run a campaign; interrupted, what is computed is collected and the rest is stopped: its machines go."""
    talk(f"campaign {campaign}")
    try:
        with LiveView(journal.state_dir, campaign) as live:
            run_campaign(journal, campaign, workers, live.say)
    except KeyboardInterrupt:
        talk("interrupted: collecting what is computed, then the machines are given back; again: give them back now")
        # the group's machines are workers too by now: what runs on them is looked at before it is stopped
        run_campaign(journal, campaign, campaign_workers(journal, campaign, talk), talk, Mode.CANCEL)
        conclude(journal, campaign, as_json=as_json)
        talk("the same command again rents machines for the rest; what is computed is not run again")
        return EXIT_INTERRUPTED
    return conclude(journal, campaign, as_json=as_json)


def up(order: dict[str, Any], state_dir: Path | None, *, yes: bool) -> int:
    """``ras-runner burst up``."""
    state = open_journal(state_dir).state_dir
    asked = bursts.prospect(make_order(order), state, attended=False)
    if not _agreed(_unknown_work(asked), yes=yes):
        return EXIT_INPUT
    path = bursts.bring_up(asked, state, talk)
    name = path.parent.name
    talk(
        f"burst {name} is up\n  use it:       ras-runner execute PROJECT -i {path}\n"
        f"  give it back: ras-runner burst down {name}"
    )
    print(path)  # noqa: T201  stdout is data
    return EXIT_OK


def _unknown_work(asked: bursts.Prospect) -> str:
    """What a burst costs of whose plans nothing is known."""
    found, order = asked.estimate, asked.order
    return (
        f"{asked.place.account}\n{order.workers} machines for up to {minutes(order.ttl)} cost {found.ceiling} "
        f"{found.currency} at most; a machine without plans ends itself after {order.idle_minutes} minutes\n"
        f"{found.basis[-1]}"
    )


def estimate(order: dict[str, Any], state_dir: Path | None, *, as_json: bool) -> None:
    """``ras-runner burst cost``, before anything is bought."""
    state = open_journal(state_dir).state_dir
    asked = bursts.prospect(make_order(order), state, attended=True)
    if as_json:
        print_json(asked.estimate.as_dict())
        return
    known = order.get("plans") and order.get("hours_per_plan")
    text = f"{asked.place.account}\n{estimate_text(asked.estimate)}" if known else _unknown_work(asked)
    print(text)  # noqa: T201  stdout is data


def spent(burst: str, state_dir: Path | None, *, as_json: bool) -> None:
    """``ras-runner burst cost BURST``."""
    state = open_journal(state_dir).state_dir
    record = _seen(burst_folder(state, burst).read())[0]
    found = account_of(record, state).spending(record, time.time())
    if as_json:
        print_json(
            {
                "burst": record.id,
                "currency": found.currency,
                "total": float(found.total),
                "hourly": float(found.hourly),
                "max_cost": float(record.max_cost),
                "prices": found.prices,
                "lines": {name: float(amount) for name, amount in found.lines.items()},
            }
        )
        return
    rows = [[name, f"{amount}"] for name, amount in [*found.lines.items(), ("in all", found.total)]]
    print_table(f"Burst {record.id} has cost ({found.currency})", ["for", "amount"], rows, right=(1,))


def _seen(record: BurstRecord) -> tuple[BurstRecord, str]:
    """A record with the machines that are there now, and why they could not be looked at."""
    if record.state in (State.DOWN, State.PLANNED):
        return record, ""
    try:
        bursts.look(record)
    except RasRunnerError as error:
        return record, error.cause
    return record, ""


def status(state_dir: Path | None, *, every: bool, as_json: bool) -> None:
    """``ras-runner burst status``."""
    state = open_journal(state_dir).state_dir
    records = []
    for folder in burst_folders(state):
        try:
            records.append(folder.read())
        except InputError as error:  # the others are shown
            talk(str(error))
    records = [record for record in records if every or record.state is not State.DOWN]
    records.sort(key=lambda record: record.created)  # ids tell the minute only
    rows = [_status_row(*_seen(record), state) for record in records]
    if as_json:
        print_json(rows)
        return
    cells = [
        [
            str(row["burst"]),
            f"{row['cloud']} {row['region']}",
            str(row["state"]),
            "?" if row["machines"] is None else f"{row['machines']} of {row['max_machines']}",
            duration(row["age_seconds"]),
            "?" if row["cost"] is None else f"{row['cost']:.2f} of {row['max_cost']:.2f} {row['currency']}",
            str(row["expires_at"]),
        ]
        for row in rows
    ]
    print_table("Bursts", ["burst", "where", "state", "machines", "age", "cost", "ends"], cells, right=(4,))
    for row in rows:
        if row["problem"]:
            talk(f"burst {row['burst']}: {row['problem']}")


def _status_row(record: BurstRecord, trouble: str, state: Path) -> dict[str, Any]:
    total, currency, problem = None, "", trouble or record.problem
    try:
        spending = account_of(record, state).spending(record, time.time())
        total, currency = float(spending.total), spending.currency
    except InputError as error:
        problem = problem or error.cause
    return {
        "burst": record.id,
        "cloud": record.cloud,
        "region": record.region,
        "state": record.state.value,
        "campaign": record.campaign,
        "machines": None if trouble else sum(machine.end is None for machine in record.machines.values()),
        "max_machines": record.workers,
        "age_seconds": round(time.time() - record.created),
        "cost": total,
        "max_cost": float(record.max_cost),
        "currency": currency,
        "expires_at": record.expires,
        "problem": problem,
    }


def down(burst: str, state_dir: Path | None) -> None:
    """``ras-runner burst down``."""
    journal = open_journal(state_dir)
    life = bursts.open_burst(journal.state_dir, burst, talk)
    if life.record.state is State.DOWN:
        talk(f"burst {life.record.id} is down already")
        return
    try:
        account = account_of(life.record, journal.state_dir)
    except InputError as error:  # no reason to leave its machines there
        talk(f"what burst {life.record.id} has cost cannot be worked out: {error}")
        try:
            life.down()
        finally:
            bursts.let_go(life.folder)
        return
    bursts.take_down(life, Watchman(life, account, journal))


def sweep(
    regions: Sequence[str],
    profile: str,
    state_dir: Path | None,
    *,
    all_owners: bool,
    remove: bool,
    as_json: bool,
) -> int:
    """``ras-runner burst sweep``: 0, or 3 when something that is over could not be removed."""
    from ras_runner.fleet.burst_sweep import Sweeper
    from ras_runner.workers.base import this_owner

    journal = open_journal(state_dir)
    known = {row["id"]: row["state"] for row in journal.rows("SELECT id, state FROM campaigns")}
    pause = Tempo.from_environment().retry
    sweeper = Sweeper(
        journal.state_dir, this_owner(), all_owners, lambda campaign: known.get(campaign) != "running", pause
    )
    found = sweeper.sweep(regions, profile, talk, remove=remove)
    if as_json:
        print_json([_swept(item) for item in found])
    elif found:
        columns = ["kind", "name", "region", "owner", "why", "becomes"]
        cells = [[_swept(item)[column] for column in columns] for item in found]
        print_table("What carries the tags of bursts", columns, cells)
        if not remove and any(item.due for item in found):
            talk("nothing was removed; to do it: the same command with --yes")
    else:
        talk("nothing carries the tags of bursts")
    return EXIT_NO_WORKER if remove and any(item.due and item.done != "removed" for item in found) else EXIT_OK


def _swept(item: Found) -> dict[str, str]:
    becomes = item.done or ("to be removed" if item.due else "stays")
    return {
        "kind": item.thing.kind,
        "name": item.thing.name,
        "id": item.thing.id,
        "region": item.thing.region,
        "burst": item.thing.tags["ras-runner:campaign"],
        "owner": item.thing.tags["ras-runner:owner"],
        "why": item.why,
        "becomes": becomes,
    }
