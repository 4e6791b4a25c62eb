"""What a burst needs of a cloud, besides Terraform and the group of workers: one module a cloud keeps to this."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ras_runner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ras_runner.fleet.burst_order import BurstOrder
    from ras_runner.fleet.burst_record import BurstRecord, MachineTime
    from ras_runner.workers.group import WorkerGroup

#: Asked for the way to it, never sent to: a documentation address (RFC 5737).
_NOWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True)
class Place:
    """What the cloud said before anything was bought.

    Attributes:
        account: who pays, for people.
        machine_types: that will do, the first choice first.
        cores: of the smallest of them.
        variables: of the Terraform root that only this cloud has.
        access_cidrs: who gets in.
    """

    account: str
    machine_types: tuple[str, ...]
    cores: int
    variables: dict[str, Any]
    access_cidrs: tuple[str, ...]


class BurstCloud(Protocol):
    """A cloud. Every method raises OperatorError (log on, grant a right), InputError or TransientError."""

    def check(self, order: BurstOrder) -> Place:
        """Credentials, region, network and machine types, before anything is bought."""

    def upload(self, record: BurstRecord, archive: Path, say: Callable[[str], None]) -> None:
        """Put the image archive into the burst's own storage, where its machines look for it."""

    def machines(self, record: BurstRecord) -> dict[str, MachineTime]:
        """The machines that cost something now, by the cloud's name for them."""

    def scale(self, record: BurstRecord, machines: int) -> None:
        """Ask for so many machines."""

    def clean(self, record: BurstRecord) -> list[str]:
        """Remove what carries the burst's tags and Terraform does not know; what is left after that, in words."""

    def planned(self, order: BurstOrder) -> WorkerGroup:
        """What plans need to know of the burst's machines before there are any."""

    def group(self, record: BurstRecord, key: Path) -> tuple[str, dict[str, Any]]:
        """Worker type and parameters of the burst's group of machines, as for ``make_worker``."""


def access_networks(order: BurstOrder, private: Sequence[str]) -> tuple[str, ...]:
    """Who gets in: what was said, else this machine's own address where that can be known without asking anybody.

    Args:
        order: what was said.
        private: networks that the machines' private addresses are in.

    Raises:
        InputError: it cannot be known.
    """
    if order.access_cidrs:
        return order.access_cidrs
    own = _own_address()
    if order.public_ip:
        fits = own is not None and own.is_global
        why = "it is behind a router, whose public address is asked for"
    else:
        fits = own is not None and any(own in ipaddress.ip_network(network) for network in private)
        why = f"it is not in the machines' network ({', '.join(private) or 'unknown'})"
    if own is None or not fits:
        raise InputError(
            f"which address this controller ({own or 'no address'}) comes from is not known: {why}",
            step="check burst",
            action="give it: --access-cidr ADDRESS/32 (on most sites that show 'what is my IP')",
        )
    return (f"{own}/{own.max_prefixlen}",)


def _own_address() -> ipaddress.IPv4Address | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NOWHERE)  # UDP: nothing is sent
            return ipaddress.IPv4Address(probe.getsockname()[0])
        except OSError:
            return None
