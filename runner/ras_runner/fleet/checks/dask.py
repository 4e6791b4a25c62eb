"""A Dask cluster as a worker."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ras_runner.fleet.checks import common
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports.dask import DaskTransport
from ras_runner.validation import validated
from ras_runner.workers.dask import DaskSpec, check_versions, cluster_of, problems, workers_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ras_runner.transports.dask_cluster import Cluster


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What a Dask worker needs.

    Raises:
        InputError: a parameter is wrong.
        OperatorError: distributed is not installed.
    """
    spec = validated(DaskSpec, parameters, "worker type dask")
    at = urlsplit(spec.scheduler_address)
    seen = _Seen(spec, cluster_of(spec), spec.shared_folder)
    return [
        *common.reach_checks(at.hostname or "", at.port or 0, "Dask scheduler"),
        Check("login", seen.login, ("port-open",)),
        Check("worker-folder", seen.folder),
        Check("engine", seen.workers, ("login", "worker-folder")),
        Check("cores", seen.cores, ("login",)),
        Check("disk", lambda: common.disk(shutil.disk_usage(seen.shared).free, seen.shared), ("worker-folder",)),
    ]


@dataclass
class _Seen:
    """One cluster, and the folder it shares."""

    spec: DaskSpec
    cluster: Cluster
    shared: Path

    def login(self) -> Finding:
        """Whether the scheduler and its workers speak with us."""
        return Finding(
            Verdict.OK, f"the scheduler and its workers have distributed {check_versions(self.cluster)}, as we"
        )

    def folder(self) -> Finding:
        """Whether the shared folder can be written to from here."""
        if not os.access(self.shared, os.W_OK | os.X_OK):
            return Finding(Verdict.FAILED, f"{self.shared} is not there, or cannot be written to from this machine")
        return Finding(Verdict.OK, f"{self.shared} can be written to from this machine")

    def workers(self) -> Finding:
        """Whether each Dask worker has the engine, ras-runner, and the shared folder."""
        there = workers_of(self.spec, self.cluster)
        wrong = problems(self.spec, DaskTransport(self.cluster, self.spec.root, self.shared), list(there))
        for worker, (cause, action) in wrong.items():
            others = f" ({len(wrong)} of {len(there)} workers have problems)" if len(wrong) > 1 else ""
            return Finding(Verdict.FAILED, f"Dask worker {worker}: {cause}{others}", action)
        if not there:
            return Finding(Verdict.WARNING, "no Dask worker is there now: nothing could be looked at", "start some")
        return Finding(Verdict.OK, f"{len(there)} Dask workers have it, and share {self.shared}")

    def cores(self) -> Finding:
        """Whether the cluster has the room that plans are to use."""
        slots = self.cluster.slots(workers_of(self.spec, self.cluster))
        found = slots * self.spec.cores_per_plan
        wanted = self.spec.cores_total or found
        verdict = Verdict.WARNING if wanted > found else Verdict.OK
        return Finding(verdict, f"room for {slots} plans at once now; wanted for {wanted // self.spec.cores_per_plan}")
