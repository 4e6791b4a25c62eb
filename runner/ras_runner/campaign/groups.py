"""The groups of cloud machines of a running campaign: the controller's part. What is decided is in ``elastic``."""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.campaigns import worker_joined
from ras_runner.campaign.elastic import Elastic, Offer, share
from ras_runner.campaign.group_actions import Action, End, Gone, Join, Joined, Leave, Look, Protect, Resize, Tell
from ras_runner.campaign.group_thread import GroupLooked, GroupThread
from ras_runner.campaign.scheduler import Blame, Expecting, WorkerLeft
from ras_runner.errors import OperatorError, RasRunnerError
from ras_runner.outcomes import Outcome
from ras_runner.workers.group import member_name, member_parameters
from ras_runner.workers.registry import make_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ras_runner.campaign.campaigns import CampaignSettings
    from ras_runner.campaign.fitness import Fitness
    from ras_runner.campaign.membership import Member
    from ras_runner.campaign.scheduler import Event, Scheduler
    from ras_runner.campaign.work import Ended
    from ras_runner.workers.base import Worker
    from ras_runner.workers.group import GroupView, Machine, WorkerGroup

Records = list[tuple[str, dict[str, Any]]]
#: Machines that are tried at once: those that do not answer take 15 s each.
_AT_ONCE = 32
#: How long a cloud may take to say whether it has taken a machine away: it may be late by a look; seconds.
_DOUBT_LOOKS, _DOUBT_SECONDS = 2, 60.0
#: An error that was not seen for so long is told anew.
_SAY_AGAIN_SECONDS = 900.0
#: How long the end of a campaign waits for a group to be brought back to its minimum, seconds.
_RELEASE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class MemberMade:
    """A machine of a group was tried.

    Attributes:
        group: its worker id.
        machine: which.
        made: the worker, or why it cannot be used yet.
        unable, prepared: the plans that it cannot run, and those that it can solve as they lie.
    """

    group: str
    machine: Machine
    made: Worker | RasRunnerError
    unable: frozenset[str] = frozenset()
    prepared: frozenset[str] = frozenset()


@dataclass(slots=True)
class Change:
    """What came of a report.

    Attributes:
        events: for the scheduler.
        joined: workers that are new.
        gone: workers whose machine is gone, each with why.
        settled: ends of attempts of which it is clear now whose fault they were.
    """

    events: list[Event] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    gone: dict[str, str] = field(default_factory=dict)
    settled: list[Ended] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    """A group, and what the campaign has of it: worker ids by machine, machines that are tried."""

    group: WorkerGroup
    core: Elastic
    thread: GroupThread
    members: dict[str, str] = field(default_factory=dict)
    making: set[str] = field(default_factory=set)
    #: The last error that the user was told, and when it was seen last.
    said: tuple[str, float] = ("", 0.0)


@dataclass(slots=True)
class _Doubt:
    """An attempt that was lost: is it the machine's fault, or is the machine gone?"""

    end: Ended
    group: str
    since: float
    #: Looks begun since then that had the machine still.
    looks: int = 0


@dataclass
class Groups:
    """The groups of a running campaign. For the deciding thread; the clouds are asked in threads of their own.

    Attributes:
        workers: by id; machines that join are added.
        scheduler: knows what waits and what runs where.
        settings: of the campaign.
        fitness: which plans a machine can take.
        report: takes :class:`GroupLooked` and :class:`MemberMade`; called from the threads.
        say: takes a line for the user.
    """

    workers: dict[str, Worker]
    scheduler: Scheduler
    settings: CampaignSettings
    fitness: Fitness
    report: Callable[[GroupLooked | MemberMade], None]
    say: Callable[[str], None]
    _groups: dict[str, _Group] = field(default_factory=dict)
    #: Worker -> why its machine is gone.
    _gone: dict[str, str] = field(default_factory=dict)
    _doubts: list[_Doubt] = field(default_factory=list)
    #: Workers that have joined in this turn: the scheduler does not know them yet.
    _fresh: set[str] = field(default_factory=set)

    def add(self, group: WorkerGroup, members: Iterable[Member] = ()) -> None:
        """Look after a group from now on.

        Args:
            group: the group.
            members: its machines that the campaign knows; those that are not among the workers take no plans.
        """
        name = group.spec.worker_id
        added = _Group(group, Elastic(group.spec), GroupThread(group, self.report))
        if name in self._groups:  # it was drained, or out
            self._groups[name].thread.close()
            added.members = self._groups[name].members
        for member in members:
            if member.drained:
                added.core.leave(member.machine)
            if member.worker_id in self.workers:
                added.members[member.machine] = member.worker_id
        self._groups[name] = added

    def group(self, name: str) -> WorkerGroup | None:
        """A group of the campaign that may bring machines."""
        known = self._groups.get(name)
        return None if known is None or known.core.hopeless(time.time()) else known.group

    def members_of(self, name: str) -> list[str]:
        """The worker ids of a group's machines; none when it is no group."""
        return list(self._groups[name].members.values()) if name in self._groups else []

    def drain(self, name: str) -> list[Event]:
        """A group brings no more machines, and those that there are take no more plans; nothing when it is no group."""
        if name not in self._groups:
            return []
        self._groups[name].core.close()
        self._groups[name].thread.look_now()
        return [*(self._left(worker, "drained") for worker in self.members_of(name)), self.expecting()]

    def expecting(self) -> Expecting:
        """What the scheduler is told of the groups."""
        now = time.time()
        cores = {name: known.core for name, known in self._groups.items()}
        reasons = {name: core.hopeless(now) for name, core in cores.items()}
        return Expecting(reasons, any(core.brings_steady(now) and not reasons[name] for name, core in cores.items()))

    def take(self, report: GroupLooked | MemberMade, records: Records) -> Change:
        """Deal with a report; what is to be journalled goes to ``records``."""
        change = Change()
        known = self._groups[report.group]
        if isinstance(report, MemberMade):
            self._made(known, report, records, change)
            return change
        if isinstance(report.found, RasRunnerError):
            self._failed(known, report.found)
        else:
            self._act(known, known.core.decide(self._seen(known, report.found)), records, change)
        change.events.append(self.expecting())
        self._settle(report, change)
        return change

    def judged(self, end: Ended) -> Ended | None:
        """The end of an attempt; None while it is kept back until it is clear whether its machine is gone."""
        name = end.attempt.worker.worker_id
        uncollected = end.unpublished and end.verified is None
        if end.outcome is not Outcome.INFRASTRUCTURE_LOST or not (end.blame is not Blame.NOBODY or uncollected):
            return end
        if name in self._gone:
            return _preempted(end, self._gone[name])
        group = next((g for g, known in self._groups.items() if name in known.members.values()), None)
        if group is None:
            return end
        if not any(doubt.group == group for doubt in self._doubts):
            self._groups[group].thread.look_now()
        self._doubts.append(_Doubt(end, group, time.monotonic()))
        return None

    def overdue(self) -> list[Ended]:
        """Ends that were kept back for too long: they are taken as they are. To be asked at the begin of each turn."""
        self._fresh.clear()
        now = time.monotonic()
        late = [doubt for doubt in self._doubts if now - doubt.since > _DOUBT_SECONDS]
        self._doubts = [doubt for doubt in self._doubts if doubt not in late]
        return [doubt.end for doubt in late]

    def gone(self, worker: str) -> str:
        """Why a worker's machine is gone; empty while it is there, or is no machine of a group."""
        return self._gone.get(worker, "")

    def noticed(self, worker: str, notice: str) -> list[Event]:
        """A machine says that it will be taken away."""
        for known in self._groups.values():
            for machine, name in known.members.items():
                if name == worker and not known.core.is_noticed(machine):
                    known.core.noticed(machine, notice)
                    return [self._left(worker, notice)]
        return []

    def release(self) -> None:
        """The campaign is over: the groups are brought back to their minimum, and nothing stays protected."""
        for known in self._groups.values():
            ours = frozenset(known.members)
            least = Resize(known.group.spec.min_machines, 0)
            known.thread.order([Protect(ours, on=False), least] if ours else [least])
            known.thread.close()
        end = time.monotonic() + _RELEASE_SECONDS
        for name, known in self._groups.items():
            if problem := known.thread.close(max(end - time.monotonic(), 0.0)):
                self.say(f"group {name} was not given back, and its machines have to end themselves: {problem}")

    def close(self) -> None:
        """Look at nothing any more; what runs goes on, and stays protected."""
        for known in self._groups.values():
            known.thread.close()

    def _failed(self, known: _Group, error: RasRunnerError) -> None:
        """The user is told once, and again when it comes back after a while."""
        now, (said, at) = time.time(), known.said
        known.core.failed(error, now)
        if str(error) != said or now - at > _SAY_AGAIN_SECONDS:
            self.say(f"group {known.group.spec.worker_id}: {error}")
        known.said = (str(error), now)

    def _seen(self, known: _Group, view: GroupView) -> Look:
        held = self.scheduler.held()
        joined = {
            machine: Joined(held[worker], "" if self._takes_plans(worker) else "it takes no plans")
            for machine, worker in known.members.items()
        }
        wanted, on_demand = self._wanted(time.time(), held)[known.group.spec.worker_id]
        return Look(view, time.time(), joined, frozenset(known.making), wanted, on_demand)

    def _takes_plans(self, worker: str) -> bool:
        return worker in self._fresh or self.scheduler.takes_plans(worker)

    def _wanted(self, now: float, held: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """How many machines each group's plans want, and how many of them not to be taken away."""
        order = sorted(self._groups, key=lambda name: (self._groups[name].group.spec.queue_priority, name))
        slots = {name: self._slots(self._groups[name]) for name in order}
        runs = {name: self._runs(self._groups[name], held) for name in order}
        offers = [Offer(n, max(self._groups[n].core.room(now) * slots[n] - runs[n], 0)) for n in order]
        most = self.settings.max_concurrent
        limit = None if most is None else max(most - self.scheduler.running, 0)
        shares = share(self.scheduler.waiting(order), offers, limit)
        steady, wanted = self.scheduler.want_steady, dict[str, tuple[int, int]]()
        for name in order:
            machines = math.ceil((shares[name] + runs[name]) / slots[name])
            able = self._groups[name].core.brings_steady(now)
            on_demand = min(math.ceil(steady / slots[name]), machines) if able else 0
            steady = max(steady - on_demand * slots[name], 0)
            wanted[name] = (machines, on_demand)
        return wanted

    def _slots(self, known: _Group) -> int:
        """Of a machine: as those have it that have joined."""
        cores = self.settings.num_cores
        there = (self.workers[worker].spec.slots(cores) for worker in known.members.values())
        return max(there, default=known.group.spec.slots(cores))

    def _runs(self, known: _Group, held: Mapping[str, int]) -> int:
        return sum(held[worker] for worker in known.members.values() if self._takes_plans(worker))

    def _act(self, known: _Group, actions: Sequence[Action], records: Records, change: Change) -> None:
        name, orders = known.group.spec.worker_id, list[Action]()
        for action in actions:
            match action:
                case Join(machine):
                    self._try(known, machine)
                case Leave(machine, reason):
                    change.events.append(self._left(known.members[machine], reason))
                case Gone(machine, reason):
                    self._lost(known, machine, reason, records, change)
                case Tell(text):
                    self.say(f"group {name}: {text}")
                case End(machine, _, reason):
                    self.say(f"group {name}: machine {machine} is ended: {reason}")
                    orders.append(action)
                case Resize(machines):
                    self.say(f"group {name}: {machines} machines are asked for")
                    orders.append(action)
                case Protect():
                    orders.append(action)
        known.thread.order(orders)

    def _left(self, worker: str, reason: str) -> WorkerLeft:
        self.say(f"worker {worker} takes no further plans: {reason}")
        return WorkerLeft(worker, reason)

    def _lost(self, known: _Group, machine: str, reason: str, records: Records, change: Change) -> None:
        worker = known.members.pop(machine)
        self._gone[worker] = change.gone[worker] = reason
        records.append(("member-gone", {"worker": worker, "reason": reason}))
        change.events.append(WorkerLeft(worker, reason))
        self.say(f"worker {worker} is gone: {reason}")

    def _try(self, known: _Group, machine: Machine) -> None:
        """Make a worker of a machine, in a thread; the next look asks again where too many are being made."""
        if sum(len(each.making) for each in self._groups.values()) >= _AT_ONCE:
            return
        known.making.add(machine.id)
        name = member_name(known.group.spec.worker_id, machine.id)
        threading.Thread(target=self._make, args=(known.group, machine), name=f"make {name}", daemon=True).start()

    def _make(self, group: WorkerGroup, machine: Machine) -> None:
        name = group.spec.worker_id
        try:
            worker = make_worker(*member_parameters(group, machine))
            made = MemberMade(name, machine, worker, *self.fitness.of(worker))
        except RasRunnerError as error:
            made = MemberMade(name, machine, error)
        except Exception as error:  # a bug of ours costs this machine, with its reason, and not the campaign
            cause = f"internal error of ras-runner: {type(error).__name__}: {error}"
            made = MemberMade(name, machine, OperatorError(cause, step="use machine", action="please report it"))
        self.report(made)

    def _made(self, known: _Group, made: MemberMade, records: Records, change: Change) -> None:
        machine = made.machine
        known.making.discard(machine.id)
        if isinstance(made.made, RasRunnerError):
            known.core.cannot_use(machine.id, str(made.made).partition("\n")[0])
        elif known.core.may_join(machine.id):
            worker, steady = made.made, not machine.spot
            name = worker.worker_id
            known.members[machine.id], self.workers[name] = name, worker
            self._gone.pop(name, None)
            self._fresh.add(name)
            records.append(("member-joined", {"worker": name, "spec": _member_spec(known, machine, worker)}))
            joined = worker_joined(worker, self.settings, made.unable, made.prepared)
            change.events.append(replace(joined, steady=steady))
            change.joined.append(name)
            known.thread.look_now()  # it is to be protected

    def _settle(self, looked: GroupLooked, change: Change) -> None:
        """Take the ends of lost attempts of which it is clear now whether their machine is gone."""
        known, kept = self._groups[looked.group], list[_Doubt]()
        noticed = {worker for machine, worker in known.members.items() if known.core.is_noticed(machine)}
        answered = not isinstance(looked.found, RasRunnerError)
        for doubt in self._doubts:
            worker = doubt.end.attempt.worker.worker_id
            doubt.looks += answered and doubt.group == looked.group and doubt.since <= looked.began
            if worker in self._gone or worker in noticed:
                why = self._gone.get(worker, "the cloud was about to take its machine away")
                change.settled.append(_preempted(doubt.end, why))
            elif doubt.looks >= _DOUBT_LOOKS:
                change.settled.append(doubt.end)
            else:
                kept.append(doubt)
        self._doubts = kept
        if answered and any(doubt.group == looked.group and not doubt.looks for doubt in kept):
            known.thread.look_now()


def _preempted(end: Ended, why: str) -> Ended:
    return replace(end, outcome=Outcome.PREEMPTED, reason=why, blame=Blame.NOBODY, unpublished=False)


def lock_name(group: WorkerGroup) -> str:
    """Name of the lock that keeps campaigns from scaling one group against each other."""
    return f"group-{hashlib.sha256(f'{group.type} {group.hostname}'.encode()).hexdigest()[:16]}"


def _member_spec(known: _Group, machine: Machine, worker: Worker) -> str:
    own: dict[str, Any] = {"type": worker.type, "parameters": worker.spec.model_dump(mode="json")}
    return json.dumps({**own, "group": known.group.spec.worker_id, "machine": machine.id, "spot": machine.spot})
