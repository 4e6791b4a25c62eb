"""A submit host of a Slurm cluster as a worker."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.fleet.checks import common
from ras_runner.fleet.checks.local import existing, writable
from ras_runner.fleet.checks.ssh import SshHost
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports.slurm_cluster import Cluster, cluster_facts
from ras_runner.transports.ssh_login import Hop
from ras_runner.validation import validated
from ras_runner.workers.base import this_owner
from ras_runner.workers.slurm import SlurmSpec, slurm_engine, submit_host, with_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.transports.ssh_shell import Programs

_STEP = "doctor"


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What a Slurm worker needs.

    Raises:
        InputError: a parameter is wrong.
    """
    spec = validated(SlurmSpec, parameters, "worker type slurm")
    if not spec.hostname:
        folder = Path(spec.worker_folder).expanduser().absolute()
        return [
            *_cluster_checks(spec, submit_host(spec), ()),
            Check("worker-folder", lambda: writable(folder)),
            Check("disk", lambda: common.disk(shutil.disk_usage(existing(folder)).free, folder)),
        ]
    host = SshHost(spec, Hop(spec.username, spec.hostname, spec.port))
    return [
        *host.reach(),
        Check("linux-tools", host.tools, ("login",)),
        *_cluster_checks(spec, host.connection, ("login",)),
        Check("worker-folder", host.folder, ("login",)),
        *(check for check in host.room() if check.requirement != "cores"),  # those of the submit host run no plans
    ]


def _cluster_checks(spec: SlurmSpec, there: Programs, needs: tuple[str, ...]) -> list[Check]:
    facts = functools.cache(lambda: cluster_facts(there, _STEP))

    def commands() -> Finding:
        return Finding(Verdict.OK, f"cluster {facts().cluster}, Slurm {facts().version}: {', '.join(facts().cores)}")

    def takes() -> Finding:
        asked = with_cores(spec, facts())
        Cluster(there, asked.wanted, this_owner(), facts()).accepts(asked.cores(), _STEP)
        where = spec.partition or facts().default
        return Finding(Verdict.OK, f"partition {where} would take a plan of {asked.cores()} cores")

    return [
        Check("slurm-commands", commands, needs),
        Check("slurm-partition", takes, ("slurm-commands",)),
        Check(
            "engine" if spec.engine == "standin" else "hecras-linux",
            lambda: Finding(Verdict.OK, slurm_engine(spec, there).name),
            needs,
        ),
    ]
