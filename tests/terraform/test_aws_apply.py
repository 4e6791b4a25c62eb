"""The AWS root for real: Terraform and its AWS provider against moto, from nothing to nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.terraform.cloud import OVERRIDE, REGION, Cloud, running_cloud
from tests.terraform.program import Terraform

from ras_runner.workers.aws_reading import with_base
from ras_runner.workers.docker import DockerSpec

OURS = "ras-runner:launch-token"
TOKEN = "token-of-this-test"
ROOT = "aws"


@dataclass
class Burst:
    """What was applied.

    Attributes:
        cloud, terraform: where, and with what.
        variables: file of the root's variables.
        before: what the cloud had before.
    """

    cloud: Cloud
    terraform: Terraform
    variables: Path
    before: set[str]

    def apply(self, *args: str) -> str:
        """Apply with these variables, or others where ``args`` say so."""
        return self.run("apply", "-auto-approve", *args, limit=240)

    def run(self, command: str, *args: str, **kwargs: Any) -> str:
        """A command that takes variables."""
        return self.terraform.run(ROOT, command, "-no-color", f"-var-file={self.variables}", *args, **kwargs)

    def output(self, name: str) -> Any:
        """An output of the root."""
        return self.terraform.json(ROOT, "output", "-json", name)

    def ours(self) -> dict[str, dict[str, str]]:
        """All that the cloud has with our token."""
        return {name: tags for name, tags in self.cloud.tags().items() if tags.get(OURS) == TOKEN}


@pytest.fixture(scope="module")
def burst(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Burst]:
    """Two machines, applied."""
    folder = tmp_path_factory.mktemp("burst")
    with running_cloud() as cloud:
        vpc, subnets = cloud.network()
        values = {
            "region": REGION,
            "name": "rastest",
            "campaign": "c-1",
            "owner": "somebody@office",
            "launch_token": TOKEN,
            "expires_at": (datetime.now(UTC) + timedelta(hours=4)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "max_workers": 4,
            "vpc_id": vpc,
            "subnet_ids": subnets,
            "access_cidrs": ["203.0.113.7/32", "2001:db8::/64"],
            "ssh_public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILySjoNGuzjmwR2Q9Ol7nPY/nEcLeD4nyxebFWY/GaUY test",
        }
        variables = folder / "burst.tfvars.json"
        variables.write_text(json.dumps(values), encoding="utf-8")
        (terraform.folder / ROOT / "moto_override.tf").write_text(OVERRIDE, encoding="utf-8")
        terraform.environment["AWS_ENDPOINT_URL"] = cloud.url
        made = Burst(cloud, terraform, variables, set(cloud.tags()))
        terraform.init(ROOT, f"-backend-config=path={folder / 'terraform.tfstate'}")
        made.apply("-var=workers=2")
        yield made


# One burst's life: the tests below are in its order, and each starts where the one before left it.


def test_outputs_are_workers_as_the_workers_file_has_them(burst: Burst) -> None:
    workers = burst.output("workers")
    machines = {machine["InstanceId"]: machine for machine in burst.cloud.machines()}

    assert set(workers) == set(machines)
    for name, worker in workers.items():
        assert worker["name"] == name
        assert worker["type"] == "docker"
        assert worker["parameters"]["docker_host"] == f"ssh://ras@{machines[name]['PrivateIpAddress']}"
        assert set(worker["parameters"]) <= set(DockerSpec.model_fields)
    assert burst.output("group") == "rastest"
    assert burst.output("host_key_prefix").startswith("campaigns/c-1/hosts/AROA")


def test_everything_carries_our_tags(burst: Burst) -> None:
    expected = burst.output("tags")
    assert set(expected) == {
        f"ras-runner:{key}" for key in ("managed-by", "campaign", "owner", "expires-at", "launch-token")
    }

    made = {name: tags for name, tags in burst.cloud.tags().items() if "rastest" in name or name.startswith("machine")}
    assert {name.split()[0] for name in made} == {"bucket", "group", "launch", "machine", "profile", "role", "security"}
    for name, tags in made.items():
        assert expected.items() <= tags.items(), name
    [security_group] = [
        g for g in burst.cloud.client("ec2").describe_security_groups()["SecurityGroups"] if "rastest" in g["GroupName"]
    ]
    rules = {name: tags for name, tags in burst.cloud.tags().items() if name.endswith(security_group["GroupId"])}
    assert len([name for name, tags in rules.items() if tags.get(OURS) == TOKEN]) == 3


def test_bucket_is_private_encrypted_and_empties_itself(burst: Burst) -> None:
    s3, bucket = burst.cloud.client("s3"), burst.output("staging_bucket")

    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["Expiration"]["Days"] == 7
    [statement] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    with pytest.raises(ClientError, match="Forbidden"):  # moto is reached by plain HTTP
        s3.put_object(Bucket=bucket, Key="images/worker.tar.gz", Body=b"an image")


def test_machines_may_do_what_their_user_data_does_and_no_more(burst: Burst) -> None:
    iam, bucket = burst.cloud.client("iam"), burst.output("staging_bucket")
    [role] = [role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"].startswith("rastest")]
    [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]

    assert [(s["Effect"], s["Action"], s["Resource"]) for s in document["Statement"]] == [
        ("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/images/worker.tar.gz"),
        ("Allow", "s3:PutObject", f"arn:aws:s3:::{bucket}/campaigns/c-1/hosts/${{aws:userid}}.pub"),
        (
            "Allow",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
            "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:*:autoScalingGroupName/rastest",
        ),
    ]
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []


def test_group_goes_to_zero_at_the_expiry(burst: Burst) -> None:
    [action] = burst.cloud.client("autoscaling").describe_scheduled_actions()["ScheduledUpdateGroupActions"]

    assert (action["MinSize"], action["MaxSize"], action["DesiredCapacity"]) == (0, 0, 0)
    assert action["StartTime"].strftime("%Y-%m-%dT%H:%M:%SZ") == burst.output("tags")["ras-runner:expires-at"]


def test_user_data_arms_the_end_of_each_machine(burst: Burst) -> None:
    ec2 = burst.cloud.client("ec2")
    [template] = ec2.describe_launch_template_versions(LaunchTemplateName=_template(burst))["LaunchTemplateVersions"]
    data = template["LaunchTemplateData"]
    user_data = base64.b64decode(data["UserData"])

    assert user_data.startswith(b"#cloud-config\n")
    assert burst.output("tags")["ras-runner:expires-at"].encode() in user_data
    assert len(user_data) < 16 * 1024, "more than EC2 takes"
    assert data["MetadataOptions"]["HttpTokens"] == "required"


def test_second_plan_leaves_alone_what_the_controller_scales(burst: Burst) -> None:
    """The variables do not say how many machines there are to be: a plan finds nothing to do, whatever their number."""
    autoscaling = burst.cloud.client("autoscaling")
    [group] = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName="rastest", MixedInstancesPolicy=with_base(group["MixedInstancesPolicy"], 1)
    )

    burst.run("plan", "-detailed-exitcode")


def test_number_of_workers_changes(burst: Burst) -> None:
    before = set(burst.output("workers"))

    burst.apply("-var=workers=3")

    after = set(burst.output("workers"))
    assert len(after) == 3
    assert before < after, "machines that were there are still there"


def test_destroy_leaves_nothing_though_the_expiry_is_over(burst: Burst) -> None:
    burst.cloud.put_object(burst.output("staging_bucket"), "images/worker.tar.gz", b"an image")
    assert burst.ours()

    burst.run("destroy", "-auto-approve", "-var=expires_at=2020-01-01T00:00:00Z", limit=240)

    assert burst.ours() == {}
    assert set(burst.cloud.tags()) == burst.before


def _template(burst: Burst) -> str:
    [template] = burst.cloud.client("ec2").describe_launch_templates()["LaunchTemplates"]
    return template["LaunchTemplateName"]
