"""What Slurm says of a job, in our words: two tables, of its states and of its reasons to wait.

Source: squeue(1), sections JOB STATE CODES and JOB REASON CODES, and ``slurm.h`` of Slurm 22.05 to 24.11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ras_runner.outcomes import Outcome


class Phase(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class State:
    """What a state means.

    Attributes:
        phase: how far the job is.
        says: one sentence, for a job that is over; empty where its exit code says more.
        outcome: how an attempt without exit.json has ended; None where its exit code says more.
    """

    phase: Phase
    says: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job waits.

    Attributes:
        says: one sentence.
        needs_person: it waits until a person changes something.
    """

    says: str
    needs_person: bool = False


_RUNNING, _WAITING = State(Phase.RUNNING), State(Phase.WAITING)
_LOST = Outcome.INFRASTRUCTURE_LOST

#: By the long name of the state.
STATES = {
    "PENDING": _WAITING,
    "REQUEUED": _WAITING,
    "REQUEUE_FED": _WAITING,
    "REQUEUE_HOLD": _WAITING,
    "RESV_DEL_HOLD": _WAITING,
    "SPECIAL_EXIT": _WAITING,
    "CONFIGURING": _RUNNING,
    "RUNNING": _RUNNING,
    "COMPLETING": _RUNNING,
    "RESIZING": _RUNNING,
    "SIGNALING": _RUNNING,
    "STAGE_OUT": _RUNNING,
    "STOPPED": _RUNNING,
    "SUSPENDED": _RUNNING,
    "COMPLETED": State(Phase.OVER),
    "FAILED": State(Phase.OVER),
    "TIMEOUT": State(Phase.OVER, "Slurm ended it at its time limit (give more with time_limit)", Outcome.TIMED_OUT),
    "DEADLINE": State(Phase.OVER, "Slurm ended it at its deadline", Outcome.TIMED_OUT),
    "OUT_OF_MEMORY": State(
        Phase.OVER, "out of memory: Slurm ended it at its limit (give more with memory_per_plan)", Outcome.ENGINE_ERROR
    ),
    "NODE_FAIL": State(Phase.OVER, "its node failed", _LOST),
    "BOOT_FAIL": State(Phase.OVER, "its node did not start", _LOST),
    "LAUNCH_FAILED": State(Phase.OVER, "its node could not start it", _LOST),
    "RECONFIG_FAIL": State(Phase.OVER, "its node could not be set up for it", _LOST),
    "REVOKED": State(Phase.OVER, "another cluster of the federation has taken it", _LOST),
    "PREEMPTED": State(Phase.OVER, "a job of higher priority took its place", Outcome.PREEMPTED),
    "CANCELLED": State(Phase.OVER, "it was cancelled in Slurm, not by this campaign", Outcome.CANCELLED),
}
#: What is none of these is new to us: the job is left alone until Slurm says more.
UNKNOWN_STATE = _RUNNING

#: Limits of a single job, which no waiting lifts: QOSMaxCpuPerJobLimit, AssocMaxMemPerJob, QOSMinGRES ...
_PER_JOB = re.compile(r"(Assoc|QOS)(Max\w*PerJob|Max\w*PerNode|Min)|Max\w*PerJob|MaxMemPerLimit")
_RELEASE = "release it with: scontrol release JOB"
_SITE = "ask the administrator of the cluster"

#: By Slurm's word. What is not here waits for its turn, and Slurm's own word is shown.
REASONS = {
    "None": Reason("Slurm has not considered it yet"),
    "Priority": Reason("jobs of higher priority come first"),
    "Resources": Reason("no node has room"),
    "JobArrayTaskLimit": Reason("its array runs as many elements at once as it may"),
    "BeginTime": Reason("its begin time has not come"),
    "Dependency": Reason("it waits for another job"),
    "Licenses": Reason("all licenses are in use"),
    "Reservation": Reason("its reservation has not begun"),
    "Prolog": Reason("its node is being set up"),
    "Cleaning": Reason("what ran before it is being cleaned up"),
    "ReqNodeNotAvail": Reason("a node that it needs is down, drained or reserved"),
    "NodeDown": Reason("a node that it needs is down"),
    "JobHeldUser": Reason(f"its owner holds it ({_RELEASE})", True),
    "JobHeldAdmin": Reason(f"an administrator holds it ({_SITE})", True),
    "JobHoldMaxRequeue": Reason(f"it was requeued too often and is held ({_RELEASE})", True),
    "AccountNotAllowed": Reason("the partition does not take jobs of its account", True),
    "BadConstraints": Reason("no node can ever fulfil what it asks for", True),
    "DependencyNeverSatisfied": Reason("the job that it waits for has failed", True),
    "InvalidAccount": Reason("its account is not valid", True),
    "InvalidQOS": Reason("its QOS is not valid", True),
    "PartitionConfig": Reason("it asks for more than the partition has", True),
    "PartitionDown": Reason(f"the partition is down ({_SITE})", True),
    "PartitionInactive": Reason(f"the partition is inactive ({_SITE})", True),
    "PartitionNodeLimit": Reason("it asks for more nodes than the partition gives a job", True),
    "PartitionTimeLimit": Reason("its time limit is longer than the partition's (give a shorter time_limit)", True),
    "QOSNotAllowed": Reason("the partition does not take jobs of its QOS", True),
    "QOSTimeLimit": Reason("its QOS has used up its time", True),
    "ReservationDeleted": Reason("its reservation was deleted", True),
    "LaunchFailedRequeuedHeld": Reason(f"its node could not start it, and it is held ({_RELEASE})", True),
    "launch failed requeued held": Reason(f"its node could not start it, and it is held ({_RELEASE})", True),
}


def reason_of(word: str) -> Reason:
    """Why a job waits.

    Args:
        word: Slurm's reason; of a node that is not available with the node's name, for instance.
    """
    known = REASONS.get(word) or REASONS.get(word.split(",", 1)[0].strip("()"))
    if known:
        return known
    if _PER_JOB.match(word):
        return Reason(f"its account or QOS has no such jobs: {word} (ask for what `sacctmgr show qos` allows)", True)
    if word.startswith(("Assoc", "QOS")):
        return Reason(f"a limit of its account or QOS is reached ({word})")
    return Reason(word)
