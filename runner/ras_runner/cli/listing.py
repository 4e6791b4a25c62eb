"""Commands that show something: plans, workers, status, results, campaigns, report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.cli.output import cost_words, duration, first_line, print_json, print_table, short, size, talk
from ras_runner.outcomes import Outcome

#: Plans that ``status`` and ``results`` list one by one; a table of more takes seconds to lay out, and nobody reads it.
_MOST_ROWS = 500

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ras_runner.campaign.costs import CampaignCost
    from ras_runner.campaign.eta import Eta
    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.view import CampaignView, TaskView
    from ras_runner.hecras.plan import Plan
    from ras_runner.report.model import CostRow
    from ras_runner.workers.base import WorkerSpec


def open_journal(state_dir: Path | None) -> Journal:
    """The journal of a state directory, or of the user's."""
    from ras_runner.campaign.journal import Journal, default_state_dir

    return Journal(state_dir or default_state_dir())


def plans(project: Path, *, as_json: bool) -> None:
    """``ras-runner plans``."""
    from ras_runner.errors import InputError
    from ras_runner.hecras.project import Project

    opened = Project.open(project)
    rows: list[dict[str, Any]] = []
    for number in opened.plan_numbers:
        try:
            rows.append(_plan_row(opened.plan(number)))
        except InputError as error:
            rows.append({"plan_number": number, "title": "", "problem": error.cause})
    if as_json:
        print_json(rows)
        return
    cells = [
        [
            row["plan_number"],
            row["title"],
            row.get("flow_type", ""),
            row.get("geometry", ""),
            row.get("flow", ""),
            row.get("window", ""),
            str(row.get("cores", "")),
            row["problem"] or f"{row['files']} files, {size(row['bytes'])}",
        ]
        for row in rows
    ]
    print_table(
        f"{opened.title} ({opened.prj})",
        ["plan", "title", "type", "geometry", "flow", "simulation", "cores", "inputs"],
        cells,
    )


def _plan_row(plan: Plan) -> dict[str, Any]:
    from ras_runner.hecras.inputs import plan_inputs

    inputs = plan_inputs(plan)
    required = [f"{m.reference} ({m.referred_by})" for m in inputs.missing if m.required]
    return {
        "plan_number": plan.number,
        "title": plan.title,
        "short_id": plan.short_id,
        "flow_type": plan.flow_type.value,
        "geometry": plan.geometry,
        "flow": plan.flow,
        "start": plan.start.isoformat() if plan.start else None,
        "end": plan.end.isoformat() if plan.end else None,
        "window": f"{plan.start:%d%b%Y %H:%M} to {plan.end:%d%b%Y %H:%M}" if plan.start and plan.end else "",
        "cores": plan.cores.d1 or plan.cores.d2 or "all",
        "files": len(inputs.files),
        "bytes": sum(item.path.stat().st_size for item in inputs.files),
        "missing": [
            {"reference": m.reference, "referred_by": m.referred_by, "required": m.required, "why": m.why}
            for m in inputs.missing
        ],
        "problem": f"missing: {', '.join(required)}" if required else "",
    }


def _machines(spec: WorkerSpec) -> dict[str, int]:
    """How many machines a group may have; nothing for a worker."""
    from ras_runner.workers.group import GroupSpec

    if not isinstance(spec, GroupSpec):
        return {}
    return {"min_machines": spec.min_machines, "max_machines": spec.max_machines}


def workers(inventory: Path | None, engine: str, *, as_json: bool) -> None:
    """``ras-runner workers``."""
    from ras_runner.fleet.pool import make_pool

    pool = make_pool(inventory, engine)
    rows: list[dict[str, Any]] = [
        {
            "worker_id": w.spec.worker_id,
            "type": w.type,
            "host": w.hostname,
            "engine": w.engine.name,
            "slots": w.spec.slots(),
            "cores_total": w.spec.cores_total,
            "cores_per_plan": w.spec.cores_per_plan,
            "queue_priority": w.spec.queue_priority,
            "preprocess_on_host": w.spec.preprocess_on_host,
            **_machines(w.spec),
            "problem": "",
        }
        for w in pool.workers
    ]
    rows += [{"worker_id": name, "problem": reason} for name, reason in pool.left_out.items()]
    talk(f"workers from {pool.source}")
    if as_json:
        print_json(rows)
        return
    keys = ["worker_id", "type", "host", "engine", "slots", "cores_total", "queue_priority", "problem"]
    cells = [[str(row.get(key, "")) for key in keys] for row in rows]
    for cell, row in zip(cells, rows, strict=True):
        cell[3] += ", solves what others prepare" if row.get("preprocess_on_host") else ""
        if "max_machines" in row:
            cell[4] += f" on each of {row['min_machines']} to {row['max_machines']} machines"
    print_table(
        "Workers",
        ["worker", "type", "host", "engine", "slots", "cores", "priority", "left out because"],
        cells,
        right=(4, 5, 6),
    )


def campaigns(state_dir: Path | None, *, as_json: bool) -> None:
    """``ras-runner status --all``."""
    from ras_runner.campaign.view import campaign_view

    journal = open_journal(state_dir)
    views = [
        campaign_view(journal, row["id"]) for row in journal.rows("SELECT id FROM campaigns ORDER BY created DESC")
    ]
    rows = [_campaign_row(journal, view, view.eta()) for view in views]
    if as_json:
        print_json(rows)
        return
    cells = [[r["campaign"], r["state"], f"{r['completed']}/{r['plans']}", r["started"], r["project"]] for r in rows]
    print_table("Campaigns", ["campaign", "state", "completed", "started", "project"], cells, right=(2,))


def _campaign_row(journal: Journal, view: CampaignView, eta: Eta | None) -> dict[str, Any]:
    return {
        "campaign": view.id,
        "state": campaign_state(journal, view),
        "project": ", ".join(map(str, view.projects)),
        "started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(view.created)),
        "plans": len(view.tasks),
        "over": view.over,
        "completed": view.completed,
        "bytes_staged": sum(attempt.bytes_staged for task in view.tasks for attempt in task.attempts),
        "eta_seconds": eta.seconds if eta else None,
        "eta_low_seconds": eta.low if eta else None,
        "eta_high_seconds": eta.high if eta else None,
    }


def campaign_state(journal: Journal, view: CampaignView) -> str:
    """``finished``, ``running`` (a controller is at work) or ``interrupted`` (resume goes on)."""
    if view.state == "finished":
        return "finished"
    return "running" if journal.is_controlled(view.id) else "interrupted"


def status(campaign: str | None, state_dir: Path | None, *, as_json: bool) -> None:
    """``ras-runner status``."""
    from ras_runner.campaign.costs import campaign_cost
    from ras_runner.campaign.view import campaign_view
    from ras_runner.cli.live import left_of, why_waiting

    journal = open_journal(state_dir)
    view = campaign_view(journal, journal.campaign_id(campaign))
    cost = campaign_cost(journal, view)
    eta = view.eta()
    row = {**_campaign_row(journal, view, eta), "cost": cost.as_dict() if cost else None}
    tasks = [_task_row(task, cost) for task in (view.tasks if as_json else worth_showing(view.tasks))]
    if as_json:
        print_json({**row, "tasks": tasks})
        return
    cells = [
        [
            t["plan_number"],
            t["title"],
            t["state"],
            t["worker_id"],
            "" if t["progress"] is None else f"{t['progress']:.0%}",
            duration(t["eta_seconds"]),
            why_waiting(t["queued_seconds"], t["message"]),
        ]
        for t in tasks
    ]
    title = (
        f"Campaign {view.id} ({row['state']}): {view.completed} of {len(view.tasks)} plans completed, {view.over} over"
        + (f", {left_of(eta)}" if eta and row["state"] == "running" else "")
        + (f", {cost_words(cost)}" if cost else "")
    )
    print_table(title, ["plan", "title", "state", "worker", "done", "left", "message"], cells, right=(4, 5))
    _say_what_is_missing(view, len(cells))
    if row["state"] == "interrupted":
        talk(f"no controller is running it; go on with: ras-runner resume {view.id}")


def _task_row(task: TaskView, cost: CampaignCost | None) -> dict[str, Any]:
    from ras_runner.campaign.view import attempt_eta, queued_seconds

    attempt = task.running
    return {
        "plan_number": task.plan_number,
        "title": task.title,
        "state": task.state,
        "worker_id": attempt.worker_id if attempt else task.worker_id,
        "progress": attempt.progress if attempt else (1.0 if task.outcome and task.outcome.success else None),
        "eta_seconds": attempt_eta(attempt) if attempt else None,
        "queued_seconds": queued_seconds(attempt) if attempt else None,
        "message": attempt.message if attempt else task.message,
        "cost": float(cost.plans[task.plan_number]) if cost and task.plan_number in cost.plans else None,
    }


def worth_showing(tasks: Sequence[TaskView]) -> Sequence[TaskView]:
    """All plans, or of a campaign too large for a table those that run or have failed."""
    if len(tasks) <= _MOST_ROWS:
        return tasks
    quiet = {"waiting", *(outcome.value for outcome in Outcome if outcome.success)}
    return [task for task in tasks if task.state not in quiet][:_MOST_ROWS]


def _say_what_is_missing(view: CampaignView, shown: int) -> None:
    if shown < len(view.tasks):
        talk(f"{len(view.tasks) - shown} plans are not shown: they wait, have completed, or are too many; see --json")


def results(campaign: str | None, state_dir: Path | None, *, as_json: bool) -> None:
    """``ras-runner results``."""
    from ras_runner.campaign.view import campaign_view

    journal = open_journal(state_dir)
    print_results(campaign_view(journal, journal.campaign_id(campaign)), as_json=as_json)


def print_results(view: CampaignView, *, as_json: bool) -> None:
    """The results table, or the list of results as JSON."""
    from ras_runner.api import execution_result

    if as_json:
        print_json([execution_result(task).as_dict() for task in view.tasks])
        return
    cells = [
        [
            task.plan_number,
            task.title,
            task.state,
            "unchanged" if task.skipped else task.worker_id,
            "" if task.skipped else duration(task.execution_time),
            str(len(task.attempts)),
            task.engine,
            first_line(task.message) if not task.skipped else "",
        ]
        for task in worth_showing(view.tasks)
    ]
    title = f"Campaign {view.id}: {view.completed} of {len(view.tasks)} plans completed"
    print_table(
        title, ["plan", "title", "outcome", "worker", "time", "tries", "engine", "message"], cells, right=(4, 5)
    )
    _say_what_is_missing(view, len(cells))


def report(campaign: str | None, output: Path | None, state_dir: Path | None) -> None:
    """``ras-runner report``."""
    from ras_runner.campaign.view import campaign_view

    journal = open_journal(state_dir)
    view = campaign_view(journal, journal.campaign_id(campaign))
    print(short(write_campaign_report(journal, view, output)))  # noqa: T201  stdout is data


def write_campaign_report(journal: Journal, view: CampaignView, output: Path | None) -> Path:
    """Write the HTML report of a campaign; returns its index.html."""
    from ras_runner import __version__
    from ras_runner.campaign.costs import campaign_cost
    from ras_runner.engines.base import Stage
    from ras_runner.report.html import write_report
    from ras_runner.report.model import AttemptRow, CampaignReport, PlanRow

    cost = campaign_cost(journal, view)
    rows = tuple(
        PlanRow(
            project=task.project.stem,
            plan_number=task.plan_number[-2:],  # the project has a column of its own
            title=task.title,
            flow_type=task.flow_type,
            outcome=task.outcome.value if task.outcome else None,
            skipped=task.skipped,
            worker_id=task.worker_id,
            engine=task.engine,
            execution_time=task.execution_time,
            warnings=task.warnings,
            message=task.message,
            result=task.result,
            attempts=tuple(
                AttemptRow(
                    a.id,
                    a.worker_id,
                    a.slot,
                    a.launched or a.created,
                    a.ended,
                    a.outcome.value if a.outcome else None,
                    a.message,
                    # one that ran on to the plan's end has computed it whole
                    a.stage is Stage.PREPARE and not (a is task.attempts[-1] and task.outcome and task.outcome.success),
                )
                for a in task.attempts
            ),
            bytes_staged=sum(a.bytes_staged for a in task.attempts),
            cost=cost.plans.get(task.plan_number) if cost else None,
        )
        for task in view.tasks
    )
    state = campaign_state(journal, view)
    model = CampaignReport(
        view.id,
        ", ".join(map(str, view.projects)),
        view.title,
        view.created,
        view.ended,
        state,
        rows,
        __version__,
        _cost_row(cost) if cost else None,
    )
    return write_report(model, output or journal.state_dir / "reports" / view.id)


def _cost_row(cost: CampaignCost) -> CostRow:
    from ras_runner.report.model import BurstRow, CostRow

    bursts = tuple(
        BurstRow(
            record.burst,
            record.cloud,
            len(record.machines),
            sum(machine.until - machine.since for machine in record.machines),
            record.lines,
            record.total,
            record.final,
            record.prices,
        )
        for record in cost.records
    )
    return CostRow(cost.currency, cost.total, cost.unassigned, cost.final, bursts)
