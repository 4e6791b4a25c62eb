"""What SSH and Docker workers are both told: the engine for Linux, the way to a host, and containers there."""

from __future__ import annotations

import os
import shlex
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ras_runner.secret import check_reference
from ras_runner.transports.docker_address import parse_docker_host
from ras_runner.transports.ssh_login import login
from ras_runner.workers.base import WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ras_runner.transports.docker_address import DockerAddress
    from ras_runner.transports.ssh_login import Hop, Login


#: Parameters that are of use only where SSH is.
SSH_FIELDS = ("ssh_key_path", "passphrase", "known_hosts", "proxy_jump")


def _docker_host(text: str) -> str:
    parse_docker_host(text)
    return text


class SshWay(BaseModel):
    """The way to an SSH host.

    Attributes:
        ssh_key_path: private key; the agent and the usual keys in ``~/.ssh`` when left out.
        passphrase: reference to the key's passphrase: ``env:NAME``, ``file:path``, ``keyring:service/user``.
        known_hosts: file of accepted host keys.
        proxy_jump: ``user@host:port`` to go through; several after commas.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ssh_key_path: Path | None = None
    passphrase: Annotated[str, AfterValidator(lambda text: text and check_reference(text))] = ""
    known_hosts: Path = Path("~/.ssh/known_hosts")
    proxy_jump: str = ""

    def login(self, hop: Hop) -> Login:
        """The way to a host. Raises InputError when ``proxy_jump`` is wrong."""
        return login(
            hop,
            self.proxy_jump,
            known_hosts=self.known_hosts.expanduser().absolute(),
            key_path=self.ssh_key_path.expanduser().absolute() if self.ssh_key_path else None,
            passphrase=self.passphrase,
        )


class DockerPlace(SshWay):
    """Where a Docker daemon is, and how to get there: see ``SshWay``.

    Attributes:
        docker_host: ``unix:///path/of/docker.sock``, or ``ssh://user@host:port`` (and the path of a socket there);
            Docker's usual socket when left out.
    """

    docker_host: Annotated[str, AfterValidator(_docker_host)] = ""

    def options(self, address: DockerAddress) -> str:
        """The options of ``ras-runner image build`` for a daemon at this address, as one would type them."""
        given = {"--docker-host": str(address)} if self.docker_host or address.hop else {}
        if address.hop:
            given |= {f"--{n.replace('_', '-')}": str(getattr(self, n)) for n in self.given(SSH_FIELDS)}
        return "".join(f" {option} {shlex.quote(value)}" for option, value in given.items())

    def given(self, names: Iterable[str]) -> list[str]:
        """Those of the parameters that differ from what they are when left out."""
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, PurePath) else value


class LinuxSpec(DockerPlace, WorkerSpec):
    """Parameters that SSH and Docker workers share, besides those of the place.

    Attributes:
        engine: ``hecras-linux`` or ``standin``.
        version: HEC-RAS version: when several are installed, or for an image without the label that says it.
        worker_folder: where workspaces and the store live.
        docker_image: image that holds the engine, made by ``ras-runner image build``.
        memory_per_plan: limit of a plan, ``4g`` or ``800m``; as large a part of the machine's memory as the plan's
            part of ``cores_total`` when left out.
    """

    engine: Literal["hecras-linux", "standin"] = "hecras-linux"
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]*$")] = ""
    worker_folder: Annotated[str, BeforeValidator(_text), Field(pattern=r"^[^\x00-\x1f]*$")] = ""
    docker_image: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_./:@-]{0,254})?$")] = ""
    memory_per_plan: Annotated[str, Field(pattern=r"^([1-9]\d{0,14}[bkmgBKMG]?)?$")] = ""

    def without(self, names: Iterable[str], when: str) -> None:
        """Raise ValueError for parameters that were given and have no meaning ``when``."""
        if wrong := self.given(names):
            raise ValueError(f"{', '.join(wrong)} cannot be given {when}")
