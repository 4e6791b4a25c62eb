"""Calls of Azure's management API and of its stores, for one group. Each raises errors for people."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ras_runner.workers.azure_errors import azure_errors, azure_module, suppress_codes
from ras_runner.workers.azure_reading import ScaleSet, addresses_of, scale_set_of
from ras_runner.workers.cloud_member import HOST_KEY_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds: of a connection, of an answer, and between two looks at what takes its time.
_CONNECT, _ANSWER, _PERIOD = 15, 60, 5
#: Azure's words for what a scale set of this kind does not do.
_CANNOT = ("BadRequest", "InvalidParameter", "NotSupported", "OperationNotAllowed")
_COMPUTE, _NETWORK = "Microsoft.Compute", "Microsoft.Network"


def default_credential() -> Any:
    """Who we are to Azure: the environment, a machine's identity, or who has logged on with ``az login``.

    Raises:
        OperatorError: the libraries are not installed.
    """
    logger = logging.getLogger("azure")
    if not logger.handlers:  # where nobody asked for a log, its warnings would go to the user's terminal
        logger.addHandler(logging.NullHandler())
    return azure_module("azure.identity").DefaultAzureCredential(process_timeout=30)


@dataclass(frozen=True)
class Names:
    """What a group is called.

    Attributes:
        subscription: its id.
        resource_group, scale_set: their names.
    """

    subscription: str
    resource_group: str
    scale_set: str


class AzureApi:
    """Azure, as far as one group is concerned.

    Args:
        names: of the group.
        credential: a ``TokenCredential`` of azure-identity.
        settings: of the management clients, besides ours: ``base_url``, ``connection_verify`` ...

    Raises:
        OperatorError: the libraries are not installed.
    """

    def __init__(self, names: Names, credential: Any, **settings: Any) -> None:
        self.names = names
        self.where = f"scale set {names.scale_set} in resource group {names.resource_group}"
        self._credential = credential
        self._verify = {k: settings[k] for k in ("connection_verify",) if k in settings}
        # what Azure asks to be tried later is left to who called: its pauses last minutes
        common = {
            "retry_status": 0,
            "retry_connect": 1,
            "retry_read": 1,
            "connection_timeout": _CONNECT,
            "read_timeout": _ANSWER,
            "polling_interval": _PERIOD,
            **settings,
        }
        compute = azure_module("azure.mgmt.compute").ComputeManagementClient
        network = azure_module("azure.mgmt.network").NetworkManagementClient
        azure_module("azure.storage.blob")
        self._compute = compute(credential, names.subscription, **common)
        self._network = network(credential, names.subscription, **common)

    def scale_set(self, step: str) -> ScaleSet:
        """The group."""
        with self._errors(f"{_COMPUTE}/virtualMachineScaleSets/read", step):
            return scale_set_of(self._compute.virtual_machine_scale_sets.get(*self._both))

    def machines(self, group: ScaleSet, step: str) -> list[Any]:
        """The virtual machines of the group with their states, of all pages."""
        with self._errors(f"{_COMPUTE}/virtualMachines/read", step):
            found = self._compute.virtual_machines.list(
                self.names.resource_group, filter=f"'virtualMachineScaleSet/id' eq '{group.id}'", expand="instanceView"
            )
            return list(found)

    def machine(self, name: str, step: str) -> Any:
        """One virtual machine; None when there is none of this name."""
        with self._errors(f"{_COMPUTE}/virtualMachines/read", step), suppress_codes("ResourceNotFound"):
            return self._compute.virtual_machines.get(self.names.resource_group, name)
        return None

    def addresses(self, step: str, *, public: bool) -> dict[str, str]:
        """Network interface, by its id in small letters -> its address."""
        of_public = None
        if public:
            with self._errors(f"{_NETWORK}/publicIPAddresses/read", step):
                found = self._network.public_ip_addresses.list(self.names.resource_group)
                of_public = {str(one.id).lower(): str(one.properties.ip_address or "") for one in found}
        with self._errors(f"{_NETWORK}/networkInterfaces/read", step):
            return addresses_of(self._network.network_interfaces.list(self.names.resource_group), of_public)

    def scale(self, group: ScaleSet, capacity: int, base: int, step: str) -> Any:
        """Ask for so many machines; returns the poller of what Azure then does. ``base``: so many are no spot ones."""
        models = azure_module("azure.mgmt.compute.models")
        asked = models.VirtualMachineScaleSetUpdate(sku=models.Sku(name=group.sku, tier=group.tier, capacity=capacity))
        if group.spot:  # what is left out of a PATCH stays: the share above the base is Terraform's
            asked.properties = models.VirtualMachineScaleSetUpdateProperties(
                priority_mix_policy=models.PriorityMixPolicy(base_regular_priority_count=base)
            )
        with self._errors(f"{_COMPUTE}/virtualMachineScaleSets/write", step):
            return self._compute.virtual_machine_scale_sets.begin_update(*self._both, asked)

    def protect(self, machine: str, group: ScaleSet, step: str, *, on: bool) -> None:
        """Keep Azure's scaling from taking a machine, or no longer; Azure finishes it by itself.

        One that is gone is well, and so is a scale set that cannot protect: Azure's documents disagree on that.
        """
        models = azure_module("azure.mgmt.compute.models")
        policy = models.VirtualMachineScaleSetVMProtectionPolicy(protect_from_scale_in=on)
        asked = models.VirtualMachineScaleSetVM(
            location=group.location, properties=models.VirtualMachineScaleSetVMProperties(protection_policy=policy)
        )
        call = f"{_COMPUTE}/virtualMachineScaleSets/virtualMachines/write"
        with self._errors(call, step), suppress_codes("ResourceNotFound", *_CANNOT):
            self._compute.virtual_machine_scale_set_vms.begin_update(*self._both, machine, asked, polling=False)

    def protected(self, machine: str, step: str) -> bool:
        """Whether Azure says that scaling is to leave a machine alone."""
        call = f"{_COMPUTE}/virtualMachineScaleSets/virtualMachines/read"
        with self._errors(call, step), suppress_codes("ResourceNotFound", *_CANNOT):
            found = self._compute.virtual_machine_scale_set_vms.get(*self._both, machine)
            policy = found.properties.protection_policy
            return bool(policy and (policy.protect_from_scale_in or policy.protect_from_scale_set_actions))
        return False

    def delete(self, machine: str, step: str) -> None:
        """Delete a virtual machine; its disk and interface go with it, and Azure finishes that by itself."""
        with self._errors(f"{_COMPUTE}/virtualMachines/delete", step):
            self._compute.virtual_machines.begin_delete(self.names.resource_group, machine, polling=False)

    def cores(self, location: str, sizes: Sequence[str], step: str) -> dict[str, int]:
        """Size -> processors of a machine of it, for those of ``sizes`` that the region has."""
        wanted, found = {size.lower(): size for size in sizes}, {}
        with self._errors(f"{_COMPUTE}/skus/read", step):
            for sku in self._compute.resource_skus.list(filter=f"location eq '{location}'"):
                size = wanted.get(str(sku.name).lower())
                if size and sku.resource_type == "virtualMachines":
                    told = {one.name: one.value for one in sku.capabilities or ()}
                    found[size] = int(told.get("vCPUsAvailable") or told["vCPUs"])
        return found

    def blob(self, endpoint: str, container: str, name: str, step: str) -> bytes | None:
        """The first bytes of a blob of a storage account; None when it is not there."""
        client = azure_module("azure.storage.blob").BlobClient
        call = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
        limits = {"connection_timeout": _CONNECT, "read_timeout": _ANSWER, "retry_total": 1}
        with self._errors(call, step), suppress_codes("BlobNotFound"):
            blob = client(endpoint, container, name, credential=self._credential, **limits, **self._verify)
            return bytes(blob.download_blob(offset=0, length=HOST_KEY_LIMIT).readall())
        return None

    @property
    def _both(self) -> tuple[str, str]:
        return self.names.resource_group, self.names.scale_set

    def _errors(self, call: str, step: str) -> Any:
        return azure_errors(call, self.where, step)
