"""What there is of ours on AWS: found by tags, looked at again before it is removed, removed in the right order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ras_runner.errors import OperatorError
from ras_runner.workers.aws_reading import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ras_runner.workers.aws_calls import AwsCalls

_FIND, _REMOVE = "look for what is ours", "remove what is ours"
_TOKEN = "ras-runner:launch-token"  # noqa: S105  the name of a tag
#: Everything of ours carries all of these: terraform/modules/aws_workers/main.tf.
TAGS = ("ras-runner:managed-by", "ras-runner:campaign", "ras-runner:owner", "ras-runner:expires-at", _TOKEN)
#: What roles of ours say of themselves; accounts have hundreds of roles, and tags are asked for one by one.
_ROLE = "ras-runner worker of campaign "
_LIVE = ["pending", "running", "stopping", "stopped"]


@dataclass(frozen=True)
class Thing:
    """Something that carries our tags.

    Attributes:
        kind: a word of ``KINDS``.
        id: the cloud's name for it.
        name: for people, where it has another one.
        region: where it is; empty for what is in none.
        tags: its own.
    """

    kind: str
    id: str
    name: str
    region: str
    tags: Mapping[str, str] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def token(self) -> str:
        """Launch token of the burst that it belongs to."""
        return self.tags.get(_TOKEN, "")


@dataclass(frozen=True)
class Kind:
    """How a kind of thing is found and removed.

    Attributes:
        found: those that carry our first tag; all, or the one with this id.
        remove: ends it.
        everywhere: it is in no region.
    """

    found: Callable[[AwsCalls, str], list[Thing]]
    remove: Callable[[AwsCalls, Thing], None]
    everywhere: bool = False


def find_things(calls: AwsCalls, *, home: bool) -> list[Thing]:
    """What carries all of our tags in a region, in the order in which it is removed.

    Args:
        calls: of the region.
        home: list what is in no region as well.
    """
    found = [thing for kind in KINDS.values() if home or not kind.everywhere for thing in kind.found(calls, "")]
    return [thing for thing in found if is_ours(thing.tags)]


def is_ours(tags: Mapping[str, str]) -> bool:
    """Whether tags are those that our Terraform gives, all of them: one alone may be anybody's."""
    return tags.get(OURS[0]) == OURS[1] and all(tags.get(name) for name in TAGS)


def remove_thing(calls: AwsCalls, thing: Thing) -> None:
    """Remove a thing, after it was seen again to be the same, with the same tags.

    Raises:
        OperatorError: its tags are others now: it is left alone.
    """
    kind = KINDS[thing.kind]
    now = [one for one in kind.found(calls, thing.id) if one.id == thing.id]
    if not now:
        return
    if not is_ours(now[0].tags) or now[0].token != thing.token:
        raise OperatorError(
            f"the tags of {thing} have changed since it was listed: it is left alone",
            step=_REMOVE,
            action="look at it in the console of AWS",
        )
    kind.remove(calls, thing)


def _tags(listed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in listed}


def _groups(calls: AwsCalls, only: str) -> list[Thing]:
    how: dict[str, Any] = {"Filters": [{"Name": f"tag:{OURS[0]}", "Values": [OURS[1]]}]}
    if only:
        how = {"AutoScalingGroupNames": [only]}
    found = calls.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", step=_FIND, **how)
    names = [(str(one["AutoScalingGroupName"]), _tags(one.get("Tags", ()))) for one in found]
    return [Thing("group", name, name, calls.region, tags) for name, tags in names]


def _remove_group(calls: AwsCalls, thing: Thing) -> None:
    calls.call(
        "autoscaling", "delete_auto_scaling_group", step=_REMOVE, AutoScalingGroupName=thing.id, ForceDelete=True
    )


def _ec2(kind: str, operation: str, key: str, id_key: str, name_key: str = "", **filters: list[str]) -> Any:
    """What lists a kind of thing of EC2 by our tag, or one by its id among them."""

    def found(calls: AwsCalls, only: str) -> list[Thing]:
        wanted = [{"Name": f"tag:{OURS[0]}", "Values": [OURS[1]]}]
        wanted += [{"Name": name.replace("_", "-"), "Values": values} for name, values in filters.items()]
        if operation == "describe_key_pairs":  # has no pages
            listed = calls.call("ec2", operation, step=_FIND, Filters=wanted)[key]
        else:
            listed = calls.pages("ec2", operation, key, step=_FIND, Filters=wanted)
        if key == "Reservations":
            listed = [one for part in listed for one in part["Instances"]]
        things = [
            Thing(kind, str(one[id_key]), str(one[name_key or id_key]), calls.region, _tags(one.get("Tags", ())))
            for one in listed
        ]
        return [thing for thing in things if not only or thing.id == only]

    return found


def _ec2_remove(operation: str, parameter: str) -> Callable[[AwsCalls, Thing], None]:
    def remove(calls: AwsCalls, thing: Thing) -> None:
        ids = {"InstanceIds": [thing.id], "KeyName": thing.name}
        given: dict[str, Any] = {parameter: ids.get(parameter, thing.id)}
        calls.call("ec2", operation, step=_REMOVE, **given)

    return remove


def _buckets(calls: AwsCalls, only: str) -> list[Thing]:
    """One whose tags are closed to us is not ours; when all are, a right is missing."""
    names = [str(one["Name"]) for one in calls.call("s3", "list_buckets", step=_FIND)["Buckets"]]
    found, closed = list[Thing](), list[OperatorError]()
    names = [name for name in names if not only or name == only]
    for name in names:
        try:
            answer = calls.call("s3", "get_bucket_tagging", step=_FIND, absent="NoSuchTagSet", Bucket=name)
        except OperatorError as error:
            closed.append(error)
            continue
        if answer and (tags := _tags(answer["TagSet"])).get(OURS[0]) == OURS[1]:
            found.append(Thing("bucket", name, name, "", tags))
    if closed and len(closed) == len(names):
        raise closed[0]
    return found


def _remove_bucket(calls: AwsCalls, thing: Thing) -> None:
    name = thing.id
    for page in calls.pages("s3", "list_objects_v2", "Contents", step=_REMOVE, Bucket=name):
        calls.call("s3", "delete_object", step=_REMOVE, Bucket=name, Key=page["Key"])
    calls.call("s3", "delete_bucket", step=_REMOVE, Bucket=name)


def _profiles(calls: AwsCalls, only: str) -> list[Thing]:
    names = [
        str(one["InstanceProfileName"])
        for one in calls.pages("iam", "list_instance_profiles", "InstanceProfiles", step=_FIND)
        if not one["Roles"] or any(_is_worker_role(role) for role in one["Roles"])
    ]
    found = []
    for name in names if not only else [name for name in names if name == only]:
        answer = calls.call("iam", "get_instance_profile", step=_FIND, absent="NoSuchEntity", InstanceProfileName=name)
        if answer:
            found.append(Thing("profile", name, name, "", _tags(answer["InstanceProfile"].get("Tags", ()))))
    return found


def _remove_profile(calls: AwsCalls, thing: Thing) -> None:
    name = thing.id
    profile = calls.call("iam", "get_instance_profile", step=_REMOVE, InstanceProfileName=name)["InstanceProfile"]
    for role in profile["Roles"]:
        calls.call(
            *("iam", "remove_role_from_instance_profile"),
            step=_REMOVE,
            InstanceProfileName=name,
            RoleName=role["RoleName"],
        )
    calls.call("iam", "delete_instance_profile", step=_REMOVE, InstanceProfileName=name)


def _is_worker_role(role: Mapping[str, Any]) -> bool:
    return str(role.get("Description", "")).startswith(_ROLE)


def _roles(calls: AwsCalls, only: str) -> list[Thing]:
    listed = calls.pages("iam", "list_roles", "Roles", step=_FIND)
    names = [str(role["RoleName"]) for role in listed if _is_worker_role(role)]
    things = []
    for name in names if not only else [name for name in names if name == only]:
        tags = calls.call("iam", "list_role_tags", step=_FIND, absent="NoSuchEntity", RoleName=name)
        things.append(Thing("role", name, name, "", _tags(tags["Tags"] if tags else ())))
    return things


def _remove_role(calls: AwsCalls, thing: Thing) -> None:
    name = thing.id
    for policy in calls.call("iam", "list_role_policies", step=_REMOVE, RoleName=name)["PolicyNames"]:
        calls.call("iam", "delete_role_policy", step=_REMOVE, RoleName=name, PolicyName=policy)
    calls.call("iam", "delete_role", step=_REMOVE, RoleName=name)


#: In the order in which things are removed: each before what it stands on.
KINDS = {
    "group": Kind(_groups, _remove_group),
    "machine": Kind(
        _ec2("machine", "describe_instances", "Reservations", "InstanceId", instance_state_name=_LIVE),
        _ec2_remove("terminate_instances", "InstanceIds"),
    ),
    "launch template": Kind(
        _ec2(
            *("launch template", "describe_launch_templates", "LaunchTemplates"),
            *("LaunchTemplateId", "LaunchTemplateName"),
        ),
        _ec2_remove("delete_launch_template", "LaunchTemplateId"),
    ),
    "key pair": Kind(
        _ec2("key pair", "describe_key_pairs", "KeyPairs", "KeyPairId", "KeyName"),
        _ec2_remove("delete_key_pair", "KeyName"),
    ),
    "volume": Kind(
        _ec2("volume", "describe_volumes", "Volumes", "VolumeId", status=["available"]),
        _ec2_remove("delete_volume", "VolumeId"),
    ),
    "security group": Kind(
        _ec2("security group", "describe_security_groups", "SecurityGroups", "GroupId", "GroupName"),
        _ec2_remove("delete_security_group", "GroupId"),
    ),
    "bucket": Kind(_buckets, _remove_bucket, everywhere=True),
    "profile": Kind(_profiles, _remove_profile, everywhere=True),
    "role": Kind(_roles, _remove_role, everywhere=True),
}
