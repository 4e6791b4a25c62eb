"""Programs for Slurm's commands, and what the commands print: recorded from Slurm 22.05, with and without slurmdbd."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from ras_runner.errors import OperatorError, RasRunnerError, TransientError
from ras_runner.outcomes import Outcome
from ras_runner.transports import slurm_jobs as jobs
from ras_runner.transports.slurm_errors import QueueFullError, explain
from ras_runner.transports.slurm_states import Phase, reason_of
from ras_runner.transports.ssh_programs import BadAnswerError

QUEUE = b"""1795376052
25_3|PENDING|1795376041|1826912044|0||ras-runner-a1|Nodes required for job are DOWN, DRAINED or reserved \
for jobs in higher priority partitions|
13_0|PENDING|1795375985|N/A|0||ras-runner-a2|PartitionTimeLimit|
25_2|PREEMPTED|1795376041|1795376042|15|n2|ras-runner-a1|None|
37_3|COMPLETED|1795376052|1795376052|0|n2|ras-runner-a3|None|
37_1|FAILED|1795376052|1795376052|9|n2|ras-runner-a3|JobLaunchFailure|
37_0|FAILED|1795376052|1795376052|16896|n1|ras-runner-a3|NonZeroExitCode|
37_2|RUNNING|1795376052|1795376052|0|n1|ras-runner-a3|None|
33_0|NODE_FAIL|1795376048|1795376048|15|n1|ras-runner-a4|NodeDown|
52_2|TIMEOUT|1795377082|1795377083|15|n1|ras-runner-5d0c1b2a3f4e|TimeLimit|
end
"""
HISTORY = b"""54_0|FAILED|66:0|n1|job2.sh|1795377405|1795377405
54_1|FAILED|0:9|n2|job2.sh|1795377405|1795377405
54_2|CANCELLED by 0|0:0|n1|job2.sh|1795377405|1795377406
54_[3-9]|PENDING|0:0|None assigned|job2.sh|1795377405|Unknown
59_0|COMPLETED|0:0|n1|ras-runner-6a6dbb7003fd|1795377444|1795377445
end
"""
FACTS = b"""AccountingStorageType accounting_storage/slurmdbd
ClusterName ras
MaxArraySize 6
SLURM_VERSION 22.05.8
partition main* up 2
partition big up 48
partition big up 96+
partition closed down 2
"""


def test_the_queue():
    now, found = jobs.read_queue(QUEUE)
    assert now == 1795376052
    assert {name: (job.meaning.phase, job.meaning.outcome) for name, job in found.items()} == {
        "25_3": (Phase.WAITING, None),
        "13_0": (Phase.WAITING, None),
        "25_2": (Phase.OVER, Outcome.PREEMPTED),
        "37_3": (Phase.OVER, None),
        "37_1": (Phase.OVER, None),
        "37_0": (Phase.OVER, None),
        "37_2": (Phase.RUNNING, None),
        "33_0": (Phase.OVER, Outcome.INFRASTRUCTURE_LOST),
        "52_2": (Phase.OVER, Outcome.TIMED_OUT),
    }
    assert found["25_3"].reason.endswith("higher priority partitions")
    assert (found["37_0"].code >> 8, found["37_1"].code & 0x7F) == (66, 9)
    assert (found["25_3"].submitted, found["13_0"].started) == (1795376041, None)


def test_the_records():
    found = jobs.read_history(HISTORY)
    assert {name: (job.state, job.code) for name, job in found.items() if not name.endswith("]")} == {
        "54_0": ("FAILED", 66 << 8),
        "54_1": ("FAILED", 9),
        "54_2": ("CANCELLED", 0),
        "59_0": ("COMPLETED", 0),
    }
    assert found["59_0"].name == jobs.job_name("6a6dbb7003fd")


@pytest.mark.parametrize("cut", [2, 5, 40, len(QUEUE)])
def test_answers_that_are_cut_short_are_not_believed(cut: int):
    with pytest.raises(BadAnswerError):
        jobs.read_queue(QUEUE[:-cut])
    with pytest.raises(BadAnswerError):
        jobs.read_history(HISTORY[: -min(cut, len(HISTORY))])


def test_a_state_that_is_new_to_us_is_left_alone():
    assert jobs.Job("1_0", "HIBERNATING", "x").meaning.phase is Phase.RUNNING


def test_facts():
    facts = jobs.read_facts(FACTS)
    assert (facts.cluster, facts.version, facts.most, facts.accounting) == ("ras", "22.05.8", 6, True)
    assert (facts.default, facts.cores) == ("main", {"main": 2, "big": 96, "closed": 2})
    assert jobs.read_facts(b"missing sbatch\nmissing sinfo\n").missing == ("sbatch", "sinfo")


@pytest.mark.parametrize(
    ("word", "says", "needs_person"),
    [
        ("Priority", "jobs of higher priority come first", False),
        ("(Resources)", "no node has room", False),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "a node that it needs is down, drained or reserved", False),
        ("AssocGrpCPULimit", "a limit of its account or QOS is reached (AssocGrpCPULimit)", False),
        ("QOSMaxJobsPerUserLimit", "a limit of its account or QOS is reached (QOSMaxJobsPerUserLimit)", False),
        ("JobHeldUser", "its owner holds it (release it with: scontrol release JOB)", True),
        ("PartitionTimeLimit", "its time limit is longer than the partition's (give a shorter time_limit)", True),
        ("SomethingNew", "SomethingNew", False),
        *(
            (word, f"its account or QOS has no such jobs: {word} (ask for what `sacctmgr show qos` allows)", True)
            for word in ("QOSMaxCpuPerJobLimit", "AssocMaxMemPerJob", "QOSMaxWallDurationPerJobLimit", "QOSMinGRES")
        ),
    ],
)
def test_reasons_to_wait(word: str, says: str, needs_person: bool):
    assert (reason_of(word).says, reason_of(word).needs_person) == (says, needs_person)


POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    ("said", "kind", "todo"),
    [
        (
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
            TransientError,
            "scontrol ping",
        ),
        (
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            TransientError,
            "scontrol ping",
        ),
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}", QueueFullError, "max_parallel_plans"),
        (POLICY, QueueFullError, "max_parallel_plans"),
        (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{POLICY}", OperatorError, "shorter time_limit"),
        (
            "allocation failure: Invalid account or account/partition combination specified",
            OperatorError,
            "ras_account",
        ),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", OperatorError, "ras_qos"),
        ("sbatch: error: invalid partition specified: nix", OperatorError, "sinfo"),
        ("sbatch: error: If munged is up, restart with --num-threads=10", OperatorError, "munge"),
        ("sinfo: fatal: Could not establish a configuration source", OperatorError, "slurm_submit"),
        ("", OperatorError, "administrator"),
    ],
)
def test_what_slurm_refuses(said: str, kind: type[RasRunnerError], todo: str):
    error = explain(said, step="launch", host="login1")
    assert type(error) is kind
    assert todo in error.action
    assert str(error).startswith("login1: launch: Slurm")
    assert "sbatch: error" not in str(error)


def test_options():
    wanted = jobs.Wanted("main", "rivers", "long", "2-00", "avx2", "4g", {"nice": "10", "exclusive": ""})
    assert wanted.options(8) == [
        *("--nodes=1", "--ntasks=1", "--cpus-per-task=8"),
        *("--partition=main", "--account=rivers", "--qos=long", "--time=2-00", "--constraint=avx2", "--mem=4G"),
        *("--nice=10", "--exclusive"),
    ]
    assert jobs.Wanted().options(1) == ["--nodes=1", "--ntasks=1", "--cpus-per-task=1"]


@pytest.mark.parametrize("text", ["", "12", "12_3", "x_1:ab", "12_3:ab; rm -rf /"])
def test_native_ids_of_others_are_none_of_ours(text: str):
    assert jobs.read_ref(text) is None


def test_a_native_id():
    assert jobs.read_ref(str(jobs.Ref(12, 3, "0a1b"))) == jobs.Ref(12, 3, "0a1b")


@pytest.mark.skipif(sys.platform == "win32", reason="runs sh")
def test_an_element_starts_the_run_script_of_its_attempt(tmp_path: Path):
    folder = tmp_path / "a 'b' $(c)" / "w"
    names = ["0123456789", "abcdef0123"]
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "run.sh").write_text('echo "$RAS_RUNNER_ATTEMPT in $PWD"; exit 7\n')
    (folder / names[0] / "run.sh").unlink()
    script = jobs.array_script(PurePosixPath(folder), names, "run.sh")
    codes = [
        subprocess.run(["/bin/sh"], input=script, text=True, env={"SLURM_ARRAY_TASK_ID": index}, check=False).returncode
        for index in ("0", "1")
    ]
    assert codes == [jobs.NOT_SHARED, 7]
    assert (folder / names[1] / "launch.log").read_text() == f"{names[1]} in {folder / names[1]}\n"
