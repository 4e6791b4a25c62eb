"""A group of machines on AWS: an autoscaling group of EC2, as terraform/modules/aws_workers makes it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, OperatorError, TransientError
from ras_runner.validation import validated
from ras_runner.workers import aws_reading as reading
from ras_runner.workers.aws_calls import AwsCalls
from ras_runner.workers.aws_ec2_spec import AwsEc2Spec, AwsEc2WindowsSpec, AwsGroupSpec
from ras_runner.workers.cloud_member import (
    HOST_KEY_LIMIT,
    docker_member,
    linux_engine,
    not_told,
    windows_engine,
    winrm_member,
)
from ras_runner.workers.group import GroupView, Machine, MachineState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from ras_runner.engines.base import Engine

_INIT, _LOOK = "init worker", "look at the group"
#: SetInstanceProtection takes 50 machines, filters of EC2 200 values: their API references.
_PROTECTED_AT_ONCE, _FILTER_VALUES = 50, 200
#: Machines in these states of the group can be protected.
_CAN_BE_PROTECTED = ("InService", "EnteringStandby", "Standby")
#: A launch that failed longer ago than this says nothing of now: the group tries again every few minutes.
_SHORTAGE_MINUTES = 20


def init_aws_ec2_group(parameters: Mapping[str, Any]) -> AwsGroup:
    """A group of machines on AWS, found, seen to be ours, and looked at once.

    Raises:
        InputError: a parameter is unknown or wrong, or there is no such group of ours.
        OperatorError: boto3, credentials or a right is missing; says which.
        TransientError: AWS does not answer.
    """
    model = AwsEc2WindowsSpec if parameters.get("os") == "windows" else AwsEc2Spec
    spec: AwsGroupSpec = validated(model, parameters, f"worker type aws_ec2{' with os windows' * ('os' in parameters)}")
    _check_here(spec)
    calls = AwsCalls(spec.region, spec.profile, f"{_named(spec)} in {spec.region}")
    found = _found(spec, calls)
    name = str(found["AutoScalingGroupName"])
    calls.where = f"group {name} in {spec.region}"
    if spec.max_machines > found["MaxSize"]:
        raise InputError(
            f"max_machines is {spec.max_machines}, and the group takes {found['MaxSize']} at most",
            step=_INIT,
            host=calls.where,
            action="lower max_machines, or raise max_workers of its Terraform (0 is what it takes after its expiry)",
        )
    _check_staging(spec, calls)
    asked = spec
    if "cores_total" not in spec.model_fields_set:
        spec = spec.model_copy(update={"cores_total": _smallest(found, calls)})
    return AwsGroup(spec, asked, name, calls)


@dataclass(frozen=True)
class AwsGroup:
    """A ``WorkerGroup`` on AWS.

    Attributes:
        spec: what it was told, with the cores of its machines.
        asked: what it was told.
        name: of the autoscaling group.
        calls: of the API.
    """

    spec: AwsGroupSpec
    asked: AwsGroupSpec
    name: str
    calls: AwsCalls

    @property
    def type(self) -> str:
        """``aws_ec2``."""
        return "aws_ec2"

    @property
    def hostname(self) -> str:
        """``group NAME in REGION``."""
        return self.calls.where

    @functools.cached_property
    def engine(self) -> Engine:
        """What computes plans on its machines."""
        spec = self.spec
        if isinstance(spec, AwsEc2WindowsSpec):
            return windows_engine(spec.engine, spec.version, spec.ras_exe_path, spec.standin_command)
        return linux_engine(spec.engine, self._linux.version)

    def look(self) -> GroupView:
        """The machines, of EC2; what the group and the spot requests say of them; why the group lacks some."""
        instances = self._instances(_LOOK)
        group = self._group(_LOOK)  # after the machines: one that is new in between is seen at the next look
        lifecycles = {one["InstanceId"]: str(one["LifecycleState"]) for one in group["Instances"]}
        taken = self._notices(instances)
        machines = tuple(
            reading.machine_of(
                one, lifecycles.get(one["InstanceId"], ""), taken.get(one["InstanceId"], ""), public=self.spec.public_ip
            )
            for one in instances
        )
        there = sum(machine.state in (MachineState.STARTING, MachineState.RUNNING) for machine in machines)
        wanted = int(group["DesiredCapacity"])
        return GroupView(machines, wanted, self._shortage(group) if there < wanted or not group["MaxSize"] else "")

    def resize(self, machines: int, on_demand: int) -> None:
        """Set the desired capacity, and first the on-demand base where it differs; the group's maximum holds."""
        step = "resize the group"
        group = self._group(step)
        self._set_base(group, max(on_demand, self.spec.on_demand_base), step)
        wanted = max(int(group["MinSize"]), min(machines, int(group["MaxSize"])))
        if wanted != group["DesiredCapacity"]:
            self.calls.call(
                *("autoscaling", "set_desired_capacity"),
                step=step,
                AutoScalingGroupName=self.name,
                DesiredCapacity=wanted,
                HonorCooldown=False,
            )

    def protect(self, machines: Collection[str], *, on: bool) -> None:
        """Set the protection of those that are in service and have another one; the others cannot be scaled in."""
        step = "protect machines" if on else "unprotect machines"
        ids = [
            str(one["InstanceId"])
            for one in self._group(step)["Instances"]
            if one["InstanceId"] in machines
            and one["LifecycleState"] in _CAN_BE_PROTECTED
            and bool(one["ProtectedFromScaleIn"]) != on
        ]
        for some in _in_parts(ids, _PROTECTED_AT_ONCE):
            self.calls.call(
                *("autoscaling", "set_instance_protection"),
                step=step,
                AutoScalingGroupName=self.name,
                InstanceIds=some,
                ProtectedFromScaleIn=on,
            )

    def end(self, machine: str, *, replace: bool) -> None:
        """End a machine; one that is gone already is well.

        Raises:
            OperatorError: it does not carry our tags, or is not in this group: it is left alone.
        """
        step = "end a machine"
        answer = self.calls.call(
            *("ec2", "describe_instances"), step=step, absent="InvalidInstanceID.NotFound", InstanceIds=[machine]
        )
        instances = [one for part in (answer or {}).get("Reservations", ()) for one in part["Instances"]]
        if not instances or instances[0]["State"]["Name"] in ("shutting-down", "terminated"):
            return
        if not reading.is_ours(instances[0]) or reading.tags_of(instances[0]).get(reading.GROUP_TAG) != self.name:
            raise OperatorError(
                f"machine {machine} does not carry the tags of this group: it is left alone",
                step=step,
                host=self.hostname,
                action="look at it in the console of AWS: somebody took it out of the group, or changed its tags",
            )
        members = {str(one["InstanceId"]): str(one["LifecycleState"]) for one in self._group(step)["Instances"]}
        if members.get(machine, "Terminating").startswith("Terminating"):
            return
        self.calls.call(
            *("autoscaling", "terminate_instance_in_auto_scaling_group"),
            step=step,
            InstanceId=machine,
            ShouldDecrementDesiredCapacity=not replace,
        )

    def member(self, machine: Machine) -> tuple[str, dict[str, Any]]:
        """A Docker worker over SSH, or a WinRM worker, with the host key that the machine has told."""
        if machine.state is not MachineState.RUNNING or not machine.address:
            raise TransientError(
                f"machine {machine.id} has no address yet, or is on its way out",
                step="check host key",
                host=self.hostname,
                action="nothing: it is asked again",
            )
        told = self._told(machine.id)
        if isinstance(self.asked, AwsEc2WindowsSpec):
            cores = self.spec.cores_total if machine.kind == "" else _cores([machine.kind], self.calls)
            return "winrm", winrm_member(self.asked, machine.id, machine.address, cores, told)
        spec = self._linux
        folder = spec.keys_folder or default_keys_folder(spec.region, self.name)
        return "docker", docker_member(
            self.asked, spec, folder.expanduser().absolute(), machine.id, spec.username, machine.address, told
        )

    @property
    def _linux(self) -> AwsEc2Spec:
        if not isinstance(self.asked, AwsEc2Spec):
            raise TypeError("a group of Windows machines")
        return self.asked

    def _group(self, step: str) -> dict[str, Any]:
        groups = self.calls.call(
            "autoscaling", "describe_auto_scaling_groups", step=step, AutoScalingGroupNames=[self.name]
        )["AutoScalingGroups"]
        if not groups:
            raise OperatorError(
                "the group is not there any more",
                step=step,
                host=self.hostname,
                action="if it was not taken down on purpose: ras-runner burst status, or terraform apply",
            )
        return dict(groups[0])

    def _instances(self, step: str) -> list[dict[str, Any]]:
        filters = [
            {"Name": f"tag:{reading.GROUP_TAG}", "Values": [self.name]},
            {"Name": f"tag:{reading.OURS[0]}", "Values": [reading.OURS[1]]},
        ]
        found = self.calls.pages("ec2", "describe_instances", "Reservations", step=step, Filters=filters)
        return [one for reservation in found for one in reservation["Instances"]]

    def _notices(self, instances: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        ids = [str(one["SpotInstanceRequestId"]) for one in instances if one.get("SpotInstanceRequestId")]
        requests = [
            request
            for some in _in_parts(ids, _FILTER_VALUES)
            for request in self.calls.pages(
                *("ec2", "describe_spot_instance_requests", "SpotInstanceRequests"),
                step=_LOOK,
                Filters=[{"Name": "spot-instance-request-id", "Values": some}],
            )
        ]
        return reading.notices(requests)

    def _shortage(self, group: Mapping[str, Any]) -> str:
        if not group["MaxSize"]:
            return "the group's time is over: it takes no machines any more"
        after = datetime.now(UTC) - timedelta(minutes=_SHORTAGE_MINUTES)
        # the newest come first, and one page has the last hundred
        activities = self.calls.call(
            "autoscaling", "describe_scaling_activities", step=_LOOK, AutoScalingGroupName=self.name
        )["Activities"]
        return reading.shortage_of(activities, after)

    def _set_base(self, group: Mapping[str, Any], base: int, step: str) -> None:
        policy = group.get("MixedInstancesPolicy")
        if policy is None or policy.get("InstancesDistribution", {}).get("OnDemandBaseCapacity", 0) == base:
            return
        self.calls.call(
            *("autoscaling", "update_auto_scaling_group"),
            step=step,
            AutoScalingGroupName=self.name,
            MixedInstancesPolicy=reading.with_base(policy, base),
        )

    def _told(self, machine: str) -> bytes:
        key = f"{self.spec.host_key_prefix}{machine}.pub"
        told = self.calls.content(self.spec.staging_bucket, key, HOST_KEY_LIMIT, step="check host key")
        if told is None:
            raise not_told(machine, self.hostname)
        return told


def default_keys_folder(region: str, group: str) -> Path:
    """Where the host keys of a group's machines are kept when nothing is said."""
    import platformdirs

    return Path(platformdirs.user_state_dir("ras-runner", appauthor=False)) / "host-keys" / f"aws-{region}-{group}"


def _check_here(spec: AwsGroupSpec) -> None:
    """Raise now for what the group's machines would need later, when they are paid for."""
    if isinstance(spec, AwsEc2WindowsSpec):
        from ras_runner.secret import resolve_secret
        from ras_runner.transports.winrm_login import require_winrm

        require_winrm("ntlm")
        resolve_secret(spec.password)
    elif isinstance(spec, AwsEc2Spec):
        from ras_runner.transports import docker_api  # noqa: F401  says how to install the SDK
        from ras_runner.transports.ssh_login import Hop, asyncssh_module

        asyncssh_module()
        spec.login(Hop(spec.username, "machine", 22))  # proxy_jump is right
        if spec.ssh_key_path and not spec.ssh_key_path.expanduser().is_file():
            raise OperatorError(
                f"there is no key file {spec.ssh_key_path}",
                step=_INIT,
                action="check ssh_key_path: the private key to ssh_public_key of the group's Terraform",
            )


def _named(spec: AwsGroupSpec) -> str:
    tags = {"launch token": spec.launch_token, "campaign": spec.campaign}
    return (
        f"group {spec.group}".strip()
        if spec.group
        else "group of " + ", ".join(f"{name} {value}" for name, value in tags.items() if value)
    )


def _found(spec: AwsGroupSpec, calls: AwsCalls) -> dict[str, Any]:
    """The one group that the parameters mean, with our tag on it."""
    wanted = {reading.OURS[0]: reading.OURS[1]} | {
        f"ras-runner:{name}": value
        for name, value in (("campaign", spec.campaign), ("launch-token", spec.launch_token))
        if value
    }
    how: dict[str, Any] = (
        {"AutoScalingGroupNames": [spec.group]}
        if spec.group
        else {"Filters": [{"Name": f"tag:{name}", "Values": [value]} for name, value in wanted.items()]}
    )
    found = calls.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", step=_INIT, **how)
    ours = [group for group in found if wanted.items() <= reading.tags_of(group).items()]
    if len(ours) == 1:
        return ours[0]
    if ours:
        names = ", ".join(sorted(str(group["AutoScalingGroupName"]) for group in ours))
        cause, action = f"there are several such groups: {names}", "name one of them (group)"
    elif found:
        lacks = ", ".join(f"{name}={value}" for name, value in wanted.items())
        cause = f"it does not carry the tags {lacks}: it is left alone"
        action = "give a group that terraform/aws made: terraform output group"
    else:
        cause = "there is no such autoscaling group"
        action = "check group and region: terraform output group; after terraform destroy there is none"
    raise InputError(cause, step=_INIT, host=calls.where, action=action)


def _check_staging(spec: AwsGroupSpec, calls: AwsCalls) -> None:
    """Look for host keys once: what is wrong with the bucket is to be said before machines are paid for."""
    calls.call(
        *("s3", "list_objects_v2"),
        step=_INIT,
        Bucket=spec.staging_bucket,
        Prefix=spec.host_key_prefix,
        MaxKeys=1,
    )


def _smallest(group: Mapping[str, Any], calls: AwsCalls) -> int:
    """Processors of the smallest instance type that the group may start."""
    template = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    kinds = {str(one["InstanceType"]) for one in template.get("Overrides", ()) if one.get("InstanceType")}
    if not kinds:
        raise InputError(
            "the group does not list its instance types, so nobody knows the cores of its machines",
            step=_INIT,
            host=calls.where,
            action="give cores_total",
        )
    return _cores(sorted(kinds), calls)


def _cores(kinds: Sequence[str], calls: AwsCalls) -> int:
    answer = calls.call("ec2", "describe_instance_types", step=_INIT, InstanceTypes=list(kinds))
    return min(int(one["VCpuInfo"]["DefaultVCpus"]) for one in answer["InstanceTypes"])


def _in_parts(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    return (list(ids[start : start + size]) for start in range(0, len(ids), size))
