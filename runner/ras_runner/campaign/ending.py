"""What the end of an attempt, and of a plan, is in the journal."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.decisions import AttemptEnded, Blame
from ras_runner.campaign.events import attempt_ended, task_ended
from ras_runner.campaign.winners import SUPERSEDED
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from ras_runner.campaign.attempt import Attempt, Verified
    from ras_runner.campaign.decisions import Finish
    from ras_runner.campaign.work import Ended, Work

Records = list[tuple[str, dict[str, Any]]]


@dataclass
class Ends:
    """The ends of a campaign's attempts and plans. For the deciding thread.

    Attributes:
        work: knows where logs are kept.
        keep_workspaces: all of them, not only those of plans that failed.
        over: attempts whose workspace goes once their end is in the journal.
    """

    work: Work
    keep_workspaces: bool
    over: list[Attempt] = field(default_factory=list)
    #: Plan -> worker -> its last attempt there that has ended, and what is known of the end.
    _known: dict[str, dict[str, tuple[Attempt, dict[str, Any]]]] = field(default_factory=dict)
    #: Plan -> its attempts whose good results could not be published.
    _unpublished: dict[str, list[Attempt]] = field(default_factory=dict)
    #: Plans that have their outcome, or a result that will be it.
    _decided: set[str] = field(default_factory=set)

    def attempt(self, end: Ended, records: Records, *, gone: bool = False) -> AttemptEnded:
        """Turn the end of an attempt into journal records and the scheduler's event.

        Args:
            end: of the attempt.
            records: takes the records.
            gone: its machine is gone, and its workspace with it.
        """
        attempt, outcome, reason = end.attempt, end.outcome, end.reason
        plan, worker = attempt.plan_number, attempt.worker.worker_id
        superseded = plan in self._decided
        seconds = attempt.seconds
        if seconds is None and attempt.launched:
            seconds = time.time() - attempt.launched
        warnings = json.dumps(end.verified.summary.warnings if end.verified else ())
        details: dict[str, Any] = {"seconds": None if seconds is None else round(seconds, 3), "warnings": warnings}
        if end.unpublished and not superseded:
            records.append(("attempt-unpublished", {"attempt": attempt.id, "message": reason}))
            self._unpublished.setdefault(plan, []).append(attempt)
        else:
            if end.unpublished:
                outcome, reason = Outcome.CANCELLED, SUPERSEDED
            # where nobody knows whether it has ended, what it left stays until it is stopped
            of_use = not (superseded and end.blame is Blame.NOBODY)
            begun = bool(attempt.launched) and end.blame is not Blame.PART_UNBEGUN
            keep = begun and not outcome.success and outcome is not Outcome.CANCELLED and of_use
            if keep and not gone:
                reason += f"\n  log: {self.work.log_path(attempt.id)}\n  workspace: {attempt.staged_folder}"
            if outcome.success and end.verified is not None:
                details["result"] = list(end.verified.files.values())[-1]
                records.append(("result-published", _receipt(end, end.verified, details)))
                self._supersede(plan, records)
            records.append(attempt_ended(attempt.id, outcome, reason, end.blame))
            if gone:
                records.append(("attempt-cleaned", {"attempt": attempt.id}))
            self._let_go(attempt, keep=keep or gone)
        if not superseded:
            self._known.setdefault(plan, {})[worker] = (attempt, details)
        return AttemptEnded(plan, outcome, time.time(), reason, end.blame, end.prepared, worker, seconds)

    def task(self, end: Finish) -> tuple[str, dict[str, Any]]:
        """The record of a plan's end: with the worker, the engine and the figures of the attempt that decided it."""
        self._decided.add(end.task)
        known = self._known.pop(end.task, {})
        if not known:
            return task_ended(end.task, end.outcome, end.reason)
        attempt, details = known[end.worker] if end.worker else list(known.values())[-1]
        names = {"worker": attempt.worker.worker_id, "engine": attempt.engine_label}
        return task_ended(end.task, end.outcome, end.reason, **names, **details)

    def _supersede(self, plan: str, records: Records) -> None:
        """A plan has its result: what its other attempts could not publish is not published later."""
        self._decided.add(plan)
        for attempt in self._unpublished.pop(plan, []):
            records.append(attempt_ended(attempt.id, Outcome.CANCELLED, SUPERSEDED))
            self._let_go(attempt, keep=False)

    def _let_go(self, attempt: Attempt, *, keep: bool) -> None:
        if not keep and not self.keep_workspaces:
            self.over.append(attempt)


def _receipt(end: Ended, verified: Verified, details: dict[str, Any]) -> dict[str, Any]:
    attempt = end.attempt
    return {
        "project": str(attempt.plan.project.prj),
        "plan": attempt.plan.number,
        "engine": attempt.engine_label,
        "inputs": attempt.inputs,
        "digest": verified.digest,
        "outcome": end.outcome.value,
        "worker": attempt.worker.worker_id,
        "attempt": attempt.id,
        **{key: details[key] for key in ("result", "warnings", "seconds")},
    }
