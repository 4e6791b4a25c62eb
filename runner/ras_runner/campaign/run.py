"""Running a campaign to its end, whether it is new or was left by a controller that was killed."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.attempt import Attempt, new_attempt
from ras_runner.campaign.campaigns import CampaignSettings, affinity, unable_workers, worker_joined
from ras_runner.campaign.controller import Controller
from ras_runner.campaign.events import attempt_ended, task_ended
from ras_runner.campaign.groups import lock_name
from ras_runner.campaign.membership import members
from ras_runner.campaign.prepared import RESUMED_AS_PREPARED, PreparedStore, Readiness, readiness
from ras_runner.campaign.publish import remove_leftovers
from ras_runner.campaign.scheduler import (
    NO_SLOT,
    Attached,
    Blame,
    CancelRequested,
    Expecting,
    Policy,
    Scheduler,
    TaskAdded,
    Tick,
    WorkerLeft,
)
from ras_runner.campaign.winners import SUPERSEDED
from ras_runner.engines.base import Stage
from ras_runner.errors import InputError, OperatorError, RasRunnerError
from ras_runner.hashing import FileHasher
from ras_runner.hecras.project import Project
from ras_runner.hecras.size import plan_size
from ras_runner.outcomes import Outcome
from ras_runner.transports.base import Probe
from ras_runner.workers.base import Worker
from ras_runner.workers.group import plan_runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from sqlite3 import Row

    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.scheduler import Event, WorkerJoined
    from ras_runner.hecras.plan import Plan
    from ras_runner.workers.group import AnyWorker, WorkerGroup


class Mode(StrEnum):
    """What a controller is to do with a campaign."""

    #: Run what is open; requests to cancel count from its beginning.
    NEW = "new"
    #: Run what is open, and once more what lost its worker or was cancelled; publish what could not be published.
    RESUME = "resume"
    #: Start nothing: stop what runs, publish what has ended well, cancel what waits.
    CANCEL = "cancel"


def run_campaign(
    journal: Journal, campaign: str, workers: Sequence[AnyWorker], say: Callable[[str], None], mode: Mode = Mode.NEW
) -> None:
    """Run, go on with, or stop a campaign. Plans that are running are attached to, never run twice.

    Raises:
        InputError: a project has gone.
        OperatorError: another controller is running this campaign, or another campaign uses one of the groups.
        KeyboardInterrupt: the user interrupted; the campaign can be resumed.
    """
    with _controlling(journal, campaign), _using(journal, campaign, workers):
        _Run(journal, campaign, workers, say).run(mode)


@contextlib.contextmanager
def _controlling(journal: Journal, campaign: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:  # Journal.is_controlled of another process may hold it for an instant
            stack.enter_context(journal.lock(campaign).held(0.5))
        except TimeoutError:
            raise OperatorError(
                f"campaign {campaign} is being run by another ras-runner",
                step="run campaign",
                action=f"follow it with: ras-runner watch {campaign}",
            ) from None
        yield


@contextlib.contextmanager
def _using(journal: Journal, campaign: str, workers: Sequence[AnyWorker]) -> Iterator[None]:
    """Keep other campaigns from scaling the same groups."""
    with contextlib.ExitStack() as stack:
        for group in (worker for worker in workers if not isinstance(worker, Worker)):
            try:
                stack.enter_context(journal.lock(lock_name(group)).held(0.5))
            except TimeoutError:
                raise OperatorError(
                    f"another campaign is using {group.hostname}",
                    step="run campaign",
                    host=group.spec.worker_id,
                    action=f"wait until that is over, then: ras-runner resume {campaign}",
                ) from None
        yield


def stop_campaign(journal: Journal, campaign: str, workers: Sequence[AnyWorker]) -> None:
    """Stop what an uncontrolled campaign has running and cancel it, without its project: it may have gone.

    Workspaces are kept: one of them may hold a result.

    Raises:
        OperatorError: a controller is running this campaign.
        WorkerError: a process could not be ended.
    """
    by_name = {worker.worker_id: worker for worker in workers if isinstance(worker, Worker)}
    with _controlling(journal, campaign):
        events: list[tuple[str, dict[str, Any]]] = []
        for row in journal.rows(
            "SELECT a.*, t.outcome AS decided FROM attempts a "
            "JOIN tasks t ON t.campaign = a.campaign AND t.plan = a.plan "
            "WHERE a.campaign = ? AND a.state NOT IN ('ended', 'unpublished')",
            campaign,
        ):
            worker = by_name.get(row["worker"])
            superseded = row["decided"] is not None and Outcome(row["decided"]).success
            if worker is not None and not worker.transport.claim(worker.attempt_folder(row["id"])):
                probe = Probe(row["id"], worker.attempt_folder(row["id"]), row["native_id"])
                may_be_good = row["stage"] != Stage.PREPARE and not superseded
                if may_be_good and worker.transport.poll([probe])[row["id"]].exit_code is not None:
                    unread = {"attempt": row["id"], "message": "it had ended before it was cancelled"}
                    events.append(("attempt-unpublished", unread))
                    continue
                worker.transport.stop(probe)
            # what may run on out of reach is stopped by the next controller that reaches the worker
            blame = Blame.WORKER if worker is None else Blame.NOBODY
            reason = SUPERSEDED if superseded else "cancelled"
            events.append(attempt_ended(row["id"], Outcome.CANCELLED, reason, blame))
        open_tasks = journal.rows("SELECT plan FROM tasks WHERE campaign = ? AND outcome IS NULL", campaign)
        events += [task_ended(row["plan"], Outcome.CANCELLED, "cancelled") for row in open_tasks]
        journal.record_all(campaign, [*events, ("campaign-finished", {})])
        _prepared_store(journal, campaign, anew=False).sweep(())


def _prepared_store(journal: Journal, campaign: str, *, anew: bool) -> PreparedStore:
    return PreparedStore(journal.state_dir / "prepared" / campaign, FileHasher(journal), anew)


def _projects(journal: Journal, campaign: str) -> dict[str, Project]:
    """The projects of a campaign by the path of their ``.prj``, labelled where its plans have more than a number."""
    rows = journal.rows(
        "SELECT project, MAX(LENGTH(plan)) > 2 AS several FROM tasks WHERE campaign = ? GROUP BY project", campaign
    )
    paths = {row["project"]: Path(row["project"]).stem if row["several"] else "" for row in rows}
    return {path: Project.open(path, label) for path, label in paths.items()}


#: Outcomes that ``resume`` gives another chance: the plan itself was not at fault.
_REOPENED = (Outcome.INFRASTRUCTURE_LOST, Outcome.PREEMPTED, Outcome.CANCELLED)


_GIVEN_UP = "given up by a later controller: never launched, its plan is gone, or has a result there already"
_TAKEN = "the cloud has taken its machine away"


class _Run:
    """Brings the scheduler and the controller into the state that the journal tells, then runs them."""

    def __init__(
        self, journal: Journal, campaign: str, workers: Sequence[AnyWorker], say: Callable[[str], None]
    ) -> None:
        self.journal, self.campaign, self.say = journal, campaign, say
        self.workers = {worker.worker_id: worker for worker in workers if isinstance(worker, Worker)}
        self.groups: list[WorkerGroup] = [worker for worker in workers if not isinstance(worker, Worker)]
        self.known = members(journal, campaign)
        #: Machines that their cloud no longer has.
        self.gone = {
            name
            for name, member in self.known.items()
            if member.group and not member.drained and name not in self.workers
        }
        row = journal.row("SELECT * FROM campaigns WHERE id = ?", campaign)
        if row is None:
            raise InputError(
                f"there is no campaign {campaign}", step="run campaign", action="list them with: ras-runner status"
            )
        self.settings = CampaignSettings.model_validate_json(row["settings"])
        self.projects = _projects(journal, campaign)
        self.plans: dict[str, Plan] = {}
        self.unable: dict[str, frozenset[str]] = {}
        self.ready: dict[str, Readiness] = {}
        self.prepared = _prepared_store(journal, campaign, anew=self.settings.clear_geompre)

    def run(self, mode: Mode) -> None:
        seen = 0 if mode is Mode.NEW else self.journal.last_event(self.campaign)
        if mode is Mode.RESUME:
            self._reopen()
            self._reopen_unpublished()
        self._sweep_prepared()
        tasks = self.journal.rows(
            "SELECT * FROM tasks WHERE campaign = ? AND outcome IS NULL ORDER BY seq", self.campaign
        )
        tasks = [row for row in tasks if self._opened(row)]
        attached = self._settle_attempts()
        policy = Policy(
            retries=self.settings.retries,
            max_concurrent=self.settings.max_concurrent,
            quarantine=self.settings.quarantine,
            preemptions=min((group.spec.on_demand_after for group in self.groups), default=Policy().preemptions),
        )
        events: list[Event] = [self._joined(worker) for worker in self.workers.values()]
        drained = [name for name, member in self.known.items() if member.drained and name in self.workers]
        events += [WorkerLeft(name, "drained") for name in drained]
        events += [Expecting({group.spec.worker_id: "" for group in self.groups})] if self.groups else []
        events += [self._task_added(row) for row in tasks]
        events += [Tick(time.time())]  # since when what is attached to is watched
        events += [Attached(a.plan_number, a.worker.worker_id, a.slot, a.stage, a.launched) for a in attached]
        events += [CancelRequested()] if mode is Mode.CANCEL else []
        controller = Controller(
            self.journal,
            self.campaign,
            self.plans,
            self.workers,
            Scheduler(policy),
            self.settings,
            FileHasher(self.journal),
            self.prepared,
            self.say,
        )
        for group in self.groups:
            name = group.spec.worker_id
            controller.add_group(group, [m for m in self.known.values() if m.group == name and not m.gone])
        controller.run(events, attached, seen)
        self._sweep_prepared()

    def _joined(self, worker: Worker) -> WorkerJoined:
        joined = worker_joined(worker, self.settings)
        known = self.known.get(worker.worker_id)
        return replace(joined, steady=known is None or not known.spot)

    def _task_added(self, row: Row) -> TaskAdded:
        number = row["plan"]
        size = plan_size(self.plans[number])
        losses, failures = self._behind(number)
        return TaskAdded(
            number,
            row["expected"],
            self._affinity(row),
            losses,
            failures,
            self.unable[number],
            self.ready[number].kinds,
            self._preemptions(number),
            size=size.amount,
            kind=size.kind,
        )

    def _sweep_prepared(self) -> None:
        """Remove what is prepared for plans that are over, and what a killed controller left half."""
        rows = self.journal.rows("SELECT plan, outcome FROM tasks WHERE campaign = ?", self.campaign)
        kept = [row["plan"] for row in rows if row["outcome"] is None or row["outcome"] in RESUMED_AS_PREPARED]
        self.prepared.sweep(kept)

    def _opened(self, row: Row) -> bool:
        """Open a plan; one that has gone from its project, or can never run, ends here, and the others go on."""
        number = row["plan"]
        try:
            plan = self.projects[row["project"]].plan(number)
            runners = [*self.workers.values(), *(plan_runner(group) for group in self.groups)]
            self.unable[number] = unable_workers(plan, runners)
            able = [runner for runner in runners if runner.worker_id not in self.unable[number]]
            self.ready[number] = readiness(plan, able, self.prepared.find_for)
            problem = "" if self._has_attempts(number) else self.ready[number].problem
        except InputError as error:
            problem = str(error)
        if problem:
            self.journal.record_all(self.campaign, [task_ended(number, Outcome.INCOMPLETE, problem)])
            return False
        self.plans[number] = plan
        return True

    def _has_attempts(self, number: str) -> bool:
        """Whether an attempt of a plan may still run, or its result waits in its workspace."""
        sql = "SELECT 1 FROM attempts WHERE campaign = ? AND plan = ? AND state != 'ended'"
        return self.journal.row(sql, self.campaign, number) is not None

    def _reopen(self) -> None:
        """Give plans another chance that lost their worker, were cancelled, or could not even be staged."""
        state = self.journal.row("SELECT state FROM campaigns WHERE id = ?", self.campaign)
        if state is None or state["state"] == "running":
            return
        ended = self.journal.rows(
            "SELECT plan, outcome, EXISTS (SELECT 1 FROM attempts a WHERE a.campaign = t.campaign AND a.plan = t.plan "
            "AND a.launched IS NOT NULL) AS tried FROM tasks t WHERE campaign = ?",
            self.campaign,
        )
        never_tried = [row for row in ended if row["outcome"] == Outcome.INCOMPLETE and not row["tried"]]
        rows = [row for row in ended if row["outcome"] in _REOPENED] + never_tried
        self.journal.record_all(
            self.campaign, [("campaign-resumed", {}), *(("task-reopened", {"plan": row["plan"]}) for row in rows)]
        )

    def _reopen_unpublished(self) -> None:
        """A plan whose good result waits in its workspace is open until it is published."""
        waiting = self.journal.rows(
            "SELECT DISTINCT plan FROM attempts WHERE campaign = ? AND state = 'unpublished'", self.campaign
        )
        self.journal.record_all(self.campaign, [("task-reopened", {"plan": row["plan"]}) for row in waiting])

    def _settle_attempts(self) -> list[Attempt]:
        """Attach to what an earlier controller launched; discard what it never launched; clean what it left."""
        newly = [name for name in self.gone if not self.known[name].gone]
        self.journal.record_all(self.campaign, [("member-gone", {"worker": n, "reason": _TAKEN}) for n in newly])
        rows = self.journal.rows(
            "SELECT * FROM attempts WHERE campaign = ? AND state != 'ended' ORDER BY created", self.campaign
        )
        for project in self.projects.values():
            remove_leftovers(project.folder, [row["id"] for row in rows])
        attached: list[Attempt] = []
        taken = set[tuple[str, str]]()
        for row in rows:
            worker = self.workers.get(row["worker"])
            # of a plan whose result waits there to be published, another attempt may have been begun
            again = (row["plan"], row["worker"]) in taken
            if worker is not None and row["plan"] in self.plans and self._was_launched(row, worker) and not again:
                attached.append(self._attach(row, worker))
                taken.add((row["plan"], row["worker"]))
            elif worker is None or again or row["state"] != "unpublished":  # a good result within reach is kept
                self._discard(row, worker)
        running = self._stop_lost()  # before workspaces go: something may still run in one
        for row in self.journal.rows(
            "SELECT * FROM attempts WHERE campaign = ? AND state = 'ended' AND cleaned = 0 "
            "AND (outcome IN ('completed', 'completed-with-warnings', 'cancelled') OR launched IS NULL OR blame = ?)",
            self.campaign,
            Blame.PART_UNBEGUN.value,
        ):
            if not self.settings.keep_workspaces and row["id"] not in running:
                self._clean(row)
        return attached

    def _stop_lost(self) -> set[str]:
        """End what may still run of attempts that were given up while their worker was out of reach.

        Returns:
            Those that may run on all the same: the worker's next start tries it again.
        """
        rows = self.journal.rows(
            "SELECT * FROM attempts WHERE campaign = ? AND blame != 'nobody' AND launched IS NOT NULL AND cleaned = 0",
            self.campaign,
        )
        left = set[str]()
        for row in rows:
            worker = self.workers.get(row["worker"])
            if worker is not None:
                try:
                    worker.transport.stop(Probe(row["id"], worker.attempt_folder(row["id"]), row["native_id"]))
                except RasRunnerError as error:
                    self.say(str(error))
                    left.add(row["id"])
        return left

    def _was_launched(self, row: Row, worker: Worker) -> bool:
        """True when the attempt's script runs or ran; one that has not claimed its workspace never will after this."""
        if row["state"] in ("running", "unpublished"):
            return True
        return row["state"] == "launching" and not worker.transport.claim(worker.attempt_folder(row["id"]))

    def _attach(self, row: Row, worker: Worker) -> Attempt:
        settings = self.settings.run_settings(worker, Stage(row["stage"]))
        slot = NO_SLOT if row["state"] == "unpublished" else row["slot"]
        attempt = new_attempt(row["id"], self.plans[row["plan"]], worker, slot, settings)
        attempt.native_id, attempt.launched, attempt.staged = row["native_id"], row["launched"], row["staged"]
        attempt.tree, attempt.inputs = PurePosixPath(row["tree"]), row["inputs"]
        attempt.prepared_by = row["prepared_by"]
        attempt.waiting = row["message"] if row["state"] == "running" else ""
        self.journal.record(self.campaign, "attempt-attached", attempt=attempt.id)
        self.say(f"plan {row['plan']} was launched before: attached")
        return attempt

    def _discard(self, row: Row, worker: Worker | None) -> None:
        """End an attempt that is not to go on: never launched, or its plan has gone from the project."""
        if worker is not None and row["state"] != "staging":
            worker.transport.stop(Probe(row["id"], worker.attempt_folder(row["id"]), row["native_id"]))
        reason, outcome, blame = _GIVEN_UP, Outcome.INFRASTRUCTURE_LOST, Blame.NOBODY
        gone = row["worker"] in self.gone
        if self._has_result(row["plan"]):
            outcome, reason = Outcome.CANCELLED, SUPERSEDED
        elif gone:
            outcome, reason = Outcome.PREEMPTED, _TAKEN
        if worker is None and not gone:  # it is stopped by the next controller that reaches the worker
            reason, blame = f"given up: its worker {row['worker']} was drained and is not to be had", Blame.WORKER
        ended = [attempt_ended(row["id"], outcome, reason, blame)]
        if gone:
            ended.append(("attempt-cleaned", {"attempt": row["id"]}))
        self.journal.record_all(self.campaign, ended)
        if worker is not None:
            self._clean(row)

    def _has_result(self, plan: str) -> bool:
        row = self.journal.row("SELECT outcome FROM tasks WHERE campaign = ? AND plan = ?", self.campaign, plan)
        return row is not None and row["outcome"] is not None and Outcome(row["outcome"]).success

    def _clean(self, row: Row) -> None:
        worker = self.workers.get(row["worker"])
        if worker is not None:
            shutil.rmtree(self.journal.state_dir / "scratch" / row["id"], ignore_errors=True)
            try:
                worker.transport.remove(worker.attempt_folder(row["id"]))
            except RasRunnerError as error:  # no reason to leave the plans alone; the next controller tries it again
                self.say(str(error))
                return
            self.journal.record(self.campaign, "attempt-cleaned", attempt=row["id"])

    def _affinity(self, row: Row) -> str:
        return affinity(self.plans[row["plan"]])

    def _behind(self, plan: str) -> tuple[float, int]:
        """(losses, failures) that a plan has behind it in this campaign since it was last opened."""
        rows = self.journal.rows(
            "SELECT outcome, blame FROM attempts WHERE campaign = ? AND plan = ? AND state = 'ended' AND created > "
            "(SELECT COALESCE(MAX(at), 0) FROM events WHERE campaign = ? AND kind = 'campaign-resumed')",
            self.campaign,
            plan,
            self.campaign,
        )
        losses = sum(Blame(row["blame"]).loss for row in rows)
        failures = sum(Outcome(row["outcome"]).model_failure for row in rows)
        return losses, failures

    def _preemptions(self, plan: str) -> int:
        """How often a plan was taken off workers."""
        sql = "SELECT COUNT(*) AS n FROM attempts WHERE campaign = ? AND plan = ? AND outcome = 'preempted'"
        row = self.journal.row(sql, self.campaign, plan)
        return int(row["n"]) if row else 0
