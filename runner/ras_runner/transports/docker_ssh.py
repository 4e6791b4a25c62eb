"""A Docker daemon on another machine: its socket there, over the SSH connection that moves the files.

Nothing listens on this machine and nothing lies on its disk: each HTTP connection is a channel of its own
(docs/decisions/014). A lost connection fails what was asked; the next question makes it again.
"""

from __future__ import annotations

import socket
from shlex import quote
from typing import TYPE_CHECKING, Any

import requests.adapters
import urllib3.connection
import urllib3.connectionpool
from docker.api import APIClient
from docker.constants import MINIMUM_DOCKER_API_VERSION

from ras_runner.errors import OperatorError, WorkerError
from ras_runner.transports.docker_api import TIMEOUT, DockerDaemon, checked, docker_errors
from ras_runner.transports.ssh_connection import PipeRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ras_runner.transports.docker_address import DockerAddress
    from ras_runner.transports.ssh_connection import Connection

_STEP = "connect to docker"
#: The SDK wants an address to send to; nothing is ever resolved or connected by it.
_URL = "http://docker:2375"


def connect_over_ssh(connection: Connection, address: DockerAddress, *, timeout: int = TIMEOUT) -> DockerDaemon:
    """A daemon on an SSH host, after one call that proves it answers.

    Args:
        connection: to the host.
        address: of the daemon.
        timeout: of every call, seconds.

    Raises:
        OperatorError: the user may not use the socket there, or the daemon maps user ids (not supported).
        WorkerError: the daemon does not answer.
    """
    _check_socket(connection, address.socket)
    host = connection.login.host

    def client(version: str) -> APIClient:
        made = APIClient(base_url=_URL, version=version, timeout=timeout)
        made.trust_env = False  # proxies of this machine have no part in it
        made.mount(_URL, _Adapter(lambda: _open(connection, address.socket)))
        return made

    with docker_errors(_STEP, host, str(address)):
        spoken = str(client(MINIMUM_DOCKER_API_VERSION).version(api_version=False)["ApiVersion"])
        return checked(DockerDaemon(client(spoken), host, str(address)))


def _open(connection: Connection, path: str) -> socket.socket:
    """A new connection to the daemon; when the host refuses, the reason."""
    try:
        return connection.pipe(path, step=_STEP)
    except PipeRefusedError as error:
        _check_socket(connection, path)
        raise WorkerError(
            f"nothing answers at the Docker socket {path}: {error.cause}",
            step=_STEP,
            host=connection.login.host,
            action="there: sudo systemctl start docker; if it runs: its SSH server has to allow it "
            "(AllowStreamLocalForwarding yes, the default)",
        ) from error


def _check_socket(connection: Connection, path: str) -> None:
    """Raise when the user cannot use the socket there; sshd itself tells no reasons."""
    word = quote(path)
    program = f"if [ ! -S {word} ]; then echo none; elif [ ! -w {word} ]; then echo closed; else echo open; fi; id -un"
    found, _, user = connection.run(program, step=_STEP).output.decode("utf-8", "replace").strip().partition("\n")
    host = connection.login.host
    if found == "closed":
        raise OperatorError(
            f"the user {user} may not use the Docker daemon at {path}",
            step=_STEP,
            host=host,
            action=f"there: sudo usermod -aG docker {user} (members of that group are as mighty as root); "
            "the next login has it",
        )
    if found != "open":
        raise WorkerError(
            f"there is no Docker socket {path}",
            step=_STEP,
            host=host,
            action="there: sudo systemctl start docker (Debian, Ubuntu: sudo apt install docker.io); if the socket is "
            "elsewhere, name it in docker_host",
        )


class _Connection(urllib3.connection.HTTPConnection):
    """HTTP through a socket that ``opened`` makes."""

    opened: Callable[[], socket.socket]

    def _new_conn(self) -> socket.socket:
        made = self.opened()
        made.settimeout(self.timeout if isinstance(self.timeout, (int, float)) else None)
        return made


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    """Connections to one daemon; those that were cut are made anew."""

    def __init__(self, opened: Callable[[], socket.socket]) -> None:
        super().__init__("docker", maxsize=10)
        self._opened = opened

    def _new_conn(self) -> _Connection:
        made = _Connection("docker", timeout=self.timeout.connect_timeout)
        made.opened = self._opened
        return made


class _Adapter(requests.adapters.HTTPAdapter):
    """Sends the SDK's requests through a pool of ours, as the SDK's own adapter for Unix sockets does."""

    def __init__(self, opened: Callable[[], socket.socket]) -> None:
        super().__init__()
        self._pool = _Pool(opened)

    def get_connection(self, *_: Any, **__: Any) -> _Pool:
        """For requests before 2.32."""
        return self._pool

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> _Pool:
        """For requests since 2.32."""
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """The path alone: there is no host to name."""
        del proxies
        return request.path_url

    def close(self) -> None:
        """End the connections."""
        self._pool.close()
        super().close()
