"""The Docker Engine API: how a daemon is reached, and what its errors mean for the reader."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from ras_runner.errors import InputError, OperatorError, RasRunnerError, WorkerError

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

    from docker.api import APIClient

__all__ = ["TIMEOUT", "APIError", "ImageNotFound", "NotFound", "connect", "docker_errors"]

DEFAULT_HOST = "unix:///var/run/docker.sock"
#: Seconds after which a daemon that says nothing counts as not answering.
TIMEOUT = 30
_FULL = "no space left on device"


def connect(docker_host: str, *, timeout: int = TIMEOUT) -> APIClient:
    """A client of a daemon on this machine, after one call that proves it answers.

    Args:
        docker_host: ``unix:///path/of/the.sock``; Docker's usual socket when empty.
        timeout: of every call, seconds.

    Raises:
        InputError: not the address of a local daemon.
        OperatorError: this user may not use the socket, or the daemon runs without root (not supported).
        WorkerError: the daemon does not answer.
    """
    address = docker_host or DEFAULT_HOST
    if not re.fullmatch(r"unix:///[^\0]+", address):
        raise InputError(
            f"docker_host {address!r} is not the socket of a Docker daemon on this machine",
            step="connect to docker",
            action=f"give unix:///path/of/docker.sock, or leave it out for {DEFAULT_HOST}",
        )
    with docker_errors("connect to docker", "this machine", address):
        client = docker.APIClient(base_url=address, version="auto", timeout=timeout)
        options = client.info().get("SecurityOptions") or []
    if any(re.search(r"name=(rootless|userns)", str(option)) for option in options):
        raise OperatorError(
            f"the Docker daemon at {address} maps user ids (rootless or userns-remap): its containers could not "
            "write to the worker folder",
            step="connect to docker",
            host="this machine",
            action="give the socket of a daemon without user id mapping as docker_host",
        )
    return client


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
    """There was no answer."""
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
