"""What AWS's answers say of a group and its machines. Pure: dictionaries as boto3 gives them in, plain data out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ras_runner.workers.aws_errors import plain
from ras_runner.workers.group import Machine, MachineState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

#: What everything of ours carries: terraform/modules/aws_workers/main.tf.
OURS = ("ras-runner:managed-by", "ras-runner")
#: What AWS puts on the machines of a group.
GROUP_TAG = "aws:autoscaling:groupName"
#: States of an instance: docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html. One that was stopped
#: is on its way out: it computes nothing, and its group replaces it.
_STATES = {
    "pending": MachineState.STARTING,
    "running": MachineState.RUNNING,
    "shutting-down": MachineState.ENDING,
    "stopping": MachineState.ENDING,
    "stopped": MachineState.ENDING,
    "terminated": MachineState.GONE,
}
#: Status codes of a spot request whose machine is taken, or is about to be:
#: docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html
_TAKEN = {
    "marked-for-termination": "the cloud takes this spot machine back within two minutes",
    "marked-for-stop": "the cloud stops this spot machine within two minutes",
    "instance-terminated-by-price": "the cloud took this spot machine back: its price rose",
    "instance-terminated-no-capacity": "the cloud took this spot machine back: it needs it itself",
    "instance-terminated-capacity-oversubscribed": "the cloud took this spot machine back: it needs it itself",
    "instance-terminated-launch-group-constraint": "the cloud took this spot machine back",
    "instance-stopped-by-price": "the cloud stopped this spot machine: its price rose",
    "instance-stopped-no-capacity": "the cloud stopped this spot machine: it needs it itself",
}
#: Why an instance ended, by the code of its StateReason:
#: docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
_ENDED = {
    "Server.SpotInstanceTermination": "the cloud took this spot machine back",
    "Server.SpotInstanceShutdown": "the cloud stopped this spot machine",
    "Server.InternalError": "the cloud lost this machine: an error of its own",
    "Server.ScheduledStop": "the cloud stopped this machine: it retires its hardware",
    "Client.InstanceInitiatedShutdown": "the machine ended itself",
    "Client.UserInitiatedShutdown": "the machine was ended through the cloud's API",
}
_QUOTA = "the account's quota of {} is used up (Service Quotas, EC2)"
_APPLY = "the group's {} is not there any more: apply its Terraform again"
#: What messages of failed launches hold -> what a person should know. The first that is found holds.
_SHORTAGES = tuple(
    (re.compile(pattern, re.IGNORECASE), sentence)
    for pattern, sentence in (
        ("InsufficientInstanceCapacity|UnfulfillableCapacity|no Spot capacity|sufficient .{0,60}capacity",
         "the cloud has no machine of these types free now"),
        ("MaxSpotInstanceCountExceeded", _QUOTA.format("spot machines")),
        ("VcpuLimitExceeded|InstanceLimitExceeded", _QUOTA.format("processors of full-price machines")),
        ("SpotMaxPriceTooLow", "spot machines cost more than the group may pay"),
        ("InvalidAMI", _APPLY.format("machine image")),
        ("InvalidKeyPair", _APPLY.format("key pair")),
        ("InvalidSubnet|InsufficientFreeAddresses", "the group's subnets have no room: give it more of them"),
        ("not authorized|UnauthorizedOperation|AccessDenied", "the group itself has no right to start machines"),
    )
)  # fmt: skip


def tags_of(thing: Mapping[str, Any]) -> dict[str, str]:
    """Tags of an instance or a group."""
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", ())}


def is_ours(thing: Mapping[str, Any]) -> bool:
    """Whether it carries our tag."""
    return tags_of(thing).get(OURS[0]) == OURS[1]


def machine_of(instance: Mapping[str, Any], lifecycle: str, notice: str = "", *, public: bool = False) -> Machine:
    """A machine.

    Args:
        instance: of DescribeInstances.
        lifecycle: its state in the group; empty when it is not (yet, or any more) in it.
        notice: what its spot request says of its end.
        public: it is reached by its public address.
    """
    state = _STATES.get(instance["State"]["Name"], MachineState.ENDING)
    if lifecycle.startswith(("Terminat", "Detach")) and state is not MachineState.GONE:
        state = MachineState.ENDING
    if state in (MachineState.ENDING, MachineState.GONE):
        notice = notice or _ENDED.get(str(instance.get("StateReason", {}).get("Code", "")), "")
    return Machine(
        id=str(instance["InstanceId"]),
        state=state,
        address=str(instance.get("PublicIpAddress" if public else "PrivateIpAddress") or ""),
        since=instance["LaunchTime"].timestamp() if "LaunchTime" in instance else 0.0,
        zone=str(instance.get("Placement", {}).get("AvailabilityZone", "")),
        kind=str(instance.get("InstanceType", "")),
        spot=instance.get("InstanceLifecycle") == "spot",
        notice=notice,
    )


def notices(requests: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Machine -> why it is taken, of DescribeSpotInstanceRequests."""
    found = {}
    for request in requests:
        sentence = _TAKEN.get(str(request.get("Status", {}).get("Code", "")))
        if sentence and request.get("InstanceId"):
            found[str(request["InstanceId"])] = sentence
    return found


def shortage_of(activities: Sequence[Mapping[str, Any]], after: datetime) -> str:
    """Why the group's latest try to start a machine failed.

    Args:
        activities: of DescribeScalingActivities.
        after: what is older says nothing of now.

    Returns:
        One sentence; empty when the latest launch that is over has not failed.
    """
    launches = [
        one
        for one in activities
        if one["StartTime"] >= after
        and one["StatusCode"] in ("Successful", "Failed")
        and "Launching" in one.get("Description", "")
    ]
    latest = max(launches, key=lambda one: one["StartTime"], default=None)
    if latest is None or latest["StatusCode"] == "Successful":
        return ""
    said = plain(str(latest.get("StatusMessage", "")))
    for pattern, sentence in _SHORTAGES:
        if pattern.search(said):
            return sentence
    return f"the group could not start a machine: {said or 'no reason is given'}"


def with_base(policy: Mapping[str, Any], base: int) -> dict[str, Any]:
    """A group's policy with another on-demand base, as an update takes it: the template by its id alone."""
    template = dict(policy["LaunchTemplate"])
    specification = dict(template["LaunchTemplateSpecification"])
    if "LaunchTemplateId" in specification:
        specification.pop("LaunchTemplateName", None)
    return {
        "LaunchTemplate": template | {"LaunchTemplateSpecification": specification},
        "InstancesDistribution": dict(policy.get("InstancesDistribution", {})) | {"OnDemandBaseCapacity": base},
    }
