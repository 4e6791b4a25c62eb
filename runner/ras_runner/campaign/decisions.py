"""What the scheduler is told (events) and what it decides, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ras_runner.engines.base import Stage
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping


class Blame(StrEnum):
    """Whose fault the end of an attempt was."""

    NOBODY = "nobody"
    #: A part of the worker, such as a node of a queue: the others go on, and the plan has lost one.
    PART = "part"
    #: The same, and the plan had not even begun there: hardly its doing.
    PART_UNBEGUN = "part-unbegun"
    WORKER = "worker"
    #: A person must act before this worker can be used again.
    WORKER_FOR_GOOD = "worker-for-good"

    @property
    def part(self) -> bool:
        """Only a part of the worker is to blame."""
        return self in (Blame.PART, Blame.PART_UNBEGUN)

    @property
    def loss(self) -> float:
        """How much it is of a loss to the plan, of those that :class:`Policy` allows."""
        if self is Blame.NOBODY:
            return 0.0
        return 0.25 if self is Blame.PART_UNBEGUN else 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """When work is repeated and workers are left alone.

    Attributes:
        retries: how often a plan is repeated after a failure of the model itself.
        losses: how often a plan may lose its worker before it is given up.
        quarantine: seconds that a worker rests after its first loss; doubled with each further one. So long, at first,
            a plan is not tried on a worker of which a part has lost it; four times as long with each further one.
        quarantine_limit: longest rest, seconds.
        strikes: losses in a row after which a worker is out for good.
        max_concurrent: limit of plans running at once over all workers; None for no limit.
        preemptions: how often a plan may be taken off workers before it waits for one that is not taken away.
        second_saves: seconds that a second run of a late plan on a free, faster worker must be expected to save;
            None for no second runs.
    """

    retries: int = 0
    losses: int = 5
    quarantine: float = 5.0
    quarantine_limit: float = 900.0
    strikes: int = 4
    max_concurrent: int | None = None
    preemptions: int = 2
    second_saves: float | None = 60.0


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker can take plans: ``slots`` at once, lower ``queue_priority`` first; again, when it had left or was out.

    Attributes:
        worker: its name.
        slots: how many plans it runs at once.
        queue_priority: lower is filled first.
        prepares: the workers, by their ``needs_prepared``, that it can do the first stage for; empty for none.
        needs_prepared: it runs only plans that are prepared for this; empty when it runs whole plans.
        unable: those of the tasks that are there already which its engine cannot run.
        prepared: those of them which are prepared for it.
        steady: it is not taken away while plans run (no spot machine, no preemptible queue).
    """

    worker: str
    slots: int
    queue_priority: int = 0
    prepares: str = ""
    needs_prepared: str = ""
    unable: frozenset[str] = frozenset()
    prepared: frozenset[str] = frozenset()
    steady: bool = True


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker takes no further plans; what runs there goes on."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expecting:
    """Groups that workers may join from: while one does, the tasks that it could run are not given up.

    Attributes:
        groups: all there are, each with why no worker will come from it; empty while some may. Tasks name those that
            cannot run them among their ``unable``.
        steady: workers that are not taken away are on their way: plans that want one wait for it.
    """

    groups: Mapping[str, str]
    steady: bool = False


@dataclass(frozen=True, slots=True)
class TaskAdded:
    """A plan is to be run.

    Attributes:
        task: its name.
        expected: expected run time in seconds; None when unknown (treated as long).
        affinity: key of its large inputs; workers that have run the same key before are preferred.
        losses, failures: what it has behind it (a resumed campaign).
        unable: workers whose engine cannot run it.
        prepared: what it is prepared for, as workers' ``needs_prepared``.
        preemptions: how often it was taken off a worker (a resumed campaign).
        size: how much there is to compute, in a unit of its own; with it the time is learned from the plans of this
            campaign that end, where ``expected`` is None.
        kind: plans of one kind have sizes of one unit.
    """

    task: str
    expected: float | None = None
    affinity: str = ""
    losses: float = 0.0
    failures: int = 0
    unable: frozenset[str] = frozenset()
    prepared: frozenset[str] = frozenset()
    preemptions: int = 0
    size: float | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """An attempt that was started earlier: it holds its slot, or none (-1) when only its result is left to publish.

    ``at`` is when it was launched; None for now.
    """

    task: str
    worker: str
    slot: int
    stage: Stage = Stage.WHOLE
    at: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt is over and its slot is free.

    Attributes:
        task: the plan it tried.
        outcome, at, reason, blame: how it ended, when, why, and whose fault it was.
        prepared: True when it has prepared the plan (and only that); False when the plan turned out not to be
            prepared: it is prepared again, as often as it may lose its worker.
        worker: where it ran; needed where the task runs twice.
        seconds: how long it ran; None when unknown.
    """

    task: str
    outcome: Outcome
    at: float
    reason: str = ""
    blame: Blame = Blame.NOBODY
    prepared: bool | None = None
    worker: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    """An attempt of a task has done this fraction of its computing, at this time.

    ``began`` is when it began to compute, where it was in a queue before; None for when it was started.
    """

    task: str
    worker: str
    done: float
    at: float
    began: float | None = None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Stop one task, or all when ``task`` is None."""

    task: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: quarantines may be over. ``at`` is in seconds on the caller's clock."""

    at: float


Event = (
    WorkerJoined | WorkerLeft | Expecting | TaskAdded | Attached | AttemptEnded | Progressed | CancelRequested | Tick
)


@dataclass(frozen=True, slots=True)
class Start:
    """Begin an attempt of a task in a slot of a worker; its second, where it runs on another one already."""

    task: str
    worker: str
    slot: int
    stage: Stage = Stage.WHOLE


@dataclass(frozen=True, slots=True)
class Stop:
    """End the running attempts of a task, or the one on ``worker``; each end is to be reported."""

    task: str
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """The task has its outcome: that of its attempt on ``worker``; empty where no attempt decided it."""

    task: str
    outcome: Outcome
    reason: str
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A worker rests for ``seconds``; with ``for_good`` it is out."""

    worker: str
    seconds: float
    for_good: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """A part of a worker has lost the task: for ``seconds`` it is not tried there again."""

    task: str
    worker: str
    seconds: float
    reason: str


Decision = Start | Stop | Finish | Quarantine | Pause
