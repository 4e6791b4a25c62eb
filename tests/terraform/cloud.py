"""An AWS of our own: moto's server on a free port of loopback."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.ec2.models.launch_templates import LaunchTemplateBackend
from moto.moto_api._internal import moto_api_backend
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
#: Settings of the provider that moto needs; merged into the root by Terraform's rule for override files.
OVERRIDE = """
provider "aws" {
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  s3_use_path_style           = true
}
"""


@functools.cache
def _client(service: str, url: str) -> Any:
    return boto3.client(service, region_name=REGION, endpoint_url=url, aws_access_key_id="t", aws_secret_access_key="t")


@dataclass(frozen=True)
class Cloud:
    """Where it is."""

    url: str

    def client(self, service: str) -> Any:
        """boto3's client of a service."""
        return _client(service, self.url)

    def network(self) -> tuple[str, list[str]]:
        """The default network and two of its subnets."""
        ec2 = self.client("ec2")
        subnets = ec2.describe_subnets()["Subnets"]
        return subnets[0]["VpcId"], [subnet["SubnetId"] for subnet in subnets[:2]]

    def machines(self) -> list[dict[str, Any]]:
        """All that are not terminated."""
        found = self.client("ec2").describe_instances()["Reservations"]
        machines = [machine for reservation in found for machine in reservation["Instances"]]
        return [machine for machine in machines if machine["State"]["Name"] != "terminated"]

    def put_object(self, bucket: str, key: str, content: bytes) -> None:
        """Put an object past the bucket's policy, which refuses our connections: they are not encrypted."""
        s3_backends[ACCOUNT_ID]["aws"].put_object(bucket, key, content)

    def tags(self) -> dict[str, dict[str, str]]:
        """Tags of all that there is and can have some, by kind and name."""
        ec2, iam, s3 = self.client("ec2"), self.client("iam"), self.client("s3")
        found = {f"machine {machine['InstanceId']}": machine.get("Tags", []) for machine in self.machines()}
        for template in ec2.describe_launch_templates()["LaunchTemplates"]:
            found[f"launch template {template['LaunchTemplateName']}"] = template.get("Tags", [])
        for group in ec2.describe_security_groups()["SecurityGroups"]:
            if group["GroupName"] != "default":
                found[f"security group {group['GroupName']}"] = group.get("Tags", [])
        for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]:
            found[f"rule {rule['SecurityGroupRuleId']} of {rule['GroupId']}"] = rule.get("Tags", [])
        for volume in ec2.describe_volumes()["Volumes"]:
            found[f"volume {volume['VolumeId']}"] = volume.get("Tags", [])
        for key in ec2.describe_key_pairs()["KeyPairs"]:
            found[f"key pair {key['KeyName']}"] = key.get("Tags", [])
        for scaling in self.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]:
            found[f"group {scaling['AutoScalingGroupName']}"] = scaling["Tags"]
        for role in iam.list_roles()["Roles"]:
            found[f"role {role['RoleName']}"] = iam.list_role_tags(RoleName=role["RoleName"])["Tags"]
        for profile in iam.list_instance_profiles()["InstanceProfiles"]:
            name = profile["InstanceProfileName"]
            found[f"profile {name}"] = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Tags"]
        for bucket in s3.list_buckets()["Buckets"]:
            found[f"bucket {bucket['Name']}"] = s3.get_bucket_tagging(Bucket=bucket["Name"])["TagSet"]
        return {name: {tag["Key"]: tag["Value"] for tag in tags} for name, tags in found.items()}


def without_tags_of_its_own() -> Any:
    """moto 5.2 lists a launch template's own tags among those that it gives to machines; AWS keeps them apart."""
    create = LaunchTemplateBackend.create_launch_template

    def patched(self: Any, name: str, description: str, template_data: dict[str, Any], tag_spec: Any) -> Any:
        kept = [s for s in template_data.get("TagSpecifications", []) if s["ResourceType"] != "launch-template"]
        return create(self, name, description, template_data | {"TagSpecifications": kept}, tag_spec)

    return patched


@contextlib.contextmanager
def running_cloud() -> Iterator[Cloud]:
    """An AWS for as long as the block lasts; it begins with nothing."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto_api_backend.reset()
    original = LaunchTemplateBackend.create_launch_template
    LaunchTemplateBackend.create_launch_template = without_tags_of_its_own()
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield Cloud(f"http://{host}:{port}")
    finally:
        server.stop()
        LaunchTemplateBackend.create_launch_template = original
