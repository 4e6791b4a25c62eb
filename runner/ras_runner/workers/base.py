"""A worker: a place that runs plans. It joins a transport (how to reach it), an engine (how to compute) and slots."""

from __future__ import annotations

import getpass
import re
import socket
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field

from ras_runner.engines.base import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.engines.base import Engine
    from ras_runner.transports.base import Transport

#: A name that is safe in file names, logs and messages.
WorkerId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class WorkerSpec(BaseModel):
    """What all worker types are told. Unknown parameters are refused.

    Attributes:
        worker_id: name in results, journal and report.
        engine: engine that computes there.
        cores_total: cores that plans may use.
        cores_per_plan: cores a plan gets when the campaign does not say.
        max_parallel_plans: upper limit of slots; none when left out.
        queue_priority: 0 to 9; workers with a lower number are filled first.
        process_priority: operating system priority of the engine.
        preprocess_on_host: it only solves what another worker of the campaign has prepared (``hecras-linux``: Windows
            with the same release; ``standin``: the stand-in), or what lies prepared in the project folder.
        store_limit: bytes that the worker's store of inputs may grow to, also as ``50GB`` or ``50GiB``. What was not
            used for the longest time goes first; what running plans use and what was used in the last hour stays.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Plans that are staged and launched there at the same time.
    launches_at_once: ClassVar[int] = 4

    worker_id: WorkerId
    engine: Annotated[str, Field(min_length=1)]
    cores_total: Annotated[int, Field(ge=1, le=4096)]
    cores_per_plan: Annotated[int, Field(ge=1, le=4096)] = 4
    max_parallel_plans: Annotated[int, Field(ge=1)] | None = None
    queue_priority: Annotated[int, Field(ge=0, le=9)] = 0
    process_priority: Literal["low", "below normal", "normal"] = "low"
    preprocess_on_host: bool = False
    store_limit: Annotated[ByteSize, Field(ge=0)] = ByteSize(200_000_000_000)

    @classmethod
    def model_for(cls, parameters: Mapping[str, Any]) -> type[WorkerSpec]:
        """The model of a worker with these parameters, which are not checked yet."""
        del parameters
        return cls

    def slots(self, num_cores: int | None = None) -> int:
        """How many plans run at once with ``num_cores`` each: at least one, at most ``max_parallel_plans``."""
        slots = max(1, self.cores_total // (num_cores or self.cores_per_plan))
        return slots if self.max_parallel_plans is None else min(slots, self.max_parallel_plans)

    def cores(self, num_cores: int | None = None) -> int:
        """Cores of one plan: what was asked for, but no more than the worker has."""
        return min(num_cores or self.cores_per_plan, self.cores_total)


@dataclass(frozen=True)
class PlanRunner:
    """What plans need to know of a worker, or of a group's machines before there is one.

    Attributes:
        type: its type, as in ``init_ras_worker(type, ...)``.
        spec: what it was told.
        engine: how plans are computed there.
    """

    type: str
    spec: WorkerSpec
    engine: Engine

    @property
    def worker_id(self) -> str:
        """Its name."""
        return self.spec.worker_id

    @property
    def queue_priority(self) -> int:
        """0 to 9; lower is filled first."""
        return self.spec.queue_priority

    @property
    def stage(self) -> Stage:
        """What it does of a plan when it is not asked to prepare it for another worker."""
        return Stage.SOLVE if self.spec.preprocess_on_host else Stage.WHOLE

    @property
    def prepares(self) -> str:
        """The workers, by their ``needs_prepared``, that it can do the first stage for; empty for none."""
        return "" if self.spec.preprocess_on_host else self.engine.prepares

    @property
    def needs_prepared(self) -> str:
        """What has to have prepared the plans that it solves; empty when it computes whole plans."""
        return self.engine.solves if self.spec.preprocess_on_host else ""

    @property
    def max_parallel_plans(self) -> int:
        """Slots with ``cores_per_plan`` cores each."""
        return self.spec.slots()


@dataclass(frozen=True)
class Worker(PlanRunner):
    """A worker that is ready to take plans.

    Attributes:
        transport: how files and commands reach it.
    """

    transport: Transport

    @property
    def hostname(self) -> str:
        """The machine's name."""
        return self.transport.host

    def attempt_folder(self, attempt: str) -> PurePath:
        """Where an attempt lives on the worker."""
        return self.transport.root / "w" / attempt

    def store_path(self, digest: str) -> PurePath:
        """Where content with this digest lies in the worker's store."""
        return self.transport.root / "store" / digest[:2] / digest


def default_worker_folder() -> Path:
    """Where local attempts live when nothing is said: short on Windows, where HEC-RAS paths end at 260 characters."""
    import sys

    import platformdirs

    return (
        Path(r"C:\RasRemote") if sys.platform == "win32" else Path(platformdirs.user_cache_dir("ras-runner")) / "worker"
    )


def this_owner() -> str:
    """``user@host`` of this controller: whose services and containers its own are."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry in the user database
        user = "unknown"
    return re.sub(r"[^A-Za-z0-9@._-]", "_", f"{user}@{socket.gethostname()}")
