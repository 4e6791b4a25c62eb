"""What keeps a machine from being a worker: checks in order, each with its evidence and its remedy. Nothing is changed.

What a worker needs is in requirements.yml, the one table that the Ansible roles are documented by, too.
"""

from __future__ import annotations

import functools
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, OperatorError, RasRunnerError
from ras_runner.fleet.pool import why_not
from ras_runner.workers.registry import WORKER_TYPES, is_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from ras_runner.fleet.inventory import WorkerEntry
    from ras_runner.transports.windows_sessions import WindowsSession

#: Worker type -> module with ``checks(parameters)``.
CHECKS = {
    "dask": "ras_runner.fleet.checks.dask",
    "docker": "ras_runner.fleet.checks.docker",
    "local": "ras_runner.fleet.checks.local",
    "psexec": "ras_runner.fleet.checks.psexec",
    "slurm": "ras_runner.fleet.checks.slurm",
    "ssh": "ras_runner.fleet.checks.ssh",
    "winrm": "ras_runner.fleet.checks.winrm",
}
#: Worker types whose machines are Windows hosts.
WINDOWS_TYPES = ("psexec", "winrm")
#: Hosts that are looked at at once.
_AT_ONCE = 64


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one requirement found.

    Attributes:
        verdict: whether it is met.
        evidence: what was seen; of what was not checked, why.
        remedy: what to do in this case; empty for the requirement's usual remedy.
    """

    verdict: Verdict
    evidence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """How one requirement is looked at on one host.

    Attributes:
        requirement: its id in requirements.yml.
        look: finds out; a :class:`RasRunnerError` that it raises is a failure, with its cause and action.
        needs: requirements without which it cannot be looked at.
    """

    requirement: str
    look: Callable[[], Finding]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a worker needs.

    Attributes:
        id: its name.
        title: in a few words.
        remedy: how it is met.
        role: the Ansible role that sees to it; empty when a person has to.
    """

    id: str
    title: str
    remedy: str
    role: str


@dataclass(frozen=True, slots=True)
class Row:
    """A requirement and what was found.

    Attributes:
        requirement: what is needed.
        finding: what was seen.
    """

    requirement: Requirement
    finding: Finding

    @property
    def remedy(self) -> str:
        """What to do about it; empty when it is well, or was not looked at."""
        bad = self.finding.verdict in (Verdict.WARNING, Verdict.FAILED)
        return self.finding.remedy or (self.requirement.remedy if bad else "")


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was found on one host.

    Attributes:
        worker_id: name of the worker.
        type: its worker type.
        rows: in the order in which things were looked at.
    """

    worker_id: str
    type: str
    rows: tuple[Row, ...]

    @property
    def failed(self) -> bool:
        """True when it cannot be a worker as it is."""
        return any(row.finding.verdict is Verdict.FAILED for row in self.rows)


@functools.cache
def requirements() -> Mapping[str, Requirement]:
    """The table of requirements, by id."""
    import yaml

    table = yaml.safe_load(files("ras_runner.fleet").joinpath("requirements.yml").read_text(encoding="utf-8"))
    return {
        item["id"]: Requirement(item["id"], item["title"], item["remedy"], item["role"])
        for item in table["requirements"]
    }


def examine(entries: Sequence[WorkerEntry]) -> list[Examination]:
    """Look at all hosts at once; a host that does not answer holds up no other."""
    if not entries:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(entries)), thread_name_prefix="doctor") as pool:
        return list(pool.map(_examined, entries))


def _checks(entry: WorkerEntry) -> list[Check]:
    """The checks of its worker type; raises InputError when a variable of the host is wrong."""
    if entry.left_out:
        return [Check("set-up", lambda: Finding(Verdict.FAILED, entry.left_out))]
    if reason := why_not(entry):
        raise InputError(reason)
    if entry.type not in CHECKS and entry.type in WORKER_TYPES and is_group(entry.type):
        from ras_runner.fleet.checks import group

        return group.checks(entry.type, entry.parameters)
    if entry.type not in CHECKS:
        raise InputError(
            f"it has an unknown worker type {entry.type!r}", action=f"valid types are {', '.join(sorted(CHECKS))}"
        )
    made: list[Check] = _module(entry).checks(entry.parameters)
    return made


def _module(entry: WorkerEntry) -> ModuleType:
    return import_module(CHECKS[entry.type] + ("_windows" if entry.type == "ssh" and _is_windows(entry) else ""))


def _is_windows(entry: WorkerEntry) -> bool:
    if entry.type == "local":
        return sys.platform == "win32"
    return entry.type in WINDOWS_TYPES or entry.parameters.get("os") == "windows"


def _examined(entry: WorkerEntry) -> Examination:
    findings: dict[str, Finding] = {}
    try:
        for check in _checks(entry):
            findings[check.requirement] = _finding(check, findings)
    except RasRunnerError as error:
        findings["variables"] = Finding(Verdict.FAILED, error.cause, error.action)
    rows = tuple(Row(requirements()[name], found) for name, found in findings.items())
    return Examination(str(entry.parameters.get("worker_id", entry.name)), entry.type or "no worker", rows)


def _finding(check: Check, before: Mapping[str, Finding]) -> Finding:
    bad = (Verdict.FAILED, Verdict.NOT_CHECKED)
    lacking = [name for name in check.needs if name in before and before[name].verdict in bad]
    if lacking:
        title = requirements()[lacking[0]].title
        return Finding(Verdict.NOT_CHECKED, f"not so long as this is not met: {title[0].lower()}{title[1:]}")
    try:
        return check.look()
    except RasRunnerError as error:
        return Finding(Verdict.FAILED, error.cause, error.action)
    except OSError as error:
        return Finding(Verdict.FAILED, str(error))


def reap(entry: WorkerEntry) -> list[str]:
    """Remove the services that earlier starts of this controller have left on a host; their names.

    Raises:
        RasRunnerError: the host cannot be looked at.
    """
    if entry.type != "psexec":
        return []
    from ras_runner.validation import validated
    from ras_runner.workers.psexec import PsExecSpec, psexec_transport

    spec = validated(PsExecSpec, entry.parameters, "worker type psexec")
    return psexec_transport(spec).services.reap()


def host_sessions(entry: WorkerEntry) -> tuple[list[WindowsSession], WindowsSession | OperatorError]:
    """The sessions of a Windows host, and the one whose desktop its plans would get, or why none will do.

    Raises:
        InputError: it is no Windows worker, or a parameter is wrong.
        WorkerError, OperatorError: the host cannot be asked.
    """
    from ras_runner.transports.windows_sessions import choose_session, read_sessions

    if entry.type == "local" or not _is_windows(entry):
        raise InputError(
            f"{entry.name} is a worker of type {entry.type or 'none'}: only remote Windows hosts have sessions",
            step="sessions",
            action=f"name a host of type {', '.join(WINDOWS_TYPES)}, or ssh with os: windows",
        )
    facts, wanted = _module(entry).host_facts(entry.parameters)
    found = read_sessions(facts.sessions)
    try:
        return found, choose_session(found, wanted.session, wanted.user or facts.user, wanted.host)
    except OperatorError as error:
        return found, error


def as_data(examinations: Sequence[Examination]) -> list[dict[str, Any]]:
    """The examinations as JSON data."""
    return [
        {
            "worker_id": examination.worker_id,
            "type": examination.type,
            "failed": examination.failed,
            "checks": [
                {
                    "requirement": row.requirement.id,
                    "title": row.requirement.title,
                    "verdict": row.finding.verdict.value,
                    "evidence": row.finding.evidence,
                    "remedy": row.remedy,
                    "role": row.requirement.role,
                }
                for row in examination.rows
            ],
        }
        for examination in examinations
    ]
