"""What a look at an attempt gives, from what Slurm says of its job and what its files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ras_runner.outcomes import Outcome
from ras_runner.transports import slurm
from ras_runner.transports.base import Probe, Status
from ras_runner.transports.local import LocalTransport
from ras_runner.transports.slurm import SlurmTransport
from ras_runner.transports.slurm_cluster import Cluster
from ras_runner.transports.slurm_errors import QueueFullError
from ras_runner.transports.slurm_jobs import Facts, Wanted
from ras_runner.transports.ssh_shell import Done

ATTEMPT = "0123456789"
FACTS = Facts("ras", "22.05.8", 1001)
NOW = 1795376100


class Slurm:
    """A submit host that answers from a list of rows."""

    host = "login1"

    def __init__(self) -> None:
        self.queue: list[str] = []
        self.records: list[str] = []
        self.programs: list[str] = []
        #: Jobs that may be submitted before the queue is full; each gets the id 7.
        self.room = 1

    def run(self, program: str, *, step: str, limit: float = 60.0) -> Done:
        self.programs.append(program)
        if "| sbatch" in program:
            self.room -= 1
            full = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
            return Done(0, b"7\n", "") if self.room >= 0 else Done(1, b"", full)
        if "sacct" in program.splitlines()[-1]:
            return Done(0, "\n".join([*self.records, "end"]).encode(), "")
        return Done(0, "\n".join([str(NOW), *self.queue, "end"]).encode(), "")


class Bench:
    """One attempt on a cluster whose words a test writes."""

    def __init__(self, folder: Path, facts: Facts = FACTS) -> None:
        self.slurm = Slurm()
        self.folder = folder / "w" / ATTEMPT
        self.folder.mkdir(parents=True)
        self.cluster = Cluster(self.slurm, Wanted(), "me@here", facts)
        self.transport = SlurmTransport(LocalTransport(folder), self.cluster)

    def look(self, row: str = "") -> Status:
        """A look when the queue has one row (after job id and name), or none."""
        state, _, rest = row.partition("|")
        self.slurm.queue = [f"7_0|{state}|{rest.replace('NAME', 'ras-runner-ab12')}|"] if row else []
        self.cluster._due = 0.0  # the time of the next look has come
        return self.transport.poll([Probe(ATTEMPT, self.folder, "7_0:ab12")])[ATTEMPT]

    def end(self, code: int) -> None:
        """The run script writes its last."""
        (self.folder / "claim").mkdir()
        (self.folder / "exit.json").write_text(f'{{"exit_code": {code}}}')


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_job_that_waits_runs_and_ends(bench: Bench):
    waiting = bench.look(f"PENDING|{NOW - 60}|N/A|0||NAME|Priority")
    assert (waiting.alive, waiting.waiting) == (True, "job 7_0: jobs of higher priority come first")
    assert not waiting.needs_person
    running = bench.look(f"RUNNING|{NOW - 60}|{NOW - 20}|0|n1|NAME|None")
    assert (running.alive, running.waiting, running.ran) == (True, "", pytest.approx(20, abs=5))
    bench.end(0)
    over = bench.look(f"COMPLETING|{NOW - 60}|{NOW - 20}|0|n1|NAME|None")
    assert (over.alive, over.exit_code, over.outcome) == (False, 0, None)


@pytest.mark.parametrize(
    ("row", "outcome", "says", "needs_person"),
    [
        (
            "TIMEOUT|1|1|15|n1|NAME|TimeLimit",
            Outcome.TIMED_OUT,
            "job 7_0 on n1: Slurm ended it at its time limit",
            False,
        ),
        ("DEADLINE|1|1|15|n1|NAME|None", Outcome.TIMED_OUT, "deadline", False),
        ("OUT_OF_MEMORY|1|1|125|n1|NAME|OutOfMemory", Outcome.ENGINE_ERROR, "memory_per_plan", False),
        ("NODE_FAIL|1|1|15|n1|NAME|NodeDown", Outcome.INFRASTRUCTURE_LOST, "its node failed", False),
        ("BOOT_FAIL|1|1|0|n1|NAME|None", Outcome.INFRASTRUCTURE_LOST, "did not start", False),
        ("PREEMPTED|1|1|15|n1|NAME|None", Outcome.PREEMPTED, "higher priority", False),
        ("CANCELLED|1|1|15|n1|NAME|None", Outcome.CANCELLED, "cancelled in Slurm", False),
        ("FAILED|1|1|9|n1|NAME|JobLaunchFailure", Outcome.INFRASTRUCTURE_LOST, "killed by signal 9", False),
        ("FAILED|1|1|1||NAME|BadConstraints", Outcome.INFRASTRUCTURE_LOST, "no node can ever", True),
        (
            "FAILED|1|1|16896|n1|NAME|NonZeroExitCode",
            Outcome.INFRASTRUCTURE_LOST,
            "does not see the worker folder",
            True,
        ),
        ("FAILED|1|1|17152|n1|NAME|NonZeroExitCode", Outcome.INFRASTRUCTURE_LOST, "neither apptainer", True),
    ],
)
def test_jobs_that_leave_no_exit_code(bench: Bench, row: str, outcome: Outcome, says: str, needs_person: bool):
    status = bench.look(row)
    assert (status.alive, status.exit_code, status.outcome, status.needs_person) == (False, None, outcome, needs_person)
    assert says in status.note


def test_a_node_that_alone_does_not_share_the_folder_is_not_the_end_of_the_worker(bench: Bench):
    bench.transport._shared = True  # another job has written what was seen here
    status = bench.look("FAILED|1|1|16896|n1|NAME|NonZeroExitCode")
    assert (status.outcome, status.needs_person) == (Outcome.INFRASTRUCTURE_LOST, False)


def test_a_held_job_needs_a_person(bench: Bench):
    status = bench.look(f"PENDING|{NOW}|N/A|0||NAME|JobHeldAdmin")
    assert status.needs_person and "an administrator holds it" in status.waiting
    assert "scontrol release 7_0" in bench.look(f"PENDING|{NOW}|N/A|0||NAME|JobHeldUser").waiting


def test_what_a_job_has_written_may_be_seen_late(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    row = f"COMPLETED|{NOW}|{NOW}|0|n1|NAME|None"
    assert bench.look(row).alive
    monkeypatch.setattr(slurm, "_SETTLE_SECONDS", 0.0)
    status = bench.look(row)
    assert (status.alive, status.outcome) == (False, Outcome.INFRASTRUCTURE_LOST)
    assert "nothing that it wrote is to be seen" in status.note
    bench.end(0)
    assert bench.look(row).exit_code == 0


def test_a_job_that_could_not_write_its_end_has_no_room(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurm, "_SETTLE_SECONDS", 0.0)
    (bench.folder / "launch.log").touch()
    status = bench.look(f"FAILED|{NOW}|{NOW}|512|n1|NAME|NonZeroExitCode")
    assert "exit code 2, and could not write that" in status.note and "no quota is reached" in status.note


def test_a_killed_engine_is_over_when_slurm_has_said_why(bench: Bench):
    bench.end(137)
    assert bench.look(f"RUNNING|{NOW}|{NOW}|0|n1|NAME|None").alive
    status = bench.look(f"OUT_OF_MEMORY|{NOW}|{NOW}|125|n1|NAME|OutOfMemory")
    assert (status.alive, status.exit_code) == (False, 137)
    assert "memory_per_plan" in status.note


def test_a_job_that_the_queue_has_forgotten(bench: Bench):
    status = bench.look()
    assert (status.alive, status.outcome) == (False, Outcome.INFRASTRUCTURE_LOST)
    assert "this cluster keeps none (slurmdbd)" in status.note
    assert not any("sacct" in program.splitlines()[-1] for program in bench.slurm.programs)


def test_records_know_what_the_queue_has_forgotten(tmp_path: Path):
    bench = Bench(tmp_path, Facts("ras", "22.05.8", 1001, accounting=True))
    bench.slurm.records = [f"7_0|NODE_FAIL|0:0|n1|ras-runner-ab12|{NOW}|{NOW}"]
    assert bench.look().note == "job 7_0 on n1: its node failed"


def test_what_neither_queue_nor_records_know_does_not_run_for_ever(tmp_path: Path):
    bench = Bench(tmp_path, Facts("ras", "22.05.8", 1001, accounting=True))
    assert bench.look(f"RUNNING|{NOW}|{NOW}|0|n1|NAME|None").alive
    status = bench.look()
    assert not status.alive and "nor have its records" in status.note


def test_a_job_of_that_id_that_is_not_ours(bench: Bench):
    """Job ids begin again when a cluster loses its state."""
    row = f"RUNNING|{NOW}|{NOW}|0|n1|somebody-elses|None"
    assert not bench.look(row).alive
    bench.transport.stop(Probe(ATTEMPT, bench.folder, "7_0:ab12"))
    assert not any("scancel" in program.splitlines()[-1] for program in bench.slurm.programs)


def test_what_a_full_queue_does_not_take_is_submitted_when_it_has_room(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurm, "_FULL_SECONDS", 0.0)
    other = bench.folder.with_name("abcdef0123")
    assert bench.transport.launch(ATTEMPT, bench.folder, "run.sh").startswith("7_0:")
    assert bench.transport.launch(other.name, other, "run.sh") == ""
    probes = [Probe(ATTEMPT, bench.folder, ""), Probe(other.name, other, "")]
    held = bench.transport.poll(probes)[other.name]
    assert (held.alive, held.needs_person) == (True, False)
    assert "QOSMaxSubmitJobPerUserLimit" in held.waiting
    bench.slurm.room = 1
    assert bench.transport.poll(probes)[other.name].waiting == held.waiting
    assert "Slurm has not considered it yet" in bench.transport.poll(probes)[other.name].waiting
    bench.transport.stop(probes[1])  # the queue has nothing of that name: it is over
    assert not bench.transport.poll(probes)[other.name].alive


def test_what_is_held_back_can_be_stopped_and_needs_a_person_when_nothing_of_ours_will_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    other = bench.folder.with_name("abcdef0123")
    bench.transport.launch(ATTEMPT, bench.folder, "run.sh")
    bench.transport.launch(other.name, other, "run.sh")
    bench.end(0)
    probes = [Probe(ATTEMPT, bench.folder, ""), Probe(other.name, other, "")]
    assert not bench.transport.poll(probes)[ATTEMPT].alive
    assert bench.transport.poll(probes)[other.name].needs_person
    bench.transport.stop(probes[1])
    status = bench.transport.poll(probes)[other.name]
    assert (status.alive, status.outcome) == (False, Outcome.INFRASTRUCTURE_LOST)


def test_a_queue_that_has_no_room_for_a_single_job(bench: Bench):
    bench.slurm.room = 0
    with pytest.raises(QueueFullError, match="max_parallel_plans"):
        bench.transport.launch(ATTEMPT, bench.folder, "run.sh")


def test_the_queue_is_asked_less_and_less_often(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    from ras_runner.transports import slurm_cluster

    clock = [1000.0]
    monkeypatch.setattr(slurm_cluster.time, "monotonic", lambda: clock[0])
    bench.look(f"RUNNING|{NOW}|{NOW}|0|n1|NAME|None")
    before = len(bench.slurm.programs)
    probe: Any = [Probe(ATTEMPT, bench.folder, "7_0:ab12")]
    for _ in range(3600):
        clock[0] += 1.0
        bench.transport.poll(probe)
    assert 180 <= len(bench.slurm.programs) - before <= 190  # every 20 s


def look_anew(bench: Bench, row: str) -> Status:
    """A look at a job that has never been seen before."""
    bench.cluster._jobs = {}
    bench.transport = SlurmTransport(bench.transport.files, bench.cluster)
    return bench.look(row)


def lose(bench: Bench, node: str, began: float) -> str:
    """A plan is lost on a node; what is said of it."""
    status = look_anew(bench, f"NODE_FAIL|{NOW - 60}|{began:.0f}|0|{node}|NAME|None")
    assert f"on {node}: its node failed" in status.note
    return status.note


def submitted(bench: Bench) -> str:
    """The last command of sbatch."""
    bench.slurm.room = 1
    bench.cluster.submit("ab12", "c", 1, 1, "#!/bin/sh")
    return next(program for program in reversed(bench.slurm.programs) if "| sbatch" in program)


def test_a_node_that_loses_one_plan_after_the_other_gets_no_more(bench: Bench):
    assert "gets none" not in lose(bench, "n1", NOW - 50)
    assert "gets none" not in lose(bench, "n1", NOW - 40), "they ran side by side: it is one incident"
    assert "exclude" not in submitted(bench)
    assert "n1 has lost plans again and again, and gets none for an hour" in lose(bench, "n1", NOW + 1)
    assert "gets none" not in lose(bench, "n2", NOW + 1)
    assert submitted(bench).split()[-1] == "--exclude=n1"


def test_a_node_that_does_well_is_not_left_out(bench: Bench):
    lose(bench, "n1", NOW - 50)
    bench.end(0)
    assert look_anew(bench, f"COMPLETED|{NOW - 60}|{NOW - 20}|0|n1|NAME|None").exit_code == 0
    (bench.folder / "exit.json").unlink()
    assert "gets none" not in lose(bench, "n1", NOW + 1)


def test_where_all_nodes_would_be_left_out_none_is(bench: Bench):
    bench.cluster.wanted = Wanted(others={"exclude": "n9"})
    for began in (NOW - 50, NOW + 1):
        lose(bench, "n1", began)
    run = bench.slurm.run

    def refuses(program: str, *, step: str, limit: float = 60.0) -> Done:
        if "--exclude=n9,n1" in program:
            return Done(1, b"", "sbatch: error: Requested node configuration is not available")
        return run(program, step=step, limit=limit)

    bench.slurm.run = refuses  # type: ignore[method-assign]
    assert submitted(bench).split()[-1] == "--exclude=n9"
