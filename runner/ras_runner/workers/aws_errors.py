"""What AWS's refusals mean: each as an error that says which call failed, why, and what a person or a retry can do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, OperatorError, RasRunnerError, TransientError
from ras_runner.packages import required

if TYPE_CHECKING:
    from types import ModuleType

#: AWS asks for a pause, or has trouble of its own: docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
#: and .../autoscaling/ec2/APIReference/CommonErrors.html
_LATER = frozenset(
    (
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException"),
        *("SlowDown", "TooManyRequestsException", "Unavailable", "ServiceUnavailable", "InternalError"),
        *(
            "InternalFailure",
            "InternalServerError",
            "RequestTimeout",
            "ResourceContention",
            "ScalingActivityInProgress",
        ),
        "OperationAborted",
    )
)
_NEW_CREDENTIALS = "log on again (aws sso login, or new keys), then: ras-runner resume"
_NO_CREDENTIALS = (
    "log on (aws configure, aws sso login, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or give profile"
)
_OTHER_CREDENTIALS = (
    "check which credentials are used (aws sts get-caller-identity); a region that the account has not switched on "
    "answers the same way"
)
_ASK_FOR_MORE = "raise it in the Service Quotas console, take other instance_types, or another region"


@dataclass(frozen=True, slots=True)
class _Meaning:
    cause: str
    action: str


#: Error codes -> what a person should know and do. {call} is the call, {said} what AWS said.
_MEANINGS: dict[str, _Meaning] = {
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
        _Meaning("the AWS credentials have expired", _NEW_CREDENTIALS),
    ),
    **dict.fromkeys(
        (
            *("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure"),
            *("SignatureDoesNotMatch", "InvalidToken", "IncompleteSignature", "MissingAuthenticationToken"),
        ),
        _Meaning("AWS does not know these credentials ({said})", _OTHER_CREDENTIALS),
    ),
    "RequestTimeTooSkewed": _Meaning("this machine's clock is wrong: {said}", "set the clock"),
    **dict.fromkeys(
        ("OptInRequired", "PendingVerification", "Blocked"),
        _Meaning("the AWS account may not use this service: {said}", "look into the account's console"),
    ),
    **dict.fromkeys(
        ("VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded", "LimitExceeded"),
        _Meaning("a quota of the AWS account is used up: {said}", _ASK_FOR_MORE),
    ),
    "NoSuchBucket": _Meaning(
        "there is no such staging bucket ({said})", "check staging_bucket: terraform output staging_bucket"
    ),
    "PermanentRedirect": _Meaning(
        "the staging bucket is in another region", "give the region that the machines and their bucket are in"
    ),
}
_DENIED = frozenset(("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "403", "Forbidden"))
#: The group was changed between our look and our call: the next look shows it.
_CHANGED = re.compile(
    "is not in InService|is not part of Auto Scaling group|No managed instance found|(above max|below min) value",
    re.IGNORECASE,
)
_NAMED_ACTION = re.compile(r"perform: ?([a-z0-9-]+:[A-Za-z]+)")
#: Operations whose right has another name.
_RIGHTS = {"s3:ListObjectsV2": "s3:ListBucket"}
_PLAIN = re.compile(r"[\x00-\x1f\x7f]+")


def boto3_module() -> ModuleType:
    """The library, or OperatorError with the command that installs it."""
    return required("boto3", "aws_ec2 workers", "aws")


def explained(error: Exception, *, call: str, where: str, step: str, region: str) -> RasRunnerError:
    """Why a call of AWS failed, for people.

    Args:
        error: one of :func:`aws_error_types`; one of ours is given back as it is.
        call: the action as rights name it: ``ec2:DescribeInstances``.
        where: the group or what else it was about, for the message.
        step: what was being done.
        region: that was asked.

    Returns:
        TransientError when the same call may work later, else OperatorError or InputError.
    """
    from botocore.exceptions import ClientError

    if isinstance(error, RasRunnerError):
        return error
    if isinstance(error, ClientError):
        return _refused(error.response, call, where, step)
    if isinstance(error, aws_error_types()):
        return _unreached(error, call, where, step, region)
    raise TypeError(f"not an error of AWS's library: {error!r}")


def aws_error_types() -> tuple[type[Exception], ...]:
    """What botocore raises: it says ValueError for an endpoint that is none."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return (BotoCoreError, ClientError, ResponseParserError, ValueError)


def plain(text: str, limit: int = 300) -> str:
    """What AWS says, on one line and not endless."""
    line = _PLAIN.sub(" ", text).strip()
    return line if len(line) <= limit else f"{line[:limit]}..."


def action_name(service: str, operation: str) -> str:
    """The right that an operation of a client takes: ``autoscaling:SetInstanceProtection``."""
    name = f"{service}:{operation}"
    return _RIGHTS.get(name, name)


def _refused(response: Any, call: str, where: str, step: str) -> RasRunnerError:
    code = str(response.get("Error", {}).get("Code", "")).removeprefix("Client.").removesuffix("Fault")
    said = plain(str(response.get("Error", {}).get("Message", "")))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _LATER or status in (429, 500, 502, 503, 504):
        return TransientError(
            f"AWS asks for a pause in {call}: {code} {said}".strip(),
            step=step,
            host=where,
            action="nothing: it is asked again",
        )
    if code == "ValidationError" and _CHANGED.search(said):
        return TransientError(
            f"the group has changed meanwhile: {said}", step=step, host=where, action="nothing: it is looked at again"
        )
    if code in _DENIED:
        named = _NAMED_ACTION.search(said)
        return OperatorError(
            f"the AWS credentials have no right to {named[1] if named else call}",
            step=step,
            host=where,
            action="grant it: docs/workers/aws_ec2.md has the whole policy",
        )
    meaning = _MEANINGS.get(code)
    if meaning is None:
        meaning = _Meaning(f"AWS refused {call}: {code}: {{said}}", "look at the group in the console of AWS")
    return OperatorError(
        meaning.cause.format(said=said or code, call=call), step=step, host=where, action=meaning.action
    )


def _unreached(error: Exception, call: str, where: str, step: str, region: str) -> RasRunnerError:
    from botocore import exceptions as e
    from botocore.parsers import ResponseParserError

    kind: type[RasRunnerError] = OperatorError
    cause, action = f"{call} cannot be called: {{said}}", "check the settings of AWS"
    if isinstance(error, e.ProfileNotFound):
        kind, cause, action = InputError, "{said}", "check profile; aws configure list-profiles shows them"
    elif isinstance(error, (e.NoCredentialsError, e.PartialCredentialsError)):
        cause, action = "there are no AWS credentials", _NO_CREDENTIALS
    elif isinstance(error, (e.CredentialRetrievalError, e.SSOError, e.TokenRetrievalError)):
        cause, action = "the AWS credentials cannot be renewed: {said}", _NEW_CREDENTIALS
    elif isinstance(error, e.SSLError):
        cause = "the connection to AWS is not trusted: {said}"
        action = "if a proxy of the office re-signs connections, give its certificate in AWS_CA_BUNDLE"
    elif isinstance(error, e.EndpointConnectionError) and not _known(region):
        cause, action = f"there is no AWS in the region {region}", "check region: such as us-east-1 or eu-central-1"
    elif isinstance(error, ResponseParserError):
        kind, cause = TransientError, f"what answers {call} is not AWS: {{said}}"
        action = "check HTTPS_PROXY and AWS_ENDPOINT_URL; it is asked again"
    elif isinstance(error, (e.ConnectionError, e.HTTPClientError)):
        kind, cause = TransientError, f"AWS does not answer {call}: {{said}}"
        action = "check the network and HTTPS_PROXY; it is asked again"
    return kind(cause.format(said=plain(str(error))), step=step, host=where, action=action)


def _known(region: str) -> bool:
    session = boto3_module().session.Session()
    return any(region in session.get_available_regions("ec2", name) for name in session.get_available_partitions())
