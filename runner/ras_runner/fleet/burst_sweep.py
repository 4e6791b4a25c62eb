"""Finds what bursts have left in a cloud, by its tags alone, and removes what is over. Nothing else is ever touched."""

from __future__ import annotations

import calendar
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ras_runner.errors import InputError, RasRunnerError
from ras_runner.fleet.aws_things import find_things, remove_thing
from ras_runner.fleet.burst_record import State, burst_folders
from ras_runner.workers.aws_calls import AwsCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ras_runner.fleet.aws_things import Thing
    from ras_runner.fleet.burst_record import BurstFolder, BurstRecord

_STEP = "sweep bursts"
#: Where regions are asked for when none is named; what is in no region is listed with the first one.
_HOME = "us-east-1"
#: What others still stand on (machines that are ending) is tried again so often.
_ROUNDS = 20


@dataclass(frozen=True)
class Found:
    """Something that carries our tags.

    Attributes:
        thing: what it is.
        due: it is over, and may be removed.
        why: in words.
        done: what became of it; empty while nothing was done.
    """

    thing: Thing
    due: bool
    why: str
    done: str = ""


@dataclass(frozen=True)
class Sweeper:
    """What is over, and what is not.

    Attributes:
        state_dir: where the records of this machine's bursts are.
        owner: who we are; what others have rented stays.
        all_owners: what others have rented goes as well, when it is over.
        is_over: whether a campaign of this machine is over.
        pause: seconds before what could not be removed is tried again.
    """

    state_dir: Path
    owner: str
    all_owners: bool
    is_over: Callable[[str], bool]
    pause: float

    def sweep(self, regions: Sequence[str], profile: str, say: Callable[[str], None], *, remove: bool) -> list[Found]:
        """List what carries our tags, and remove what is over if asked.

        Args:
            regions: where to look; everywhere that the account has switched on when empty.
            profile: of the user's AWS settings.
            say: takes a line about a region that could not be looked at.
            remove: remove it.

        Raises:
            OperatorError, InputError: no region could be looked at.
        """
        found = []
        names = list(regions) or _regions(profile)
        for number, region in enumerate(names):
            try:
                calls = AwsCalls(region, profile, f"AWS {region}")
                listed = [self._judged(thing) for thing in find_things(calls, home=number == 0)]
            except RasRunnerError as error:
                if len(names) == 1:
                    raise
                say(f"region {region} could not be looked at: {error}")
                continue
            found += self._removed(calls, listed) if remove else listed
        return found

    def _judged(self, thing: Thing) -> Found:
        due, why = self.judge(thing, time.time())
        return Found(thing, due, why)

    def judge(self, thing: Thing, now: float) -> tuple[bool, str]:
        """Whether a thing is over, and why."""
        owner, expires = thing.tags["ras-runner:owner"], thing.tags["ras-runner:expires-at"]
        if owner != self.owner and not self.all_owners:
            return False, f"{owner} has rented it"
        known = self._record(thing.token)
        if known is not None and known[0].in_hand():
            return False, "a ras-runner has it in hand"
        try:
            end = calendar.timegm(time.strptime(expires, "%Y-%m-%dT%H:%M:%SZ"))
        except ValueError:
            return False, "its expiry cannot be read"
        if end <= now:
            return True, f"expired {expires}"
        return (False, f"may stay until {expires}") if known is None else self._judge_record(known[1], expires)

    def _judge_record(self, record: BurstRecord, expires: str) -> tuple[bool, str]:
        if record.state is not State.UP:
            return True, f"its burst is {record.state.value}"
        if not record.attended:
            return False, f"up until {expires}"
        if record.campaign and not self.is_over(record.campaign):
            return False, f"campaign {record.campaign} is not over: ras-runner resume, or burst down {record.id}"
        return True, "its campaign is over"

    def _record(self, token: str) -> tuple[BurstFolder, BurstRecord] | None:
        for folder in burst_folders(self.state_dir):
            try:
                record = folder.read()
            except InputError:  # nothing is known of it: its expiry decides
                continue
            if record.launch_token == token:
                return folder, record
        return None

    def _removed(self, calls: AwsCalls, listed: list[Found]) -> list[Found]:
        """Remove what is due, in the order of the list; what others still stand on is tried again."""
        done = list(listed)
        for number in range(_ROUNDS):
            if number:
                time.sleep(self.pause)
            for index, item in enumerate(done):
                if item.due and item.done != "removed":
                    try:
                        remove_thing(calls, item.thing)
                    except RasRunnerError as error:
                        done[index] = replace(item, done=f"not removed: {error.cause}")
                    else:
                        done[index] = replace(item, done="removed")
            if all(item.done == "removed" for item in done if item.due):
                break
        return done


def _regions(profile: str) -> list[str]:
    calls = AwsCalls(_HOME, profile, "AWS")
    names = sorted(str(one["RegionName"]) for one in calls.call("ec2", "describe_regions", step=_STEP)["Regions"])
    return [_HOME, *(name for name in names if name != _HOME)]
