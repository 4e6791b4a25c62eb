"""Workers that join or leave a campaign while it runs: the controller's part."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.campaigns import worker_joined
from ras_runner.campaign.membership import Member, last_worker_error
from ras_runner.campaign.scheduler import WorkerLeft
from ras_runner.errors import InputError, OperatorError, RasRunnerError, TransientError
from ras_runner.workers.base import Worker
from ras_runner.workers.group import plan_runner
from ras_runner.workers.registry import make_any_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ras_runner.campaign.campaigns import CampaignSettings
    from ras_runner.campaign.fitness import Fitness
    from ras_runner.campaign.groups import Groups
    from ras_runner.campaign.scheduler import Event, Scheduler
    from ras_runner.workers.group import AnyWorker

Records = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Made:
    """A worker that was asked for is ready, or why it is not.

    Attributes:
        asked: the request's data.
        made: the worker or the group, or the error.
        unable: plans that its engine cannot run.
        prepared: plans that it can solve as they lie prepared.
    """

    asked: Mapping[str, Any]
    made: AnyWorker | RasRunnerError
    unable: frozenset[str] = frozenset()
    prepared: frozenset[str] = frozenset()


@dataclass
class Members:
    """The workers of a running campaign. For the deciding thread; a worker is made in a thread of its own.

    Attributes:
        campaign: its id.
        groups: those that join are added.
        workers: by id; those that join are added.
        scheduler: knows who takes plans.
        settings: of the campaign.
        fitness: which plans a worker can take.
        report: takes the :class:`Made`; called from the threads.
        say: takes a line for the user.
    """

    campaign: str
    groups: Groups
    workers: dict[str, Worker]
    scheduler: Scheduler
    settings: CampaignSettings
    fitness: Fitness
    report: Callable[[Made], None]
    say: Callable[[str], None]
    #: Workers that are being made, and the requests for each by their ids.
    _making: dict[str, dict[str, Mapping[str, Any]]] = field(default_factory=dict)

    def asked(self, kind: str, data: Mapping[str, Any], records: Records) -> list[Event]:
        """Deal with a request; what is to be journalled goes to ``records``."""
        name = data["worker"]
        if kind == "worker-add-requested":
            self._add(name, data, records)
            return []
        try:
            self._check_drain(name)
        except RasRunnerError as error:
            records.append(_refused(data, error))
            return []
        records.append(("worker-drained", dict(data)))
        if name not in self.workers:
            return self.groups.drain(name)
        self.say(f"worker {name} takes no further plans: drained")
        return [WorkerLeft(name, "drained")]

    def made(self, made: Made, records: Records) -> list[Event]:
        """Take a worker in that is ready, or refuse it."""
        name = made.asked["worker"]
        waiting = self._making.pop(name)
        del waiting[made.asked["request"]]
        if isinstance(made.made, RasRunnerError):
            records.append(_refused(made.asked, made.made))
            return []
        records.append(("worker-added", dict(made.asked)))
        if isinstance(made.made, Worker):
            self.workers[name] = made.made
            events: list[Event] = [worker_joined(made.made, self.settings, made.unable, made.prepared)]
        else:
            self.groups.add(made.made)
            events = [self.groups.expecting()]
        for asked in waiting.values():
            self._confirm(name, made.made, asked, records)
        return events

    def _add(self, name: str, data: Mapping[str, Any], records: Records) -> None:
        if name in self._making:  # asked again, or by another: answered when it is made
            self._making[name][data["request"]] = data
        elif there := self.groups.group(name) or (self.workers[name] if self.scheduler.takes_plans(name) else None):
            self._confirm(name, there, data, records)
        else:
            self._making[name] = {data["request"]: data}
            threading.Thread(target=self._make, args=(data,), name=f"make {name}", daemon=True).start()

    def _confirm(self, name: str, there: AnyWorker, data: Mapping[str, Any], records: Records) -> None:
        """It takes plans already; refused when another worker of this name is meant."""
        spec = json.loads(data["spec"])
        member = Member(there.type, there.spec.model_dump(mode="json"))
        if other := member.differences(Member(spec["type"], spec["parameters"])):
            error = InputError(f"another worker {name} has just joined: of other {', '.join(other)}", step="add worker")
            records.append(_refused(data, error))
        else:
            records.append(("worker-added", dict(data)))

    def _make(self, data: Mapping[str, Any]) -> None:
        spec = json.loads(data["spec"])
        try:
            worker = make_any_worker(spec["type"], spec["parameters"])
            report = Made(data, worker, *self.fitness.of(plan_runner(worker)))
        except RasRunnerError as error:
            report = Made(data, error)
        except Exception as error:  # a bug of ours must not leave the user without an answer
            cause = f"internal error of ras-runner: {type(error).__name__}: {error}"
            report = Made(data, OperatorError(cause, step="add worker", action="please report it"))
        self.report(report)

    def _check_drain(self, name: str) -> None:
        if name in self._making:
            raise TransientError(f"worker {name} is just being added", step="drain worker", action="ask again")
        if not self.scheduler.takes_plans(name) and self.groups.group(name) is None:
            return  # it is out already: a person now says that it stays so
        stranded = self.scheduler.stranded_without(name, *self.groups.members_of(name))
        if stranded:
            raise last_worker_error(name, self.campaign, ", ".join(stranded))


def _refused(data: Mapping[str, Any], error: RasRunnerError) -> tuple[str, dict[str, Any]]:
    return "worker-refused", {
        "worker": data["worker"],
        "request": data["request"],
        "message": str(error),
        "error": error.kind,
    }
