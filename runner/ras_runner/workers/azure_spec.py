"""What a group of machines on Azure is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ras_runner.workers.azure_api import Names
from ras_runner.workers.base import WorkerId
from ras_runner.workers.cloud_spec import LinuxMachines, WindowsMachines
from ras_runner.workers.group import GroupSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.workers.base import WorkerSpec

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.()-]{0,89}$")]


class AzureGroupSpec(GroupSpec):
    """What groups of Linux and of Windows machines are both told; see ``GroupSpec`` for the others.

    Attributes:
        cores_total: of one machine; those of the smallest of the scale set's sizes when left out.
        subscription_id: of the subscription that pays.
        resource_group: that holds everything of the group: output ``group`` of Terraform.
        scale_set: name of its flexible scale set; the resource group's name when left out, as Terraform names it.
        launch_token: tag ``ras-runner-launch-token`` that the scale set has to carry; any when left out.
        staging_endpoint, host_key_prefix: where machines tell their host keys: outputs of the same names of Terraform.
        public_ip: machines are reached by their public addresses.
        on_demand_base: so many machines are always such that are not taken away: ``on_demand_base`` of Terraform.
        keys_folder: where the host keys of the machines are kept; in the user's state folder when left out.
    """

    worker_id: WorkerId = "azure"
    cores_total: Annotated[int, Field(ge=1, le=4096)] = 1
    subscription_id: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
    resource_group: _Name
    scale_set: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$")] = ""
    launch_token: Annotated[str, Field(pattern=r"^([A-Za-z0-9-]{8,64})?$")] = ""
    staging_endpoint: Annotated[str, Field(pattern=r"^https://[A-Za-z0-9.:-]+/?$")]
    host_key_prefix: Annotated[str, Field(pattern=r"^[a-z0-9-]{3,63}/$")] = "hosts/"
    public_ip: bool = False
    on_demand_base: Annotated[int, Field(ge=0)] = 0
    keys_folder: Path | None = None

    @property
    def names(self) -> Names:
        """What the group is called."""
        return Names(self.subscription_id, self.resource_group, self.scale_set or self.resource_group)

    @property
    def host_keys_container(self) -> str:
        """Container of the staging account that machines tell their host keys to."""
        return self.host_key_prefix.rstrip("/")

    def host_keys(self) -> Path:
        """The folder that the machines' host keys are kept in."""
        import platformdirs

        if self.keys_folder:
            return self.keys_folder.expanduser().absolute()
        state = Path(platformdirs.user_state_dir("ras-runner", appauthor=False))
        return state / "host-keys" / f"azure-{self.names.resource_group}-{self.names.scale_set}"


class AzureSpec(LinuxMachines, AzureGroupSpec):
    """Parameters of ``init_ras_worker("azure", ...)``; see ``AzureGroupSpec`` and ``LinuxMachines``."""

    @classmethod
    def model_for(cls, parameters: Mapping[str, Any]) -> type[WorkerSpec]:
        """Groups with ``os: windows`` have other parameters."""
        return AzureWindowsSpec if parameters.get("os") == "windows" else cls


class AzureWindowsSpec(WindowsMachines, AzureGroupSpec):
    """Parameters of ``init_ras_worker("azure", os="windows", ...)``; see ``AzureGroupSpec`` and ``WindowsMachines``."""

    username: Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$")] = "ras"
