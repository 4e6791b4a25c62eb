"""What a group of machines on AWS is told."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ras_runner.secret import check_reference
from ras_runner.workers.base import WorkerId
from ras_runner.workers.group import GroupSpec
from ras_runner.workers.linux import SshWay
from ras_runner.workers.windows import Command, WindowsFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.workers.base import WorkerSpec

_NEEDS_VERSION = "{} needs version: it says what a plan needs before there is a machine to ask"


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, PurePath) else value


class AwsGroupSpec(GroupSpec):
    """What groups of Linux and of Windows machines are both told; see ``GroupSpec`` for the others.

    Attributes:
        cores_total: of one machine; those of the smallest of the group's instance types when left out.
        region: of the machines.
        group: name of the autoscaling group; found by its tags when left out.
        campaign, launch_token: tags ``ras-runner:campaign`` and ``ras-runner:launch-token`` that it is found by.
        profile: of the user's AWS settings; the usual credentials when left out.
        staging_bucket, host_key_prefix: where machines tell their host keys: outputs of the same names of Terraform.
        public_ip: machines are reached by their public addresses.
        on_demand_base: so many machines are always such that are not taken away: ``on_demand_base`` of Terraform.
        keys_folder: where the host keys of the machines are kept; in the user's state folder when left out.
    """

    worker_id: WorkerId = "aws_ec2"
    cores_total: Annotated[int, Field(ge=1, le=4096)] = 1
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    group: Annotated[str, Field(pattern=r"^[^\x00-\x1f:/\\]{0,255}$")] = ""
    campaign: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$")] = ""
    launch_token: Annotated[str, Field(pattern=r"^([A-Za-z0-9-]{8,64})?$")] = ""
    profile: Annotated[str, Field(pattern=r"^[^\x00-\x1f]*$")] = ""
    staging_bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    host_key_prefix: Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,900}$")]
    public_ip: bool = False
    on_demand_base: Annotated[int, Field(ge=0)] = 0
    keys_folder: Path | None = None

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if not (self.group or self.campaign or self.launch_token):
            raise ValueError("give group (terraform output group), or launch_token or campaign to find it by")
        return self


class AwsEc2Spec(SshWay, AwsGroupSpec):
    """Parameters of ``init_ras_worker("aws_ec2", ...)``; see ``AwsGroupSpec`` and ``SshWay`` for the others.

    Attributes:
        os: of the machines; ``windows`` has other parameters: see ``AwsEc2WindowsSpec``.
        engine: ``hecras-linux`` or ``standin``.
        version: HEC-RAS version that the image holds.
        docker_image: image that the machines have loaded.
        username: who logs on there.
        worker_folder: there.
        memory_per_plan: limit of a plan, as of a Docker worker.
        known_hosts: file of the accepted host keys of ``proxy_jump``; the machines' own keys are taken from
            ``staging_bucket``.
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

    @classmethod
    def model_for(cls, parameters: Mapping[str, Any]) -> type[WorkerSpec]:
        """Groups with ``os: windows`` have other parameters."""
        return AwsEc2WindowsSpec if parameters.get("os") == "windows" else cls

    @model_validator(mode="after")
    def _version_is_known(self) -> Self:
        if self.engine == "hecras-linux" and not self.version:
            raise ValueError(_NEEDS_VERSION.format("hecras-linux"))
        return self


class AwsEc2WindowsSpec(AwsGroupSpec):
    """Parameters of ``init_ras_worker("aws_ec2", os="windows", ...)``; see ``AwsGroupSpec`` for the others.

    Attributes:
        os: what makes it this worker.
        engine: ``hecras-windows`` or ``standin``.
        version: HEC-RAS version that the machine image has.
        username, password: who logs on to WinRM (ntlm); the password as a reference: ``env:NAME`` and the like.
        worker_folder, desktop_user, ras_exe_path, standin_command: as of a WinRM worker.
    """

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
