"""Groups of cloud machines, whose members are workers while they last. Each cloud has one module that keeps to this."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self, TypeAlias

from pydantic import Field, model_validator

from ras_runner.workers.base import PlanRunner, Worker, WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Collection

    from ras_runner.engines.base import Engine


_LONGEST_NAME = 32
#: What members are told as their group is, unless the group itself says otherwise.
_OF_THE_GROUP = (
    "cores_per_plan",
    "max_parallel_plans",
    "queue_priority",
    "process_priority",
    "preprocess_on_host",
    "store_limit",
)


class MachineState(StrEnum):
    """What the cloud says of a machine."""

    STARTING = "starting"
    #: It has booted; whether it can be logged on to is another question.
    RUNNING = "running"
    ENDING = "ending"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of a group.

    Attributes:
        id: the cloud's name for it, such as ``i-0a1b2c3d``.
        state: what the cloud says of it.
        address: where it is reached; empty until it has one.
        since: unix time when it was asked for.
        zone: availability zone.
        kind: instance type or VM size.
        spot: it may be taken away.
        notice: one sentence on when and why it will be taken away; empty while nothing is known.
    """

    id: str
    state: MachineState
    address: str = ""
    since: float = 0.0
    zone: str = ""
    kind: str = ""
    spot: bool = False
    notice: str = ""


@dataclass(frozen=True, slots=True)
class GroupView:
    """A look at a group.

    Attributes:
        machines: those that are there, and those that ended lately.
        wanted: how many it has been asked for.
        shortage: why the cloud does not give what it was asked for (capacity, quota); empty when it does.
    """

    machines: tuple[Machine, ...]
    wanted: int
    shortage: str = ""


class GroupSpec(WorkerSpec):
    """What every group is told, besides what every worker is; cores are those of one machine.

    Attributes:
        min_machines: as many are kept even when nothing is to be done.
        max_machines: never more than these.
        idle_minutes: a machine without a plan for so long is given back.
        ready_minutes: a machine that cannot be used so long after it was asked for is replaced.
        on_demand_after: a plan that has lost so many machines to the cloud waits for one that is not taken away.
        look_seconds: how often the cloud is asked how its machines are.
    """

    min_machines: Annotated[int, Field(ge=0, le=1000)] = 0
    max_machines: Annotated[int, Field(ge=1, le=1000)]
    idle_minutes: Annotated[float, Field(gt=0)] = 10.0
    ready_minutes: Annotated[float, Field(gt=0)] = 15.0
    on_demand_after: Annotated[int, Field(ge=1)] = 2
    look_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0

    @model_validator(mode="after")
    def _some_machines(self) -> Self:
        if self.min_machines > self.max_machines:
            raise ValueError(f"min_machines is {self.min_machines}, and max_machines only {self.max_machines}")
        return self

    @model_validator(mode="after")
    def _room_for_machine_names(self) -> Self:
        if len(self.worker_id) > _LONGEST_NAME:
            raise ValueError(f"worker_id has more than {_LONGEST_NAME} characters, and machines are named after it")
        return self


class WorkerGroup(Protocol):
    """A group of machines in a cloud. Calls may be repeated, and come from several threads; each asks the cloud anew.

    Every method raises TransientError (throttled, no answer: ask later) or OperatorError (credentials, rights, the
    group has gone: a person must act); both say which call of which cloud failed and why.
    """

    @property
    def type(self) -> str:
        """Worker type, as in ``init_ras_worker(type, ...)``."""

    @property
    def spec(self) -> GroupSpec:
        """What it was told."""

    @property
    def hostname(self) -> str:
        """Where it is, for messages: ``group NAME in REGION``."""

    @property
    def engine(self) -> Engine:
        """What computes plans on its machines, as far as it is known before there is one: which files a plan needs."""

    def look(self) -> GroupView:
        """What there is now, of all pages, in a few calls however many machines there are."""

    def resize(self, machines: int, on_demand: int) -> None:
        """Ask for so many machines in all, at least ``on_demand`` of them such that are not taken away.

        A group that shrinks gives back machines that are not protected only.
        """

    def protect(self, machines: Collection[str], *, on: bool) -> None:
        """Keep the cloud's scaling from taking these machines, or no longer."""

    def end(self, machine: str, *, replace: bool) -> None:
        """End a machine of this group, checked to be one; another one comes in its place, or the group has one less."""

    def member(self, machine: Machine) -> tuple[str, dict[str, Any]]:
        """Worker type and parameters of a running machine, as for ``make_worker``; its host key is known then.

        Raises:
            TransientError: also while the machine has not told its host key yet.
        """


#: What plans may be sent to.
AnyWorker: TypeAlias = Worker | WorkerGroup


def plan_runner(worker: AnyWorker) -> PlanRunner:
    """What plans need to know of a worker or of a group."""
    return worker if isinstance(worker, Worker) else PlanRunner(worker.type, worker.spec, worker.engine)


def member_name(group: str, machine: str) -> str:
    """Worker id of a machine: what it may not hold becomes ``-``, of a long name the end is kept."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", machine)
    return f"{group}-{plain[-(63 - len(group)) :]}"


def member_parameters(group: WorkerGroup, machine: Machine) -> tuple[str, dict[str, Any]]:
    """Worker type and parameters of a running machine: those of its group, and its name.

    Raises:
        TransientError, OperatorError: as :meth:`WorkerGroup.member`.
    """
    worker_type, own = group.member(machine)
    shared = {name: getattr(group.spec, name) for name in _OF_THE_GROUP}
    return worker_type, {**shared, **own, "worker_id": member_name(group.spec.worker_id, machine.id)}
