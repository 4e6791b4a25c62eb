"""Worker types by name: imported on first use, so that a backend that is not installed costs nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, RasRunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ras_runner.workers.base import Worker, WorkerSpec
    from ras_runner.workers.group import AnyWorker

#: Workers that are made at once: hosts that do not answer take 15 s each.
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class WorkerType:
    """Where a worker type's constructor is.

    Attributes:
        module, function: ``function(parameters) -> Worker``, or a ``WorkerGroup``.
        spec: the model of its parameters, in the same module.
        extra: the pip extra that brings its libraries; empty when the base install has them.
    """

    module: str
    function: str
    extra: str = ""
    spec: str = field(kw_only=True)


WORKER_TYPES: dict[str, WorkerType] = {
    "aws_ec2": WorkerType("ras_runner.workers.aws_ec2", "init_aws_ec2_group", "aws", spec="AwsEc2Spec"),
    "dask": WorkerType("ras_runner.workers.dask", "init_dask_worker", "dask", spec="DaskSpec"),
    "azure": WorkerType("ras_runner.workers.azure", "init_azure_group", "azure", spec="AzureSpec"),
    "docker": WorkerType("ras_runner.workers.docker", "init_docker_worker", "docker", spec="DockerSpec"),
    "local": WorkerType("ras_runner.workers.local", "init_local_worker", spec="LocalSpec"),
    "psexec": WorkerType("ras_runner.workers.psexec", "init_psexec_worker", "windows", spec="PsExecSpec"),
    "slurm": WorkerType("ras_runner.workers.slurm", "init_slurm_worker", spec="SlurmSpec"),
    "ssh": WorkerType("ras_runner.workers.ssh", "init_ssh_worker", "ssh", spec="SshSpec"),
    "winrm": WorkerType("ras_runner.workers.winrm", "init_winrm_worker", "winrm", spec="WinRmSpec"),
}


def make_any_worker(worker_type: str, parameters: Mapping[str, Any]) -> AnyWorker:
    """A worker, or a group of machines, of a type.

    Raises:
        InputError: unknown type or parameter; the valid ones are listed.
        OperatorError: its engine is not installed.
    """
    from ras_runner.workers.group import plan_runner

    entry = _entry(worker_type)
    worker: AnyWorker = getattr(import_module(entry.module), entry.function)(parameters)
    seen = plan_runner(worker)
    if seen.spec.preprocess_on_host and not seen.needs_prepared:
        raise InputError(
            f"worker {seen.worker_id} cannot have preprocess_on_host: {seen.engine.name} cannot start from "
            "prepared files there",
            step="init worker",
            action="leave it out; it is for Linux workers with the engine hecras-linux (give its version) or standin",
        )
    return worker


def make_worker(worker_type: str, parameters: Mapping[str, Any]) -> Worker:
    """A worker of a type that is no group; errors as for :func:`make_any_worker`."""
    from ras_runner.workers.base import Worker

    made = None if is_group(worker_type) else make_any_worker(worker_type, parameters)
    if isinstance(made, Worker):
        return made
    raise InputError(
        f"{worker_type} is a group of machines, and one machine is meant",
        step="init worker",
        action=f"valid types are {', '.join(sorted(name for name in WORKER_TYPES if not is_group(name)))}",
    )


def is_group(worker_type: str) -> bool:
    """Whether workers of a type are groups of machines.

    Raises:
        InputError: unknown type; the valid ones are listed.
    """
    from ras_runner.workers.group import GroupSpec

    entry = _entry(worker_type)
    return issubclass(getattr(import_module(entry.module), entry.spec), GroupSpec)


def make_workers(wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> list[AnyWorker | RasRunnerError]:
    """Workers of these types and parameters, made at once: one that does not answer holds up no other.

    Returns:
        For each the worker, or why there is none.
    """

    def made(one: tuple[str, Mapping[str, Any]]) -> AnyWorker | RasRunnerError:
        try:
            return make_any_worker(*one)
        except RasRunnerError as error:
            return error

    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted) or 1), thread_name_prefix="make") as threads:
        return list(threads.map(made, wanted))


def worker_spec(worker_type: str, parameters: Mapping[str, Any]) -> WorkerSpec:
    """The parameters of a worker, checked without reaching for it; paths of this machine are made absolute.

    Raises:
        InputError: unknown type or parameter; the valid ones are listed.
    """
    from ras_runner.validation import validated

    entry = _entry(worker_type)
    model: type[WorkerSpec] = getattr(import_module(entry.module), entry.spec)
    spec = validated(model.model_for(parameters), parameters, f"worker type {worker_type}")
    paths = {name: value.expanduser().absolute() for name, value in spec if isinstance(value, Path)}
    return spec.model_copy(update=paths)


def spec_models() -> dict[str, type[WorkerSpec]]:
    """The models of all workers' parameters, by worker type; where Windows hosts have others, those by themselves."""
    models: dict[str, type[WorkerSpec]] = {}
    for name, entry in sorted(WORKER_TYPES.items()):
        model: type[WorkerSpec] = getattr(import_module(entry.module), entry.spec)
        models[name] = model
        if (on_windows := model.model_for({"os": "windows"})) is not model:
            models[f"{name} (Windows)"] = on_windows
    return models


def _entry(worker_type: str) -> WorkerType:
    entry = WORKER_TYPES.get(worker_type)
    if entry is None:
        raise InputError(
            f"unknown worker type {worker_type!r}",
            step="init worker",
            action=f"valid types are {', '.join(sorted(WORKER_TYPES))}",
        )
    return entry
