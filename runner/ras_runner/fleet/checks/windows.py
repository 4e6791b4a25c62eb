"""What is asked of every Windows host, whatever way there: looks at what the program ``facts`` has found out."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ras_runner.engines.hecras_windows import INSTALL_FOLDERS
from ras_runner.errors import WorkerError
from ras_runner.fleet.checks import common
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports.windows_sessions import choose_session, read_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ras_runner.transports.windows_powershell import PowerShell
    from ras_runner.workers.windows_desktop import DesktopSpec

#: Logon rights of User Rights Assignment -> what they are for.
RIGHTS = {
    "SeNetworkLogonRight": "access this computer from the network",
    "SeInteractiveLogonRight": "allow log on locally",
    "SeBatchLogonRight": "log on as a batch job",
}
#: Windows 10 1809 and Server 2019: the first that current HEC-RAS releases are tested on.
OLDEST_BUILD = 17763
#: A question takes about so long, seconds.
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a host should have, by the parameters of its worker.

    Attributes:
        host: its name.
        folder: the worker folder.
        engine: ``hecras-windows`` or ``standin``.
        ras_exe: path of Ras.exe; empty for HEC's install folders.
        version: of HEC-RAS; empty for any.
        cores: that plans may use.
        session: whose desktop plans get.
        user: who has to be logged on there; empty for who asks.
    """

    host: str
    folder: str
    engine: str
    ras_exe: str
    version: str
    cores: int
    session: int | Literal["auto"] = "auto"
    user: str = ""


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
        sessions: what ``query session`` printed.
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
    sessions: str = ""
    rights: tuple[str, ...] | None = None
    ras_exe: tuple[str, ...] = ()
    folder_exists: bool = False
    free: int | None = None
    cores: int
    memory: int | None = None
    now: float


def desktop_wanted(spec: DesktopSpec) -> Wanted:
    """What a host should have by the parameters of a worker that runs our PowerShell programs."""
    return Wanted(
        spec.hostname,
        spec.worker_folder,
        spec.engine,
        spec.ras_exe_path,
        spec.version,
        spec.cores_total,
        user=spec.desktop_user,
    )


def ask(powershell: PowerShell, wanted: Wanted) -> WindowsFacts:
    """Find out what a host is and has.

    Args:
        powershell: our programs there.
        wanted: what it should have.

    Raises:
        TransientError, WorkerError, OperatorError: it cannot be asked, and why.
    """
    patterns = [wanted.ras_exe] if wanted.ras_exe else [str(folder / "*" / "Ras.exe") for folder in INSTALL_FOLDERS]
    answer = powershell.call("facts", {"folder": wanted.folder, "patterns": patterns}, step="doctor", limit=30.0)
    try:
        return WindowsFacts.model_validate(answer)
    except ValueError as error:
        raise WorkerError(
            f"the host did not say what it has: {error}",
            step="doctor",
            host=powershell.host,
            action="Windows PowerShell 5.1 there has to run in full language mode",
        ) from error


def fact_checks(wanted: Wanted, facts: Callable[[], WindowsFacts], needs: tuple[str, ...]) -> list[Check]:
    """What every worker on a Windows host needs once programs can be run there.

    Args:
        wanted: what it should have.
        facts: of the host.
        needs: requirements without which nothing can be asked.
    """
    engine_id = "engine" if wanted.engine == "standin" else "windows-hecras"
    return [
        Check("windows-user-rights", lambda: user_rights(facts()), needs),
        Check("windows-session", lambda: session(facts(), wanted), needs),
        Check(engine_id, lambda: engine(facts(), wanted), needs),
        Check("terms", terms, (engine_id,)),
        Check("cores", lambda: common.cores(facts().cores, wanted.cores), needs),
        Check("disk", lambda: room(facts(), wanted.folder), needs),
        Check("clock", lambda: common.skew(facts().now - time.time(), _ANSWER_SECONDS), needs),
    ]


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
        return Finding(Verdict.FAILED, "there is no service RemoteRegistry", "install the service RemoteRegistry")
    state, start = facts.remote_registry[:2]
    seen = f"{state}, starts {start.lower()}"
    if state == "Running" and start == "Auto":
        return Finding(Verdict.OK, seen)
    remedy = (
        "sc config RemoteRegistry start= auto, then sc start RemoteRegistry; or run setup_worker with the tag remote"
    )
    return Finding(Verdict.WARNING if state == "Running" else Verdict.FAILED, seen, remedy)


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
        return Finding(
            Verdict.FAILED,
            f"{facts.user} lacks {', '.join(lacking)}",
            "grant it in Local Security Policy, User Rights Assignment, or run setup_worker with the tag users; "
            "a domain GPO may take it back",
        )
    return Finding(Verdict.OK, f"{facts.user} has {', '.join(RIGHTS)}")


def _granted(lines: Sequence[str]) -> dict[str, set[str]]:
    """Right -> who has it (SIDs and names, in small letters), from the lines of secedit's file."""
    granted = {}
    for line in lines:
        if match := re.match(r"\s*(Se\w+)\s*=\s*(.*)$", line):
            granted[match[1]] = {name.strip().lstrip("*").casefold() for name in match[2].split(",") if name.strip()}
    return granted


def session(facts: WindowsFacts, wanted: Wanted) -> Finding:
    """Which session's desktop plans would get; raises OperatorError, which shows them all, when none will do."""
    sessions = read_sessions(facts.sessions)
    if not sessions:
        return Finding(Verdict.NOT_CHECKED, "`query session` tells nothing there (Windows Home has no query.exe)")
    chosen = choose_session(sessions, wanted.session, wanted.user or facts.user, wanted.host)
    return Finding(Verdict.OK, f"session {chosen}")


def engine(facts: WindowsFacts, wanted: Wanted) -> Finding:
    """Whether HEC-RAS is installed, in the version that is wanted."""
    if wanted.engine == "standin":
        return Finding(Verdict.NOT_CHECKED, "the stand-in's program is looked for when the worker is made")
    shown = ", ".join(facts.ras_exe)
    if not facts.ras_exe:
        where = wanted.ras_exe or " and ".join(map(str, INSTALL_FOLDERS))
        return Finding(
            Verdict.FAILED, f"there is no Ras.exe: looked for {where}", "install HEC-RAS, or give ras_exe_path"
        )
    if wanted.version and not any(f"\\{wanted.version}\\" in path for path in facts.ras_exe):
        return Finding(
            Verdict.FAILED, f"version {wanted.version} is not there, but {shown}", "install it, or correct version"
        )
    old = f"; Windows build {facts.build} is older than {OLDEST_BUILD}" if facts.build < OLDEST_BUILD else ""
    return Finding(Verdict.WARNING if old else Verdict.OK, shown + old)


def folder(facts: WindowsFacts, wanted: Wanted) -> Finding:
    """Whether the worker folder is there."""
    there = "is there" if facts.folder_exists else "will be made by the first plan"
    return Finding(Verdict.OK, f"{wanted.folder} {there}")


def room(facts: WindowsFacts, folder: str) -> Finding:
    """Whether there is room on the worker folder's disk."""
    if facts.free is None:
        return Finding(Verdict.FAILED, f"there is no disk for {folder}")
    return common.disk(facts.free, folder)


def terms() -> Finding:
    """Whether the terms of use were accepted: nobody can see that from outside."""
    return Finding(
        Verdict.NOT_CHECKED,
        "HEC-RAS shows its terms to each user once, in a dialog that would hold a plan for ever; "
        "start it once by hand as this user to be sure",
    )
