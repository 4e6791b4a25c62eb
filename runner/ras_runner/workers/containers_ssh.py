"""Containers on an SSH host: files and the daemon's socket go over one connection."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from ras_runner.errors import WorkerError
from ras_runner.transports import ssh_programs as programs
from ras_runner.transports.ssh import SshTransport
from ras_runner.transports.ssh_connection import Connection
from ras_runner.transports.ssh_login import asyncssh_module
from ras_runner.workers.containers import PLAIN_USER, ROOT_FOLDER, User, check_folder, container_worker
from ras_runner.workers.ssh_host import HOME_FOLDER, prepared_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import PurePath

    from ras_runner.transports.docker_address import DockerAddress
    from ras_runner.transports.docker_api import DockerDaemon
    from ras_runner.transports.ssh_login import Hop
    from ras_runner.workers.base import Worker
    from ras_runner.workers.linux import DockerPlace, LinuxSpec, SshWay

_STEP = "init worker"


def connect_to(place: DockerPlace, address: DockerAddress, *, timeout: int) -> DockerDaemon:
    """The daemon at an address, on this machine or behind SSH.

    Args:
        place: how to get there.
        address: of the daemon.
        timeout: of every call, seconds.

    Raises:
        OperatorError, WorkerError: the host or the daemon is not to be used; says why.
    """
    from ras_runner.transports.docker_api import connect
    from ras_runner.transports.docker_ssh import connect_over_ssh

    if address.hop is None:
        return connect(address.socket, timeout=timeout)
    return connect_over_ssh(connection_to(place, address.hop), address, timeout=timeout)


def remote_container_worker(kind: str, spec: LinuxSpec, address: DockerAddress) -> Worker:
    """A worker whose plans run in containers on an SSH host.

    Args:
        kind: its type.
        spec: its parameters.
        address: of the daemon; with a host.

    Raises:
        InputError, OperatorError, WorkerError: the host, its daemon, the folder or the image cannot be used; says why.
    """
    from ras_runner.transports.docker_ssh import connect_over_ssh

    if address.hop is None:
        raise ValueError("there is no host")
    connection = connection_to(spec, address.hop)
    uid, gid = _numbers(connection, "id -u; id -g")
    folder = prepared_folder(connection, spec.worker_folder or (HOME_FOLDER if uid else ROOT_FOLDER))
    check_folder(folder, connection.login.host)
    user = User(uid, gid) if uid else _other_user(connection, folder, gid)
    daemon = connect_over_ssh(connection, address)
    return container_worker(kind, spec, SshTransport(connection, folder), daemon, address, user)


def _other_user(connection: Connection, folder: PurePath, gid: int) -> User:
    """Who containers run as where we are root: the folder's owner, else a plain user."""
    uid, group = _numbers(connection, f"stat -c '%u %g' {quote(str(folder))}")
    if not uid:
        uid = group = PLAIN_USER
    return User(uid, group, _giver(connection, f"{uid}:{group}", f"0:{gid}"))


def connection_to(place: SshWay, hop: Hop) -> Connection:
    """A connection to an SSH host, made by the first call; raises OperatorError where asyncssh is not installed."""
    asyncssh_module()
    return Connection(place.login(hop))


def _numbers(connection: Connection, program: str) -> tuple[int, int]:
    first, second = _run(connection, program, _STEP).split()
    return int(first), int(second)


def _giver(connection: Connection, theirs: str, ours: str) -> Callable[[PurePath, bool], None]:
    """For a user who is root there: give an attempt's tree to the containers' user, and take it back."""

    def give(folder: PurePath, to_container: bool) -> None:
        step = "launch" if to_container else "collect"
        _run(connection, programs.give_program(folder, theirs if to_container else ours), step)

    return give


def _run(connection: Connection, program: str, step: str) -> bytes:
    done = connection.run(program, step=step, limit=600.0)
    if done.code:
        raise WorkerError(
            (done.errors.splitlines() or [f"exit code {done.code}"])[-1],
            step=step,
            host=connection.login.host,
            action="check the worker folder there; the host needs id, stat, find and chown",
        )
    return done.output
