"""What Terraform says, for people: a sentence when something is made or removed, a paragraph when it failed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

#: Errors are told up to so many letters each, and so many of them: a provider may put a whole page into one.
_LONGEST = 400
_MOST = 3
#: A resource that takes longer is spoken of again every so many seconds.
_STILL_SECONDS = 60
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DONE = {"create": "made", "update": "changed", "delete": "removed", "replace": "replaced"}
_DOING = {"create": "making", "update": "changing", "delete": "removing", "replace": "replacing"}
#: What is said in an error, and what a person does about it; the first that matches.
_CREDENTIALS = (
    r"ExpiredToken|RequestExpired|token (has|is) expired|InvalidClientTokenId|no valid credential|AuthFailure|"
    r"SignatureDoesNotMatch|could not configure AzureCli|InvalidAuthenticationToken|AWS credentials"
)
_ACTIONS = (
    (
        _CREDENTIALS,
        "log on to the cloud again (the credentials are those of its own command line), then the same command again",
    ),
    (
        r"UnauthorizedOperation|AccessDenied|AuthorizationFailed|not authorized to perform",
        "have the named right granted to these credentials, then the same command again",
    ),
    (r"Error acquiring the state lock", "another Terraform is at work on this burst: wait for it, then try again"),
    (
        r"query available provider packages|Failed to install provider|registry\.terraform\.io",
        "Terraform has to reach registry.terraform.io, or a mirror of it (TF_CLI_CONFIG_FILE)",
    ),
    (
        r"VcpuLimitExceeded|LimitExceeded|QuotaExceeded|MaxSpotInstanceCountExceeded",
        "have the cloud's limit raised, or ask for fewer or smaller machines",
    ),
    (r"InsufficientInstanceCapacity|AllocationFailed|SkuNotAvailable", "try another region or machine type"),
)


def plain(text: object, longest: int = _LONGEST) -> str:
    """Text on one line, without colours and control characters, cut where it is too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in _COLOURS.sub("", str(text))).split())
    return line if len(line) <= longest else line[: longest - 3].rstrip() + "..."


@dataclass
class TerraformLog:
    """Listens to ``-json`` output, line by line; what is not JSON is kept for errors.

    Attributes:
        errors: what went wrong, one sentence each, none twice.
    """

    errors: list[str] = field(default_factory=list)
    _plain: list[str] = field(default_factory=list)
    _told: dict[str, int] = field(default_factory=dict)

    def hear(self, line: str) -> str:
        """Take a line in.

        Returns:
            A sentence for the user; empty when there is nothing to say.
        """
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            self._plain.append(line)
            return ""
        if said.get("type") == "diagnostic":
            self._diagnostic(said.get("diagnostic"))
            return ""
        hook = said.get("hook")
        return self._resource(str(said.get("type")), hook) if isinstance(hook, dict) else ""

    def _diagnostic(self, found: Any) -> None:
        if not isinstance(found, dict) or found.get("severity") != "error":
            return
        text = f"{found.get('summary', '')}: {found.get('detail') or ''}".rstrip(": ")
        address = f" ({_name(found['address'])})" if found.get("address") else ""
        self._add(plain(text) + address)

    def _add(self, error: str) -> None:
        if error and error not in self.errors:
            self.errors.append(error)

    def _resource(self, kind: str, hook: dict[str, Any]) -> str:
        resource, action = hook.get("resource"), str(hook.get("action"))
        address = _name(resource.get("addr", "")) if isinstance(resource, dict) else ""
        seconds = hook.get("elapsed_seconds")
        taken = f" ({seconds:.0f} s)" if isinstance(seconds, int | float) else ""
        if kind == "apply_complete" and action in _DONE:
            return f"{_DONE[action]} {address}{taken}"
        if kind == "apply_progress" and action in _DOING and isinstance(seconds, int | float):
            if seconds < self._told.get(address, 0) + _STILL_SECONDS:
                return ""
            self._told[address] = int(seconds)
            return f"still {_DOING[action]} {address}{taken}"
        return ""

    def problem(self) -> str:
        """All that went wrong, in one paragraph."""
        return _paragraph(self.errors) if self.errors else problem_of(self._plain)


def problem_of(lines: list[str]) -> str:
    """What went wrong, in one paragraph, by output that is not JSON: what follows each ``Error:``."""
    text = "\n".join(re.sub(r"^[\s│╷╵]+", "", _COLOURS.sub("", line)) for line in lines)
    errors = [plain(part) for part in re.split(r"^Error: ", text, flags=re.MULTILINE)[1:]]
    if not errors and text.strip():  # a crash, or a program that is no Terraform at all: its last words
        errors = [plain(text[-_LONGEST:])]
    return _paragraph(list(dict.fromkeys(errors)))


def _paragraph(errors: list[str]) -> str:
    more = f"; and {len(errors) - _MOST} more" if len(errors) > _MOST else ""
    return ("; ".join(errors[:_MOST]) or "it did not say why") + more


def action_for(problem: str) -> str:
    """What a person does about a problem; empty when that is not known."""
    return next((action for said, action in _ACTIONS if re.search(said, problem, re.IGNORECASE)), "")


def about_credentials(problem: str) -> bool:
    """Whether a person has to log on: another try without that finds the same."""
    return re.search(_CREDENTIALS, problem, re.IGNORECASE) is not None


def _name(address: object) -> str:
    """``aws_s3_bucket.staging`` of ``module.workers.aws_s3_bucket.staging``."""
    return plain(re.sub(r"^(module\.[\w-]+(\[[^]]*\])?\.)+", "", str(address)), 120)
