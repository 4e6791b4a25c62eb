"""What a group of machines on AWS is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from ras_runner.workers.base import WorkerId
from ras_runner.workers.cloud_spec import LinuxMachines, WindowsMachines
from ras_runner.workers.group import GroupSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.workers.base import WorkerSpec


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


class AwsEc2Spec(LinuxMachines, AwsGroupSpec):
    """Parameters of ``init_ras_worker("aws_ec2", ...)``; see ``AwsGroupSpec`` and ``LinuxMachines``."""

    @classmethod
    def model_for(cls, parameters: Mapping[str, Any]) -> type[WorkerSpec]:
        """Groups with ``os: windows`` have other parameters."""
        return AwsEc2WindowsSpec if parameters.get("os") == "windows" else cls


class AwsEc2WindowsSpec(WindowsMachines, AwsGroupSpec):
    """Parameters of ``init_ras_worker("aws_ec2", os="windows", ...)``; see ``AwsGroupSpec`` and ``WindowsMachines``."""
