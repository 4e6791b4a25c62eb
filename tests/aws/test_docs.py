"""docs/workers/aws_ec2.md is true: its policy and its parameters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import botocore.session
from botocore import xform_name

from ras_runner.workers.aws_ec2_spec import AwsEc2Spec, AwsEc2WindowsSpec
from ras_runner.workers.aws_errors import action_name
from ras_runner.workers.group import GroupSpec

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "workers" / "aws_ec2.md").read_text(encoding="utf-8")
#: What AWS asks for when the policy of a group with a launch template is written.
BESIDES = {"ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"}


def test_policy_has_the_right_to_every_call_and_no_other() -> None:
    folder = ROOT / "runner" / "ras_runner" / "workers"
    code = "".join((folder / name).read_text(encoding="utf-8") for name in ("aws_ec2.py", "aws_calls.py"))
    calls = set(re.findall(r'"(autoscaling|ec2|s3)", "([a-z0-9_]+)"', code))
    policy = json.loads(PAGE.partition("```json\n")[2].partition("```")[0])
    allowed = [s["Action"] if isinstance(s["Action"], list) else [s["Action"]] for s in policy["Statement"]]

    assert len(calls) > 8
    assert {action for actions in allowed for action in actions} == {_right(*call) for call in calls} | BESIDES
    assert {s["Effect"] for s in policy["Statement"]} == {"Allow"}


def test_every_parameter_is_on_the_page() -> None:
    table = PAGE.partition("## Parameters")[2].partition("## ")[0]
    named = set(re.findall(r"[a-z_]+", table))
    own = (AwsEc2Spec.model_fields.keys() | AwsEc2WindowsSpec.model_fields.keys()) - GroupSpec.model_fields.keys()
    assert own - named == set()


def _right(service: str, operation: str) -> str:
    model = botocore.session.get_session().get_service_model(service)
    [name] = [name for name in model.operation_names if xform_name(name) == operation]
    return action_name(service, name)
