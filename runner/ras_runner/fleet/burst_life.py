"""The life of one burst: made with Terraform, looked at, taken down, whatever went wrong in between."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, OperatorError, RasRunnerError
from ras_runner.fleet.burst_record import BurstFolder, BurstRecord, MachineTime, State
from ras_runner.fleet.burst_signals import patient
from ras_runner.fleet.terraform import Terraform, TerraformState, find_program
from ras_runner.fleet.terraform_log import about_credentials, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ras_runner.fleet.burst_cloud import BurstCloud

_STEP = "take burst down"
_DOWN_TRIES = 4
_LONGEST_PAUSE = 120.0


@dataclass(frozen=True)
class Tempo:
    """How often things are done, seconds. Environment variables change them: ``RAS_RUNNER_BURST_WATCH_SECONDS`` ...

    Attributes:
        watch: between two looks at cost and time.
        look: between two looks at the machines by the campaign that uses them.
        retry: before destroy is tried again; doubled each time.
        stop: that plans get to end in, when time or money is at its end; they are reckoned in.
    """

    watch: float = 30.0
    look: float = 10.0
    retry: float = 15.0
    stop: float = 600.0

    @classmethod
    def from_environment(cls) -> Tempo:
        """The defaults, or what the variables say.

        Raises:
            InputError: one of them is no number.
        """
        values = {}
        for item in dataclasses.fields(cls):
            name = f"RAS_RUNNER_BURST_{item.name.upper()}_SECONDS"
            if text := os.environ.get(name):
                try:
                    values[item.name] = float(text)
                except ValueError:
                    raise InputError(f"{name} is {text!r}", step="read settings", action="give seconds") from None
        return cls(**values)


def make_cloud(cloud: str, region: str, profile: str) -> BurstCloud:
    """The module of a cloud.

    Raises:
        InputError: bursts cannot use it yet, or there is no such region or profile.
        OperatorError: its library is not installed.
    """
    if cloud != "aws":
        raise InputError(
            f"bursts on {cloud} are not driven by ras-runner",
            step="check burst",
            action="take --cloud aws; or by hand with terraform/azure: docs/cloud.md",
        )
    from ras_runner.fleet.burst_aws import AwsBurst

    return AwsBurst(region, profile)


def seen_machines(
    known: Mapping[str, MachineTime], there: Mapping[str, MachineTime], now: float
) -> dict[str, MachineTime]:
    """All machines that ever were: those that are new are added, those that have gone have an end."""
    ended = {
        name: dataclasses.replace(machine, end=now)
        for name, machine in known.items()
        if machine.end is None and name not in there
    }
    # one that was missing in a single list and is there again has been paid for all the while
    return {**known, **there, **ended}


@dataclass
class BurstLife:
    """A burst that somebody has in hand: the caller holds its lock.

    Attributes:
        folder: where it is kept.
        record: what is known of it; written with each step.
        cloud: its cloud.
        say: takes a line for the user.
        tempo: how often things are done.
    """

    folder: BurstFolder
    record: BurstRecord
    cloud: BurstCloud
    say: Callable[[str], None]
    tempo: Tempo
    _mutex: RLock = field(default_factory=RLock)

    def make(self, variables: Mapping[str, Any], archive: Path) -> None:
        """Make everything but the machines, and upload the image. What was made before a failure is removed again.

        Raises:
            OperatorError: it could not be made; says why, and whether anything is left.
            KeyboardInterrupt: interrupted; what was made is removed.
        """
        try:
            terraform = self._terraform()
            terraform.lay_out(variables)
            self.say("preparing Terraform")
            terraform.init()
            terraform.plan()
            self.note(State.APPLYING)
            self.say("making storage, rights and group (about a minute)")
            terraform.apply()
            self.record.outputs = terraform.outputs()
            self.note(State.APPLYING)
            self.say(f"uploading the image ({archive.stat().st_size / 1e6:.0f} MB)")
            self.cloud.upload(self.record, archive, self.say)
            self.note(State.UP)
        except BaseException as error:
            self._undo(error)
            raise

    def _undo(self, error: BaseException) -> None:
        """Take down what a failure has left half, and say so together with the failure."""
        reason = error.cause if isinstance(error, RasRunnerError) else type(error).__name__
        try:
            self.down()
        except OperatorError as left:
            raise OperatorError(
                f"the burst could not be made: {plain(reason, 1500)}. Then {left.cause}",
                step="make burst",
                action=left.action,
                log=left.log,
            ) from error
        if isinstance(error, RasRunnerError):
            raise OperatorError(
                f"the burst could not be made, and nothing is left of it: {reason}",
                step="make burst",
                action=error.action,
                log=error.log,
            ) from error

    def look(self) -> None:
        """Bring the record up to date on the machines.

        Raises:
            OperatorError, TransientError: the cloud could not be asked; the record stays as it was.
        """
        found = self.cloud.machines(self.record)
        with self._mutex:
            self.record.machines = seen_machines(self.record.machines, found, time.time())
            self.folder.write(self.record)

    def note(self, state: State, problem: str = "") -> None:
        """Write down how far it is."""
        with self._mutex:
            self.record.state, self.record.problem = state, problem
            self.folder.write(self.record)

    def down(self) -> None:
        """Remove everything, with several tries, and see that nothing is left. Nothing happens when it is down.

        Raises:
            OperatorError: something is left; says what, and what ends by itself when.
        """
        with patient(self.say), self._mutex:
            if self.record.state is State.DOWN:
                return
            if self.record.state is State.PLANNED:  # nothing was bought
                self.note(State.DOWN)
                return
            self.note(State.DESTROYING)
            problem = self._try_to_destroy()
            if problem is not None:
                self._fail(problem)
            now = time.time()
            for machine in self.record.machines.values():
                machine.end = machine.end or now
            self.note(State.DOWN)
        self.say(f"burst {self.record.id} is down: nothing is left of it")

    def _try_to_destroy(self) -> RasRunnerError | None:
        pause, problem = self.tempo.retry, None
        for tried in range(_DOWN_TRIES):
            if tried and problem is not None:
                self.say(f"burst {self.record.id} is not down yet ({plain(problem.cause)}): trying again")
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                self._destroy()
            except RasRunnerError as error:
                problem = error
                if isinstance(error, InputError) or about_credentials(error.cause):  # another try finds the same
                    return error
            else:
                return None
        return problem

    def _destroy(self) -> None:
        terraform = self._terraform()
        token = terraform.state.launch_token()
        if token and token != self.record.launch_token:
            raise InputError(
                f"the Terraform state in {self.folder.path} is that of another burst (launch token {plain(token, 64)})",
                step=_STEP,
                action="put the right terraform.tfstate there; what is expired is found by its tags: ras-runner burst "
                "sweep",
            )
        self.say(f"taking burst {self.record.id} down")
        if (self.folder.path / "terraform").is_dir():
            terraform.init()
            try:
                self.cloud.release(self.record)
            except RasRunnerError as error:  # Terraform may remove the group all the same
                self.say(f"machines of burst {self.record.id} may still be protected: {plain(error.cause)}")
            terraform.destroy()
        if left := self.cloud.clean(self.record):
            raise OperatorError(f"{len(left)} things are left: {', '.join(left)}", step=_STEP)

    def _fail(self, error: RasRunnerError) -> None:
        """Say what is left and what comes of it."""
        self.note(State.FAILED, error.cause)
        left = "what carries its tags"
        with contextlib.suppress(InputError):
            left = ", ".join(TerraformState(self.folder.path / "terraform.tfstate").left()) or left
        raise OperatorError(
            f"burst {self.record.id} could not be taken down: {plain(error.cause, 1500)}. Left: {left}. Its machines "
            f"end by themselves when they are idle, at {self.record.expires} at the latest; the storage empties itself "
            "after some days, and the rest costs nothing",
            step=_STEP,
            action=(f"{error.action}; then: " if error.action else "") + f"ras-runner burst down {self.record.id}",
            log=error.log,
        )

    def _terraform(self) -> Terraform:
        return Terraform(self.folder.path, self.record.cloud, find_program(), self.say, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        profile = self.record.parameters.get("profile")
        if not profile:
            return {}
        # Terraform would prefer these to the profile, boto3 does not: both are to work in the account that was shown
        others = ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN")
        return {"AWS_PROFILE": str(profile), **dict.fromkeys(others, "")}
