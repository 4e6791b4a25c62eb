"""A Docker daemon as a worker, on this machine or on an SSH host."""

from __future__ import annotations

import functools
import shutil
from typing import TYPE_CHECKING, Any

from ras_runner.fleet.checks import common
from ras_runner.fleet.checks.local import existing, writable
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports.docker_address import DockerAddress, parse_docker_host
from ras_runner.validation import validated
from ras_runner.workers.docker import DockerSpec, local_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ras_runner.transports.docker_api import DockerDaemon
    from ras_runner.workers.linux import LinuxSpec

#: Seconds that a daemon gets to answer.
_LIMIT = 8


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What a Docker worker needs.

    Raises:
        InputError: a parameter is wrong.
    """
    spec = validated(DockerSpec, parameters, "worker type docker")
    address = parse_docker_host(spec.docker_host)
    if address.hop is not None:
        return remote_checks(spec, address)
    folder = local_folder(spec)
    return [
        *_daemon_checks(spec, address, lambda: _local_daemon(address), ()),
        Check("worker-folder", lambda: writable(folder)),
        Check("disk", lambda: common.disk(shutil.disk_usage(existing(folder)).free, folder)),
    ]


def remote_checks(spec: LinuxSpec, address: DockerAddress) -> list[Check]:
    """What a worker needs whose containers run on an SSH host.

    Args:
        spec: the worker's parameters.
        address: of the daemon; with a host.

    Raises:
        InputError, OperatorError: the way there cannot even be tried.
    """
    from ras_runner.fleet.checks.ssh import SshHost
    from ras_runner.transports.docker_ssh import connect_over_ssh

    if address.hop is None:
        raise ValueError("there is no host")
    host = SshHost(spec, address.hop)
    room = [check for check in host.room() if check.requirement != "cores"]

    def daemon() -> DockerDaemon:
        return connect_over_ssh(host.connection, address, timeout=_LIMIT)

    return [
        *host.reach(),
        Check("linux-tools", host.tools, ("login",)),
        *_daemon_checks(spec, address, daemon, ("login",)),
        Check("worker-folder", host.folder, ("login",)),
        *room,
    ]


def _local_daemon(address: DockerAddress) -> DockerDaemon:
    from ras_runner.transports.docker_api import connect

    return connect(address.socket, timeout=_LIMIT)


def _daemon_checks(
    spec: LinuxSpec, address: DockerAddress, connect: Callable[[], DockerDaemon], needs: tuple[str, ...]
) -> list[Check]:
    daemon = functools.cache(connect)

    def answers() -> Finding:
        with daemon().errors("doctor"):
            version = daemon().client.version(api_version=False)["Version"]
        return Finding(Verdict.OK, f"Docker {version} at {address}")

    def image() -> Finding:
        from ras_runner.workers.containers import image_engine

        return Finding(Verdict.OK, f"{spec.docker_image} holds {image_engine(spec, daemon(), address).name}")

    def cores() -> Finding:
        with daemon().errors("doctor"):
            found = int(daemon().client.info()["NCPU"])
        return common.cores(found, spec.cores_total if "cores_total" in spec.model_fields_set else found)

    return [
        Check("docker-engine", answers, needs),
        Check("docker-image", image, ("docker-engine",)),
        Check("cores", cores, ("docker-engine",)),
    ]
