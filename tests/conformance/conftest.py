"""The daemons of the worker types."""

from __future__ import annotations

from tests.dask.conftest import dask_cluster
from tests.docker.conftest import docker_daemon
from tests.slurm.cluster import slurm_cluster
from tests.ssh.conftest import sshd
from tests.windows.conftest import windows_host
from tests.wine.conftest import windows_machine
from tests.winrm.conftest import winrm_host, winrm_session

__all__ = [
    "dask_cluster",
    "docker_daemon",
    "slurm_cluster",
    "sshd",
    "windows_host",
    "windows_machine",
    "winrm_host",
    "winrm_session",
]
