"""What Azure's refusals mean: each as an error that says which call failed, why, and what to do about it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ras_runner.errors import OperatorError, RasRunnerError, TransientError
from ras_runner.packages import required

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: Something else is being done to the group or the machine just now: the same call works later. Codes of
#: learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors and of the compute service.
_LATER = (
    *("AnotherOperationInProgress", "Conflict", "ConcurrentUpdateError", "InternalExecutionError"),
    *("NetworkingInternalOperationError", "OperationPreempted", "PreconditionFailed", "RetryableError"),
    *("ServerTimeout", "TooManyRequests"),
)
_LOG_ON = "log on again (az login, or a new client secret), then: ras-runner resume"
#: Codes -> what a person should know, and do. ``{said}`` is what Azure said.
_MEANINGS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("ExpiredAuthenticationToken", "AuthenticationFailed"),
        ("the credentials of Azure have expired: {said}", _LOG_ON),
    ),
    **dict.fromkeys(
        ("InvalidAuthenticationTokenTenant", "InvalidAuthenticationToken", "InvalidAuthenticationInfo"),
        ("Azure does not know these credentials: {said}", "log on to its tenant: az login --tenant TENANT"),
    ),
    **dict.fromkeys(
        ("SubscriptionNotFound", "InvalidSubscriptionId"),
        ("there is no such subscription, or these credentials do not see it", "check subscription_id: az account list"),
    ),
    **dict.fromkeys(
        ("ReadOnlyDisabledSubscription", "SubscriptionNotRegistered", "MissingSubscriptionRegistration"),
        ("the subscription cannot be used: {said}", "look into the subscription in Azure's portal"),
    ),
    "ResourceGroupNotFound": (
        "there is no such resource group: {said}",
        "check resource_group (terraform output group) and subscription_id; destroyed groups are gone",
    ),
    **dict.fromkeys(
        ("ResourceNotFound", "NotFound"),
        ("there is no such thing: {said}", "check resource_group and scale_set: terraform output group"),
    ),
    "ContainerNotFound": (
        "the staging account has no container of host keys",
        "check staging_endpoint and host_key_prefix: terraform output",
    ),
    "ScopeLocked": ("a lock forbids it: {said}", "remove the lock: az lock list"),
    "RequestDisallowedByPolicy": ("a policy of the subscription forbids it: {said}", "ask who keeps the policy"),
}  # fmt: skip
_ACTION = re.compile(r"not have (?:authorization|permission) to perform action(?:\(s\))? '([^']+)'")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def azure_module(name: str) -> ModuleType:
    """A module of Azure's libraries, or OperatorError with the command that installs it."""
    required("azure.core", "Azure groups", "azure")
    return required(name, "Azure groups", "azure")


def plain(text: object, limit: int = 300) -> str:
    """What Azure says, on one line and not endless."""
    line = _CONTROL.sub(" ", str(text)).strip()
    return line if len(line) <= limit else f"{line[:limit]}..."


def code_of(error: Exception) -> str:
    """Azure's word for what is wrong, ``ResourceNotFound``: of the body, or of the header that stores use; or empty."""
    of_body = getattr(getattr(error, "error", None), "code", None)
    of_store = getattr(error, "error_code", None)  # an enumeration or a text
    return str(of_body or getattr(of_store, "value", of_store) or "")


def said_by(error: Exception) -> str:
    """Azure's own sentence."""
    body = getattr(error, "error", None)
    return plain(getattr(body, "message", None) or getattr(error, "message", None) or error)


@contextmanager
def azure_errors(call: str, host: str, step: str) -> Iterator[None]:
    """Errors of Azure's libraries become ours.

    Args:
        call: the action as rights name it: ``Microsoft.Compute/virtualMachines/read``.
        host: what it was about, for messages: ``scale set NAME in REGION``.
        step: what was being done.

    Raises:
        TransientError: the same call may work later.
        OperatorError: a person must act.
    """
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise explained(error, call, host, step) from error


@contextmanager
def suppress_codes(*codes: str) -> Iterator[None]:
    """Nothing is raised for what Azure refuses with one of these words."""
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        if code_of(error) not in codes:
            raise


def explained(error: Exception, call: str, host: str, step: str) -> RasRunnerError:
    """Why a call failed, for people; arguments and result as what :func:`azure_errors` raises."""
    from azure.core import exceptions as e

    # by the words of Entra, or without any answer: no request got as far as Azure's API
    before = getattr(error, "response", None) is None or "AADSTS" in str(error)
    if isinstance(error, e.ClientAuthenticationError) and before:
        return _not_logged_on(error, host, step)
    if isinstance(error, e.HttpResponseError) and error.response is not None:
        return _refused(error, call, host, step)
    if isinstance(error, (e.ServiceRequestError, e.ServiceResponseError)):
        return _unreached(error, call, host, step)
    return OperatorError(f"{call} failed: {plain(error)}", step=step, host=host, action="look at it in Azure's portal")


def _refused(error: Any, call: str, host: str, step: str) -> RasRunnerError:
    code, said, status = code_of(error), said_by(error), int(error.response.status_code)
    if status == 429:
        pause = error.response.headers.get("Retry-After", "")
        when = f" for {pause} s" if pause.isdigit() else ""
        cause = f"Azure asks for a pause{when} in {call}: {said}"
        return TransientError(cause, step=step, host=host, action="nothing: it is asked again")
    if status in (408, 412, 500, 502, 503, 504) or code in _LATER:
        cause = f"Azure cannot do {call} now: {code or status} {said}"
        return TransientError(cause, step=step, host=host, action="nothing: it is asked again")
    if code in _MEANINGS:
        cause, action = _MEANINGS[code]
        return OperatorError(cause.format(said=said), step=step, host=host, action=action)
    if status == 403:
        named = _ACTION.search(said)
        return OperatorError(
            f"the credentials of Azure have no right to {named[1] if named else call}",
            step=step,
            host=host,
            action="grant it (docs/workers/azure.md lists the rights); what was just granted takes some minutes",
        )
    if status == 401:
        return OperatorError(f"the credentials of Azure have expired: {said}", step=step, host=host, action=_LOG_ON)
    cause = f"Azure refused {call}: {code or status}: {said}"
    return OperatorError(cause, step=step, host=host, action="look at the scale set in Azure's portal")


def _not_logged_on(error: Exception, host: str, step: str) -> RasRunnerError:
    from azure.identity import CredentialUnavailableError

    if isinstance(error, CredentialUnavailableError) or "failed to retrieve a token" in str(error):
        expired = re.search(r"AADSTS\d+[^\n]*", str(error))
        if expired is None:
            return OperatorError(
                "there are no credentials of Azure",
                step=step,
                host=host,
                action="log on (az login), or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
            )
        return OperatorError(f"the log-on to Azure failed: {plain(expired[0])}", step=step, host=host, action=_LOG_ON)
    return OperatorError(f"the log-on to Azure failed: {plain(error)}", step=step, host=host, action=_LOG_ON)


def _unreached(error: Exception, call: str, host: str, step: str) -> RasRunnerError:
    said = plain(error)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return OperatorError(
            f"the connection to Azure is not trusted: {said}",
            step=step,
            host=host,
            action="if a proxy of the office re-signs connections, give its certificate in REQUESTS_CA_BUNDLE",
        )
    cause, action = f"Azure does not answer {call}: {said}", "check the network and HTTPS_PROXY; it is asked again"
    return TransientError(cause, step=step, host=host, action=action)
