"""The Docker Engine API: a daemon on this machine, and what the errors of a daemon mean for the reader."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.errors import OperatorError, RasRunnerError, TransientError, WorkerError

try:
    import docker
    import requests.exceptions
    from docker.errors import APIError, DockerException, ImageNotFound, NotFound
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] not in ("docker", "requests"):
        raise
    raise OperatorError(
        "the Docker SDK for Python is not installed", step="load docker", action="pip install 'ras-runner[docker]'"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from docker.api import APIClient

__all__ = ["TIMEOUT", "APIError", "DockerDaemon", "ImageNotFound", "NotFound", "connect", "docker_errors"]

#: Seconds after which a daemon that says nothing counts as not answering.
TIMEOUT = 30
_FULL = "no space left on device"


@dataclass(frozen=True, slots=True)
class DockerDaemon:
    """A daemon that has answered.

    Attributes:
        client: of it.
        host: the machine it runs on, for messages.
        address: ``unix:///path`` or ``ssh://user@host:port/path``.
    """

    client: APIClient
    host: str
    address: str

    def errors(self, step: str) -> AbstractContextManager[None]:
        """Turns the SDK's errors into errors for people."""
        return docker_errors(step, self.host, self.address)


def connect(socket: str, *, timeout: int = TIMEOUT) -> DockerDaemon:
    """A daemon on this machine, after one call that proves it answers.

    Args:
        socket: path of its Unix socket.
        timeout: of every call, seconds.

    Raises:
        OperatorError: this user may not use the socket, or the daemon maps user ids (not supported).
        WorkerError: the daemon does not answer.
    """
    address = f"unix://{socket}"
    with docker_errors("connect to docker", "this machine", address):
        client = docker.APIClient(base_url=address, version="auto", timeout=timeout)
    return checked(DockerDaemon(client, "this machine", address))


def checked(daemon: DockerDaemon) -> DockerDaemon:
    """The daemon, when containers can work with it. Raises as :func:`connect`."""
    with daemon.errors("connect to docker"):
        options = daemon.client.info().get("SecurityOptions") or []
    if any(re.search(r"name=(rootless|userns)", str(option)) for option in options):
        raise OperatorError(
            f"the Docker daemon at {daemon.address} maps user ids (rootless or userns-remap): its containers could "
            "not write to the worker folder",
            step="connect to docker",
            host=daemon.host,
            action="give the socket of a daemon without user id mapping as docker_host",
        )
    return daemon


@contextlib.contextmanager
def docker_errors(step: str, host: str, address: str) -> Iterator[None]:
    """Turn the SDK's errors into errors for people.

    Args:
        step: what is being done.
        host: the machine, for messages.
        address: of the daemon.
    """
    try:
        yield
    except RasRunnerError:
        raise
    except APIError as error:
        raise _refused(step, host, str(error.explanation or error)) from error
    except requests.exceptions.Timeout as error:
        raise WorkerError(
            f"the Docker daemon at {address} did not answer within {TIMEOUT} s",
            step=step,
            host=host,
            action="look at it with: docker info; start it again with: sudo systemctl restart docker",
        ) from error
    except (DockerException, requests.exceptions.RequestException, OSError) as error:
        raise _unreachable(step, host, address, str(error)) from error


def _refused(step: str, host: str, said: str) -> RasRunnerError:
    """The daemon answered with an error."""
    if _FULL in said:
        return OperatorError(
            f"Docker's disk is full: {said}",
            step=step,
            host=host,
            action="free space (docker system df shows what takes it); then: ras-runner resume",
        )
    if "bind source path does not exist" in said:
        return OperatorError(
            f"the Docker daemon does not see the worker folder: {said}",
            step=step,
            host=host,
            action="give a worker_folder that the daemon sees at the same path (it may run in a machine of its own)",
        )
    return WorkerError(
        f"the Docker daemon refused: {said}", step=step, host=host, action="look at it with: docker info"
    )


def _unreachable(step: str, host: str, address: str, said: str) -> RasRunnerError:
    """There was no answer. Whether a remote daemon runs was looked at when the way to it was made: see docker_ssh."""
    if address.startswith("ssh://"):
        return TransientError(
            f"the connection to the Docker daemon at {address} was lost: {said}",
            step=step,
            host=host,
            action="it is made again by itself",
        )
    if "Permission denied" in said or "PermissionError" in said:
        return OperatorError(
            f"this user may not use the Docker daemon at {address}",
            step=step,
            host=host,
            action="sudo usermod -aG docker $USER, then log in again (members of that group are as mighty as root)",
        )
    return WorkerError(
        f"no Docker daemon answers at {address}: {said}",
        step=step,
        host=host,
        action="start it with: sudo systemctl start docker",
    )
