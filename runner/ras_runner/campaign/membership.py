"""Which workers a campaign has, by its journal, and how a user adds or drains one while it runs.

A request is an event; the controller sees it, and answers with another. Where no controller runs, the change itself is
recorded, under the campaign's lock: the next ``resume`` has it.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, RasRunnerError, TransientError
from ras_runner.outcomes import Outcome
from ras_runner.retrying import retrying
from ras_runner.workers.base import Worker
from ras_runner.workers.group import MachineState
from ras_runner.workers.registry import is_group, make_workers, worker_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ras_runner.campaign.journal import Journal
    from ras_runner.workers.group import AnyWorker, WorkerGroup

#: How long a controller's answer is waited for, seconds; a worker that cannot be reached takes up to half of it.
WAIT_SECONDS = 60.0
_ASK_AGAIN_SECONDS = 5.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Member:
    """A worker of a campaign, as the journal has it.

    Attributes:
        type, parameters: what it is made from; secrets are references.
        drained: it takes no plans until it is added again; so do the machines of a group that was drained.
        group, machine: of a machine of a group: the group's worker id, and the cloud's name for the machine.
        spot: it may be taken away.
        gone: it was.
    """

    type: str
    parameters: dict[str, Any] = field(default_factory=dict)
    drained: bool = False
    group: str = ""
    machine: str = ""
    spot: bool = False
    gone: bool = False

    @property
    def worker_id(self) -> str:
        """Its name."""
        return str(self.parameters["worker_id"])

    def differences(self, other: Member) -> list[str]:
        """Names of what the two are told differently; nothing when they are one worker."""
        if self.type != other.type:
            return ["type"]
        ours, theirs = (worker_spec(m.type, m.parameters).model_dump(mode="json") for m in (self, other))
        return sorted(name for name in ours if ours[name] != theirs[name])


class State(StrEnum):
    """What came of a request."""

    JOINED = "joined"
    DRAINED = "drained"
    #: No controller runs: the next ``resume`` has it.
    RECORDED = "recorded"
    REFUSED = "refused"
    #: The controller has not answered yet; it may still do it.
    TRYING = "trying"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    Attributes:
        worker: its id.
        state: in a word.
        message: why, when it was refused.
        kind: of the error behind a refusal, as in :mod:`ras_runner.errors`.
    """

    worker: str
    state: State
    message: str = ""
    kind: str = ""


def members(journal: Journal, campaign: str) -> dict[str, Member]:
    """The workers of a campaign by id, those included that were drained, groups, and their machines that are gone."""
    row = journal.row("SELECT workers FROM campaigns WHERE id = ?", campaign)
    items = json.loads(row["workers"]) if row else []
    found = {member.worker_id: member for member in (Member(**item) for item in items)}
    drained = {name for name, member in found.items() if member.drained}
    return {name: replace(m, drained=m.drained or m.group in drained) for name, m in found.items()}


def campaign_workers(journal: Journal, campaign: str, say: Callable[[str], None]) -> list[AnyWorker]:
    """The workers of a campaign, ready. Of those that were drained only the ones that have left something there; of
    the machines of groups only those that the cloud still has.

    Args:
        journal, campaign: which.
        say: takes a line about a drained worker that cannot be had: what ran there is given up.

    Raises:
        InputError, OperatorError, WorkerError: one that was not drained can no longer be made.
        TransientError: a cloud that runs machines of the campaign cannot be asked now.
    """
    known = members(journal, campaign)
    wanted = {
        name: member
        for name, member in known.items()
        if not member.gone and (not member.drained or _left_something(journal, campaign, name))
    }
    groups = {name: member for name, member in wanted.items() if is_group(member.type)}
    ready = _made(groups, campaign, say)
    used = {member.group for member in wanted.values()}
    there = {
        group.spec.worker_id: _machines(group, campaign)
        for group in ready
        if not isinstance(group, Worker) and group.spec.worker_id in used
    }
    rest = {
        name: member
        for name, member in wanted.items()
        if name not in groups and (member.group not in there or member.machine in there[member.group])
    }
    return [*ready, *_made(rest, campaign, say)]


def _made(wanted: Mapping[str, Member], campaign: str, say: Callable[[str], None]) -> list[AnyWorker]:
    ready = []
    made_all = make_workers([(member.type, member.parameters) for member in wanted.values()])
    for (name, member), made in zip(wanted.items(), made_all, strict=True):
        if not isinstance(made, RasRunnerError):
            ready.append(made)
        elif member.drained:
            say(f"worker {name} is drained, and what ran there is given up: {made}")
        else:
            raise _refused(made, campaign, name) from made
    return ready


def _machines(group: WorkerGroup, campaign: str) -> set[str]:
    """Those of a group that are there."""
    try:
        view = retrying(group.look, TransientError, attempts=4, first=0.5, longest=10.0)
    except RasRunnerError as error:
        raise _refused(error, campaign, group.spec.worker_id) from error
    return {m.id for m in view.machines if m.state in (MachineState.STARTING, MachineState.RUNNING)}


def _refused(error: RasRunnerError, campaign: str, worker: str) -> RasRunnerError:
    without = f"go on without it: ras-runner workers drain {campaign} {worker}"
    action = f"{error.action}; or {without}" if error.action else without
    return type(error)(error.cause, action=action, step=error.step, host=error.host, log=error.log)


def _left_something(journal: Journal, campaign: str, worker: str) -> bool:
    query = "SELECT 1 FROM attempts WHERE campaign = ? AND worker = ? AND cleaned = 0"
    return journal.row(query, campaign, worker) is not None


def add_worker(
    journal: Journal, campaign: str, worker_type: str, parameters: Mapping[str, Any], wait: float = WAIT_SECONDS
) -> Answer:
    """Let a worker join a campaign, or one that was drained or is out take plans again.

    Args:
        journal, campaign: which.
        worker_type, parameters: as for ``init_ras_worker``; nothing is reached here: the controller makes the worker.
        wait: seconds to wait for the controller's answer.

    Raises:
        InputError: the parameters are wrong, the campaign has another worker of this id, or all its plans completed.
    """
    member = _as_known(members(journal, campaign), worker_type, parameters)
    _check_same(members(journal, campaign), member, campaign)
    data = {
        "worker": member.worker_id,
        "spec": json.dumps({"type": member.type, "parameters": member.parameters}),
        "request": uuid.uuid4().hex[:10],
    }

    def record() -> None:
        _check_same(members(journal, campaign), member, campaign)
        journal.record_all(campaign, [("worker-added", data)])

    return _ask(journal, campaign, ("worker-add-requested", data), record, wait)


def _as_known(known: Mapping[str, Member], worker_type: str, parameters: Mapping[str, Any]) -> Member:
    """A worker with these parameters; what is left out is as it was found when the campaign's worker was made."""
    spec = worker_spec(worker_type, parameters)
    there = known.get(spec.worker_id)
    if there is not None and there.type == worker_type:
        given = spec.model_dump(mode="json", include=spec.model_fields_set)
        spec = worker_spec(worker_type, {**there.parameters, **given})
    return Member(worker_type, spec.model_dump(mode="json"))


def drain_worker(journal: Journal, campaign: str, worker: str, wait: float = WAIT_SECONDS) -> Answer:
    """Let a worker take no further plans; what runs there goes on to its end.

    Args:
        journal, campaign, worker: which.
        wait: seconds to wait for the controller's answer.

    Raises:
        InputError: the campaign has no such worker, no other that takes plans, or all its plans completed.
    """
    known = members(journal, campaign)
    if worker not in known:
        raise InputError(
            f"campaign {campaign} has no worker {worker}",
            step="drain worker",
            action=f"its workers are {', '.join(known)}",
        )
    if known[worker].drained:
        return Answer(worker, State.DRAINED)
    data = {"worker": worker, "request": uuid.uuid4().hex[:10]}

    def record() -> None:
        others = (m for name, m in members(journal, campaign).items() if worker not in (name, m.group))
        if not any(not m.drained and not m.gone for m in others):
            raise last_worker_error(worker, campaign)
        journal.record_all(campaign, [("worker-drained", data)])

    return _ask(journal, campaign, ("worker-drain-requested", data), record, wait)


def last_worker_error(worker: str, campaign: str, plans: str = "") -> InputError:
    """The refusal to drain a worker that ``plans`` (all that wait, when empty) have no other for."""
    return InputError(
        f"no other worker of campaign {campaign} is left for {f'plans {plans}' if plans else 'its plans'}",
        step="drain worker",
        host=worker,
        action=f"add another first: ras-runner workers add {campaign} -i INVENTORY; or: ras-runner cancel {campaign}",
    )


def _check_same(known: Mapping[str, Member], member: Member, campaign: str) -> None:
    there = known.get(member.worker_id)
    if there is not None and (other := there.differences(member)):
        raise InputError(
            f"campaign {campaign} has another worker {member.worker_id}: of other {', '.join(other)}",
            step="add worker",
            action="give this one its own worker_id (ras_worker_id in an inventory)",
        )


def _check_open(journal: Journal, campaign: str) -> None:
    outcomes = [row["outcome"] for row in journal.rows("SELECT outcome FROM tasks WHERE campaign = ?", campaign)]
    if all(outcome is not None and Outcome(outcome).success for outcome in outcomes):
        raise InputError(
            f"all plans of campaign {campaign} have completed: it needs no workers",
            step="change workers",
            action="start another campaign with: ras-runner execute PROJECT",
        )


def _ask(
    journal: Journal, campaign: str, request: tuple[str, dict[str, Any]], record: Callable[[], None], wait: float
) -> Answer:
    """Ask the controller, again where it was not listening yet, until it answers; ``record`` where there is none."""
    data = request[1]
    end, asked, since = time.monotonic() + wait, float("-inf"), journal.last_event(campaign)
    while (answer := _answer(journal, campaign, data, since)) is None:
        lock = journal.lock(campaign)
        if lock.acquire():
            try:  # the answer may have been the last thing that the controller did
                answer = _answer(journal, campaign, data, since)
                if answer is None:
                    _check_open(journal, campaign)
                    record()
                    answer = Answer(data["worker"], State.RECORDED)
            finally:
                lock.release()
            return answer
        if time.monotonic() >= end:
            return Answer(data["worker"], State.TRYING)
        if time.monotonic() - asked >= _ASK_AGAIN_SECONDS:
            asked = time.monotonic()
            journal.record_all(campaign, [request])
        time.sleep(_LOOK_SECONDS)
    return answer


def _answer(journal: Journal, campaign: str, data: Mapping[str, Any], since: int) -> Answer | None:
    rows = journal.rows(
        "SELECT kind, data FROM events WHERE campaign = ? AND id > ? AND kind IN "
        "('worker-added', 'worker-drained', 'worker-refused')",
        campaign,
        since,
    )
    for row in rows:
        told = json.loads(row["data"])
        if told["request"] != data["request"]:
            continue
        if row["kind"] == "worker-refused":
            return Answer(told["worker"], State.REFUSED, told["message"], told["error"])
        return Answer(told["worker"], State.JOINED if row["kind"] == "worker-added" else State.DRAINED)
    return None
