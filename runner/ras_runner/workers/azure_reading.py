"""What Azure's answers say of a scale set and its machines. Pure: the SDK's models in, plain data out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ras_runner.workers.azure_errors import code_of, plain, said_by
from ras_runner.workers.group import Machine, MachineState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What everything of ours carries: terraform/modules/azure_workers/main.tf.
MANAGED_BY, LAUNCH_TOKEN = "ras-runner-managed-by", "ras-runner-launch-token"
OURS = "ras-runner"
#: Power states of a machine: learn.microsoft.com/azure/virtual-machines/states-billing. One that was stopped from
#: within computes nothing and is still paid for; one that is deallocated has lost its place.
_POWER = {
    "starting": MachineState.STARTING,
    "running": MachineState.RUNNING,
    "stopping": MachineState.ENDING,
    "stopped": MachineState.ENDING,
    "deallocating": MachineState.ENDING,
    "deallocated": MachineState.GONE,
}
_NOTICES = {
    "stopped": "the machine was stopped from within, and is still paid for",
    "deallocating": "the cloud takes this machine back",
    "deallocated": "the cloud took this machine back",
}
_NO_CAPACITY = "the cloud has no machine of these sizes free now"
_ZONE_FULL = "the cloud has no machine of these sizes free now in the zones of the group"
_CONSTRAINED = "the cloud has no machine that meets all that the group asks for (size, zone, disk) free now"
_NOT_SOLD = "these sizes are not sold to the subscription in this region or zone: take other vm_sizes"
_QUOTA = "the subscription's quota of processors is used up (Azure's portal: Quotas, Compute)"
#: Codes of refused machines -> what a person should know:
#: learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/allocation-failure and
#: learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-sku-not-available, .../error-resource-quota
_SHORTAGES = {
    "AllocationFailed": _NO_CAPACITY,
    "AllocationTimeout": _NO_CAPACITY,
    "SpotAllocationFailed": _NO_CAPACITY,
    "OverconstrainedAllocationRequest": _CONSTRAINED,
    "OverconstrainedZonalAllocationRequest": _CONSTRAINED,
    "ZonalAllocationFailed": _ZONE_FULL,
    "SkuNotAvailable": _NOT_SOLD,
    "NotAvailableForSubscription": _NOT_SOLD,
    "QuotaExceeded": _QUOTA,
    "ResourceQuotaExceeded": _QUOTA,
}
#: A quota of cores is refused with a word that says nothing; its sentence does.
_OVER_QUOTA = re.compile(r"exceed\w* (approved|the maximum|quota)|quota", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ScaleSet:
    """A scale set.

    Attributes:
        id: of the resource.
        location: region.
        capacity: how many machines it is to have, or has.
        sku, tier: its kind of machines: ``Mix`` when it has several.
        sizes: sizes of its machines.
        spot: its machines are spot machines, but for a share.
        base: so many of them are none.
        keeps_evicted: machines that were taken away stay, stopped.
        flexible: its machines are virtual machines like any other.
        tags: by name.
    """

    id: str
    location: str
    capacity: int
    sku: str
    tier: str | None
    sizes: tuple[str, ...]
    spot: bool
    base: int
    keeps_evicted: bool
    flexible: bool
    tags: Mapping[str, str]


def scale_set_of(answer: Any) -> ScaleSet:
    """A scale set, of ``VirtualMachineScaleSet``."""
    properties = answer.properties
    profile = getattr(properties, "virtual_machine_profile", None)
    mix = getattr(properties, "priority_mix_policy", None)
    several = getattr(getattr(properties, "sku_profile", None), "vm_sizes", None) or ()
    sku = str(answer.sku.name or "") if answer.sku else ""
    spot = _word(getattr(profile, "priority", None)) == "Spot"
    return ScaleSet(
        id=str(answer.id),
        location=str(answer.location),
        capacity=int(answer.sku.capacity or 0) if answer.sku else 0,
        sku=sku,
        tier=answer.sku.tier if answer.sku else None,
        sizes=tuple(str(size.name) for size in several) or (sku,),
        spot=spot,
        base=int(getattr(mix, "base_regular_priority_count", None) or 0),
        keeps_evicted=spot and _word(getattr(profile, "eviction_policy", None)) != "Delete",
        flexible=_word(getattr(properties, "orchestration_mode", None)) == "Flexible",
        tags=dict(answer.tags or {}),
    )


def machine_of(answer: Any, addresses: Mapping[str, str]) -> Machine:
    """A machine, of ``VirtualMachine`` with its instance view.

    Args:
        answer: the model.
        addresses: of network interfaces, by the interface's id in small letters.
    """
    properties = answer.properties
    power = _power(properties)
    state = _POWER.get(power, MachineState.STARTING)
    notice = _NOTICES.get(power, "")
    if _word(properties.provisioning_state) == "Deleting":
        state, notice = MachineState.ENDING, notice or "the machine is being deleted"
    interfaces = getattr(properties.network_profile, "network_interfaces", None) or ()
    found = (addresses.get(str(interface.id).lower(), "") for interface in interfaces)
    return Machine(
        id=str(answer.name),
        state=state,
        address=next((address for address in found if address), ""),
        since=properties.time_created.timestamp() if properties.time_created else 0.0,
        zone=str(answer.zones[0]) if answer.zones else "",
        kind=_word(getattr(properties.hardware_profile, "vm_size", None)),
        spot=_word(properties.priority) == "Spot",
        notice=notice,
    )


def is_of(answer: Any, group: ScaleSet) -> bool:
    """Whether a ``VirtualMachine`` belongs to a scale set, and carries no launch token but that of the scale set."""
    own = getattr(answer.properties.virtual_machine_scale_set, "id", None)
    token = group.tags.get(LAUNCH_TOKEN)
    return str(own or "").lower() == group.id.lower() and (answer.tags or {}).get(LAUNCH_TOKEN, token) == token


def addresses_of(interfaces: Iterable[Any], public: Mapping[str, str] | None) -> dict[str, str]:
    """Network interface, by its id in small letters -> its address.

    Args:
        interfaces: of ``NetworkInterface``.
        public: public addresses by their ids in small letters; None when machines are reached by private ones.
    """
    found: dict[str, str] = {}
    for interface in interfaces:
        for entry in interface.properties.ip_configurations or ():
            own = entry.properties
            if public is None:
                address = own.private_ip_address
            else:
                address = public.get(str(own.public_ip_address.id).lower()) if own.public_ip_address else None
            if address:
                found.setdefault(str(interface.id).lower(), str(address))
    return found


def failed_of(machines: Iterable[Any]) -> str:
    """Why machines that were asked for could not be made, of their instance views; empty when none says."""
    for machine in machines:
        for status in _statuses(machine.properties):
            kind, _, code = str(status.code or "").partition("/failed/")
            if kind == "ProvisioningState" and (sentence := _SHORTAGES.get(code)):
                return sentence
    return ""


def shortage_of(error: Exception) -> str:
    """Why the cloud does not give what it was asked for, in one sentence; empty when that is not what went wrong."""
    for code, said in _codes(getattr(error, "error", None)) or [(code_of(error), said_by(error))]:
        if code in _SHORTAGES:
            return _SHORTAGES[code]
        if code in ("OperationNotAllowed", "QuotaError") and _OVER_QUOTA.search(said):
            return _QUOTA
    return ""


def _codes(body: Any) -> list[tuple[str, str]]:
    """Words and sentences of an error and of those inside it, the innermost first."""
    if body is None:
        return []
    inner = [pair for detail in getattr(body, "details", None) or () for pair in _codes(detail)]
    return [*inner, (str(body.code or ""), plain(body.message or ""))]


def _word(value: Any) -> str:
    """What Azure wrote: the SDK makes enumerations of the words that it knows."""
    return str(getattr(value, "value", value) or "")


def _power(properties: Any) -> str:
    codes = (str(status.code or "") for status in _statuses(properties))
    return next((code.partition("/")[2] for code in codes if code.startswith("PowerState/")), "")


def _statuses(properties: Any) -> Iterable[Any]:
    return getattr(properties.instance_view, "statuses", None) or ()
