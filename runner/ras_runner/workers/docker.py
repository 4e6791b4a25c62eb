"""The Docker worker: plans run in containers of a Docker daemon, on this machine or on an SSH host."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from ras_runner.errors import OperatorError
from ras_runner.transports.docker_address import DockerAddress, parse_docker_host
from ras_runner.transports.local import LocalTransport
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId, default_worker_folder
from ras_runner.workers.linux import SSH_FIELDS, LinuxSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ras_runner.workers.containers import User

_STEP = "init worker"
_HOST = "this machine"


class DockerSpec(LinuxSpec):
    """Parameters of ``init_ras_worker("docker", ...)``; see ``LinuxSpec`` and ``DockerPlace`` for the others.

    Attributes:
        docker_image: image that holds the engine, made by ``ras-runner image build``.
        cores_total: cores that plans may use; all of the daemon's machine when left out.
        worker_folder: on the daemon's machine. Left out: the user's cache folder; ``~/.cache/ras-runner/worker`` on an
            SSH host; ``/var/lib/ras-runner/worker`` for root.
    """

    worker_id: WorkerId = "docker"
    cores_total: Annotated[int, Field(ge=1, le=4096)] = 1
    docker_image: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}$")]

    @model_validator(mode="after")
    def _no_keys_for_this_machine(self) -> Self:
        if parse_docker_host(self.docker_host).hop is None:
            self.without(SSH_FIELDS, "with a daemon on this machine (docker_host=ssh://user@host names another)")
        return self


def init_docker_worker(parameters: Mapping[str, Any]) -> Worker:
    """A worker whose plans run in containers, its daemon and image found and its folder made.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: the SDK or the image is missing, the image holds another engine, or the socket is closed to us.
        WorkerError: the host or the daemon does not answer.
    """
    spec = validated(DockerSpec, parameters, "worker type docker")
    address = parse_docker_host(spec.docker_host)
    if address.hop is None:
        return _local_worker(spec, address)
    from ras_runner.workers.containers_ssh import remote_container_worker

    return remote_container_worker("docker", spec, address)


def _local_worker(spec: DockerSpec, address: DockerAddress) -> Worker:
    if sys.platform == "win32":
        raise OperatorError(
            "Docker workers need a daemon that sees the worker folder at the same path: not so on Windows",
            step=_STEP,
            action="give a daemon on a Linux machine (docker_host=ssh://user@host), or use worker type local",
        )
    from ras_runner.transports.docker_api import connect
    from ras_runner.workers.containers import check_folder, container_worker

    folder = local_folder(spec)
    daemon = connect(address.socket)
    check_folder(folder, _HOST)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"the worker folder {folder} cannot be made: {error.strerror}",
            step=_STEP,
            action="give another worker_folder",
        ) from error
    spec = spec.model_copy(update={"worker_folder": str(folder)})
    return container_worker("docker", spec, LocalTransport(folder), daemon, address, _user(folder))


def local_folder(spec: DockerSpec) -> Path:
    """The worker folder of a daemon on this machine; nothing is made."""
    from ras_runner.workers.containers import ROOT_FOLDER

    root = sys.platform != "win32" and os.getuid() == 0
    return Path(spec.worker_folder or (ROOT_FOLDER if root else default_worker_folder())).expanduser().absolute()


def _user(folder: Path) -> User:
    """Who containers run as: ours, else the folder's owner, else a plain user."""
    from ras_runner.workers.containers import PLAIN_USER, User

    if sys.platform == "win32":
        raise AssertionError("there are no local Docker workers on Windows")
    if os.getuid() != 0:
        return User(os.getuid(), os.getgid())
    owner = folder.stat()
    uid, gid = (owner.st_uid, owner.st_gid) if owner.st_uid else (PLAIN_USER, PLAIN_USER)
    return User(uid, gid, _giver(uid, gid))


def _giver(uid: int, gid: int) -> Callable[[PurePath, bool], None]:
    """For a controller that is root: give an attempt's tree to the containers' user, and take it back."""

    def give(folder: PurePath, to_container: bool) -> None:
        if sys.platform == "win32":
            raise AssertionError("there are no local Docker workers on Windows")
        new = (uid, gid) if to_container else (os.getuid(), os.getgid())
        top = Path(folder)
        for path in (top, *top.rglob("*")) if top.is_dir() else ():
            status = path.lstat()
            # what is linked into the store stays root's, and is readable by all
            if stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
                os.chown(path, *new, follow_symlinks=False)

    return give
