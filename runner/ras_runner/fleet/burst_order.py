"""What a burst is asked to be: checked before a cloud is asked anything."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ras_runner.errors import InputError
from ras_runner.validation import validated

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOUDS = ("aws", "azure")
_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?")
#: The shortest life that makes sense: a machine is ready a few minutes after it was asked for.
_SHORTEST = 600.0


def seconds_of(text: Any) -> Any:
    """Seconds of ``90m``, ``4h``, ``1h30m`` or ``1d``; numbers are seconds.

    Raises:
        ValueError: it is no such time.
    """
    if not isinstance(text, str):
        return text
    found = _PARTS.fullmatch(text.strip())
    if not found or not any(found.groups()):
        raise ValueError(f"{text!r} is no time: write it as 90m, 4h, 1h30m or 1d")
    days, hours, minutes = (float(part or 0) for part in found.groups())
    return days * 86400 + hours * 3600 + minutes * 60


def duration(seconds: float) -> str:
    """``4 h``, ``1 h 30 min`` or ``45 min``."""
    hours, minutes = divmod(round(seconds / 60), 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes or not hours)
    return " ".join(parts)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text if "/" in text else f"{text}/{ipaddress.ip_address(text).max_prefixlen}"))
    except ValueError as error:
        raise ValueError(f"{error}: an address or a network such as 203.0.113.7/32") from None


Seconds = Annotated[float, BeforeValidator(seconds_of), Field(gt=0, allow_inf_nan=False)]
Network = Annotated[str, AfterValidator(_network)]


class BurstOrder(BaseModel):
    """What ``ras-runner burst run``, ``burst up`` and ``Burst(...)`` are told.

    Attributes:
        cloud: ``aws`` or ``azure``.
        region: of the machines.
        workers: machines at most.
        ttl: seconds after which all machines end themselves, or text such as ``4h``.
        max_cost: limit, in the currency of the prices.
        docker_image: image that the plans run in.
        image_archive: ``docker save IMAGE | gzip`` of it; it is put into the burst's own storage.
        engine: that the image holds: ``hecras-linux`` or ``standin``.
        version: HEC-RAS version in the image; hecras-linux needs it.
        machine_types: instance types or VM sizes that will do; those of the Terraform module when left out.
        cores_per_plan: cores of each plan.
        on_demand: so many machines are bought at the full price; the others may be taken away.
        disk_gib: disk of each machine, GiB.
        idle_minutes: a machine without a plan for so long ends itself.
        machine_image: image of the machines; the cloud's own when left out.
        vpc_id, subnet_ids: network (AWS); the region's default when left out.
        profile: of the user's AWS settings.
        subscription_id, subnet_id: who pays, and the network (Azure).
        public_ip: machines get public addresses.
        access_cidrs: addresses of this controller; found out when left out, where that can be done.
        allow_access_from_anywhere: take networks that are everybody.
        proxy_jump: ``user@host:port`` that the machines are reached through.
        queue_priority: 0 to 9; workers with a lower number are filled first.
        plans, hours_per_plan: what is to be computed, for the estimate.
        prices: file of own rates.
        ttl_limit: the longest ``ttl`` that is taken.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cloud: Literal["aws", "azure"]
    region: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,39}$")]
    workers: Annotated[int, Field(ge=1, le=500)]
    ttl: Seconds
    max_cost: Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
    docker_image: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}$")]
    image_archive: Path
    engine: Literal["hecras-linux", "standin"] = "hecras-linux"
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]*$")] = ""
    machine_types: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")], ...] = ()
    cores_per_plan: Annotated[int, Field(ge=1, le=4096)] = 4
    on_demand: Annotated[int, Field(ge=0, le=500)] = 0
    disk_gib: Annotated[int, Field(ge=30, le=16000)] = 100
    idle_minutes: Annotated[int, Field(ge=5, le=240)] = 15
    machine_image: str = ""
    vpc_id: Annotated[str, Field(pattern=r"^(vpc-[0-9a-f]{8,17})?$")] = ""
    subnet_ids: tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...] = ()
    profile: str = ""
    subscription_id: str = ""
    subnet_id: str = ""
    public_ip: bool = False
    access_cidrs: tuple[Network, ...] = ()
    allow_access_from_anywhere: bool = False
    proxy_jump: str = ""
    queue_priority: Annotated[int, Field(ge=0, le=9)] = 5
    plans: Annotated[int, Field(ge=1)] | None = None
    hours_per_plan: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    prices: Path | None = None
    ttl_limit: Seconds = 86400.0

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.ttl > self.ttl_limit:
            raise ValueError(
                f"ttl is {duration(self.ttl)}, and {duration(self.ttl_limit)} is the limit (ttl_limit raises it)"
            )
        if self.ttl < _SHORTEST:
            raise ValueError(f"ttl is {duration(self.ttl)}: a machine needs {duration(_SHORTEST)} to be of any use")
        world = [cidr for cidr in self.access_cidrs if _is_everybody(cidr)]
        if world and not self.allow_access_from_anywhere:
            raise ValueError(
                f"access_cidrs: {', '.join(world)} is everybody: give this controller's own address, or say "
                "allow_access_from_anywhere"
            )
        if self.engine == "hecras-linux" and not self.version:
            raise ValueError("version: the HEC-RAS version in the image is needed, such as 6.6")
        return self


def make_order(parameters: Mapping[str, Any]) -> BurstOrder:
    """A burst's parameters, checked as far as that goes without the cloud; what is None counts as left out.

    Raises:
        InputError: says what is wrong, and what would be right.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    if given.get("cloud") not in CLOUDS:
        raise InputError(
            f"unknown cloud {given.get('cloud')!r}", step="check burst", action=f"valid clouds are {', '.join(CLOUDS)}"
        )
    if missing := [name for name in ("ttl", "max_cost", "image_archive", "region") if name not in given]:
        raise InputError(
            f"a burst needs {', '.join(missing)}",
            step="check burst",
            action="say where, how long, for how much, and with which image; see: ras-runner burst run --help",
        )
    order = validated(BurstOrder, given, "burst")
    try:
        with order.image_archive.expanduser().open("rb") as archive:
            empty = not archive.read(1)
    except OSError as error:
        raise _no_archive(order, error.strerror or str(error)) from None
    if empty:
        raise _no_archive(order, "it is empty")
    return order


def _no_archive(order: BurstOrder, why: str) -> InputError:
    return InputError(
        f"the image archive {order.image_archive} cannot be used: {why}",
        step="check burst",
        action=f"make it: docker save {order.docker_image} | gzip > {order.image_archive.name}",
    )


def _is_everybody(cidr: str) -> bool:
    """Whole provinces of the internet count as everybody too: the Terraform modules say the same."""
    network = ipaddress.ip_network(cidr)
    return network.prefixlen < (8 if network.version == 4 else 20)
