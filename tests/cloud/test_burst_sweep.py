"""What is swept, and what never is: a crowd of other people's things, and of things that look like ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cloud.conftest import Place, make_machine, make_scaling_group, tags
from tests.terraform.cloud import REGION

from ras_runner.errors import OperatorError
from ras_runner.fleet.aws_things import KINDS, Thing, find_things, remove_thing
from ras_runner.fleet.burst_record import BurstFolder, BurstRecord, State
from ras_runner.fleet.burst_sweep import Found, Sweeper
from ras_runner.workers.aws_calls import AwsCalls

OURS = "ras-runner worker of campaign x"
NOW = 1_700_000_000.0
TOKEN = "token-of-a-burst"


@pytest.fixture
def sweeper(place: Place) -> Sweeper:
    return Sweeper(place.state, "me@here", False, lambda campaign: campaign == "over", 0.05)


def test_crowd(place: Place, sweeper: Sweeper) -> None:
    before = _all(place)
    _everything(place, "mine", tags(), OURS)
    wrong: dict[str, dict[str, str]] = {
        "foreign": {"managed_by": "terraform"},
        "bare": {"managed_by": "", "campaign": "", "owner": "", "expires_at": "", "launch_token": ""},
        "tokenless": {"launch_token": ""},
        "endless": {"expires_at": ""},
        "odd": {"expires_at": "some day"},
        "alive": {"expires_at": "2099-01-01T00:00:00Z"},
        "theirs": {"owner": "you@there"},
        "lookalike": {"managed_by": "ras-runner-2"},
    }
    for name, changes in wrong.items():
        _everything(place, name, tags(**changes), OURS)
    crowd = _all(place)

    listed = sweeper.sweep([REGION], "", print, remove=False)
    assert _all(place) == crowd, "nothing is removed unless asked"
    due = [item for item in listed if item.due]
    assert sorted(item.thing.kind for item in due) == sorted(KINDS)
    assert {item.why for item in due} == {"expired 2020-01-01T00:00:00Z"}
    stays = {item.thing.tags["ras-runner:owner"]: item.why for item in listed if not item.due}
    assert stays["you@there"] == "you@there has rented it"
    assert {item.why for item in listed if not item.due} == {
        "you@there has rented it",
        "its expiry cannot be read",
        "may stay until 2099-01-01T00:00:00Z",
    }

    done = sweeper.sweep([REGION], "", print, remove=True)

    assert {item.done for item in done if item.due} == {"removed"}
    gone = crowd - _all(place)
    assert {kind for kind, _ in gone} == set(KINDS)
    assert len(gone) == len(KINDS)
    assert all("mine" in name for kind, name in gone if kind in ("group", "bucket", "profile", "role"))
    assert before <= _all(place)
    assert not [item for item in sweeper.sweep([REGION], "", print, remove=False) if item.due]


def test_tags_that_changed_in_the_meantime(place: Place) -> None:
    machine = make_machine(place, TOKEN)
    calls = AwsCalls(REGION, "", "AWS")
    [thing] = find_things(calls, home=False)
    place.cloud.client("ec2").create_tags(
        Resources=[machine], Tags=[{"Key": "ras-runner:launch-token", "Value": "another-one"}]
    )
    with pytest.raises(OperatorError, match="left alone"):
        remove_thing(calls, thing)
    assert len(place.cloud.machines()) == 1
    place.cloud.client("ec2").terminate_instances(InstanceIds=[machine])
    remove_thing(calls, thing)  # gone already


def test_what_cannot_be_removed_is_told(place: Place, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ras_runner.fleet.burst_sweep._ROUNDS", 2)
    _role(place, "mine", tags(), OURS)
    iam = place.cloud.client("iam")
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    )
    policy = iam.create_policy(PolicyName="of-somebody", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="mine", PolicyArn=policy)
    _, item = sweeper.sweep([REGION], "", print, remove=True)
    assert item.done.startswith("not removed: ")
    assert ("role", "mine") in _all(place)


def test_a_region_that_does_not_answer_holds_up_no_other(place: Place, sweeper: Sweeper) -> None:
    make_machine(place, TOKEN)
    said = list[str]()
    found = sweeper.sweep(["xx-nowhere-1\n", REGION], "", said.append, remove=False)
    assert [item.thing.kind for item in found] == ["machine"]
    assert "could not be looked at" in said[0]


@pytest.mark.parametrize(
    ("changes", "due", "why"),
    [
        ({"state": State.DOWN}, True, "its burst is down"),
        ({"state": State.FAILED}, True, "its burst is failed"),
        ({"state": State.UP, "attended": False}, False, "up until"),
        ({"state": State.UP, "campaign": "over"}, True, "its campaign is over"),
        ({"state": State.UP, "campaign": ""}, True, "its campaign is over"),
        ({"state": State.UP, "campaign": "open"}, False, "ras-runner resume"),
    ],
)
def test_what_this_machine_knows_decides(sweeper: Sweeper, changes: dict[str, Any], due: bool, why: str) -> None:
    folder = _record(sweeper.state_dir, **changes)
    thing = _thing(expires_at="2099-01-01T00:00:00Z")
    judged, reason = sweeper.judge(thing, NOW)
    assert (judged, why in reason) == (due, True), reason
    lock = folder.lock
    assert lock.acquire()
    assert sweeper.judge(thing, NOW) == (False, "a ras-runner has it in hand")
    assert sweeper.judge(_thing(), NOW)[0] is False, "expired, but somebody takes care of it"
    lock.release()


def test_other_owners_only_when_asked(place: Place) -> None:
    sweeper = Sweeper(place.state, "somebody@else", True, lambda campaign: True, 0.05)
    assert sweeper.judge(_thing(), NOW) == (True, "expired 2020-01-01T00:00:00Z")
    assert Found(_thing(), True, "").done == ""


def _thing(**changes: str) -> Thing:
    return Thing("machine", "i-1", "i-1", REGION, {tag["Key"]: tag["Value"] for tag in tags(**changes)})


def _record(state_dir: Path, **changes: Any) -> BurstFolder:
    name = "burst-20200101-0000-abcd"
    record = BurstRecord(name, "aws", REGION, TOKEN, "me@here", NOW, NOW + 60, "4", ["c6i.2xlarge"], 1, True)
    for key, value in changes.items():
        setattr(record, key, value)
    folder = BurstFolder(state_dir / "bursts" / name)
    folder.write(record)
    return folder


def _role(place: Place, name: str, labels: list[dict[str, str]], description: str) -> None:
    iam = place.cloud.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}", Tags=labels, Description=description)
    allowed = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
    iam.create_instance_profile(InstanceProfileName=name, Tags=labels)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def _everything(place: Place, name: str, labels: list[dict[str, str]], description: str) -> None:
    """One of each kind, with these tags."""
    ec2, s3 = place.cloud.client("ec2"), place.cloud.client("s3")

    def spec(kind: str) -> Any:
        return [{"ResourceType": kind, "Tags": labels}] if labels else []

    make_scaling_group(place, f"group-{name}", labels)
    ec2.run_instances(
        ImageId="ami-12c6146b", InstanceType="c6i.2xlarge", MinCount=1, MaxCount=1, TagSpecifications=spec("instance")
    )
    ec2.create_launch_template(
        LaunchTemplateName=f"another-{name}", LaunchTemplateData={}, TagSpecifications=spec("launch-template")
    )
    ec2.create_key_pair(KeyName=name, TagSpecifications=spec("key-pair"))
    ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1, TagSpecifications=spec("volume"))
    ec2.create_security_group(GroupName=name, Description="d", TagSpecifications=spec("security-group"))
    s3.create_bucket(Bucket=f"bucket-{name}")
    s3.put_object(Bucket=f"bucket-{name}", Key="images/worker.tar.gz", Body=b"an image")
    if labels:
        s3.put_bucket_tagging(Bucket=f"bucket-{name}", Tagging={"TagSet": labels})
    _role(place, name, labels, description)


def _all(place: Place) -> set[tuple[str, str]]:
    """All there is of the kinds that are swept, whatever its tags."""
    ec2, iam = place.cloud.client("ec2"), place.cloud.client("iam")
    found = {("machine", machine["InstanceId"]) for machine in place.cloud.machines()}
    found |= {("launch template", t["LaunchTemplateName"]) for t in ec2.describe_launch_templates()["LaunchTemplates"]}
    found |= {("key pair", key["KeyName"]) for key in ec2.describe_key_pairs()["KeyPairs"]}
    found |= {("volume", v["VolumeId"]) for v in ec2.describe_volumes()["Volumes"] if v["State"] == "available"}
    found |= {("security group", group["GroupId"]) for group in ec2.describe_security_groups()["SecurityGroups"]}
    groups = place.cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    found |= {("group", group["AutoScalingGroupName"]) for group in groups}
    found |= {("bucket", b["Name"]) for b in place.cloud.client("s3").list_buckets()["Buckets"]}
    found |= {("role", role["RoleName"]) for role in iam.list_roles()["Roles"]}
    return found | {("profile", p["InstanceProfileName"]) for p in iam.list_instance_profiles()["InstanceProfiles"]}
