"""What AWS refuses, said to people: one row a cause, through the calls that meet it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as e
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber
from tests.aws.conftest import REGION, Aws

from ras_runner.errors import InputError, OperatorError, RasRunnerError, TransientError
from ras_runner.workers.aws_ec2 import init_aws_ec2_group
from ras_runner.workers.aws_errors import explained

#: Code, what AWS says with it, HTTP status -> kind of error, what it says, what to do.
REFUSALS = [
    ("Throttling", "Rate exceeded", 400, TransientError, "asks for a pause in autoscaling:Describe", "asked again"),
    ("RequestLimitExceeded", "Request limit exceeded.", 503, TransientError, "asks for a pause", "asked again"),
    ("InternalFailure", "", 500, TransientError, "asks for a pause", "asked again"),
    ("SomethingNew", "an outage", 503, TransientError, "SomethingNew an outage", "asked again"),
    ("ExpiredToken", "The security token included in the request is expired", 403, OperatorError, "have expired",
     "log on again .* then: ras-runner resume"),
    ("RequestExpired", "Request has expired.", 400, OperatorError, "credentials have expired", "log on again"),
    ("InvalidClientTokenId", "The security token included in the request is invalid.", 403, OperatorError,
     "does not know these credentials", "get-caller-identity.*region"),
    ("AuthFailure", "AWS was not able to validate the provided access credentials", 401, OperatorError,
     "does not know these credentials", "region that the account has not switched on"),
    ("RequestTimeTooSkewed", "The difference is too large", 403, OperatorError, "clock is wrong", "set the clock"),
    ("AccessDenied", "User: arn:aws:iam::1:user/me is not authorized to perform: autoscaling:DescribeAutoScalingGroups "
     "because no identity-based policy allows it", 403, OperatorError,
     "no right to autoscaling:DescribeAutoScalingGroups", r"docs/workers/aws_ec2\.md"),
    ("AccessDenied", "Access Denied", 403, OperatorError, "no right to autoscaling:DescribeAutoScalingGroups", "grant"),
    ("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of 32 allows", 400,
     OperatorError, "quota .* is used up: .* limit of 32", "Service Quotas"),
    ("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded", 400, OperatorError, "quota", "instance_types"),
    ("OptInRequired", "You are not subscribed to this service", 401, OperatorError, "may not use", "console"),
    ("ValidationError", "The instance i-1 is not in InService or EnteringStandby or Standby.", 400, TransientError,
     "the group has changed meanwhile", "looked at again"),
    ("ValidationError", "Instance Id not found - No managed instance found for instance ID: i-1", 400, TransientError,
     "has changed meanwhile", "looked at again"),
    ("ValidationError", "New SetDesiredCapacity value 5 is above max value 0 for the AutoScalingGroup.", 400,
     TransientError, "has changed meanwhile", "looked at again"),
    ("ValidationError", "1 validation error detected\n\x1b[31m", 400, OperatorError,
     r"refused autoscaling:DescribeAutoScalingGroups: ValidationError: 1 validation error detected \[31m", "console"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said", "status", "kind", "cause", "action"), REFUSALS, ids=lambda value: str(value)[:24]
)
def test_refusals(
    aws: Aws, code: str, said: str, status: int, kind: type[RasRunnerError], cause: str, action: str
) -> None:
    group = aws.group()
    with Stubber(group.calls.client("autoscaling", "test")) as stub:
        stub.add_client_error("describe_auto_scaling_groups", code, said, status)
        with pytest.raises(kind) as caught:
            group.resize(3, 0)
    assert type(caught.value) is kind
    assert (caught.value.host, caught.value.step) == ("group rastest in us-east-1", "resize the group")
    assert caught.match(cause)
    assert caught.match(action)
    assert "\x1b" not in str(caught.value)


def test_right_that_ec2_refuses_is_named(aws: Aws) -> None:
    said = "You are not authorized to perform this operation. Encoded authorization failure message: " + "x" * 5000
    group = aws.group()
    with Stubber(group.calls.client("ec2", "test")) as stub:
        stub.add_client_error("describe_instances", "UnauthorizedOperation", said, 403)
        with pytest.raises(OperatorError, match="no right to ec2:DescribeInstances\n") as caught:
            group.look()
    assert len(str(caught.value)) < 400


def test_next_call_works_after_a_refusal(aws: Aws) -> None:
    group = aws.group()
    with Stubber(group.calls.client("autoscaling", "test")) as stub:
        stub.add_client_error("describe_auto_scaling_groups", "Throttling", "Rate exceeded", 400)
        with pytest.raises(TransientError):
            group.look()
    assert group.look().wanted == 2


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (e.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), OperatorError, "no AWS cred"),
        (e.CredentialRetrievalError(provider="sso", error_msg="x"), OperatorError, "cannot be renewed"),
        (e.UnauthorizedSSOTokenError(), OperatorError, "cannot be renewed"),
        (e.SSLError(endpoint_url="https://x", error="self-signed"), OperatorError, "AWS_CA_BUNDLE"),
        (e.ConnectTimeoutError(endpoint_url="https://x"), TransientError, "does not answer ec2:DescribeInstances"),
        (e.ReadTimeoutError(endpoint_url="https://x"), TransientError, "HTTPS_PROXY"),
        (e.EndpointConnectionError(endpoint_url="https://x"), TransientError, "does not answer"),
        (e.ProxyConnectionError(proxy_url="http://proxy", error="refused"), TransientError, "does not answer"),
        (e.ParamValidationError(report="x"), OperatorError, "cannot be called"),
        (ResponseParserError("invalid XML received: <!doctype html>"), TransientError, "is not AWS: invalid XML"),
        (ValueError("Invalid endpoint: nonsense"), OperatorError, "cannot be called: Invalid endpoint: nonsense"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_no_answer(error: Exception, kind: type[RasRunnerError], cause: str) -> None:
    said = explained(error, call="ec2:DescribeInstances", where="group g", step="look", region=REGION)
    assert type(said) is kind
    assert cause in str(said)
    assert said.action


def test_region_that_there_is_not() -> None:
    error = e.EndpointConnectionError(endpoint_url="https://autoscaling.us-east-9.amazonaws.com/")
    said = explained(error, call="c", where="group g in us-east-9", step="init worker", region="us-east-9")
    assert isinstance(said, OperatorError)
    assert "there is no AWS in the region us-east-9" in str(said)


def test_errors_that_are_not_of_aws_stay_what_they_are() -> None:
    ours = InputError("wrong")
    assert explained(ours, call="c", where="w", step="s", region=REGION) is ours
    with pytest.raises(TypeError):
        explained(KeyError("x"), call="c", where="w", step="s", region=REGION)


def test_endpoint_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(OperatorError, match="Invalid endpoint: nonsense"):
        init_aws_ec2_group(Aws(tmp_path).parameters())


def test_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    parameters: dict[str, Any] = Aws(tmp_path).parameters()
    with pytest.raises(OperatorError, match=r"there are no AWS credentials\n.*next: log on"):
        init_aws_ec2_group(parameters)
