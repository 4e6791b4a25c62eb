"""Worker types by name: imported on first use, so that a backend that is not installed costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.workers.base import Worker, WorkerSpec


@dataclass(frozen=True, slots=True)
class WorkerType:
    """Where a worker type's constructor is.

    Attributes:
        module, function: ``function(parameters) -> Worker``.
        extra: the pip extra that brings its libraries; empty when the base install has them.
    """

    module: str
    function: str
    extra: str = ""


WORKER_TYPES: dict[str, WorkerType] = {
    "docker": WorkerType("ras_runner.workers.docker", "init_docker_worker", "docker"),
    "local": WorkerType("ras_runner.workers.local", "init_local_worker"),
    "ssh": WorkerType("ras_runner.workers.ssh", "init_ssh_worker", "ssh"),
}


def make_worker(worker_type: str, parameters: Mapping[str, Any]) -> Worker:
    """A worker of a type.

    Raises:
        InputError: unknown type or parameter; the valid ones are listed.
        OperatorError: its engine is not installed.
    """
    entry = WORKER_TYPES.get(worker_type)
    if entry is None:
        raise InputError(
            f"unknown worker type {worker_type!r}",
            step="init worker",
            action=f"valid types are {', '.join(sorted(WORKER_TYPES))}",
        )
    worker: Worker = getattr(import_module(entry.module), entry.function)(parameters)
    return worker


def worker_spec(worker_type: str) -> type[WorkerSpec]:
    """The model of a worker type's parameters: the one that its module defines."""
    from ras_runner.workers.base import WorkerSpec

    module = import_module(WORKER_TYPES[worker_type].module)
    (spec,) = (
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, WorkerSpec) and item.__module__ == module.__name__
    )
    return spec
