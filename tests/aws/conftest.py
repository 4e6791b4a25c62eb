"""Fixture ``aws``: an AWS in this process (moto), with a group as terraform/modules/aws_workers makes it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import boto3
import pytest
from moto import mock_aws
from moto.autoscaling.models import autoscaling_backends
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.ec2.models import ec2_backends
from tests.botocore_models import models_read_once

from ras_runner.workers.aws_ec2 import AwsGroup, init_aws_ec2_group

__all__ = ["models_read_once"]

#: One that moto has from the start: to ask for them all takes it seconds.
IMAGE = "ami-12c6146b"
REGION, GROUP, BUCKET, PREFIX = "us-east-1", "rastest", "rastest-staging", "campaigns/c-1/hosts/AROAROLE:"
OURS = {
    "ras-runner:managed-by": "ras-runner",
    "ras-runner:campaign": "c-1",
    "ras-runner:owner": "somebody@office",
    "ras-runner:launch-token": "token-of-this-test",
}


@functools.cache
def _client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


def tag_list(tags: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    return [{"Key": key, "Value": value, **more} for key, value in tags.items()]


@dataclass
class Aws:
    """The cloud of one test.

    Attributes:
        folder: of the controller.
    """

    folder: Path

    def client(self, service: str) -> Any:
        return _client(service)

    def make_group(self, name: str = GROUP, tags: dict[str, str] | None = None, machines: int = 2) -> None:
        """A group of spot and full-price machines."""
        ec2, tags = self.client("ec2"), OURS if tags is None else tags
        template = ec2.create_launch_template(
            LaunchTemplateName=f"{name}-template",
            LaunchTemplateData={
                "ImageId": IMAGE,
                "InstanceType": "c6i.2xlarge",
                "TagSpecifications": [{"ResourceType": "instance", "Tags": tag_list(tags or {"a": "b"})}],
            },
        )["LaunchTemplate"]
        self.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=0,
            MaxSize=60,
            DesiredCapacity=machines,
            VPCZoneIdentifier=ec2.describe_subnets()["Subnets"][0]["SubnetId"],
            MixedInstancesPolicy={
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": {"LaunchTemplateId": template["LaunchTemplateId"], "Version": "1"},
                    "Overrides": [{"InstanceType": "c6i.4xlarge"}, {"InstanceType": "c6i.2xlarge"}],
                },
                "InstancesDistribution": {"OnDemandBaseCapacity": 0, "OnDemandPercentageAboveBaseCapacity": 0},
            },
            Tags=tag_list(tags, PropagateAtLaunch=True, ResourceId=name, ResourceType="auto-scaling-group"),
        )

    def put_host_key(self, machine: str, content: bytes) -> None:
        """What the machine's first boot puts into the staging bucket."""
        self.client("s3").put_object(Bucket=BUCKET, Key=f"{PREFIX}{machine}.pub", Body=content)

    def group_now(self, name: str = GROUP) -> dict[str, Any]:
        """What AWS says of the group."""
        found = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return found["AutoScalingGroups"][0]

    def instances(self) -> dict[str, dict[str, Any]]:
        """All machines there are, and have been."""
        found = self.client("ec2").describe_instances()["Reservations"]
        return {one["InstanceId"]: one for reservation in found for one in reservation["Instances"]}

    def become_spot(self, machine: str) -> str:
        """Let a machine be a spot machine, which moto's groups have none of; returns its spot request."""
        [state] = [s for s in self._backend.autoscaling_groups[GROUP].instance_states if s.instance.id == machine]
        state.instance.lifecycle = "spot"
        state.instance.spot_instance_request_id = f"sir-{machine[-8:]}"
        return str(state.instance.spot_instance_request_id)

    @property
    def _backend(self) -> Any:
        return autoscaling_backends[ACCOUNT][REGION]

    def clear(self) -> None:
        """Nothing is left, not even of what has ended."""
        ec2 = ec2_backends[ACCOUNT][REGION]
        ours = (ec2.reservations, ec2.launch_templates, ec2.launch_template_name_to_ids)
        for things in (self._backend.autoscaling_groups, *ours):
            things.clear()
        for one in self.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            self.client("s3").delete_object(Bucket=BUCKET, Key=one["Key"])

    def parameters(self, **changes: Any) -> dict[str, Any]:
        """Of a group of Linux machines."""
        return {
            "region": REGION,
            "group": GROUP,
            "max_machines": 10,
            "staging_bucket": BUCKET,
            "host_key_prefix": PREFIX,
            "docker_image": "ras-standin",
            "engine": "standin",
            "keys_folder": str(self.folder / "keys"),
        } | changes

    def group(self, **changes: Any) -> AwsGroup:
        """The group, as ``init_ras_worker("aws_ec2", ...)`` makes it."""
        given = self.parameters(**changes)
        return init_aws_ec2_group({name: value for name, value in given.items() if value is not None})


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    """One cloud for all tests of a file: to begin anew takes moto most of a second."""
    with mock_aws():
        _client("s3").create_bucket(Bucket=BUCKET)
        yield


@pytest.fixture
def aws(account: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """A cloud with a group of two machines and its staging bucket."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    made = Aws(tmp_path)
    made.make_group()
    yield made
    made.clear()


@pytest.fixture(scope="session")
def host_key() -> bytes:
    """Of a machine, as sshd has it in its .pub file."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment="root@machine")
    return bytes(key.export_public_key("openssh"))
