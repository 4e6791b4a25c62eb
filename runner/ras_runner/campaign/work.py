"""What the controller's threads do with an attempt, and how they report what came of it."""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ras_runner.campaign.attempt import Attempt, Verified, begin, keep_log, publish_attempt, verify
from ras_runner.campaign.journal import Journal, JournalError
from ras_runner.campaign.prepared import PREPARED, NotPreparedError, first_stage
from ras_runner.campaign.scheduler import Blame
from ras_runner.campaign.winners import SUPERSEDED, Winners
from ras_runner.engines.base import Stage
from ras_runner.errors import InputError, OperatorError, RasRunnerError
from ras_runner.hecras.results import Problem
from ras_runner.outcomes import Outcome
from ras_runner.retrying import retrying

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ras_runner.campaign.prepared import PreparedStore
    from ras_runner.campaign.staging import Stager
    from ras_runner.hecras.results import ResultSummary

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Launched:
    """The attempt's run script was started."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt is over, for better or worse.

    Attributes:
        attempt: which.
        outcome, reason: how.
        blame: whose fault.
        verified: the published result on success.
        unpublished: the result is good, but could not be published: the workspace keeps it.
        prepared: True when it has prepared the plan; False when the plan is to be prepared (again).
    """

    attempt: Attempt
    outcome: Outcome
    reason: str = ""
    blame: Blame = Blame.NOBODY
    verified: Verified | None = None
    unpublished: bool = False
    prepared: bool | None = None


@dataclass(frozen=True, slots=True)
class Fatal:
    """The controller cannot go on: what it does is no longer recorded."""

    error: JournalError


Report = Launched | Ended | Fatal


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one campaign's threads.

    Attributes:
        journal, campaign: where what happens is recorded.
        prepared: keeps what first stages leave.
        report: takes the reports; called from the threads.
        keep_workspaces: published results are copies, as the workspaces stay.
        winners: who publishes, of the attempts of one plan.
    """

    journal: Journal
    campaign: str
    prepared: PreparedStore
    report: Callable[[Report], None]
    keep_workspaces: bool = False
    winners: Winners = field(default_factory=Winners)

    def log_path(self, attempt: str) -> Path:
        """Where the streams of an attempt are kept."""
        return self.journal.state_dir / "logs" / self.campaign / f"{attempt}.log"

    def begin(self, attempt: Attempt, stager: Stager, lost: list[Attempt]) -> None:
        """Stage and launch; first end the ``lost`` attempts that may still run on this worker, and empty the list. It
        becomes one of them when nobody can tell whether it was started.
        """
        self._guarded(attempt, lambda: self._begin(attempt, stager, lost))

    def finish(self, attempt: Attempt, exit_code: int | None) -> None:
        """Verify and publish an attempt whose processes have ended."""
        self._guarded(attempt, lambda: self._finish(attempt, exit_code))

    def _begin(self, attempt: Attempt, stager: Stager, lost: list[Attempt]) -> Report:
        for other in tuple(lost):
            if not other.worker.transport.claim(other.folder):
                other.worker.transport.stop(other.probe())
            with contextlib.suppress(ValueError):  # another thread was faster
                lost.remove(other)
        try:
            if begin(attempt, stager, self.journal, self.campaign, self._scratch, self.prepared):
                return Launched(attempt)
        except NotPreparedError as error:
            return Ended(attempt, Outcome.INFRASTRUCTURE_LOST, str(error), prepared=False)
        except RasRunnerError:
            if attempt.launched:  # neither the launch nor the claim was answered: it may run
                lost.append(attempt)
            raise
        return Ended(attempt, Outcome.CANCELLED, attempt.stopping)

    def _finish(self, attempt: Attempt, exit_code: int | None) -> Report:
        streams: dict[str, bytes] = {}
        with contextlib.suppress(OSError, RasRunnerError):  # a log that cannot be kept is no reason to lose a result
            streams = keep_log(attempt, self.log_path(attempt.id))
        try:
            verified = self._verified(attempt, exit_code, streams)
            summary = verified.summary
            # a first stage that ran on to the end of the plan is judged as a whole run
            left_none = not attempt.stopping and summary.problem is Problem.MISSING
            if attempt.stage is Stage.PREPARE and (left_none or attempt.stopping == PREPARED):
                return self._finish_first_stage(attempt, exit_code, summary)
        except (RasRunnerError, OSError) as error:  # what it computed may be good: it is kept, and looked at again
            return Ended(attempt, Outcome.INFRASTRUCTURE_LOST, self._uncollected(attempt, error), unpublished=True)
        if summary.outcome.success:
            return self._publish(attempt, verified)
        if attempt.stopping:
            blame = Blame.WORKER_FOR_GOOD if attempt.needs_person else Blame.NOBODY
            return Ended(attempt, attempt.stop_outcome, attempt.stopping, blame)
        if exit_code is None:
            return _lost(attempt)
        reason = "; ".join(part for part in (attempt.note, summary.reason) if part)
        return Ended(attempt, summary.outcome, reason, verified=verified)

    def _finish_first_stage(self, attempt: Attempt, exit_code: int | None, summary: ResultSummary) -> Report:
        """Keep what it has prepared."""
        scratch = self._scratch / attempt.id
        try:
            found = self._patiently(lambda: first_stage(attempt, exit_code, scratch))
            if not isinstance(found, str):
                self.prepared.keep(attempt.plan_number, attempt.inputs, attempt.worker.prepares, found)
                return Ended(attempt, Outcome.COMPLETED, prepared=True)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if exit_code is None and not attempt.stopping:
            return _lost(attempt)
        reason = "; ".join(part for part in (attempt.note, found or summary.reason) if part)
        if attempt.stopping:  # by us, in the middle of a write of the solver that had just started
            torn = f"the plan was stopped after it had been prepared, and what it left cannot be used: {reason}"
            return Ended(attempt, Outcome.INFRASTRUCTURE_LOST, torn, prepared=False)
        return Ended(attempt, Outcome.ENGINE_ERROR, f"the plan could not be prepared: {reason}")

    @property
    def _scratch(self) -> Path:
        return self.journal.state_dir / "scratch"

    def _verified(self, attempt: Attempt, exit_code: int | None, streams: dict[str, bytes]) -> Verified:
        scratch = self._scratch / attempt.id
        return self._patiently(lambda: verify(attempt, exit_code, scratch, streams))

    @staticmethod
    def _patiently(read: Callable[[], T]) -> T:
        return retrying(read, RasRunnerError, OSError, attempts=4, first=0.2, longest=10.0)

    def _uncollected(self, attempt: Attempt, error: Exception) -> str:
        return (
            f"{attempt.worker.hostname}: collect: the run has ended, but what it left cannot be read: {error}\n"
            f"  next: ras-runner resume (the workspace is kept; nothing is computed again)\n"
            f"  workspace: {attempt.folder}"
        )

    def _publish(self, attempt: Attempt, verified: Verified) -> Report:
        if not self.winners.claim(attempt):
            return Ended(attempt, Outcome.CANCELLED, SUPERSEDED)
        try:
            publish_attempt(attempt, verified, keep=self.keep_workspaces)
        except OperatorError as error:
            self.winners.release(attempt)
            return Ended(attempt, Outcome.INFRASTRUCTURE_LOST, str(error), verified=verified, unpublished=True)
        except Exception:
            self.winners.release(attempt)
            raise
        return Ended(attempt, verified.summary.outcome, verified.summary.reason, verified=verified)

    def _guarded(self, attempt: Attempt, work: Callable[[], Report]) -> None:
        """Do it; whatever goes wrong becomes the attempt's end, with its reason."""
        try:
            report = work()
        except JournalError as error:
            report = Fatal(error)
        except OperatorError as error:
            report = Ended(attempt, Outcome.INFRASTRUCTURE_LOST, str(error), Blame.WORKER_FOR_GOOD)
        except InputError as error:
            report = Ended(attempt, Outcome.INCOMPLETE, str(error))
        except RasRunnerError as error:
            report = Ended(attempt, Outcome.INFRASTRUCTURE_LOST, str(error), Blame.WORKER)
        except Exception as error:  # a bug of ours must not lose the other plans
            report = Ended(attempt, Outcome.INFRASTRUCTURE_LOST, self._internal_error(attempt, error))
        self.report(report)

    def _internal_error(self, attempt: Attempt, error: Exception) -> str:
        log = self.journal.state_dir / "errors.log"
        head = f"{time.strftime('%Y-%m-%d %H:%M:%S')} campaign {self.campaign} attempt {attempt.id}"
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as out:
            out.write(f"{head}\n{traceback.format_exc()}\n")
        return (
            f"internal error of ras-runner: {type(error).__name__}: {error}\n"
            f"  next: please report it with the log\n  log: {log}"
        )


def _lost(attempt: Attempt) -> Ended:
    """The end of an attempt without exit.json, as what ran it says, or else as its worker's doing."""
    if attempt.ended_as is None:
        return Ended(attempt, Outcome.INFRASTRUCTURE_LOST, lost_reason(attempt), Blame.WORKER)
    blame = Blame.NOBODY
    if attempt.ended_as is Outcome.INFRASTRUCTURE_LOST:
        part = Blame.PART if _has_begun(attempt) else Blame.PART_UNBEGUN
        blame = Blame.WORKER_FOR_GOOD if attempt.needs_person else part
    return Ended(attempt, attempt.ended_as, f"{attempt.worker.hostname}: run: {attempt.note}", blame)


def _has_begun(attempt: Attempt) -> bool:
    """Whether its run script has claimed the workspace; one that has not never will after this."""
    try:
        return not attempt.worker.transport.claim(attempt.folder)
    except RasRunnerError:  # nobody can tell
        return True


def lost_reason(attempt: Attempt) -> str:
    """Why an attempt without exit.json is over."""
    return (
        f"{attempt.worker.hostname}: run: the run script of attempt {attempt.id} is gone and left no exit.json "
        f"({attempt.note or 'killed from outside, or the machine restarted'})"
    )
