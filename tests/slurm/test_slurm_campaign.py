"""Campaigns on a real Slurm cluster, and what happens to jobs there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.commands import wait_until
from tests.slurm.cluster import SlurmCluster
from tests.slurm.conftest import SlurmRunner
from tests.ssh.sshd import STANDIN, running_sshd

from ras_runner.errors import TransientError
from ras_runner.hecras.project import Project
from ras_runner.transports.base import Probe
from ras_runner.transports.slurm import SlurmTransport
from ras_runner.transports.slurm_cluster import Cluster, ThisMachine
from ras_runner.transports.ssh_shell import Done
from ras_runner.workers.registry import make_worker

#: A stand-in for Apptainer, which Debian does not have: the command sees nothing of our environment and processes, and
#: /usr/local/bin is the image's. It says no to options that Apptainer does not have, or that ras-runner should not use.
APPTAINER = """#!/bin/sh
set -e
[ "$1 $2" = "exec --containall" ]; shift 2
while :; do
  case $1 in
    --env) variable=$2 ;;
    --bind) bound=$2 ;;
    --pwd) folder=$2 ;;
    *) break ;;
  esac
  shift 2
done
image=$(cat "$1"); shift
[ "$bound" = "$folder" ]
exec unshare --mount --pid --fork --kill-child sh -ec '
  mount --bind "$1" /usr/local/bin; mount -t proc proc /proc; cd "$2"; shift 2; exec "$@"
' sh "$image" "$folder" env -i PATH=/usr/local/bin:/usr/bin:/bin "$variable" "$@"
"""


def outcomes(attempts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["outcome"], row["blame"]) for row in attempts]


def waiting(slurm: SlurmRunner) -> list[str]:
    """Why plans are queued, as status says it."""
    return [t["message"].split(": ")[1] for t in slurm.tasks().values() if t["state"] == "queued"]


def test_a_node_fails_a_queue_is_preempted_the_controller_restarts(
    slurm: SlurmRunner, slurm_cluster: SlurmCluster, project: Project
):
    """Nothing is lost, and meanwhile status says what each plan waits for."""
    slurm.write_inventory(max_parallel_plans=5)
    slurm.environment["RAS_STANDIN_PACE"] = "0.1"
    controller = slurm.start("execute", project.folder, "-i", slurm.inventory, "--plans", "1,2,3,4,5", "--timeout", "5")
    wait_until(lambda: len(slurm_cluster.running()) == 4, "four jobs run")
    arrays = {job.split("_")[0] for job in slurm_cluster.running()}
    assert len(arrays) <= 2, "launches that come together are one array, of at most MaxArraySize"
    wait_until(lambda: waiting(slurm) == ["no node has room"], "status says why the fifth waits")
    urgent = slurm_cluster.say(
        *("sbatch", "--parsable", "--partition=urgent", "--nodelist=n2", "--exclusive", "--output=/dev/null"),
        *("--wrap", "exec sleep 600"),
    )
    wait_until(lambda: "preempted" in [row["outcome"] for row in slurm.attempts()], "the preemption is noticed")
    slurm_cluster.stop("slurmctld")
    slurm_cluster.start_controller()
    slurm_cluster.say("scontrol", "update", "nodename=n1", "state=down", "reason=test")
    wait_until(lambda: "part" in [row["blame"] for row in slurm.attempts()], "the failed node is noticed")
    slurm_cluster.say("scancel", "--full", "--signal=KILL", urgent)
    slurm_cluster.say("scontrol", "update", "nodename=n1", "state=resume")
    assert controller.wait(120) == 0
    assert [r["outcome"] for r in slurm.json("results")] == ["completed"] * 5
    ends = outcomes(slurm.attempts())
    assert ends.count(("completed", "nobody")) == 5
    lost = [row["message"] for row in slurm.attempts() if row["blame"] == "part"]
    assert lost and all("on n1: its node failed" in message for message in lost)
    preempted = [row["message"] for row in slurm.attempts() if row["outcome"] == "preempted"]
    assert preempted and all("a job of higher priority took its place" in message for message in preempted)
    assert set(ends) == {("completed", "nobody"), ("infrastructure-lost", "part"), ("preempted", "nobody")}
    log = (slurm.folder / "started.log").read_text("utf-8")
    assert "rests for" not in log and "out for good" not in log, "the rest of the queue is not to blame"


def test_a_job_that_somebody_cancels_and_one_that_nobody_can_start(
    slurm: SlurmRunner, slurm_cluster: SlurmCluster, project: Project
):
    slurm.environment["RAS_STANDIN_FAULT"] = "hang:0.1"
    controller = slurm.start("execute", project.folder, "-i", slurm.inventory, "--plans", "1")
    (job,) = wait_until(slurm_cluster.running, "the job runs")
    slurm_cluster.say("scancel", "--full", "--signal=KILL", job)
    assert controller.wait(60) == 1
    (result,) = slurm.json("results")
    assert result["outcome"] == "cancelled"
    assert f"job {job} on n" in result["error_message"] and "cancelled in Slurm" in result["error_message"]
    slurm.write_inventory(partition="closed")
    (result,) = slurm.execute(project.folder, "--plans", "1", "--stuck-after", "0.01", code=2)
    assert result["outcome"] == "infrastructure-lost"
    assert "Slurm cluster rivers: queue: job " in result["error_message"]
    assert "the partition is down" in result["error_message"]
    assert not slurm_cluster.say("squeue", "-h"), "what is given up is cancelled"


def test_waiting_for_its_turn_is_not_running_out_of_time(
    slurm: SlurmRunner, slurm_cluster: SlurmCluster, project: Project
):
    """Nor is what an earlier controller has seen of the wait, when another one attaches."""
    others = ("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 600")
    slurm_cluster.say(*others)
    wait_until(slurm_cluster.running, "the cluster is busy")
    slurm.environment["RAS_STANDIN_FAULT"] = "p02=hang:0.1"
    first = slurm.start("execute", project.folder, "-i", slurm.inventory, "--plans", "1,2", "--timeout", "0.07")
    wait_until(lambda: [t["state"] for t in slurm.tasks().values()] == ["queued"] * 2, "both plans are queued")
    first.kill()
    first.wait()
    launched = min(row["launched"] for row in slurm.attempts())
    wait_until(lambda: time.time() - launched > 0.07 * 60, "they have waited for longer than they may run")
    cleared = time.time()
    slurm_cluster.clear(slurm_cluster.running())
    done = slurm.run("resume", code=1)
    assert "attached" in done.stderr
    results = {r["plan_number"]: r for r in slurm.json("results")}
    assert {number: r["outcome"] for number, r in results.items()} == {"01": "completed", "02": "timed-out"}
    assert results["01"]["execution_time"] < 0.07 * 60
    (began,) = [row["launched"] for row in slurm.attempts() if row["plan"] == "02"]
    assert began > cleared - 1.5, "its time counts from when it began, which Slurm tells in whole seconds"


def test_a_worker_folder_that_the_nodes_do_not_share(slurm: SlurmRunner, slurm_cluster: SlurmCluster, project: Project):
    slurm.write_inventory(partition="island", worker_folder=str(slurm_cluster.not_shared / "worker"))
    results = slurm.execute(project.folder, "--plans", "1,2", code=2)
    assert [r["outcome"] for r in results] == ["infrastructure-lost"] * 2
    assert "on n3: the node does not see the worker folder" in results[0]["error_message"]
    assert [row["blame"] for row in slurm.attempts()] == ["worker-for-good"] * len(slurm.attempts())
    assert len(slurm.attempts()) == 2, "no second job is tried"


def test_a_submit_host_over_ssh(slurm: SlurmRunner, slurm_cluster: SlurmCluster, project: Project, tmp_path: Path):
    options = {"SetEnv": f"SLURM_CONF={slurm_cluster.configuration} SQUEUE_STATES=PENDING SCANCEL_STATE=PENDING"}
    with running_sshd(tmp_path / "sshd", options=options) as sshd:
        names = ("hostname", "port", "username", "ssh_key_path", "known_hosts")
        way = {name: value for name, value in sshd.parameters(tmp_path).items() if name in names}
        slurm.write_inventory(**way, sbatch_options={"nice": "10", "threads-per-core": "1"}, memory_per_plan="150m")
        (found,) = slurm.json("doctor", "-i", slurm.inventory)
        said = {row["requirement"]: row for row in found["checks"]}
        assert not found["failed"], found
        assert said["slurm-partition"]["evidence"] == "partition main would take a plan of 1 cores"
        slurm.environment["RAS_STANDIN_PACE"] = "0.02"
        controller = slurm.start("execute", project.folder, "-i", slurm.inventory, "--plans", "1,2")
        (job, *_) = wait_until(slurm_cluster.running, "a job runs")
        wait_until(lambda: [row["state"] for row in slurm.attempts()] == ["running"] * 2, "both were launched")
        controller.kill()
        controller.wait()
        assert "mem=150M" in slurm_cluster.say("scontrol", "show", "job", job)
        assert "attached" in slurm.run("resume").stderr
        assert [(r["success"], r["attempts"]) for r in slurm.json("results")] == [(True, 1)] * 2
        assert slurm.workspaces() == []


def test_an_image(slurm: SlurmRunner, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The run script runs in it, with nothing but the workspace; the image has the engine where ours have it."""
    inside, programs, image = tmp_path / "inside", tmp_path / "bin", tmp_path / "standin.sif"
    for folder, name, text in (
        (inside, "ras-standin", f'#!/bin/sh\nexec {STANDIN} "$@"\n'),
        (programs, "apptainer", APPTAINER),
    ):
        folder.mkdir()
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    image.write_text(f"{inside}\n", encoding="utf-8")
    slurm.write_inventory(image=str(image), standin_command=None)
    slurm.environment["RAS_STANDIN_FAULT"] = "p02=hang:0.1"
    (failed,) = slurm.execute(project.folder, "--plans", "1", code=2)
    assert "neither apptainer nor singularity" in failed["error_message"]
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin:/usr/sbin")
    results = slurm.execute(project.folder, "--plans", "1,2", "--timeout", "0.1", code=1)
    assert [r["outcome"] for r in results] == ["completed", "timed-out"]
    slurm.check_no_engine_runs()


class LosesAnswers(ThisMachine):
    """A submit host whose answer to the first submission is lost."""

    submissions = 0

    def run(self, program: str, *, step: str, limit: float = 60.0) -> Done:
        done = super().run(program, step=step, limit=limit)
        if "'sbatch'" in program or "| sbatch" in program:
            self.submissions += 1
            if self.submissions == 1:
                raise TransientError("Socket timed out on send/recv operation", step=step)
        return done


def test_a_submission_whose_answer_was_lost_is_found(slurm_cluster: SlurmCluster, tmp_path: Path):
    worker = make_worker("slurm", slurm_cluster.parameters(tmp_path / "worker"))
    assert isinstance(worker.transport, SlurmTransport)
    first = worker.transport
    there = LosesAnswers()
    transport = SlurmTransport(first.files, Cluster(there, first.cluster.wanted, "me@here", first.cluster.facts))
    folder = transport.root / "w" / "0123456789"
    (tmp_path / "worker" / "w" / "0123456789").mkdir(parents=True)
    (tmp_path / "worker" / "w" / "0123456789" / "run.sh").write_text("exec sleep 600\n")
    native_id = transport.launch("0123456789", folder, "run.sh", campaign="c")
    assert there.submissions == 1
    assert len(slurm_cluster.say("squeue", "-h", "-r").splitlines()) == 1
    # a controller that does not even know the native id finds the job by what lies in the folder, and ends it
    other = make_worker("slurm", slurm_cluster.parameters(tmp_path / "worker")).transport
    probe = Probe("0123456789", folder, "")
    assert other.poll([probe])["0123456789"].alive
    other.stop(probe)
    assert not other.poll([Probe("0123456789", folder, native_id)])["0123456789"].alive
    assert not slurm_cluster.say("squeue", "-h", "-r")
    # job ids begin again when a cluster loses its state: what has another name is not ours
    stranger = slurm_cluster.say(
        "sbatch", "--parsable", "--array=0-0", "--output=/dev/null", "--wrap", "exec sleep 600"
    )
    other.stop(Probe("fedcba9876", folder.with_name("fedcba9876"), f"{stranger}_0:0123456789ab"))
    assert stranger in slurm_cluster.say("squeue", "-h", "-r", "-o", "%F")
    slurm_cluster.clear()
