"""Where a Docker daemon is: ``docker_host`` as Docker writes it, ``unix:///path`` or ``ssh://user@host:port/path``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ras_runner.transports.ssh_login import Hop, parse_hop

DEFAULT_SOCKET = "/var/run/docker.sock"
_LOCAL = re.compile(r"unix://(?P<path>/[^\x00-\x1f]+)")
_REMOTE = re.compile(r"ssh://(?P<hop>[^/?#\s]+)(?P<path>/[^\x00-\x1f?#]*)?")


@dataclass(frozen=True, slots=True)
class DockerAddress:
    """A daemon's socket, on this machine or on a host that is reached by SSH.

    Attributes:
        socket: its path there.
        hop: the host; None for this machine.
    """

    socket: str = DEFAULT_SOCKET
    hop: Hop | None = None

    def __str__(self) -> str:
        if self.hop is None:
            return f"unix://{self.socket}"
        return f"ssh://{self.hop}" + (self.socket if self.socket != DEFAULT_SOCKET else "")


def parse_docker_host(text: str) -> DockerAddress:
    """The address that ``docker_host`` means; Docker's usual socket on this machine when it is empty.

    Raises:
        ValueError: it is neither ``unix:///path`` nor ``ssh://user@host``. What may hold a password is not repeated.
    """
    if not text:
        return DockerAddress()
    if match := _LOCAL.fullmatch(text):
        return DockerAddress(match["path"])
    match = _REMOTE.fullmatch(text)
    user, at, _ = match["hop"].rpartition("@") if match else ("", "", "")
    if match is None or not user or not at:
        raise ValueError("give unix:///path/of/docker.sock or ssh://user@host:port (and the path of a socket there)")
    if ":" in user:
        raise ValueError("there is a password in it: give ssh://user@host, and a key with ssh_key_path")
    path = (match["path"] or "").rstrip("/")
    return DockerAddress(path or DEFAULT_SOCKET, parse_hop(match["hop"], user))
