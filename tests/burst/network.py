"""The network between the controller and the machines of a cloud: a bridge of this machine, a namespace a machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.services import not_here


def ip(command: str, *, check: bool = True) -> None:
    """``ip ...``"""
    subprocess.run(["ip", *command.split()], check=check, capture_output=True)


@dataclass(frozen=True)
class Network:
    """A bridge.

    Attributes:
        name: of it, which names of namespaces begin with.
        gateway: the address of the cloud's API and of the controller.
    """

    name: str
    gateway: str

    def add(self, number: int, address: str) -> str:
        """A namespace behind the bridge, with a device ``eth0`` that has no address yet; its name."""
        space, cable = f"{self.name}n{number}", f"{self.name}v{number}"
        ip(f"netns add {space}")
        ip(f"link add {cable} type veth peer name eth0 netns {space}")
        ip(f"link set {cable} master {self.name} up")
        ip(f"route add {address}/32 dev {self.name} src {self.gateway}")
        return space

    def remove(self, number: int, address: str) -> None:
        """The namespace, and with it the cable."""
        ip(f"link del {self.name}v{number}", check=False)
        ip(f"netns del {self.name}n{number}", check=False)
        ip(f"route del {address}/32 dev {self.name}", check=False)


@contextlib.contextmanager
def running_network() -> Iterator[Network]:
    """A network for as long as the block lasts."""
    number = os.getpid()
    network = Network(f"rasb{number}"[:11], f"10.214.{number // 250 % 250}.{number % 250 + 1}")
    try:
        ip(f"link add {network.name} type bridge")
        ip(f"addr add {network.gateway}/32 dev {network.name}")
        ip(f"link set {network.name} up")
        yield network
    except (OSError, subprocess.CalledProcessError) as reason:
        not_here(f"a network of namespaces cannot be had here: {reason}")
    finally:
        ip(f"link del {network.name}", check=False)
