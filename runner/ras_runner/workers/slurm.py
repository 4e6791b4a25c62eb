"""The Slurm worker: plans are jobs of a cluster, submitted on this machine or on a submit host behind SSH."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ras_runner.errors import InputError, OperatorError
from ras_runner.transports.local import LocalTransport
from ras_runner.transports.slurm import SlurmTransport
from ras_runner.transports.slurm_cluster import Cluster, ThisMachine, cluster_facts
from ras_runner.transports.slurm_jobs import SBATCH_OPTIONS, Facts, Wanted
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId, WorkerSpec, this_owner
from ras_runner.workers.linux import SSH_FIELDS, SshWay
from ras_runner.workers.ssh import command_words, native_engine
from ras_runner.workers.ssh_host import HOME_FOLDER, prepared_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from ras_runner.engines.base import Engine
    from ras_runner.transports.base import Transport
    from ras_runner.transports.ssh_connection import Connection
    from ras_runner.transports.ssh_shell import Programs

_STEP = "init worker"
#: Slots when nothing is said: the cluster's queue holds what does not fit.
_SLOTS = 200
#: Names of things in Slurm.
_Name = Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.,@-]{0,127})?$")]


def _known_options(given: dict[str, str]) -> dict[str, str]:
    if unknown := sorted(given.keys() - SBATCH_OPTIONS):
        raise ValueError(
            f"{', '.join(unknown)} cannot be given; those that can are {', '.join(sorted(SBATCH_OPTIONS))}"
        )
    if any("\n" in value or "\0" in value for value in given.values()):
        raise ValueError("a value has more than one line")
    return given


class SlurmSpec(SshWay, WorkerSpec):
    """Parameters of ``init_ras_worker("slurm", ...)``; see ``SshWay`` and ``WorkerSpec`` for the others.

    Attributes:
        hostname: submit host, reached over SSH; this machine when left out.
        username: who logs on to the submit host.
        port: of its SSH server.
        partition: the cluster's default partition when left out.
        account, qos: that jobs are charged to, and run with; Slurm's defaults for the user when left out.
        time_limit: of a plan, in minutes, or as Slurm writes it (``12:00:00``, ``2-00``); the
            partition's when left out.
        constraint: features that a node must have, as sbatch's ``--constraint``.
        memory_per_plan: of a plan, ``4g`` or ``800m``; the cluster's default when left out.
        sbatch_options: more options of sbatch, name -> value; an empty value for those that take none.
        image: Apptainer or Singularity image (``.sif``) on the shared file system that plans run in; on the nodes
            themselves when left out.
        engine: ``hecras-linux`` or ``standin``.
        version: HEC-RAS version: when several are installed; needed with ``image``.
        worker_folder: workspaces and store, on a file system that the submit host and all nodes share.
        hecras_folder: folder of the unpacked Linux archive, on the submit host as on the nodes; looked for when
            left out.
        standin_command: how the stand-in is started, on the submit host as on the nodes.
        cores_total: cores that one plan may have at most; those of the partition's largest node when left out.
        max_parallel_plans: jobs in the queue at once, running or not; 200 when left out.
    """

    launches_at_once: ClassVar[int] = 50

    worker_id: WorkerId = "slurm"
    hostname: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:%-]*)?$")] = ""
    username: Annotated[str, Field(pattern=r"^[^\s@:]*$")] = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    partition: _Name = ""
    account: _Name = ""
    qos: _Name = ""
    time_limit: Annotated[
        str,
        BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
        Field(pattern=r"^((\d+-)?\d+(:\d\d){0,2})?$"),
    ] = ""
    constraint: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:&|*!()\[\]-]*$")] = ""
    memory_per_plan: Annotated[str, Field(pattern=r"^([1-9]\d{0,8}[kmgtKMGT])?$")] = ""
    sbatch_options: Annotated[dict[str, str], AfterValidator(_known_options)] = Field(default_factory=dict)
    image: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f]*)?$")] = ""
    engine: Literal["hecras-linux", "standin"] = "hecras-linux"
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]*$")] = ""
    worker_folder: Annotated[str, BeforeValidator(str), Field(pattern=r"^[^\x00-\x1f]+$")] = HOME_FOLDER
    hecras_folder: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f]*)?$")] = ""
    standin_command: Annotated[str, AfterValidator(lambda text: shlex.join(command_words(text)))] = "ras-standin"
    cores_total: Annotated[int, Field(ge=1, le=4096)] = 4096

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        fields = type(self).model_fields
        given = [name for name in ("username", *SSH_FIELDS) if getattr(self, name) != fields[name].default]
        if given and not self.hostname:
            raise ValueError(f"{', '.join(given)} cannot be given without hostname: the submit host is this machine")
        if self.hostname and not self.username:
            raise ValueError("hostname needs username")
        if self.image and self.engine == "hecras-linux" and not self.version:
            raise ValueError("image needs version: which HEC-RAS it holds")
        if self.image and (self.hecras_folder or self.standin_command != "ras-standin"):
            raise ValueError("hecras_folder and standin_command cannot be given with image: it holds the engine")
        return self

    def slots(self, num_cores: int | None = None) -> int:
        """Jobs in the queue at once, however many cores they have: Slurm knows what fits."""
        del num_cores
        return self.max_parallel_plans or _SLOTS

    @property
    def wanted(self) -> Wanted:
        """What its jobs ask for."""
        return Wanted(
            self.partition,
            self.account,
            self.qos,
            self.time_limit,
            self.constraint,
            self.memory_per_plan,
            self.sbatch_options,
            self.image,
        )


def init_slurm_worker(parameters: Mapping[str, Any]) -> Worker:
    """A Slurm worker: its submit host reached, its cluster asked whether it would take a plan, its engine found.

    Raises:
        InputError: a parameter is unknown or wrong; or the cluster has no such partition.
        OperatorError: the submit host, its Slurm, the folder or the engine cannot be used; or Slurm refuses such jobs.
        TransientError, WorkerError: the submit host or Slurm's controller is not to be reached.
    """
    spec = validated(SlurmSpec, parameters, "worker type slurm")
    there = submit_host(spec)
    facts = cluster_facts(there, _STEP)
    spec = with_cores(spec, facts)
    cluster = Cluster(there, spec.wanted, this_owner(), facts)
    cluster.accepts(spec.cores(), _STEP)
    engine = slurm_engine(spec, there)
    folder = prepared_folder(there, spec.worker_folder)
    return Worker("slurm", spec, engine, SlurmTransport(_files(there, folder), cluster))


def _files(there: ThisMachine | Connection, folder: PurePosixPath) -> Transport:
    if isinstance(there, ThisMachine):
        return LocalTransport(Path(folder))
    from ras_runner.transports.ssh import SshTransport

    return SshTransport(there, folder)


def submit_host(spec: SlurmSpec) -> ThisMachine | Connection:
    """Where Slurm's commands are run; nothing is connected yet."""
    if not spec.hostname:
        return ThisMachine()
    from ras_runner.transports.ssh_connection import Connection
    from ras_runner.transports.ssh_login import Hop, asyncssh_module

    asyncssh_module()
    return Connection(spec.login(Hop(spec.username, spec.hostname, spec.port)))


def with_cores(spec: SlurmSpec, facts: Facts) -> SlurmSpec:
    """The parameters with the cores of the partition's largest node, where none were given.

    Raises:
        InputError: there is no such partition, or none was named and there is no default.
    """
    names = [name for name in spec.partition.split(",") if name] or ([facts.default] if facts.default else [])
    unknown = [name for name in names if name not in facts.cores]
    if unknown or not names:
        known = ", ".join(sorted(facts.cores)) or "none"
        raise InputError(
            f"the cluster {facts.cluster} has no partition {', '.join(unknown)}"
            if unknown
            else f"the cluster {facts.cluster} has no default partition",
            step=_STEP,
            action=f"give one of its partitions (partition / ras_partition): {known}",
        )
    if "cores_total" in spec.model_fields_set:
        return spec
    return spec.model_copy(update={"cores_total": max(1, *(facts.cores[name] for name in names))})


def slurm_engine(spec: SlurmSpec, there: Programs) -> Engine:
    """The engine of a worker, in its image or as the submit host has it.

    Raises:
        OperatorError: it is not there.
    """
    if not spec.image:
        return native_engine(spec, there)
    if there.run(f"[ -r {shlex.quote(spec.image)} ]\n", step=_STEP).code:
        raise OperatorError(
            f"there is no image {spec.image}, or it cannot be read",
            step=_STEP,
            host=there.host,
            action="make it on the shared file system: apptainer build IMAGE.sif docker-archive://IMAGE.tar "
            "(docker save of what ras-runner image build has made)",
        )
    from ras_runner.workers.containers import engine_inside

    return engine_inside(spec.engine, spec.version)
