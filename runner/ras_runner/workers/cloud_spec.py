"""What groups of machines in any cloud are told of their machines."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ras_runner.secret import check_reference
from ras_runner.workers.linux import SshWay
from ras_runner.workers.windows import Command, WindowsFolder

_NEEDS_VERSION = "{} needs version: it says what a plan needs before there is a machine to ask"


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, PurePath) else value


class LinuxMachines(SshWay):
    """Linux machines, each a Docker worker; see ``SshWay`` for the others.

    Attributes:
        os: of the machines; ``windows`` has other parameters: see ``WindowsMachines``.
        engine: ``hecras-linux`` or ``standin``.
        version: HEC-RAS version that the image holds.
        docker_image: image that the machines have loaded.
        username: who logs on there.
        worker_folder: there.
        memory_per_plan: limit of a plan, as of a Docker worker.
        known_hosts: file of the accepted host keys of ``proxy_jump``; the machines' own keys are those that they have
            told.
    """

    os: Literal["linux", "windows"] = "linux"
    engine: Literal["hecras-linux", "standin"] = "hecras-linux"
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]*$")] = ""
    docker_image: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}$")]
    username: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "ras"
    worker_folder: Annotated[str, BeforeValidator(_text), Field(pattern=r"^/[^\x00-\x1f]*$")] = (
        "/var/lib/ras-runner/worker"
    )
    memory_per_plan: Annotated[str, Field(pattern=r"^([1-9]\d{0,14}[bkmgBKMG]?)?$")] = ""

    @model_validator(mode="after")
    def _version_is_known(self) -> Self:
        if self.engine == "hecras-linux" and not self.version:
            raise ValueError(_NEEDS_VERSION.format("hecras-linux"))
        return self


class WindowsMachines(BaseModel):
    """Windows machines, each a WinRM worker.

    Attributes:
        os: what makes it this worker.
        engine: ``hecras-windows`` or ``standin``.
        version: HEC-RAS version that the machine image has.
        username, password: who logs on to WinRM (ntlm); the password as a reference: ``env:NAME`` and the like.
        worker_folder, desktop_user, ras_exe_path, standin_command: as of a WinRM worker.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    os: Literal["windows"]
    engine: Literal["hecras-windows", "standin"] = "hecras-windows"
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]*$")] = ""
    username: Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$")] = "Administrator"
    password: Annotated[str, AfterValidator(check_reference)]
    worker_folder: WindowsFolder = r"C:\RasRemote"
    desktop_user: Annotated[str, Field(pattern=r'^[^\x00-\x1f"]*$')] = ""
    ras_exe_path: str = ""
    standin_command: Command = ("ras-standin",)

    @model_validator(mode="after")
    def _version_is_known(self) -> Self:
        if self.engine == "hecras-windows" and not self.version:
            raise ValueError(_NEEDS_VERSION.format("hecras-windows"))
        return self
