"""A Dask cluster as a worker."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ras_runner.fleet.checks import common
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports.dask_objects import DaskObjects
from ras_runner.validation import validated
from ras_runner.workers.dask import DaskSpec, check_versions, cluster_of, problems, transport_of, workers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.transports.dask_cluster import Cluster


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What a Dask worker needs.

    Raises:
        InputError: a parameter is wrong.
        OperatorError: distributed is not installed.
    """
    spec = validated(DaskSpec, parameters, "worker type dask")
    at = urlsplit(spec.scheduler_address)
    seen = _Seen(spec, cluster_of(spec))
    found = [
        *common.reach_checks(at.hostname or "", at.port or 0, "Dask scheduler"),
        Check("login", seen.login, ("port-open",)),
        Check("worker-folder", seen.folder),
        Check("engine", seen.workers, ("login", "worker-folder")),
        Check("cores", seen.cores, ("login",)),
    ]
    if shared := spec.shared_folder:
        found.append(Check("disk", lambda: common.disk(shutil.disk_usage(shared).free, shared), ("worker-folder",)))
    return found


@dataclass
class _Seen:
    """One cluster."""

    spec: DaskSpec
    cluster: Cluster

    def __post_init__(self) -> None:
        self.transport = transport_of(self.spec, self.cluster)

    def login(self) -> Finding:
        """Whether the scheduler and its workers speak with us."""
        return Finding(
            Verdict.OK, f"the scheduler and its workers have distributed {check_versions(self.cluster)}, as we"
        )

    def folder(self) -> Finding:
        """Whether the shared folder, or the storage, can be written to from here."""
        if isinstance(self.transport, DaskObjects):
            with self.transport.probed():
                return Finding(Verdict.OK, f"{self.spec.storage_url} can be read and written to from this machine")
        shared = self.transport.shared
        if not os.access(shared, os.W_OK | os.X_OK):
            return Finding(Verdict.FAILED, f"{shared} is not there, or cannot be written to from this machine")
        return Finding(Verdict.OK, f"{shared} can be written to from this machine")

    def workers(self) -> Finding:
        """Whether each Dask worker has the engine, ras-runner, and the shared folder or the storage."""
        there = workers_of(self.spec, self.cluster)
        wrong = problems(self.spec, self.transport, list(there))
        for worker, (cause, action) in wrong.items():
            others = f" ({len(wrong)} of {len(there)} workers have problems)" if len(wrong) > 1 else ""
            return Finding(Verdict.FAILED, f"Dask worker {worker}: {cause}{others}", action)
        if not there:
            return Finding(Verdict.WARNING, "no Dask worker is there now: nothing could be looked at", "start some")
        files = self.spec.shared_folder or self.spec.storage_url
        return Finding(Verdict.OK, f"{len(there)} Dask workers have it, and share {files}")

    def cores(self) -> Finding:
        """Whether the cluster has the room that plans are to use."""
        slots = self.cluster.slots(workers_of(self.spec, self.cluster))
        found = slots * self.spec.cores_per_plan
        wanted = self.spec.cores_total or found
        verdict = Verdict.WARNING if wanted > found else Verdict.OK
        return Finding(verdict, f"room for {slots} plans at once now; wanted for {wanted // self.spec.cores_per_plan}")
