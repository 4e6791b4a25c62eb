"""What Slurm's commands say when they fail, as errors typed by what the reader should do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ras_runner.errors import OperatorError, TransientError

if TYPE_CHECKING:
    from ras_runner.errors import RasRunnerError

_ADMIN = "ask the administrator of the cluster"
#: What passes by itself: the controller restarts, or is busy.
_AWAY = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Zero Bytes were transmitted|temporarily unable"
    r"|Slurm backup controller in standby|Connection (refused|reset|timed out)|Transport endpoint|try again later"
    r"|Resource temporarily unavailable|Unexpected message received|Communication connection failure",
    re.IGNORECASE,
)
#: A limit on how many jobs may be in the queue at once; or a limit that is not named, of old releases.
_FULL = re.compile(r"(Assoc|QOS)\w*Submit|^(?!.*(Assoc|QOS)[A-Z]).*job submit limit", re.IGNORECASE | re.DOTALL)
#: What Slurm says -> what to do about it.
_REFUSED = (
    (r"invalid partition", "give a partition that `sinfo` lists (partition / ras_partition)"),
    (r"invalid account", "give an account that `sacctmgr show associations user=$USER` lists (account / ras_account)"),
    (r"invalid qos", "give a QOS that `sacctmgr show associations user=$USER` lists (qos / ras_qos)"),
    (r"invalid feature", "give a constraint of the features that `sinfo -o %f` lists (constraint / ras_constraint)"),
    (r"accounting/QOS policy", "ask for less: fewer cores, a shorter time_limit, less memory_per_plan; or " + _ADMIN),
    (r"time limit", "give a time_limit that the partition and your account allow"),
    (r"memory spec|mem.* limit", "give a memory_per_plan that a node of the partition has"),
    (
        r"CPU count|more processors|node configuration|node count|number of nodes",
        "ask for fewer cores, less memory_per_plan, another partition, or other nodes (nodelist, exclude)",
    ),
    (r"reservation", "give a reservation that `scontrol show reservation` lists (sbatch_options)"),
    (r"generic resource|gres|license", "correct it in sbatch_options"),
    (r"job array", "none of yours: the cluster takes no job arrays (MaxArraySize in slurm.conf); " + _ADMIN),
    (r"group not permitted|access/permission|not allowed|access denied", _ADMIN),
    (r"munge|authentication|credential", f"see that munge runs there and has the cluster's key; {_ADMIN}"),
    (r"unrecognized option|invalid option", "give only options in sbatch_options that this release of Slurm has"),
    (r"configuration source|slurm\.conf", "bring the cluster's slurm.conf there (the role slurm_submit does)"),
)


class QueueFullError(OperatorError):
    """No more jobs may be in the queue: it takes some when others are over."""


def explain(errors: str, *, step: str, host: str) -> RasRunnerError:
    """The error that the standard error of a command of Slurm tells.

    Args:
        errors: what it said.
        step: what it was for.
        host: where it was run.

    Returns:
        TransientError: Slurm's controller is away or busy. QueueFullError: a limit on jobs in the queue is reached.
        OperatorError: Slurm refuses; with what to do, where that is known.
    """
    said = _said(errors)
    if _FULL.search(errors):
        return QueueFullError(
            f"Slurm takes no further jobs of this account: {said}",
            step=step,
            host=host,
            action=f"end other jobs, or {_ADMIN} for a higher limit; max_parallel_plans keeps below one",
        )
    if _AWAY.search(errors):
        return TransientError(
            f"Slurm's controller does not answer: {said}",
            step=step,
            host=host,
            action="wait if it restarts, as running plans do; else see `scontrol ping` there",
        )
    action = next((todo for pattern, todo in _REFUSED if re.search(pattern, errors, re.IGNORECASE)), _ADMIN)
    return OperatorError(f"Slurm refuses: {said}", step=step, host=host, action=action)


def _said(errors: str) -> str:
    """What was said, without the names of programs; the last line says it all where there are several."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line).strip() for line in errors.splitlines() if line.strip()]
    lines = [
        re.sub(r"^(allocation failure|Batch job submission failed|Unable to allocate resources): ", "", line)
        for line in lines
    ]
    return "; ".join(dict.fromkeys(lines[-3:])) or "no reason given"
