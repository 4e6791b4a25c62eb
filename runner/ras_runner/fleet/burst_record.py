"""What is known of a burst on this machine: a file a burst, written before anything is bought.

``<state folder>/bursts/<id>/burst.json``; beside it lie the burst's Terraform code, state, log, key and workers file.
Nothing here asks a cloud, and nothing slow is imported: every command of ras-runner looks at these files.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ras_runner import oscalls
from ras_runner.errors import InputError, OperatorError

if TYPE_CHECKING:
    from pathlib import Path

_STEP = "read bursts"
_ID = re.compile(r"burst-\d{8}-\d{4}-[0-9a-f]{4}")
_RECORD = "burst.json"
_TRACES = (_RECORD, "terraform.tfstate")


class State(StrEnum):
    """How far a burst is."""

    #: Nothing was bought yet.
    PLANNED = "planned"
    APPLYING = "applying"
    UP = "up"
    DESTROYING = "destroying"
    #: Nothing is left.
    DOWN = "down"
    #: It could not be taken down: something is left.
    FAILED = "failed"


@dataclass
class MachineTime:
    """How long a machine was there.

    Attributes:
        kind: instance type or VM size.
        spot: bought as one that may be taken away.
        start: unix time when it was started.
        end: unix time when it was seen to be gone; None while it is there.
    """

    kind: str
    spot: bool
    start: float
    end: float | None = None


@dataclass
class BurstRecord:
    """A burst, as its file has it.

    Attributes:
        id: its name, here and in the cloud.
        cloud: aws or azure.
        region: of its machines.
        launch_token: tag on everything that belongs to it.
        owner: user@host.
        created, expires_at: unix time; its machines end themselves at the latter.
        max_cost: limit, in the currency of the prices.
        machine_types: types that will do, the first is reckoned with.
        workers: machines at most.
        attended: a controller takes it down at its end (``run``); otherwise it stays until ``burst down`` (``up``).
        state: how far it is.
        campaign: the campaign that runs, or ran, on it; empty before there is one.
        outputs: of Terraform.
        parameters: what it was asked for.
        machines: those that were seen, by the cloud's name for them.
        problem: why the last step failed; empty when it did not.
    """

    id: str
    cloud: str
    region: str
    launch_token: str
    owner: str
    created: float
    expires_at: float
    max_cost: str
    machine_types: list[str]
    workers: int
    attended: bool
    state: State = State.PLANNED
    campaign: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    machines: dict[str, MachineTime] = field(default_factory=dict)
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)

    @property
    def expires(self) -> str:
        """When its machines end, in UTC, as the tags have it."""
        return utc(self.expires_at)


def utc(at: float) -> str:
    """``2026-08-01T18:00:00Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


@dataclass(frozen=True)
class BurstFolder:
    """Where a burst is kept.

    Attributes:
        path: ``<state folder>/bursts/<id>``.
    """

    path: Path

    @property
    def record_path(self) -> Path:
        """The record."""
        return self.path / _RECORD

    @property
    def lock(self) -> oscalls.FileLock:
        """Held by whoever works on the burst, for as long as that process lives."""
        return oscalls.FileLock(self.path / "lock")

    def in_hand(self) -> bool:
        """True while a process, of whatever terminal, works on it."""
        lock = self.lock
        if not lock.acquire():
            return True
        lock.release()
        return False

    def write(self, record: BurstRecord) -> None:
        """Write the record down, whole.

        Raises:
            OperatorError: the disk or the rights do not let us; nothing may be bought then.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            oscalls.write_whole(self.record_path, json.dumps(record.as_dict(), indent=1))
        except OSError as error:
            raise OperatorError(
                f"{self.record_path} cannot be written: {error.strerror or error}",
                step="record burst",
                action="check the disk and the rights of the state folder, or give another --state-dir",
            ) from None

    def read(self) -> BurstRecord:
        """The record.

        Raises:
            InputError: it is not there or is no record.
        """
        try:
            data = json.loads(self.record_path.read_text(encoding="utf-8"))
            known = {f.name for f in fields(BurstRecord)}
            found = BurstRecord(**{name: value for name, value in data.items() if name in known})
            found.state = State(found.state)
            found.machines = {name: MachineTime(**times) for name, times in data["machines"].items()}
            if found.id != self.path.name:
                raise ValueError(f"it is that of burst {found.id}")  # noqa: TRY301  told as the others are
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.record_path} is no record of a burst: {error}",
                step=_STEP,
                action="what it had in the cloud is found by its tags: ras-runner burst sweep",
            ) from None
        return found


def burst_folder(state_dir: Path, burst: str) -> BurstFolder:
    """The folder of a burst by name; the only one that is not down when ``burst`` is empty.

    Raises:
        InputError: there is none, or several may be meant; lists them.
    """
    known = burst_folders(state_dir)
    if burst:
        chosen = [folder for folder in known if folder.path.name == burst]
    else:
        chosen = known = [folder for folder in known if folder.read().state is not State.DOWN]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(folder.path.name for folder in known)
    what = f"there is no burst {burst}" if burst else f"{len(known) or 'no'} bursts are up"
    raise InputError(what, step=_STEP, action=f"name one of {names}" if names else "nothing is left to do here")


def burst_folders(state_dir: Path) -> list[BurstFolder]:
    """The folders of all bursts, by minute; where neither record nor state is yet, nothing was bought."""
    try:
        found = sorted(path for path in (state_dir / "bursts").iterdir() if _ID.fullmatch(path.name))
    except OSError:
        return []
    return [BurstFolder(path) for path in found if any((path / name).exists() for name in _TRACES)]


def left_behind(state_dir: Path) -> list[str]:
    """A sentence on each burst that a controller has died and left, or that outlived its expiry; never an error."""
    sentences = []
    for folder in burst_folders(state_dir):
        try:
            record = folder.read()
            if _is_left(record) and not folder.in_hand():
                over = record.expires_at <= time.time()
                ends = f"expired {record.expires}" if over else f"its machines end {record.expires}"
                sentences.append(f"burst {record.id} is still up ({ends}): ras-runner burst down {record.id}")
        except InputError as error:
            sentences.append(f"{error.cause}: ras-runner burst sweep finds what it had")
        except (OSError, OperatorError) as error:
            sentences.append(f"burst {folder.path.name} cannot be looked at: {error}")
    return sentences


def _is_left(record: BurstRecord) -> bool:
    """Whether a burst that nobody has in hand costs money that nobody wants to spend."""
    wanted = record.state is State.UP and not record.attended and record.expires_at > time.time()
    return not wanted and record.state not in (State.PLANNED, State.DOWN)
