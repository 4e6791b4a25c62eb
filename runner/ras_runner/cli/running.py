"""Commands that run something: execute, resume, cancel, watch, demo."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.campaigns import create_campaign, prepare_plans
from ras_runner.campaign.membership import campaign_workers
from ras_runner.campaign.projects import choose_plans, open_projects
from ras_runner.campaign.run import Mode, run_campaign, stop_campaign
from ras_runner.campaign.view import CampaignView, campaign_view
from ras_runner.cli.listing import open_journal, print_results, worth_showing, write_campaign_report
from ras_runner.cli.live import LiveView
from ras_runner.cli.options import EXIT_INPUT, EXIT_INTERRUPTED, EXIT_NO_WORKER, EXIT_OK, EXIT_PLAN_FAILED
from ras_runner.cli.output import first_line, print_json, print_table, short, size, talk, talk_of_standin
from ras_runner.errors import OperatorError
from ras_runner.fleet.pool import make_pool
from ras_runner.hecras.project import Project
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ras_runner.campaign.campaigns import CampaignSettings, PreparedPlan
    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.preview import PreviewRow
    from ras_runner.workers.group import AnyWorker

_WATCH_SECONDS = 0.5
_ASK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Order:
    """What ``execute`` was asked for."""

    projects: tuple[Path, ...]
    plans: str
    inventory: Path | None
    engine: str
    settings: CampaignSettings
    state_dir: Path | None


@dataclass(frozen=True)
class Ready:
    """An order that has been checked: nothing is written yet but the journal file itself."""

    journal: Journal
    projects: tuple[Project, ...]
    workers: tuple[AnyWorker, ...]
    plans: dict[str, PreparedPlan]


class NoWorkerError(OperatorError):
    """None of the hosts can be used."""

    kind = "no worker"


def _ready(order: Order) -> Ready:
    projects = open_projects(order.projects)
    plans = choose_plans(projects, order.plans)
    pool = make_pool(order.inventory, order.engine)
    for name, reason in pool.left_out.items():
        talk(f"worker {name} is left out: {reason}")
    if not pool.workers:
        raise NoWorkerError(
            f"no worker of {pool.source} can be used",
            step="check workers",
            action="see the reasons above, or: ras-runner workers",
        )
    for worker in pool.workers:
        if worker.engine.name.startswith("stand-in"):
            talk_of_standin(worker.spec.worker_id, pool.source)
    journal = open_journal(order.state_dir)
    return Ready(journal, projects, pool.workers, prepare_plans(plans, pool.workers, order.settings, journal))


def execute(order: Order, *, as_json: bool) -> int:
    """``ras-runner execute``."""
    ready = _ready(order)
    campaign = create_campaign(ready.journal, ready.projects[0], ready.plans, ready.workers, order.settings)
    return _run(ready.journal, campaign, ready.workers, Mode.NEW, as_json=as_json)


def resume(campaign: str | None, state_dir: Path | None, mode: Mode, *, as_json: bool) -> int:
    """``ras-runner resume``."""
    journal = open_journal(state_dir)
    chosen = journal.campaign_id(campaign)
    return _run(journal, chosen, campaign_workers(journal, chosen, talk), mode, as_json=as_json)


def _run(journal: Journal, campaign: str, workers: Sequence[AnyWorker], mode: Mode, *, as_json: bool) -> int:
    talk(f"campaign {campaign}")
    try:
        with LiveView(journal.state_dir, campaign) as live:
            run_campaign(journal, campaign, workers, live.say, mode)
    except KeyboardInterrupt:
        view = campaign_view(journal, campaign)
        running = sum(task.running is not None for task in view.tasks)
        talk(
            f"interrupted: {running} plans go on computing\n"
            f"  go on with:     ras-runner resume {campaign}\n  stop them with: ras-runner cancel {campaign}"
        )
        return EXIT_INTERRUPTED
    return conclude(journal, campaign, as_json=as_json)


def conclude(journal: Journal, campaign: str, *, as_json: bool) -> int:
    """Print what became of a campaign's plans, and return the exit code for it."""
    view = campaign_view(journal, campaign)
    print_results(view, as_json=as_json)
    for task in worth_showing(view.tasks):
        if task.outcome is not None and not task.outcome.success and "\n" in task.message:
            talk(f"plan {task.plan_number} {task.outcome.value}: {task.message}")
    return exit_code(journal, view)


def exit_code(journal: Journal, view: CampaignView) -> int:
    """0 all completed, 1 a plan failed, 2 a person must act (full disk, read-only folder), 3 no usable worker."""
    outcomes = [task.outcome for task in view.tasks]
    if all(outcome is not None and outcome.success for outcome in outcomes):
        return EXIT_OK
    if all(outcome is None or outcome.success or outcome is Outcome.INFRASTRUCTURE_LOST for outcome in outcomes):
        acts = journal.row(
            "SELECT COUNT(*) AS n FROM attempts WHERE campaign = ? AND (state = 'unpublished' OR "
            "(blame = 'worker-for-good' AND created > "
            "(SELECT COALESCE(MAX(at), 0) FROM events WHERE campaign = ? AND kind = 'campaign-resumed')))",
            view.id,
            view.id,
        )
        return EXIT_INPUT if acts and acts["n"] else EXIT_NO_WORKER
    return EXIT_PLAN_FAILED


def detach(order: Order) -> int:
    """``ras-runner execute --detach``: the campaign is made here, and run by a process of its own."""
    from ras_runner import oscalls

    ready = _ready(order)
    campaign = create_campaign(ready.journal, ready.projects[0], ready.plans, ready.workers, order.settings)
    log = ready.journal.state_dir / "logs" / campaign / "controller.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = [
        sys.executable,
        "-m",
        "ras_runner",
        "resume",
        campaign,
        "--new",
        "--state-dir",
        str(ready.journal.state_dir.absolute()),
    ]
    oscalls.spawn_detached(argv, folder=ready.journal.state_dir, stdout=log, stderr=log, environment={})
    talk(f"campaign {campaign} runs in the background\n  follow it with: ras-runner watch {campaign}\n  log: {log}")
    print(campaign)  # noqa: T201  stdout is data
    return EXIT_OK


def dry_run(order: Order, *, as_json: bool) -> None:
    """``ras-runner execute --dry-run``: which plans would run where, and what each would stage."""
    from ras_runner.campaign.preview import preview

    ready = _ready(order)
    rows = preview(ready.plans, ready.workers, order.settings, ready.journal)
    if as_json:
        print_json([row.as_dict() for row in rows])
        return
    cells = [
        [
            r.plan_number,
            r.title,
            _where(r),
            str(r.cores or ""),
            str(r.files),
            size(r.bytes),
            size(r.bytes_to_send),
        ]
        for r in rows
    ]
    of = ", ".join(str(project.prj) for project in ready.projects)
    print_table(
        f"Would run {sum(not r.skipped and not r.problem for r in rows)} of {len(rows)} plans of {of}",
        ["plan", "title", "where", "cores", "files", "workspace", "to send"],
        cells,
        right=(3, 4, 5, 6),
    )


def _where(row: PreviewRow) -> str:
    if row.skipped:
        return "unchanged: not run"
    if row.problem:
        return f"cannot run: {first_line(row.problem)}"
    if row.slot is None:
        return f"a machine of {row.worker_id}" if row.worker_id else "next free slot"
    doing = {"prepare": ", to be prepared", "solve": ", prepared already"}.get(row.stage, "")
    return f"{row.worker_id} slot {row.slot}{doing}"


def cancel(campaign: str | None, plan: str, state_dir: Path | None) -> None:
    """``ras-runner cancel``: asks the controller; where there is none, stops what runs itself."""
    journal = open_journal(state_dir)
    chosen = journal.campaign_id(campaign)
    view = campaign_view(journal, chosen)
    number = view.plan(plan) if plan else None
    if number is not None and number not in {task.plan_number for task in view.tasks}:
        from ras_runner.errors import InputError

        raise InputError(
            f"plan {number} is not in campaign {chosen}",
            step="cancel",
            action=f"its plans are {', '.join(t.plan_number for t in view.tasks)}",
        )
    if view.state == "finished":
        talk(f"campaign {chosen} is over already")
        return
    if not journal.is_controlled(chosen):
        if number is not None:
            raise OperatorError(
                f"no controller is running campaign {chosen}: a single plan cannot be cancelled",
                step="cancel",
                action=f"stop all of it with: ras-runner cancel {chosen}; or go on with: ras-runner resume {chosen}",
            )
        workers = campaign_workers(journal, chosen, talk)
        if all(project.is_file() for project in view.projects):
            run_campaign(journal, chosen, workers, talk, Mode.CANCEL)
        else:
            stop_campaign(journal, chosen, workers)
    else:
        _ask_until_cancelled(journal, chosen, number)
    talk(f"plan {number} of campaign {chosen} is stopped" if number else f"campaign {chosen} is stopped")


def _ask_until_cancelled(journal: Journal, campaign: str, number: str | None) -> None:
    """Ask the controller, again where it was not listening yet, until the plans have an outcome or it is gone."""
    asked = float("-inf")
    while journal.is_controlled(campaign):
        tasks = campaign_view(journal, campaign).tasks
        if number is not None and all(task.outcome is not None for task in tasks if task.plan_number == number):
            return
        if time.monotonic() - asked >= _ASK_AGAIN_SECONDS:
            asked = time.monotonic()
            journal.record(campaign, "cancel-requested", plan=number)
        time.sleep(_WATCH_SECONDS)


def _wait_until_over(journal: Journal, campaign: str) -> None:
    while journal.is_controlled(campaign):
        time.sleep(_WATCH_SECONDS)


def watch(campaign: str | None, state_dir: Path | None) -> int:
    """``ras-runner watch``."""
    journal = open_journal(state_dir)
    chosen = journal.campaign_id(campaign)
    if campaign_view(journal, chosen).state != "finished":
        if not journal.is_controlled(chosen):
            talk(f"no controller is running campaign {chosen}; go on with: ras-runner resume {chosen}")
            return EXIT_INPUT
        with LiveView(journal.state_dir, chosen):
            _wait_until_over(journal, chosen)
    return conclude(journal, chosen, as_json=False)


def demo(folder: Path) -> int:
    """``ras-runner demo``: example project, two local slots, stand-in engine, table, report."""
    from ras_runner.campaign.campaigns import CampaignSettings
    from ras_runner.hecras.example import write_example_project
    from ras_runner.workers.registry import make_worker

    folder = folder.absolute()
    project = Project.open(write_example_project(folder / "project"))
    parameters: dict[str, Any] = {
        "worker_id": "local",
        "engine": "standin",
        "cores_total": 2,
        "cores_per_plan": 1,
        "worker_folder": folder / "worker",
    }
    worker = make_worker("local", parameters)
    talk(f"example project: {short(project.prj)}\nSTAND-IN ENGINE - NOT HEC-RAS - NOT FOR ENGINEERING USE")
    journal = open_journal(folder / "state")
    settings = CampaignSettings(force_rerun=True)
    campaign = create_campaign(
        journal,
        project,
        prepare_plans(project.plans(), [worker], settings, journal),
        [worker],
        settings,
    )
    code = _run(journal, campaign, [worker], Mode.NEW, as_json=False)
    if code != EXIT_INTERRUPTED:
        index = write_campaign_report(journal, campaign_view(journal, campaign), folder / "report")
        print(f"report: {short(index)}")  # noqa: T201  stdout is data
    return code
