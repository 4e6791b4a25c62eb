"""The controller: carries out the scheduler's decisions for one campaign, and can be killed at any moment.

One thread decides and writes outcomes; a few threads do what blocks (staging, launching, verifying, publishing).
Plans run in processes of their own that need no controller.
"""

from __future__ import annotations

import contextlib
import json
import queue
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.attempt import Attempt, Verified, new_attempt
from ras_runner.campaign.events import attempt_ended, task_ended
from ras_runner.campaign.journal import JournalError
from ras_runner.campaign.scheduler import (
    AttemptEnded,
    Blame,
    CancelRequested,
    Finish,
    Quarantine,
    Scheduler,
    Start,
    Stop,
    Tick,
)
from ras_runner.campaign.staging import Stager
from ras_runner.campaign.stuck import stuck_reason, watch
from ras_runner.campaign.work import Ended, Fatal, Launched, Report, Work
from ras_runner.errors import RasRunnerError
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ras_runner.campaign.campaigns import CampaignSettings
    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.scheduler import Decision, Event
    from ras_runner.hashing import FileHasher
    from ras_runner.hecras.plan import Plan
    from ras_runner.transports.base import Status
    from ras_runner.workers.base import Worker

#: Bounds of the time between two looks at the workers, seconds: short while things happen, long while nothing does.
POLL_FIRST, POLL_LAST = 0.02, 1.0
#: A worker that cannot be looked at for so many seconds has lost its attempts.
BLIND_SECONDS = 120.0
_PROGRESS_EVERY = 1.0
_CANCEL_EVERY = 0.3
_THREADS = 4


@dataclass
class Controller:
    """Runs one campaign to its end.

    Args:
        journal: where everything is recorded.
        campaign: the campaign's id.
        plans: the plans that are not over, by number.
        workers: by worker id.
        scheduler: knows the workers and the tasks already.
        settings: of the campaign.
        hasher: hashes the user's files.
        say: takes one line for the user when something happens.
    """

    journal: Journal
    campaign: str
    plans: Mapping[str, Plan]
    workers: Mapping[str, Worker]
    scheduler: Scheduler
    settings: CampaignSettings
    hasher: FileHasher
    say: Callable[[str], None]
    attempts: dict[str, Attempt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._work = Work(self.journal, self.campaign, self._reports.put, self.settings.keep_workspaces)
        #: Worker -> since when it could not be looked at.
        self._blind: dict[str, float] = {}
        #: Worker -> attempts that ended as lost while it could not be looked at: they may still run there.
        self._given_up: dict[str, list[Attempt]] = {}
        self._stagers = {name: Stager(worker, self.hasher) for name, worker in self.workers.items()}
        self._running: dict[str, Attempt] = {}
        self._numbers: dict[str, int] = {}
        self._ends: dict[str, dict[str, Any]] = {}
        self._stops: dict[str, Future[None]] = {}
        #: Attempts whose workspace goes once their end is in the journal.
        self._over: list[Attempt] = []
        self._seen_event = 0
        self._delay = POLL_FIRST
        self._next_cancel_look = self._next_progress = 0.0

    def run(self, events: list[Event], attached: list[Attempt], seen_event: int) -> None:
        """Run until every task has an outcome.

        Args:
            events: what the scheduler is told first (workers, tasks, attached attempts).
            attached: attempts that an earlier controller launched.
            seen_event: journal event after which cancel requests count.

        Raises:
            KeyboardInterrupt: the user interrupted; running plans go on computing, the campaign can be resumed.
        """
        self._seen_event = seen_event
        for attempt in attached:
            self.attempts[attempt.plan_number] = self._running[attempt.plan_number] = attempt
        # two pools: a long staging must not keep a stop or a finished plan waiting
        self._staging = ThreadPoolExecutor(_THREADS, thread_name_prefix="stage")
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="finish")
        try:
            self._feed([], *events, Tick(time.time()))
            while not (self.scheduler.done and not self.scheduler.running):
                self._turn()
        except BaseException:
            for attempt in self.attempts.values():
                if not attempt.launched:
                    attempt.stopping = "interrupted"
            for pool in (self._staging, self._pool):
                pool.shutdown(wait=True, cancel_futures=True)
            raise
        for pool in (self._staging, self._pool):
            pool.shutdown(wait=True)
        self.journal.record(self.campaign, "campaign-finished")

    def _turn(self) -> None:
        """Wait for a report or the next look, and deal with what there is."""
        records: list[tuple[str, dict[str, Any]]] = []
        events: list[Event] = []
        for report in self._wait():
            if isinstance(report, Fatal):
                raise report.error
            if isinstance(report, Launched):
                self._running[report.attempt.plan_number] = report.attempt
                self._delay = POLL_FIRST
            else:
                events += self._close(report, records)
        events += self._cancellations()
        self._feed(records, *events, Tick(time.time()))
        self._look()

    def _wait(self) -> list[Report]:
        reports: list[Report] = []
        try:
            reports.append(self._reports.get(timeout=self._delay))
            while True:
                reports.append(self._reports.get_nowait())
        except queue.Empty:
            self._delay = min(self._delay * 1.5, POLL_LAST)
        return reports

    def _feed(self, records: list[tuple[str, dict[str, Any]]], *events: Event) -> None:
        """Let the scheduler decide, journal it together with ``records``, then act: a kill loses or doubles nothing."""
        decisions = self.scheduler.handle(*events)
        starts = []
        for decision in decisions:
            if isinstance(decision, Start):
                starts.append(self._create(decision, records))
            else:
                self._record(decision, records)
        if records:
            self.journal.record_all(self.campaign, records)
        for attempt in self._over:
            self._pool.submit(self._remove, attempt)
        self._over.clear()
        for attempt in starts:
            self.attempts[attempt.plan_number] = attempt
            self._begin(attempt)
        for decision in decisions:
            self._act(decision)

    def _create(self, start: Start, records: list[tuple[str, dict[str, Any]]]) -> Attempt:
        worker = self.workers[start.worker]
        number = self._number(start.task)
        settings = self.settings.run_settings(worker)
        attempt = new_attempt(uuid.uuid4().hex[:10], self.plans[start.task], worker, start.slot, settings)
        data = {
            "attempt": attempt.id,
            "plan": start.task,
            "number": number,
            "worker": start.worker,
            "slot": start.slot,
            "folder": str(attempt.folder),
        }
        records.append(("attempt-created", data))
        return attempt

    def _number(self, plan: str) -> int:
        if plan not in self._numbers:
            row = self.journal.row(
                "SELECT MAX(number) AS n FROM attempts WHERE campaign = ? AND plan = ?", self.campaign, plan
            )
            self._numbers[plan] = int(row["n"] or 0) if row else 0
        self._numbers[plan] += 1
        return self._numbers[plan]

    def _record(self, decision: Decision, records: list[tuple[str, dict[str, Any]]]) -> None:
        match decision:
            case Finish(plan, outcome, reason):
                records.append(self._task_end(plan, outcome, reason))
            case Quarantine(worker, seconds, for_good, reason):
                rest = {"worker": worker, "seconds": seconds, "for_good": for_good, "reason": reason}
                records.append(("worker-quarantined", rest))

    def _task_end(self, plan: str, outcome: Outcome, reason: str) -> tuple[str, dict[str, Any]]:
        attempt = self.attempts.get(plan)
        if attempt is None:
            return task_ended(plan, outcome, reason)
        names = {"worker": attempt.worker.worker_id, "engine": attempt.worker.engine.name}
        return task_ended(plan, outcome, reason, **names, **self._ends.pop(attempt.id, {}))

    def _act(self, decision: Decision) -> None:
        match decision:
            case Start(plan, worker, slot):
                self.say(f"plan {plan} starts on {worker} slot {slot}")
            case Stop(plan):
                self._stop(self.attempts[plan], Outcome.CANCELLED, "cancelled")
            case Finish(plan, outcome, reason):
                self.say(f"plan {plan} {outcome.value}" + (f": {reason}" if reason else ""))
            case Quarantine(worker, seconds, for_good, reason):
                self.say(
                    f"worker {worker} "
                    + ("is out for good" if for_good else f"rests for {seconds:.0f} s")
                    + f": {reason}"
                )

    def _look(self) -> None:
        """Poll every worker that runs something, in one call each; act on what has ended or run out of time."""
        by_worker: dict[str, list[Attempt]] = {}
        for attempt in self._running.values():
            by_worker.setdefault(attempt.worker.worker_id, []).append(attempt)
        progress: list[tuple[float, str]] = []
        for name, attempts in by_worker.items():
            statuses = self._poll(name, attempts)
            for attempt in attempts:
                if attempt.id in statuses:
                    self._judge(attempt, statuses[attempt.id], progress)
        if progress and time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + _PROGRESS_EVERY
            with contextlib.suppress(JournalError):  # it is only for show
                self.journal.set_progress(progress)

    def _poll(self, name: str, attempts: list[Attempt]) -> dict[str, Status]:
        """Look at one worker; a look that fails is repeated, until for too long none has worked."""
        try:
            statuses = self.workers[name].transport.poll([attempt.probe() for attempt in attempts])
        except (RasRunnerError, OSError) as error:
            since = self._blind.setdefault(name, time.monotonic())
            if time.monotonic() - since < BLIND_SECONDS:
                return {}
            for attempt in attempts:
                del self._running[attempt.plan_number]
                self._given_up.setdefault(name, []).append(attempt)
                reason = f"{attempt.worker.hostname}: poll: not to be reached for {BLIND_SECONDS:.0f} s: {error}"
                self._reports.put(Ended(attempt, Outcome.INFRASTRUCTURE_LOST, reason, Blame.WORKER))
            return {}
        self._blind.pop(name, None)
        return statuses

    def _begin(self, attempt: Attempt) -> None:
        """Stage and launch; first end what may still run on a worker that had been out of reach."""
        lost = self._given_up.setdefault(attempt.worker.worker_id, [])
        self._staging.submit(self._work.begin, attempt, self._stagers[attempt.worker.worker_id], lost)

    def _judge(self, attempt: Attempt, status: Status, progress: list[tuple[float, str]]) -> None:
        if not status.alive:
            attempt.seconds, attempt.note = status.seconds, status.note
            del self._running[attempt.plan_number]
            self._delay = POLL_FIRST
            self._pool.submit(self._work.finish, attempt, status.exit_code)
            return
        done = attempt.worker.engine.progress(status.tails, attempt.plan)
        if done is not None and done != attempt.progress:
            attempt.progress = done
            progress.append((done, attempt.id))
        timeout = self.settings.timeout
        if attempt.stopping:
            if self._stops[attempt.id].done():  # launched after it was stopped, or it would not end
                self._stop(attempt, attempt.stop_outcome, attempt.stopping)
        elif timeout is not None and time.time() - attempt.launched > timeout * 60.0:
            reason = f"not done after {timeout:g} min, the time limit of this campaign"
            self._stop(attempt, Outcome.TIMED_OUT, reason)
        elif self._is_stuck(attempt, status):
            reason = stuck_reason(attempt.worker.hostname, self.settings.stuck_after)
            self._stop(attempt, Outcome.ENGINE_ERROR, reason)

    def _is_stuck(self, attempt: Attempt, status: Status) -> bool:
        """Whether it has neither computed nor told progress for so long that it must be waiting for a person."""
        if status.cpu_seconds is None:  # its engine shows no windows, or the transport cannot tell
            return False
        attempt.activity = watch(attempt.activity, time.monotonic(), status.cpu_seconds, status.tails)
        return attempt.activity.idle >= self.settings.stuck_after * 60.0

    def _stop(self, attempt: Attempt, outcome: Outcome, reason: str) -> None:
        attempt.stopping, attempt.stop_outcome = reason, outcome
        self._stops[attempt.id] = self._pool.submit(self._stop_tree, attempt)

    def _stop_tree(self, attempt: Attempt) -> None:
        """End an attempt's processes; the look then sees that it has ended."""
        try:
            attempt.worker.transport.stop(attempt.probe())
        except (RasRunnerError, OSError) as error:  # the look stops it again: its slot is not given away meanwhile
            self.say(str(error))

    def _close(self, end: Ended, records: list[tuple[str, dict[str, Any]]]) -> list[Event]:
        """Turn the end of an attempt into journal records and the scheduler's event."""
        attempt, reason = end.attempt, end.reason
        self._running.pop(attempt.plan_number, None)
        seconds = attempt.seconds
        if seconds is None and attempt.launched:
            seconds = time.time() - attempt.launched
        warnings = json.dumps(end.verified.summary.warnings if end.verified else ())
        details: dict[str, Any] = {"seconds": None if seconds is None else round(seconds, 3), "warnings": warnings}
        if end.unpublished:
            records.append(("attempt-unpublished", {"attempt": attempt.id, "message": reason}))
        else:
            keep = bool(attempt.launched) and not end.outcome.success and end.outcome is not Outcome.CANCELLED
            if keep:
                reason += f"\n  log: {self._work.log_path(attempt.id)}\n  workspace: {attempt.staged_folder}"
            if end.outcome.success and end.verified is not None:
                details["result"] = list(end.verified.files.values())[-1]
                records.append(("result-published", self._receipt(end, end.verified, details)))
            records.append(attempt_ended(attempt.id, end.outcome, reason, end.blame))
            if not keep and not self.settings.keep_workspaces:
                self._over.append(attempt)
        self._ends[attempt.id] = details
        return [AttemptEnded(attempt.plan_number, end.outcome, time.time(), reason, end.blame)]

    def _receipt(self, end: Ended, verified: Verified, details: dict[str, Any]) -> dict[str, Any]:
        attempt = end.attempt
        return {
            "project": str(attempt.plan.project.prj),
            "plan": attempt.plan_number,
            "engine": attempt.worker.engine.name,
            "inputs": attempt.inputs,
            "digest": verified.digest,
            "outcome": end.outcome.value,
            "worker": attempt.worker.worker_id,
            "attempt": attempt.id,
            **{key: details[key] for key in ("result", "warnings", "seconds")},
        }

    def _remove(self, attempt: Attempt) -> None:
        """Remove a workspace whose end is in the journal; what cannot be removed now, the next controller removes."""
        try:
            attempt.worker.transport.remove(attempt.folder)
        except RasRunnerError as error:
            self.say(str(error))
            return
        self.journal.record(self.campaign, "attempt-cleaned", attempt=attempt.id)

    def _cancellations(self) -> list[Event]:
        if time.monotonic() < self._next_cancel_look:
            return []
        self._next_cancel_look = time.monotonic() + _CANCEL_EVERY
        self._seen_event, plans = self.journal.cancelled_plans(self.campaign, self._seen_event)
        return [CancelRequested(plan) for plan in plans if plan is None or plan in self.plans]
