"""Machines of a flexible scale set in Azure, each a Docker worker (on Windows a WinRM worker) while it lasts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ras_runner.errors import OperatorError
from ras_runner.validation import validated
from ras_runner.workers.azure_api import AzureApi, default_credential
from ras_runner.workers.azure_errors import explained, plain, said_by
from ras_runner.workers.azure_reading import LAUNCH_TOKEN, MANAGED_BY, OURS, failed_of, is_of, machine_of, shortage_of
from ras_runner.workers.azure_spec import AzureGroupSpec, AzureSpec, AzureWindowsSpec
from ras_runner.workers.cloud_member import docker_member, linux_engine, not_told, windows_engine, winrm_member
from ras_runner.workers.group import GroupView, Machine, MachineState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ras_runner.engines.base import Engine
    from ras_runner.workers.azure_reading import ScaleSet
    from ras_runner.workers.group import WorkerGroup

__all__ = ["AzureGroup", "AzureSpec", "azure_group", "init_azure_group"]

_INIT, _LOOK, _RESIZE, _END = "init worker", "look at the group", "resize the group", "end a machine"


def init_azure_group(parameters: Mapping[str, Any]) -> WorkerGroup:
    """A group of machines in Azure: its scale set was looked at, and is ours.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: the libraries are not installed, there are no credentials, or the group cannot be used.
        TransientError: Azure does not answer.
    """
    model = AzureWindowsSpec if parameters.get("os") == "windows" else AzureSpec
    spec: AzureGroupSpec = validated(model, parameters, f"worker type azure{' with os windows' * ('os' in parameters)}")
    _need_packages(spec)
    return azure_group(spec, AzureApi(spec.names, default_credential()))


def azure_group(spec: AzureGroupSpec, api: AzureApi) -> AzureGroup:
    """A group that is reached this way; raises as :func:`init_azure_group`."""
    found = api.scale_set(_INIT)
    _check_ours(found, spec.launch_token, api.where, _INIT)
    _check_kind(found, api.where)
    # machines that could not tell their host keys would be of no use: found out before any is paid for
    api.blob(spec.staging_endpoint, spec.host_keys_container, "no-machine.pub", _INIT)
    asked = spec
    if "cores_total" not in spec.model_fields_set:
        cores = api.cores(found.location, found.sizes, _INIT)
        if not cores:
            raise OperatorError(
                f"the region {found.location} does not say how many processors {', '.join(found.sizes)} have",
                step=_INIT,
                host=api.where,
                action="give cores_total",
            )
        spec = spec.model_copy(update={"cores_total": min(cores.values())})
    return AzureGroup(spec, asked, api, found.location)


class AzureGroup:
    """A ``WorkerGroup`` on Azure.

    Azure counts what there is: a machine that is deleted or taken away makes the scale set smaller, and nobody brings
    another one. Which machines go when it shrinks is chosen here, because Azure promises its instance protection for
    its own autoscaling only; what is protected is remembered here, and read from Azure for what another controller did.

    Args:
        spec: what it was told, with the cores of its machines.
        asked: what it was told.
        api: how it is reached.
        location: region, for messages.
    """

    type = "azure"

    def __init__(self, spec: AzureGroupSpec, asked: AzureGroupSpec, api: AzureApi, location: str) -> None:
        self._spec, self._asked, self._api = spec, asked, api
        self._hostname = f"scale set {api.names.scale_set} in {location}"
        #: Of what is below: what a look hears is what the last resize asked for.
        self._lock = threading.RLock()
        #: Azure's operation of the last change of the size, the size, and why Azure does not do it.
        self._growth: Any = None
        self._wanted, self._refused = 0, ""
        #: Ended for others to come, and still there; protected.
        self._owed: set[str] = set()
        self._protected: set[str] = set()

    @property
    def spec(self) -> AzureGroupSpec:
        """What it was told."""
        return self._spec

    @property
    def hostname(self) -> str:
        """``scale set NAME in REGION``."""
        return self._hostname

    @property
    def engine(self) -> Engine:
        """What computes plans on its machines; the image or the machine has the last word."""
        spec = self._spec
        if isinstance(spec, AzureWindowsSpec):
            return windows_engine(spec.engine, spec.version, spec.ras_exe_path, spec.standin_command)
        return linux_engine(spec.engine, self._linux.version)

    def look(self) -> GroupView:
        """What there is now; those that were owed for ended ones are asked for when these have gone."""
        with self._lock:
            group, answers, machines = self._found(_LOOK)
            self._hear()
            if gone := self._owed - {machine.id for machine in machines}:
                self._owed -= gone
                self._ask(group, min(group.capacity + len(gone), self._spec.max_machines), group.base, _LOOK)
                return GroupView(tuple(machines), self._wanted, self._refused)
            # of what Azure refuses at once it keeps no number
            wanted = max(group.capacity, self._wanted) if self._refused else group.capacity
            return GroupView(tuple(machines), wanted, self._refused or failed_of(answers))

    def resize(self, machines: int, on_demand: int) -> None:
        """Ask for so many machines in all, at least ``on_demand`` of them such that are not taken away.

        It never has more than ``max_machines``. When it shrinks, machines that are not protected go, those that have
        not booted first, and none of the ``on_demand`` ones.
        """
        machines = min(machines, self._spec.max_machines)
        base = min(max(on_demand, self._spec.on_demand_base), machines)
        with self._lock:
            group, _, there = self._found(_RESIZE)
            self._hear()
            again = self._refused and machines > len(there)  # Azure does not try again by itself
            self._refused, self._owed = "", set()
            # what is there goes below, one by one; what Azure has not made yet, it may drop
            capacity = machines if machines > group.capacity else min(group.capacity, max(machines, len(there)))
            if again or capacity != group.capacity or (group.spot and base != group.base):
                self._ask(group, capacity, base, _RESIZE)
            self._give_back(there, machines, base)

    def protect(self, machines: Collection[str], *, on: bool) -> None:
        """Keep the cloud's scaling from taking these machines, or no longer."""
        step = "protect machines" if on else "unprotect machines"
        group = self._group(step)
        with self._lock:
            self._protected = self._protected | set(machines) if on else self._protected - set(machines)
        for machine in machines:
            self._api.protect(machine, group, step, on=on)

    def end(self, machine: str, *, replace: bool) -> None:
        """End a machine of this group, checked to be one; another one comes when it has gone, or the group is smaller.

        One that is gone already is well.

        Raises:
            OperatorError: it is not a machine of this group.
        """
        group = self._group(_END)
        found = self._api.machine(machine, _END)
        if found is not None and not is_of(found, group):
            raise OperatorError(
                f"the machine {machine} is not one of this group, and is left alone",
                step=_END,
                host=self._hostname,
                action="nothing of others is ended; delete it yourself if it is yours",
            )
        with self._lock:
            self._owed |= {machine} if replace else set()
        if found is not None:
            self._api.delete(machine, _END)

    def member(self, machine: Machine) -> tuple[str, dict[str, Any]]:
        """Worker type and parameters of a running machine; what it told as its host key is known then.

        Raises:
            TransientError: it has no address, or has not told its host key yet.
            OperatorError: what it told is none.
        """
        spec, told = self._spec, None
        if machine.address:
            told = self._api.blob(
                spec.staging_endpoint, spec.host_keys_container, f"{machine.id}.pub", "check host key"
            )
        if told is None:
            raise not_told(machine.id, self._hostname)
        if isinstance(spec, AzureWindowsSpec):
            return "winrm", winrm_member(self._asked, machine.id, machine.address, spec.cores_total, told)
        way, folder = self._linux, spec.host_keys()
        return "docker", docker_member(self._asked, way, folder, machine.id, way.username, machine.address, told)

    @property
    def _linux(self) -> AzureSpec:
        if not isinstance(self._spec, AzureSpec):
            raise TypeError("a group of Windows machines")
        return self._spec

    def _group(self, step: str) -> ScaleSet:
        group = self._api.scale_set(step)
        _check_ours(group, self._spec.launch_token, self._hostname, step)
        return group

    def _found(self, step: str) -> tuple[ScaleSet, list[Any], list[Machine]]:
        group = self._group(step)
        answers = self._api.machines(group, step)
        addresses = self._api.addresses(step, public=self._spec.public_ip) if answers else {}
        return group, answers, [machine_of(answer, addresses) for answer in answers]

    def _ask(self, group: ScaleSet, capacity: int, base: int, step: str) -> None:
        """Ask for a capacity; that Azure has none is no error, but remembered."""
        from azure.core.exceptions import HttpResponseError

        self._growth, self._wanted, self._refused = None, capacity, ""
        try:
            self._growth = self._api.scale(group, capacity, base, step)
        except OperatorError as error:
            cause = error.__cause__
            if not isinstance(cause, HttpResponseError) or not (sentence := shortage_of(cause)):
                raise
            self._refused = sentence

    def _hear(self) -> None:
        """What became of the last growth, once Azure has said it."""
        from azure.core.exceptions import AzureError

        if self._growth is None or not self._growth.done():
            return
        growth, self._growth = self._growth, None
        try:
            growth.wait(0)
        except AzureError as error:
            self._refused = shortage_of(error) or self._in_its_own_words(error)

    def _in_its_own_words(self, error: Exception) -> str:
        """A refusal that no table has; empty when it was only Azure's answer that did not come."""
        lasts = isinstance(explained(error, "scaling", self._hostname, _LOOK), OperatorError)
        return f"Azure refused it: {plain(said_by(error))}" if lasts else ""

    def _give_back(self, there: Sequence[Machine], keep: int, on_demand: int) -> None:
        """Delete machines that are not protected until ``keep`` are left, ``on_demand`` of these not spot ones."""
        lasting = [machine for machine in there if machine.state in (MachineState.STARTING, MachineState.RUNNING)]
        surplus, steady = len(lasting) - keep, sum(not machine.spot for machine in lasting)
        for machine in sorted(lasting, key=lambda m: (m.state is MachineState.RUNNING, not m.spot, -m.since)):
            if surplus <= 0:
                return
            if machine.id in self._protected or (not machine.spot and steady <= on_demand):
                continue
            if not self._api.protected(machine.id, _RESIZE):
                self._api.delete(machine.id, _RESIZE)
                surplus -= 1
                steady -= not machine.spot


def _need_packages(spec: AzureGroupSpec) -> None:
    """Raise OperatorError now for what the group's machines would need later."""
    if isinstance(spec, AzureWindowsSpec):
        from ras_runner.transports.winrm_login import require_winrm

        require_winrm("ntlm")
        return
    from ras_runner.transports import docker_api  # noqa: F401  says how to install the SDK
    from ras_runner.transports.ssh_login import asyncssh_module

    asyncssh_module()


def _check_ours(found: ScaleSet, launch_token: str, where: str, step: str) -> None:
    """Raise OperatorError for a scale set that is not ours: nothing of others is ever changed."""
    token = found.tags.get(LAUNCH_TOKEN, "missing")
    if found.tags.get(MANAGED_BY) != OURS:
        cause = f"the scale set does not carry the tag {MANAGED_BY}={OURS}: it is left alone"
        action = "give a group that terraform/azure made: terraform output group"
    elif launch_token and token != launch_token:
        cause = f"the scale set is of another launch, its tag {LAUNCH_TOKEN} is {token}: it is left alone"
        action = "give the launch token of terraform output tags, or leave launch_token out"
    else:
        return
    raise OperatorError(cause, step=step, host=where, action=action)


def _check_kind(found: ScaleSet, where: str) -> None:
    """Raise OperatorError for a scale set that cannot be worked with."""
    if not found.flexible:
        cause = "the scale set is not a flexible one: its machines cannot be ended one by one"
    elif found.keeps_evicted:
        cause = "the scale set keeps machines that were taken away: their disks are paid for, and they fill it up"
    else:
        return
    action = "make it as terraform/azure does: orchestration mode Flexible, eviction policy Delete"
    raise OperatorError(cause, step=_INIT, host=where, action=action)
