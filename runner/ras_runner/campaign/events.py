"""The kinds of events, and what each does to the tables that are derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ras_runner.outcomes import Outcome

_WORKER_IN = """UPDATE campaigns SET workers = (SELECT json_group_array(json(value)) FROM (
    SELECT value FROM json_each(campaigns.workers) WHERE json_extract(value, '$.parameters.worker_id') != :worker
    UNION ALL SELECT :spec)) WHERE id = :campaign"""
_FLAGGED = """UPDATE campaigns SET workers = (SELECT json_group_array(json(CASE
    WHEN json_extract(value, '$.parameters.worker_id') = :worker THEN json_set(value, '$.{}', json('true'))
    ELSE value END)) FROM json_each(campaigns.workers)) WHERE id = :campaign"""

#: SQL statements for each kind. Parameters: the event's data, and ``at`` (unix time) and ``campaign``.
APPLY: dict[str, tuple[str, ...]] = {
    "campaign-created": (
        """INSERT INTO campaigns (id, project, title, created, state, workers, settings)
           VALUES (:campaign, :project, :title, :at, 'running', :workers, :settings)""",
    ),
    "campaign-resumed": ("UPDATE campaigns SET state = 'running', ended = NULL WHERE id = :campaign",),
    "campaign-finished": ("UPDATE campaigns SET state = 'finished', ended = :at WHERE id = :campaign",),
    "task-added": (
        """INSERT INTO tasks (campaign, plan, seq, title, flow_type, expected, project)
           VALUES (:campaign, :plan, :seq, :title, :flow_type, :expected,
                   COALESCE(:project, (SELECT project FROM campaigns WHERE id = :campaign)))""",
    ),
    "task-ended": (
        """UPDATE tasks SET outcome = :outcome, message = :message, skipped = :skipped, worker = :worker,
           engine = :engine, result = :result, seconds = :seconds, warnings = :warnings
           WHERE campaign = :campaign AND plan = :plan""",
    ),
    "task-reopened": ("UPDATE tasks SET outcome = NULL, message = '' WHERE campaign = :campaign AND plan = :plan",),
    "attempt-created": (
        """INSERT INTO attempts (id, campaign, plan, number, worker, slot, state, folder, created, stage)
           VALUES (:attempt, :campaign, :plan, :number, :worker, :slot, 'staging', :folder, :at, :stage)""",
    ),
    "attempt-launching": (
        """UPDATE attempts SET state = 'launching', staged = :staged, tree = :tree, inputs = :inputs, launched = :at,
           prepared_by = :prepared_by WHERE id = :attempt""",
    ),
    "attempt-launched": ("UPDATE attempts SET state = 'running', native_id = :native_id WHERE id = :attempt",),
    "attempt-unpublished": ("UPDATE attempts SET state = 'unpublished', message = :message WHERE id = :attempt",),
    "attempt-ended": (
        """UPDATE attempts SET state = 'ended', ended = :at, outcome = :outcome, message = :message, blame = :blame
           WHERE id = :attempt""",
    ),
    "attempt-cleaned": ("UPDATE attempts SET cleaned = 1 WHERE id = :attempt",),
    "result-published": (
        """INSERT OR REPLACE INTO receipts
           (project, plan, engine, inputs, result, digest, outcome, warnings, seconds, worker, campaign, attempt, at)
           VALUES (:project, :plan, :engine, :inputs, :result, :digest, :outcome, :warnings, :seconds, :worker,
                   :campaign, :attempt, :at)""",
    ),
    "worker-added": (_WORKER_IN,),
    "worker-drained": (_FLAGGED.format("drained"),),
    "member-joined": (_WORKER_IN,),
    "member-gone": (_FLAGGED.format("gone"),),
    # recorded for the reader, or for a controller; they change no table
    "attempt-attached": (),
    "cancel-requested": (),
    "worker-quarantined": (),
    "worker-add-requested": (),
    "worker-drain-requested": (),
    "worker-refused": (),
    "cost-recorded": (),
}

#: What events lack that were written before their kind had it.
DEFAULTS = {"stage": "whole", "prepared_by": "", "project": None}


def task_ended(plan: str, outcome: Outcome | str, message: str, **details: Any) -> tuple[str, dict[str, Any]]:
    """The event that ends a task.

    Args:
        plan: its number.
        outcome: how it ended.
        message: why; empty on plain success.
        details: any of skipped, worker, engine, result, seconds, warnings (JSON list).
    """
    data = {"skipped": 0, "worker": "", "engine": "", "result": None, "seconds": None, "warnings": "[]", **details}
    return "task-ended", {"plan": plan, "outcome": str(outcome), "message": message, **data}


def attempt_ended(attempt: str, outcome: Outcome, message: str, blame: str = "nobody") -> tuple[str, dict[str, Any]]:
    """The event that ends an attempt: how, why, and whose fault it was."""
    return "attempt-ended", {"attempt": attempt, "outcome": str(outcome), "message": message, "blame": str(blame)}
