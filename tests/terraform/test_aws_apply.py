"""The AWS root for real: Terraform and its AWS provider against moto, from nothing to nothing."""

from __future__ import annotations

import base64
import json

import pytest
from botocore.exceptions import ClientError
from tests.terraform.applied import OURS, TOKEN, Burst
from tests.terraform.cloud import REGION

from ras_runner.workers.aws_ec2 import AwsGroup, init_aws_ec2_group
from ras_runner.workers.docker import DockerSpec

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


def test_second_plan_leaves_alone_what_the_controller_scales(burst: Burst, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables do not say how many machines there are to be: a plan finds nothing to do, whatever their number."""
    group = _group(burst, monkeypatch)
    assert {machine.id for machine in group.look().machines} == set(burst.output("workers"))
    group.resize(2, 1)
    [now] = burst.cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert now["MixedInstancesPolicy"]["InstancesDistribution"]["OnDemandBaseCapacity"] == 1

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


def _group(burst: Burst, monkeypatch: pytest.MonkeyPatch) -> AwsGroup:
    """The group as a worker, from Terraform's outputs alone."""
    credentials = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    for name, value in {**credentials, "AWS_ENDPOINT_URL": burst.cloud.url}.items():
        monkeypatch.setenv(name, value)
    outputs = {name: burst.output(name) for name in ("group", "staging_bucket", "host_key_prefix")}
    return init_aws_ec2_group(
        {**outputs, "region": REGION, "max_machines": 4, "docker_image": "hecras:6.6", "version": "6.6"}
    )


def _template(burst: Burst) -> str:
    [template] = burst.cloud.client("ec2").describe_launch_templates()["LaunchTemplates"]
    return template["LaunchTemplateName"]
