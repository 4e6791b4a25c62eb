"""A burst's AWS: what is asked before anything is bought, its staging bucket, its machines, and what is left of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, OperatorError, RasRunnerError
from ras_runner.fleet.aws_things import find_things, remove_thing
from ras_runner.fleet.burst_cloud import Place, access_networks
from ras_runner.fleet.burst_record import MachineTime
from ras_runner.validation import validated
from ras_runner.workers.aws_calls import AwsCalls
from ras_runner.workers.aws_ec2 import PROTECTED_AT_ONCE, AwsGroup
from ras_runner.workers.aws_ec2_spec import AwsEc2Spec
from ras_runner.workers.aws_errors import boto3_module, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ras_runner.fleet.burst_order import BurstOrder
    from ras_runner.fleet.burst_record import BurstRecord
    from ras_runner.workers.group import WorkerGroup

_CHECK, _UPLOAD = "check burst", "upload image"
#: Those of terraform/modules/aws_workers.
DEFAULT_TYPES = ("c7i.2xlarge", "c6i.2xlarge", "c5.2xlarge", "m6i.2xlarge")
#: Where machines look for the image: docker_image_archive of terraform/modules/aws_workers.
ARCHIVE = "images/worker.tar.gz"
_SAY_EVERY = 10.0


class AwsBurst:
    """One region, with the credentials of the AWS command line.

    Args:
        region: of the burst.
        profile: of the user's AWS settings; the usual credentials when empty.

    Raises:
        InputError: there is no such region or profile.
        OperatorError: boto3 is not installed.
    """

    def __init__(self, region: str, profile: str) -> None:
        self.calls = AwsCalls(region, profile, f"AWS {region}")
        session = boto3_module().session.Session(profile_name=profile or None)
        known = {
            name for part in session.get_available_partitions() for name in session.get_available_regions("ec2", part)
        }
        if region not in known:
            raise InputError(
                f"AWS has no region {region!r}", step=_CHECK, action=f"its regions are {', '.join(sorted(known))}"
            )

    def check(self, order: BurstOrder) -> Place:
        """Who pays, the network and the machine types."""
        account = self.calls.call("sts", "get_caller_identity", step=_CHECK)
        network = self._network(order)
        subnets = self._subnets(order, network["VpcId"])
        types = order.machine_types or DEFAULT_TYPES
        cores = self._cores(types)
        if order.cores_per_plan > cores:
            raise InputError(
                f"a plan is to have {order.cores_per_plan} cores, and the smallest of {', '.join(types)} has {cores}",
                step=_CHECK,
                action="take larger machines (--machine-type), or fewer cores a plan",
            )
        blocks = [str(one["CidrBlock"]) for one in network.get("CidrBlockAssociationSet", ()) or [network]]
        variables = {
            "region": order.region,
            "vpc_id": network["VpcId"],
            "subnet_ids": subnets,
            "instance_types": list(types),
            "docker_image_archive": ARCHIVE,
        }
        who = f"AWS account {account['Account']} ({account['Arn']})"
        return Place(who, tuple(types), cores, variables, access_networks(order, blocks))

    def _network(self, order: BurstOrder) -> dict[str, Any]:
        given = order.vpc_id
        if not given and order.subnet_ids:
            given = self._described_subnets(order.subnet_ids)[0]["VpcId"]
        how: dict[str, Any] = (
            {"VpcIds": [given]} if given else {"Filters": [{"Name": "is-default", "Values": ["true"]}]}
        )
        answer = self.calls.call("ec2", "describe_vpcs", step=_CHECK, absent="InvalidVpcID.NotFound", **how)
        if not answer or not answer["Vpcs"]:
            what = f"there is no network {given}" if given else "there is no default network"
            raise InputError(
                f"{what} in {order.region}", step=_CHECK, action="name one: --vpc-id, and --subnet-id for its subnets"
            )
        return dict(answer["Vpcs"][0])

    def _subnets(self, order: BurstOrder, network: str) -> list[str]:
        if order.subnet_ids:
            found = self._described_subnets(order.subnet_ids)
            if wrong := [str(one["SubnetId"]) for one in found if one["VpcId"] != network]:
                raise InputError(
                    f"{', '.join(wrong)} is not in the network {network}",
                    step=_CHECK,
                    action="give subnets of one network",
                )
            return list(order.subnet_ids)
        where = [{"Name": "vpc-id", "Values": [network]}]
        found = self.calls.pages("ec2", "describe_subnets", "Subnets", step=_CHECK, Filters=where)
        if not found:
            raise InputError(
                f"the network {network} has no subnet", step=_CHECK, action="name others: --vpc-id, --subnet-id"
            )
        return sorted(str(one["SubnetId"]) for one in found)

    def _described_subnets(self, subnets: tuple[str, ...]) -> list[dict[str, Any]]:
        answer = self.calls.call(
            "ec2", "describe_subnets", step=_CHECK, absent="InvalidSubnetID.NotFound", SubnetIds=list(subnets)
        )
        if not answer:
            raise InputError(
                f"one of {', '.join(subnets)} is not in {self.calls.region}", step=_CHECK, action="correct --subnet-id"
            )
        return list(answer["Subnets"])

    def _cores(self, types: tuple[str, ...]) -> int:
        answer = self.calls.call(
            "ec2", "describe_instance_types", step=_CHECK, absent="InvalidInstanceType", InstanceTypes=list(types)
        )
        if not answer:
            raise InputError(
                f"AWS does not have all of {', '.join(types)} in {self.calls.region}",
                step=_CHECK,
                action="correct --machine-type",
            )
        return min(int(one["VCpuInfo"]["DefaultVCpus"]) for one in answer["InstanceTypes"])

    def upload(self, record: BurstRecord, archive: Path, say: Callable[[str], None]) -> None:
        """Put the archive into the staging bucket, in parts; what it says goes to ``say`` every few seconds."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, size = str(record.outputs["staging_bucket"]), archive.stat().st_size
        sent, told = 0, time.monotonic()

        def progress(count: int) -> None:  # called by several threads; a figure that is a little off does no harm
            nonlocal sent, told
            sent += count
            if time.monotonic() - told > _SAY_EVERY:
                told = time.monotonic()
                say(f"{sent / 1e6:.0f} of {size / 1e6:.0f} MB of the image are uploaded")

        try:
            client = self.calls.client("s3", _UPLOAD)
            client.upload_file(str(archive), bucket, ARCHIVE, Callback=progress)
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            cause = error.__context__ if isinstance(error, S3UploadFailedError) else error
            if not isinstance(cause, (BotoCoreError, ClientError)):
                raise OperatorError(str(error), step=_UPLOAD, action="try again") from error
            raise explained(
                cause, call="s3:PutObject", where=f"bucket {bucket}", step=_UPLOAD, region=self.calls.region
            ) from error

    def machines(self, record: BurstRecord) -> dict[str, MachineTime]:
        """By the burst's tag, whatever group they are in."""
        filters = [
            {"Name": "tag:ras-runner:launch-token", "Values": [record.launch_token]},
            {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "shutting-down"]},
        ]
        found = self.calls.pages("ec2", "describe_instances", "Reservations", step="look at machines", Filters=filters)
        return {
            str(one["InstanceId"]): MachineTime(
                str(one["InstanceType"]), one.get("InstanceLifecycle") == "spot", one["LaunchTime"].timestamp()
            )
            for part in found
            for one in part["Instances"]
        }

    def scale(self, record: BurstRecord, machines: int) -> None:
        """Set the group's desired capacity."""
        self.calls.call(
            *("autoscaling", "set_desired_capacity"),
            step="scale the group",
            AutoScalingGroupName=record.outputs["group"],
            DesiredCapacity=machines,
        )

    def release(self, record: BurstRecord) -> None:
        """A group whose machines are protected is not removed: Terraform would wait for them for minutes, in vain."""
        step, name = "unprotect machines", record.id  # the group is called so, whether its making was seen or not
        answer = self.calls.call("autoscaling", "describe_auto_scaling_groups", step=step, AutoScalingGroupNames=[name])
        for group in answer["AutoScalingGroups"]:
            ours = {"Key": "ras-runner:launch-token", "Value": record.launch_token}
            ids = [str(one["InstanceId"]) for one in group["Instances"] if one["ProtectedFromScaleIn"]]
            if not any(ours.items() <= tag.items() for tag in group["Tags"]):
                continue
            for start in range(0, len(ids), PROTECTED_AT_ONCE):
                self.calls.call(
                    *("autoscaling", "set_instance_protection"),
                    step=step,
                    AutoScalingGroupName=name,
                    InstanceIds=ids[start : start + PROTECTED_AT_ONCE],
                    ProtectedFromScaleIn=False,
                )

    def clean(self, record: BurstRecord) -> list[str]:
        """By the burst's launch token; a thing that others still stand on goes the next time."""
        left = []
        for thing in find_things(self.calls, home=True):
            if thing.token == record.launch_token:
                try:
                    remove_thing(self.calls, thing)
                except RasRunnerError as error:
                    left.append(f"{thing} ({error.cause})")
        return left

    def planned(self, order: BurstOrder) -> WorkerGroup:
        """A group that is not there yet, never looked at."""
        nowhere = {"group": "planned", "staging_bucket": "planned", "host_key_prefix": "planned"}
        parameters = _parameters(order.model_dump(mode="json"), "burst", order.region, nowhere, order.workers)
        spec = validated(AwsEc2Spec, parameters, "burst")
        return AwsGroup(spec, spec, "planned", self.calls)

    def group(self, record: BurstRecord, key: Path) -> tuple[str, dict[str, Any]]:
        """Type ``aws_ec2``; the machines' host keys are kept beside the burst's own key."""
        given = _parameters(record.parameters, record.id, record.region, record.outputs, record.workers)
        return "aws_ec2", {**given, "ssh_key_path": str(key), "keys_folder": str(key.parent / "host-keys")}


def _parameters(
    asked: Mapping[str, Any], name: str, region: str, outputs: Mapping[str, Any], machines: int
) -> dict[str, Any]:
    """What the group of workers is told, without keys."""
    parameters = {
        "worker_id": name,
        "region": region,
        "group": outputs["group"],
        "staging_bucket": outputs["staging_bucket"],
        "host_key_prefix": outputs["host_key_prefix"],
        "max_machines": machines,
        "on_demand_base": asked["on_demand"],
    }
    same = ("profile", "public_ip", "proxy_jump", "docker_image", "engine", "version", "cores_per_plan")
    parameters |= {key: asked[key] for key in (*same, "queue_priority", "idle_minutes")}
    return {key: value for key, value in parameters.items() if value != ""}
