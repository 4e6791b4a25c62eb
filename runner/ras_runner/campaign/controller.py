"""The controller: carries out the scheduler's decisions for one campaign, and can be killed at any moment.

One thread decides and writes outcomes; a few threads do what blocks (staging, launching, verifying, publishing).
Plans run in processes of their own that need no controller.
"""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ras_runner.campaign.attempt import Attempt, new_attempt
from ras_runner.campaign.ending import Ends
from ras_runner.campaign.fitness import Fitness
from ras_runner.campaign.group_thread import GroupLooked
from ras_runner.campaign.groups import Groups, MemberMade
from ras_runner.campaign.joining import Made, Members
from ras_runner.campaign.journal import JournalError
from ras_runner.campaign.lanes import Lanes
from ras_runner.campaign.prepared import PREPARED, RESUMED_AS_PREPARED, is_prepared
from ras_runner.campaign.scheduler import (
    Blame,
    CancelRequested,
    Finish,
    Pause,
    Progressed,
    Quarantine,
    Scheduler,
    Start,
    Stop,
    Tick,
    WorkerJoined,
)
from ras_runner.campaign.staging import Stager
from ras_runner.campaign.stuck import stuck_reason, watch
from ras_runner.campaign.watch import Looked, Watch
from ras_runner.campaign.winners import SUPERSEDED
from ras_runner.campaign.work import Ended, Fatal, Launched, Report, Work
from ras_runner.engines.base import Stage
from ras_runner.errors import RasRunnerError
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from ras_runner.campaign.campaigns import CampaignSettings
    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.membership import Member
    from ras_runner.campaign.prepared import PreparedStore
    from ras_runner.campaign.scheduler import Decision, Event
    from ras_runner.hashing import FileHasher
    from ras_runner.hecras.plan import Plan
    from ras_runner.transports.base import Status
    from ras_runner.workers.base import Worker
    from ras_runner.workers.group import WorkerGroup

Reported: TypeAlias = Report | Looked | Made | GroupLooked | MemberMade

_PROGRESS_EVERY = 1.0
_REQUESTS_EVERY = 0.3
_STARTS = {Stage.WHOLE: "starts", Stage.PREPARE: "is being prepared", Stage.SOLVE: "is being solved"}


@dataclass
class Controller:
    """Runs one campaign to its end.

    Args:
        journal: where everything is recorded.
        campaign: the campaign's id.
        plans: the plans that are not over, by number.
        workers: by worker id; those that join are added.
        scheduler: knows the workers and the tasks already.
        settings: of the campaign.
        hasher: hashes the user's files.
        prepared: keeps what first stages leave.
        say: takes one line for the user when something happens.
    """

    journal: Journal
    campaign: str
    plans: Mapping[str, Plan]
    workers: dict[str, Worker]
    scheduler: Scheduler
    settings: CampaignSettings
    hasher: FileHasher
    prepared: PreparedStore
    say: Callable[[str], None]
    #: Plan -> worker -> its attempt there that is under way; a late plan may have two.
    attempts: dict[str, dict[str, Attempt]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reports: queue.SimpleQueue[Reported] = queue.SimpleQueue()
        keep = self.settings.keep_workspaces
        self._work = Work(self.journal, self.campaign, self.prepared, self._reports.put, keep)
        self._watch = Watch(self._reports.put)
        fitness = Fitness(self.plans, self.prepared)
        of_all = (self.workers, self.scheduler, self.settings, fitness, self._reports.put)
        self._groups = Groups(*of_all, self.say)
        self._members = Members(self.campaign, self._groups, *of_all, self.say)
        #: Worker -> attempts that ended as lost while it could not be looked at: they may still run there.
        self._given_up: dict[str, list[Attempt]] = {}
        self._stagers = {name: Stager(worker, self.hasher, self.say) for name, worker in self.workers.items()}
        self._running: dict[str, Attempt] = {}
        self._numbers: dict[str, int] = {}
        self._ends = Ends(self._work, keep)
        #: Progress that the scheduler has not been told.
        self._told: list[Event] = []
        self._stops: dict[str, Future[None]] = {}
        self._seen_event = 0
        self._pause = 0.0
        #: Attempt -> fraction that is done, where the journal does not have it yet.
        self._progress: dict[str, float] = {}
        self._next_requests = self._next_progress = 0.0
        #: How many runs must have been learned from before the journal is told what is guessed.
        self._next_guess = 1

    def add_group(self, group: WorkerGroup, members: Sequence[Member]) -> None:
        """Look after a group of cloud machines.

        Args:
            group: the group.
            members: its machines that the campaign knows.
        """
        self._groups.add(group, members)
        for member in members:
            self._watch.look_for_notices(member.worker_id)

    def run(self, events: list[Event], attached: list[Attempt], seen_event: int) -> None:
        """Run until every task has an outcome.

        Args:
            events: what the scheduler is told first (workers, tasks, attached attempts).
            attached: attempts that an earlier controller launched.
            seen_event: journal event after which the user's requests count.

        Raises:
            KeyboardInterrupt: the user interrupted; running plans go on computing, the campaign can be resumed.
        """
        self._seen_event = seen_event
        for attempt in attached:
            self._running[attempt.id] = attempt
            self._know(attempt)
        # two sets: a long staging must not keep a stop or a finished plan waiting
        self._staging = Lanes("stage", lambda name: self.workers[name].spec.launches_at_once)
        self._finishing = Lanes("finish")
        try:
            self._feed([], *events, Tick(time.time()))
            while not (self.scheduler.done and not self.scheduler.running):
                self._turn()
        except BaseException:
            for attempt in (attempt for under_way in self.attempts.values() for attempt in under_way.values()):
                if not attempt.launched:
                    attempt.stopping = "interrupted"
            for lanes in (self._staging, self._finishing):
                lanes.shutdown(cancel=True)
            self._groups.close()
            raise
        finally:
            self._watch.close()
        for lanes in (self._staging, self._finishing):
            lanes.shutdown()
        self.journal.record(self.campaign, "campaign-finished")
        self._groups.release()

    def _turn(self) -> None:
        """Wait for a report or the next look, and deal with what there is. Nothing here waits for a worker."""
        records: list[tuple[str, dict[str, Any]]] = []
        events: list[Event] = []
        for late in self._groups.overdue():
            events += self._close(late, records)
        for report in self._wait():
            if isinstance(report, Fatal):
                raise report.error
            if isinstance(report, Launched):
                self._running[report.attempt.id] = report.attempt
                self._watch.soon(report.attempt.worker.worker_id)
                events += self._preempt(report.attempt.worker.worker_id, records)
            elif isinstance(report, Looked):
                events += self._looked(report)
            elif isinstance(report, Made):
                events += self._joined(report, records)
            elif isinstance(report, GroupLooked | MemberMade):
                events += self._group_changed(report, records)
            elif end := self._groups.judged(report):
                events += self._close(end, records)
        if not any(isinstance(event, WorkerJoined) for event in events):  # the scheduler has to know of it first
            events += self._requests(records)
        told, self._told = self._told, []
        self._feed(records, *events, *told, Tick(time.time()))
        self._look()

    def _wait(self) -> list[Reported]:
        wake = self.scheduler.next_wake()
        pause = self._pause if wake is None else min(self._pause, max(wake - time.time(), 0.0))
        reports = []
        with contextlib.suppress(queue.Empty):
            reports.append(self._reports.get(timeout=pause))
            while True:
                reports.append(self._reports.get_nowait())
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
        for attempt in self._ends.over:
            self._finishing.submit(attempt.worker.worker_id, self._remove, attempt)
        self._ends.over.clear()
        for attempt in starts:
            self._know(attempt)
            self._begin(attempt)
        for decision in decisions:
            self._act(decision)

    def _create(self, start: Start, records: list[tuple[str, dict[str, Any]]]) -> Attempt:
        worker = self.workers[start.worker]
        number = self._number(start.task)
        settings = self.settings.run_settings(worker, start.stage)
        attempt = new_attempt(uuid.uuid4().hex[:10], self.plans[start.task], worker, start.slot, settings)
        data = {
            "attempt": attempt.id,
            "plan": start.task,
            "number": number,
            "worker": start.worker,
            "slot": start.slot,
            "folder": str(attempt.folder),
            "stage": start.stage.value,
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
            case Finish():
                records.append(self._ends.task(decision))
            case Quarantine(worker, seconds, for_good, reason):
                rest = {"worker": worker, "seconds": seconds, "for_good": for_good, "reason": reason}
                records.append(("worker-quarantined", rest))

    def _act(self, decision: Decision) -> None:
        match decision:
            case Start(plan, worker, slot, stage):
                late = [name for name in self.attempts[plan] if name != worker]
                also = f" as well, as it is late on {late[0]}" if late else ""
                self.say(f"plan {plan} {_STARTS[stage]} on {worker} slot {slot}{also}")
            case Stop(plan, worker):
                for name, attempt in self.attempts.get(plan, {}).items():
                    if worker in ("", name):
                        self._stop(attempt, Outcome.CANCELLED, SUPERSEDED if worker else "cancelled")
            case Finish(plan, outcome, reason):
                self.say(f"plan {plan} {outcome.value}" + (f": {reason}" if reason else ""))
                if outcome not in RESUMED_AS_PREPARED:
                    self._finishing.submit("", self.prepared.forget, plan)
            case Pause(plan, worker, seconds, reason):
                self.say(f"plan {plan} is not tried on {worker} again for {seconds:.0f} s: {reason}")
            case Quarantine(worker, seconds, for_good, reason):
                self.say(
                    f"worker {worker} "
                    + ("is out for good" if for_good else f"rests for {seconds:.0f} s")
                    + f": {reason}"
                )

    def _know(self, attempt: Attempt) -> None:
        self.attempts.setdefault(attempt.plan_number, {})[attempt.worker.worker_id] = attempt

    def _look(self) -> None:
        """Begin the looks that are due; give up what runs where none is answered; keep the progress."""
        running = self._running.values()
        for silent in self._watch.overdue(running, self.settings.lost_after):
            self._give_up(silent)
        self._pause = self._watch.look(running)
        if self.scheduler.learned >= self._next_guess:
            self._next_guess = 2 * self.scheduler.learned
            with contextlib.suppress(JournalError):
                self.journal.set_expected(self.campaign, self.scheduler.guessed())
        if self._progress and time.monotonic() >= self._next_progress:
            self._next_progress = time.monotonic() + _PROGRESS_EVERY
            with contextlib.suppress(JournalError):  # it is only for show
                self.journal.set_progress([(done, attempt) for attempt, done in self._progress.items()])
            self._progress.clear()

    def _looked(self, looked: Looked) -> list[Event]:
        """Act on what has ended or run out of time; a look that fails is repeated, until for too long none worked."""
        unseen = self._watch.over(looked)
        if isinstance(looked.found, Exception):
            if unseen >= self.settings.lost_after:
                self._give_up(looked)
            return []
        for attempt in looked.attempts:
            if attempt.id in looked.found and self._runs(attempt):
                self._judge(attempt, looked.found[attempt.id])
        return self._groups.noticed(looked.worker, looked.notice) if looked.notice else []

    def _runs(self, attempt: Attempt) -> bool:
        """False when it has ended, or was given up, while it was being looked at."""
        return attempt.id in self._running

    def _give_up(self, looked: Looked) -> None:
        for attempt in filter(self._runs, looked.attempts):
            del self._running[attempt.id]
            self._given_up.setdefault(looked.worker, []).append(attempt)
            limit = f"{self.settings.lost_after:g} s"
            reason = f"{attempt.worker.hostname}: poll: not to be reached for {limit}: {looked.found}"
            self._reports.put(Ended(attempt, Outcome.INFRASTRUCTURE_LOST, reason, Blame.WORKER))

    def _begin(self, attempt: Attempt) -> None:
        """Stage and launch; first end what may still run on a worker that had been out of reach."""
        name = attempt.worker.worker_id
        lost = self._given_up.setdefault(name, [])
        self._staging.submit(name, self._work.begin, attempt, self._stagers[name], lost)

    def _judge(self, attempt: Attempt, status: Status) -> None:
        if not status.alive:
            attempt.seconds, attempt.note, attempt.ended_as = status.seconds, status.note, status.outcome
            attempt.needs_person = attempt.needs_person or status.needs_person
            del self._running[attempt.id]
            name = attempt.worker.worker_id
            self._watch.soon(name)
            self._finishing.submit(name, self._work.finish, attempt, status.exit_code)
            return
        done = attempt.worker.engine.progress(status.tails, attempt.plan)
        if done is not None and done != attempt.progress:
            attempt.progress = self._progress[attempt.id] = done
            now = time.time()
            began = None if status.ran is None else now - status.ran  # it may have waited in a queue
            self._told.append(Progressed(attempt.plan_number, attempt.worker.worker_id, done, now, began))
        timeout = self.settings.timeout
        if attempt.stopping:
            if self._stops[attempt.id].done():  # launched after it was stopped, or it would not end
                self._stop(attempt, attempt.stop_outcome, attempt.stopping)
        elif status.waiting or attempt.waiting:
            self._waits(attempt, status)
        elif timeout is not None and _ran(attempt, status) > timeout * 60.0:
            reason = f"not done after {timeout:g} min, the time limit of this campaign"
            self._stop(attempt, Outcome.TIMED_OUT, reason)
        elif self._is_stuck(attempt, status):
            reason = stuck_reason(attempt.worker.hostname, self.settings.stuck_after)
            self._stop(attempt, Outcome.ENGINE_ERROR, reason)
        elif attempt.stage is Stage.PREPARE and (
            done is not None or attempt.worker.engine.solver_started(status.tails)
        ):
            self._look_whether_prepared(attempt)

    def _waits(self, attempt: Attempt, status: Status) -> None:
        """Tell why an attempt has not begun, and that it has; one that only a person can help is given up at last."""
        if status.waiting != attempt.waiting:
            attempt.waiting = status.waiting
            if status.ran is not None:  # else it is over already, and what it wrote is not to be seen yet
                self._has_begun(attempt, status.ran)
            with contextlib.suppress(JournalError):  # it is only for show
                self.journal.set_waiting(attempt.id, status.waiting, attempt.launched)
        now = time.monotonic()
        attempt.hopeless = (attempt.hopeless or now) if status.needs_person else None
        if attempt.hopeless and now - attempt.hopeless >= self.settings.stuck_after * 60.0:
            attempt.needs_person = True
            reason = f"{attempt.worker.hostname}: queue: {status.waiting}"
            self._stop(attempt, Outcome.INFRASTRUCTURE_LOST, reason)

    def _has_begun(self, attempt: Attempt, ran: float) -> None:
        """Count its time from when it began, and not from when it came into the queue of its worker."""
        now = time.time()
        attempt.launched = now - ran
        if attempt.progress is None:
            name = attempt.worker.worker_id
            self._told.append(Progressed(attempt.plan_number, name, 0.0, now, attempt.launched))

    def _is_stuck(self, attempt: Attempt, status: Status) -> bool:
        """Whether it has neither computed nor told progress for so long that it must be waiting for a person."""
        if status.cpu_seconds is None:  # its engine shows no windows, or the transport cannot tell
            return False
        attempt.activity = watch(attempt.activity, time.monotonic(), status.cpu_seconds, status.tails)
        return attempt.activity.idle >= self.settings.stuck_after * 60.0

    def _stop(self, attempt: Attempt, outcome: Outcome, reason: str) -> None:
        attempt.stopping, attempt.stop_outcome = reason, outcome
        self._stops[attempt.id] = self._finishing.submit(attempt.worker.worker_id, self._stop_tree, attempt)

    def _look_whether_prepared(self, attempt: Attempt) -> None:
        """End a first stage that does not end by itself when it is done; else the next look asks again."""
        last = self._stops.get(attempt.id)
        if last is None or last.done():
            self._stops[attempt.id] = self._finishing.submit(attempt.worker.worker_id, self._stop_if_prepared, attempt)

    def _stop_if_prepared(self, attempt: Attempt) -> None:
        try:
            if not is_prepared(attempt) or attempt.stopping:
                return
        except (RasRunnerError, OSError) as error:
            self.say(str(error))
            return
        attempt.stopping = PREPARED
        self._stop_tree(attempt)

    def _stop_tree(self, attempt: Attempt) -> None:
        """End an attempt's processes; the look then sees that it has ended."""
        try:
            attempt.worker.transport.stop(attempt.probe())
        except (RasRunnerError, OSError) as error:  # the look stops it again: its slot is not given away meanwhile
            self.say(str(error))

    def _close(self, end: Ended, records: list[tuple[str, dict[str, Any]]]) -> list[Event]:
        """Take an attempt that is over out of what is under way."""
        attempt = end.attempt
        self._running.pop(attempt.id, None)
        under_way = self.attempts[attempt.plan_number]
        del under_way[attempt.worker.worker_id]
        if not under_way:
            del self.attempts[attempt.plan_number]
        if end.prepared:
            self.say(f"plan {attempt.plan_number} is prepared")
        gone = bool(self._groups.gone(attempt.worker.worker_id))
        return [self._ends.attempt(end, records, gone=gone)]

    def _remove(self, attempt: Attempt) -> None:
        """Remove a workspace whose end is in the journal; what cannot be removed now, the next controller removes."""
        try:
            attempt.worker.transport.remove(attempt.folder)
        except RasRunnerError as error:
            self.say(str(error))
            return
        self.journal.record(self.campaign, "attempt-cleaned", attempt=attempt.id)

    def _requests(self, records: list[tuple[str, dict[str, Any]]]) -> list[Event]:
        """What the user has asked for: plans to cancel, workers to add or to drain."""
        if time.monotonic() < self._next_requests:
            return []
        self._next_requests = time.monotonic() + _REQUESTS_EVERY
        events: list[Event] = []
        for event_id, kind, data in self.journal.requests(self.campaign, self._seen_event):
            self._seen_event = event_id
            if kind != "cancel-requested":
                left = self._members.asked(kind, data, records)
                if left:  # what is asked next is judged by what is left
                    self._next_requests = 0.0
                    return [*events, *left]
            elif data.get("plan") is None or data["plan"] in self.plans:
                events.append(CancelRequested(data.get("plan")))
        return events

    def _joined(self, made: Made, records: list[tuple[str, dict[str, Any]]]) -> list[Event]:
        if isinstance(made.made, RasRunnerError):
            self.say(f"worker {made.asked['worker']} was not added: {made.made}")
        events = self._members.made(made, records)
        for event in events:
            self._begin_worker(event.worker if isinstance(event, WorkerJoined) else made.asked["worker"])
        return events

    def _begin_worker(self, name: str) -> None:
        if name in self.workers:
            self._stagers[name] = Stager(self.workers[name], self.hasher, self.say)
        self.say(f"worker {name} has joined")

    def _group_changed(
        self, report: GroupLooked | MemberMade, records: list[tuple[str, dict[str, Any]]]
    ) -> list[Event]:
        """Take in machines that can be used; what ran on those that are gone is preempted."""
        change = self._groups.take(report, records)
        events = change.events
        for name in change.joined:
            self._begin_worker(name)
            self._watch.look_for_notices(name)
        for name in change.gone:
            events += self._preempt(name, records)
        for end in change.settled:
            events += self._close(end, records)
        return events

    def _preempt(self, worker: str, records: list[tuple[str, dict[str, Any]]]) -> list[Event]:
        """End what was launched on a machine, when that is gone; should it come back, it is stopped there first."""
        reason = self._groups.gone(worker)
        events: list[Event] = []
        for attempt in [a for a in self._running.values() if reason and a.worker.worker_id == worker]:
            self._given_up.setdefault(worker, []).append(attempt)
            events += self._close(Ended(attempt, Outcome.PREEMPTED, reason), records)
        return events


def _ran(attempt: Attempt, status: Status) -> float:
    """For how many seconds an attempt has run."""
    return time.time() - attempt.launched if status.ran is None else status.ran
