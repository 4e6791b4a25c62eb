"""Slurm's commands as programs of sh, and readers of what they print. Pure functions.

Fixed formats and not ``--json``, whose form changes between releases and which needs a plugin that many sites lack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from shlex import join, quote
from typing import TYPE_CHECKING

from ras_runner.transports.slurm_states import STATES, UNKNOWN_STATE, Phase, State
from ras_runner.transports.ssh_programs import MARK, BadAnswerError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import PurePath

COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
#: Exit codes of the array script: the workspace is not to be seen on the node; it has nothing to open the image with.
NOT_SHARED, NO_CONTAINERS = 66, 67
#: Options of sbatch that a worker may be given besides its parameters: none of them changes what runs, or where to.
SBATCH_OPTIONS = frozenset(
    {
        *("begin", "cluster-constraint", "cores-per-socket", "deadline", "delay-boot", "exclude", "exclusive"),
        *("gres", "hint", "licenses", "mail-type", "mail-user", "mem-bind", "mincpus", "nice", "nodelist"),
        *("prefer", "priority", "reservation", "sockets-per-node", "switches", "threads-per-core", "tmp", "wckey"),
    }
)
_NAME = "ras-runner"
#: Without what a user's environment would make of the commands.
_HEAD = """for v in $(env | sed -n -e 's/^\\(SBATCH_[A-Z0-9_]*\\)=.*/\\1/p' -e 's/^\\(SQUEUE_[A-Z0-9_]*\\)=.*/\\1/p' \\
  -e 's/^\\(SCANCEL_[A-Z0-9_]*\\)=.*/\\1/p' -e 's/^\\(SACCT_[A-Z0-9_]*\\)=.*/\\1/p'); do
  unset "$v"
done
"""
_QUEUE_FIELDS = ("JobArrayID", "State", "SubmitTime", "StartTime", "exit_code", "NodeList", "Name", "Reason")
_QUEUE_FORMAT = ",".join(f"{name}:|" for name in _QUEUE_FIELDS)
_HISTORY_FIELDS = ("JobID", "State", "ExitCode", "NodeList", "JobName", "Submit", "Start")
_REF = re.compile(r"(\d+)_(\d+):([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What all jobs of a worker ask for; empty means Slurm's default.

    Attributes:
        partition, account, qos, time_limit, constraint: as sbatch's options.
        memory: of a plan, such as ``4g``.
        others: more options of sbatch, of ``SBATCH_OPTIONS``; an empty value for those that take none.
        image: Apptainer or Singularity image that plans run in.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    time_limit: str = ""
    constraint: str = ""
    memory: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    image: str = ""

    def options(self, cores: int, left_out: Collection[str] = ()) -> list[str]:
        """Options of sbatch for a job with so many cores on one node, which is none of those that are left out."""
        others = dict(self.others)
        if left_out:
            others["exclude"] = ",".join([*filter(None, [others.get("exclude")]), *left_out])
        named = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": self.time_limit,
            "constraint": self.constraint,
            "mem": self.memory.upper(),
        }
        size = ["--nodes=1", "--ntasks=1", f"--cpus-per-task={cores}"]
        given = [f"--{name}={value}" for name, value in named.items() if value]
        return size + given + [f"--{name}={value}" if value else f"--{name}" for name, value in others.items()]


@dataclass(frozen=True, slots=True)
class Ref:
    """A job of ours: an element of an array, and the batch whose name the array has.

    Job ids begin again when a cluster loses its state: only with its batch is a job known to be ours.
    """

    job: int
    index: int
    batch: str

    @property
    def id(self) -> str:
        """As Slurm writes it."""
        return f"{self.job}_{self.index}"

    def __str__(self) -> str:
        return f"{self.id}:{self.batch}"


@dataclass(frozen=True, slots=True)
class Job:
    """What Slurm says of a job.

    Attributes:
        id: ``job_index``.
        state: its long name, such as ``NODE_FAIL``.
        name: of the job.
        reason: why it waits, in Slurm's words.
        nodes: where it runs or ran.
        code: its wait status: the exit code times 256, or the number of the signal that ended it.
        submitted, started: unix times by the submit host's clock; None where it is not known.
    """

    id: str
    state: str
    name: str
    reason: str = ""
    nodes: str = ""
    code: int = 0
    submitted: float | None = None
    started: float | None = None

    @property
    def meaning(self) -> State:
        """Its state in our words."""
        return STATES.get(self.state, UNKNOWN_STATE)

    @property
    def over(self) -> bool:
        """It does not run, and never will again."""
        return self.meaning.phase is Phase.OVER


def read_ref(text: str) -> Ref | None:
    """What ``str(Ref)`` gave; None for anything else."""
    match = _REF.fullmatch(text)
    return Ref(int(match[1]), int(match[2]), match[3]) if match else None


def job_name(batch: str) -> str:
    """The name of a batch's array: by it the array is found again when the answer to its submission was lost."""
    return f"{_NAME}-{batch}"


def array_script(folder: PurePath, attempts: Sequence[str], script: str, image: str = "") -> str:
    """The script of an array, whose elements each start one attempt's run script.

    It carries the list itself, as Slurm keeps the script: there is no file to be left behind. An element whose
    workspace is not to be seen on its node ends with ``NOT_SHARED``.

    Args:
        folder: holds the attempts' folders.
        attempts: one for each index.
        script: name of the run script.
        image: that it runs in; on the node itself when left out.
    """
    run = f'exec env {MARK}="$attempt" /bin/sh {quote(script)}'
    if image:
        # its own namespaces for processes and files: nothing of the node but the workspace
        run = f"""for program in apptainer singularity; do
  command -v $program >/dev/null || continue
  export {MARK}="$attempt"
  exec $program exec --containall --env {MARK}="$attempt" --bind "$PWD" --pwd "$PWD" {quote(image)} \\
    /bin/sh {quote(script)}
done
echo "$(hostname): neither apptainer nor singularity is there" >&2
exit {NO_CONTAINERS}"""
    return f"""#!/bin/sh
# One element of an array of ras-runner: starts one attempt's run script.
set -- {join(attempts)}
shift "$SLURM_ARRAY_TASK_ID" && attempt=$1
cd {quote(str(folder))}/"$attempt" && [ -f {quote(script)} ] || exit {NOT_SHARED}
exec >launch.log 2>&1 </dev/null
{run}
"""


def submit_program(
    wanted: Wanted,
    cores: int,
    batch: str,
    comment: str,
    count: int,
    script: str,
    *,
    left_out: Collection[str] = (),
    test: bool = False,
) -> str:
    """Submit an array and print its id. With ``test`` nothing is submitted: Slurm says whether it would be taken."""
    options = [
        "--parsable",
        "--no-requeue",
        "--export=ALL",
        "--output=/dev/null",
        "--chdir=/",
        f"--job-name={job_name(batch)}",
        f"--comment={comment}",
        f"--array=0-{count - 1}",
        *wanted.options(cores, left_out),
        *(["--test-only"] if test else []),
    ]
    return f"{_HEAD}printf %s {quote(script)} | {join(['sbatch', *options])}\n"


def read_submitted(output: bytes) -> int:
    """The id of the array.

    Raises:
        BadAnswerError: there is none.
    """
    match = re.search(rb"^(\d+)(;\S*)?$", output, re.MULTILINE)  # a cluster's name may follow
    if match is None:
        raise BadAnswerError("sbatch did not print the id of the job")
    return int(match[1])


def queue_program(jobs: Iterable[int], batches: Iterable[str] = ()) -> str:
    """Print the clock, and what the queue has of these arrays and of these batches: what is over too, for a while."""
    squeue = ["squeue", "--noheader", "--array", "--states=all", f"--Format={_QUEUE_FORMAT}"]
    asked = [[*squeue, f"--jobs={','.join(map(str, sorted(set(jobs))))}"]] if jobs else []
    asked += [[*squeue, f"--name={','.join(map(job_name, batches))}"]] if batches else []
    # ids that are all unknown are an error to squeue
    calls = "".join(
        f"said=$({join(words)} 2>&1) || case $said in *'Invalid job id'*) said= ;; "
        "*) printf '%s\\n' \"$said\" >&2; exit 1 ;; esac\nprintf '%s\\n' \"$said\"\n"
        for words in asked
    )
    return f"{_HEAD}export SLURM_TIME_FORMAT=%s\ndate +%s\n{calls}echo end\n"


def read_queue(output: bytes) -> tuple[float, dict[str, Job]]:
    """The clock, and the jobs by id, of what :func:`queue_program` printed.

    Raises:
        BadAnswerError: it is cut short.
    """
    lines = output.decode("utf-8", "replace").strip().splitlines()
    if len(lines) < 2 or lines[-1] != "end" or not lines[0].isdigit():
        raise BadAnswerError("the answer of squeue is cut short")
    jobs = {}
    for line in lines[1:-1]:
        parts = line.split("|", len(_QUEUE_FIELDS) - 1)
        if len(parts) == len(_QUEUE_FIELDS):
            name, state, submitted, started, code, nodes, title, reason = parts
            jobs[name] = Job(
                *(name, state, title, reason.strip().removesuffix("|"), nodes),
                *(int(code) if code.isdigit() else 0, _time(submitted), _time(started)),
            )
    return float(lines[0]), jobs


def history_program(jobs: Iterable[int]) -> str:
    """Print what Slurm's accounting has of these arrays."""
    ids = ",".join(map(str, sorted(set(jobs))))
    asked = f"--format={','.join(_HISTORY_FIELDS)} --jobs={ids}"
    return f"""{_HEAD}export SLURM_TIME_FORMAT=%s
sacct --noheader --parsable2 --allocations {asked} && echo end
"""


def read_history(output: bytes) -> dict[str, Job]:
    """The jobs by id, of what :func:`history_program` printed.

    Raises:
        BadAnswerError: it is cut short.
    """
    lines = output.decode("utf-8", "replace").splitlines()
    if not lines or lines[-1] != "end":
        raise BadAnswerError("the answer of sacct is cut short")
    jobs = {}
    for line in lines[:-1]:
        parts = line.split("|")
        if len(parts) == len(_HISTORY_FIELDS):
            name, state, code, nodes, title, submitted, started = parts
            status, _, signal = code.partition(":")
            wait = int(signal) if signal.isdigit() and signal != "0" else int(status or 0) << 8
            # "CANCELLED by 1000"
            jobs[name] = Job(name, state.split(" ")[0], title, "", nodes, wait, _time(submitted), _time(started))
    return jobs


def _time(text: str) -> float | None:
    return float(text) if text.isdigit() else None


def cancel_program(ids: Iterable[str]) -> str:
    """Cancel jobs at once: every process of theirs is killed. Those that are over, or just ending, are no error."""
    # scancel does not know what is completing, and fails for it whatever became of the others
    return f"""{_HEAD}said=$({join(["scancel", "--full", "--signal=KILL", *ids])} 2>&1) && exit 0
said=$(printf '%s\\n' "$said" | grep -v -e 'Invalid job id' -e 'already completing or completed') || exit 0
printf '%s\\n' "$said" >&2
exit 1
"""


def facts_program() -> str:
    """Print what a submit host has and what its cluster is: see :func:`read_facts`. Changes nothing."""
    return f"""{_HEAD}for tool in {" ".join(COMMANDS)}; do
  command -v $tool >/dev/null || {{ printf 'missing %s\\n' $tool; missing=1; }}
done
[ -z "$missing" ] || exit 0
said=$(scontrol show config) || exit 1
printf '%s\\n' "$said" | sed -n -e 's/^\\(ClusterName\\) *= */\\1 /p' -e 's/^\\(MaxArraySize\\) *= */\\1 /p' \\
  -e 's/^\\(AccountingStorageType\\) *= */\\1 /p' -e 's/^\\(SLURM_VERSION\\) *= */\\1 /p'
sinfo --noheader --exact --format='partition %P %a %c' || exit 1
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a submit host says of its cluster.

    Attributes:
        cluster, version: name, and release of Slurm.
        most: how many elements an array may have.
        accounting: it keeps a record of jobs that are over.
        cores: partition -> CPUs of its largest node.
        default: the default partition; empty where there is none.
        missing: commands that the host lacks; then nothing else is known.
    """

    cluster: str = ""
    version: str = ""
    most: int = 1
    accounting: bool = False
    cores: Mapping[str, int] = field(default_factory=dict)
    default: str = ""
    missing: tuple[str, ...] = ()


def read_facts(output: bytes) -> Facts:
    """What :func:`facts_program` printed."""
    words = [line.split() for line in output.decode("utf-8", "replace").splitlines()]
    missing = tuple(word[1] for word in words if word[0] == "missing")
    settings = {word[0]: word[1] for word in words if len(word) == 2}
    cores: dict[str, int] = {}
    default = ""
    for _, name, _, count in (word for word in words if word[0] == "partition" and len(word) == 4):
        plain = name.removesuffix("*")
        default = plain if name.endswith("*") else default
        cores[plain] = max(cores.get(plain, 0), int(re.sub(r"\D.*", "", count) or 0))
    return Facts(
        settings.get("ClusterName", ""),
        settings.get("SLURM_VERSION", ""),
        int(settings.get("MaxArraySize", "1001")),
        settings.get("AccountingStorageType", "").endswith("/slurmdbd"),
        cores,
        default,
        missing,
    )
