"""What is asked of every Windows host, whatever way there: looks at what scripts/windows_facts.ps1 prints."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from ras_runner.errors import WorkerError
from ras_runner.fleet.doctor import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Logon rights of User Rights Assignment -> what they are for.
RIGHTS = {
    "SeNetworkLogonRight": "access this computer from the network",
    "SeInteractiveLogonRight": "allow log on locally",
    "SeBatchLogonRight": "log on as a batch job",
}
#: Windows 10 1809 and Server 2019: the first that current HEC-RAS releases are tested on.
OLDEST_BUILD = 17763


class WindowsFacts(BaseModel):
    """What the script found.

    Attributes:
        computer: its name.
        build: of Windows.
        user: who asked, ``COMPUTER\\user``.
        sids: of the user and of his groups.
        administrator: he acts with administrator's rights.
        token_filter_policy: LocalAccountTokenFilterPolicy; None when it is not set.
        remote_registry: state and start mode of the service; empty when there is none.
        sessions: the lines of ``query session``.
        rights: lines ``SeBatchLogonRight = *S-1-5-32-544,name``; None when they could not be read.
        ras_exe: paths of Ras.exe.
        folder_exists: the worker folder is there.
        free: bytes on its disk; None when the disk is not there.
        cores: processors.
        memory: bytes; None when it could not be read.
        now: its clock, seconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    computer: str
    build: int
    user: str
    sids: Annotated[tuple[str, ...], Field(min_length=1)]
    administrator: bool
    token_filter_policy: int | None = None
    remote_registry: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    rights: tuple[str, ...] | None = None
    ras_exe: tuple[str, ...] = ()
    folder_exists: bool = False
    free: int | None = None
    cores: int
    memory: int | None = None
    now: float


def read_facts(output: str, host: str) -> WindowsFacts:
    """The script's line of JSON.

    Raises:
        WorkerError: it is not that.
    """
    line = next((line for line in reversed(output.splitlines()) if line.startswith("{")), "")
    try:
        return WindowsFacts.model_validate_json(line)
    except ValueError as error:
        raise WorkerError(
            f"the host did not say what it has: {output.strip()[:200] or 'it said nothing'}",
            step="doctor",
            host=host,
            action="run Windows PowerShell 5.1 there by hand: it may be closed by a policy",
        ) from error


def administrator(facts: WindowsFacts) -> Finding:
    """Whether the user acts with administrator's rights."""
    if facts.administrator:
        return Finding(Verdict.OK, f"{facts.user} is an administrator of {facts.computer}")
    if "S-1-5-32-544" in facts.sids:
        return Finding(
            Verdict.FAILED,
            f"{facts.user} is in Administrators, but comes with a filtered token "
            f"(LocalAccountTokenFilterPolicy is {_shown(facts.token_filter_policy)})",
            "set LocalAccountTokenFilterPolicy to 1",
        )
    return Finding(Verdict.FAILED, f"{facts.user} is not in Administrators of {facts.computer}")


def _shown(value: int | None) -> str:
    return "not set" if value is None else str(value)


def remote_registry(facts: WindowsFacts) -> Finding:
    """Whether the service Remote Registry runs, and will after a restart."""
    if not facts.remote_registry:
        return Finding(Verdict.FAILED, "there is no service RemoteRegistry")
    state, start = facts.remote_registry[:2]
    seen = f"{state}, starts {start.lower()}"
    if state != "Running":
        return Finding(Verdict.FAILED, seen)
    return Finding(Verdict.OK if start == "Auto" else Verdict.WARNING, seen)


def user_rights(facts: WindowsFacts) -> Finding:
    """Whether the user, or a group of his, has the logon rights."""
    if facts.rights is None:
        return Finding(Verdict.NOT_CHECKED, "secedit /export needs an administrator")
    granted = _granted(facts.rights)
    mine = {sid.casefold() for sid in facts.sids} | {
        facts.user.casefold(),
        facts.user.rpartition("\\")[2].casefold(),
    }
    lacking = [f"{right} ({meaning})" for right, meaning in RIGHTS.items() if not mine & granted.get(right, set())]
    if lacking:
        return Finding(Verdict.FAILED, f"{facts.user} lacks {', '.join(lacking)}")
    return Finding(Verdict.OK, f"{facts.user} has {', '.join(RIGHTS)}")


def _granted(lines: Sequence[str]) -> dict[str, set[str]]:
    """Right -> who has it (SIDs and names, in small letters), from the lines of secedit's file."""
    granted = {}
    for line in lines:
        if match := re.match(r"\s*(Se\w+)\s*=\s*(.*)$", line):
            granted[match[1]] = {name.strip().lstrip("*").casefold() for name in match[2].split(",") if name.strip()}
    return granted


def engine(facts: WindowsFacts, version: str) -> Finding:
    """Whether HEC-RAS is installed, in the version that is wanted.

    Args:
        facts: of the host.
        version: ``6.6``, or empty for any.
    """
    shown = ", ".join(facts.ras_exe)
    if not facts.ras_exe:
        return Finding(Verdict.FAILED, "there is no Ras.exe in C:\\Program Files (x86)\\HEC\\HEC-RAS")
    if version and not any(f"\\{version}\\" in path for path in facts.ras_exe):
        return Finding(Verdict.FAILED, f"version {version} is not there, but {shown}", "install it, or correct version")
    old = f"; Windows build {facts.build} is older than {OLDEST_BUILD}" if facts.build < OLDEST_BUILD else ""
    return Finding(Verdict.WARNING if old else Verdict.OK, shown + old)


def terms() -> Finding:
    """Whether the terms of use were accepted: nobody can see that from outside."""
    return Finding(
        Verdict.NOT_CHECKED,
        "HEC-RAS shows its terms to each user once, in a dialog that would hold a plan for ever; "
        "start it once by hand as this user to be sure",
    )


def ahead(facts: WindowsFacts) -> float:
    """How far the host's clock is ahead of ours, seconds."""
    return facts.now - time.time()
