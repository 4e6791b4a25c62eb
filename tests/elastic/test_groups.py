"""Whole campaigns on groups of machines that come, go, are taken away and never get ready."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Runner, wait_until
from tests.elastic.cloud import TYPES, Cloud, CloudGroup

from ras_runner import ExecutionResult, OperatorError, compute_parallel_remote, get_worker_status, init_ras_worker
from ras_runner.api import RasProject
from ras_runner.campaign.campaigns import CampaignSettings, create_campaign, prepare_plans, select_plans
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.watch import NOTICE_FILE
from ras_runner.cli import bursting
from ras_runner.cli.options import EXIT_INTERRUPTED
from ras_runner.errors import TransientError
from ras_runner.hecras.project import Project
from ras_runner.workers.group import GroupView
from ras_runner.workers.registry import WORKER_TYPES

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Lab:
    """A cloud, and campaigns that use it."""

    folder: Path
    project: Project
    cloud: Cloud

    def __post_init__(self) -> None:
        self.said: list[str] = []

    def group(self, name: str = "burst", cloud: Cloud | None = None, **parameters: object) -> Any:
        defaults: dict[str, object] = {"engine": "standin", "cores_total": 1, "cores_per_plan": 1, "max_machines": 3}
        where = (cloud or self.cloud).folder
        return init_ras_worker("cloud", worker_id=name, cloud=where, **{**defaults, **parameters})

    def local(self, **parameters: object) -> Any:
        folder = self.folder / "local"
        return init_ras_worker("local", engine="standin", worker_folder=folder, cores_total=1, **parameters)

    def begin(self, plans: str, workers: list[Any], **options: Any) -> Callable[[], dict[str, ExecutionResult]]:
        """Start a campaign; what it returns waits for its end."""
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        told = {"state_dir": self.folder / "state", "say": self.said.append, **options}

        def run() -> None:
            try:
                ended.put(compute_parallel_remote(plans, workers, RasProject(self.project), 1, **told))
            except BaseException as error:  # for the test's own thread
                ended.put(error)

        threading.Thread(target=run, daemon=True).start()

        def result() -> dict[str, ExecutionResult]:
            found = ended.get(timeout=120)
            if isinstance(found, BaseException):
                raise found
            return found

        return result

    def rows(self, sql: str) -> list[dict[str, Any]]:
        journal = Journal(self.folder / "state")
        found = [dict(row) for row in journal.rows(sql)]
        journal.close()
        return found

    def computing(self, machine: str) -> None:
        """Wait until a plan computes on a machine."""
        wait_until(lambda: machine in self.cloud.get("machines"), f"{machine} is there")
        wait_until(lambda: self.cloud.engines(machine), f"{machine} computes")

    def hold(self, machine: str) -> None:
        """Wait until a plan computes on a machine, and let it stand still."""
        self.computing(machine)
        self.cloud.hold(machine, on=True)

    def said_of(self, words: str) -> list[str]:
        return [line for line in self.said if words in line]


@pytest.fixture
def lab(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    for name, entry in TYPES.items():
        monkeypatch.setitem(WORKER_TYPES, name, entry)
    made = Lab(tmp_path, project, Cloud(tmp_path / "cloud"))
    yield made
    for folder in tmp_path.glob("cloud*"):
        Cloud(folder).stop()


def test_machines_come_as_the_queue_needs_them_and_go_when_it_is_over(lab: Lab):
    """With a worker that is there already; nothing is asked for beyond the limit, nothing is left at the end."""
    results = lab.begin("1,2,3,4,5,6", [lab.group(max_machines=2), lab.local(queue_priority=1)])()
    assert {result.outcome for result in results.values()} == {"completed"}
    assert {result.attempts for result in results.values()} == {1}
    assert {result.worker_id for result in results.values()} <= {"local", "burst-m1", "burst-m2"}
    asked = [call[1] for call in lab.cloud.get("calls") if call[0] == "resize"]
    assert max(asked) == 2
    assert (asked[-1], lab.cloud.get("protected")) == (0, [])
    kept = {name for call in lab.cloud.get("calls") if call[0] == "protect" and call[2] for name in call[1]}
    assert kept
    assert kept <= {"m1", "m2"}
    status = get_worker_status([lab.group()])["burst"]
    assert (status["available"], status["max_parallel_plans"], status["machines"]) == (True, 3, 2)


@pytest.mark.parametrize("cloud_first", [True, False])
def test_what_ran_on_a_machine_that_was_taken_away_is_computed_elsewhere_at_no_cost(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, cloud_first: bool
):
    """Whether the cloud says so first, or the machine falls silent first: then the cloud is asked."""
    monkeypatch.setenv("RAS_STANDIN_FAULT", "hang")
    result = lab.begin("1", [lab.group(max_machines=1)], retries=0, lost_after=3600.0 if cloud_first else 0.0)
    lab.computing("m1")
    monkeypatch.delenv("RAS_STANDIN_FAULT")
    lab.cloud.take("m1")
    results = result()
    assert (results["01"].outcome, results["01"].worker_id, results["01"].attempts) == ("completed", "burst-m2", 2)
    first = lab.rows("SELECT outcome, blame, message, cleaned FROM attempts ORDER BY number")[0]
    assert (first["outcome"], first["blame"], first["cleaned"]) == ("preempted", "nobody", 1)
    assert "the cloud has taken machine m1 away" in first["message"]
    assert lab.rows("SELECT 1 FROM events WHERE kind = 'worker-quarantined'") == []


def test_a_loss_that_the_cloud_knows_nothing_of_is_the_workers(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAS_STANDIN_FAULT", "hang")
    result = lab.begin("1", [lab.group(max_machines=1)], lost_after=0.0)
    lab.computing("m1")
    monkeypatch.delenv("RAS_STANDIN_FAULT")
    lab.cloud.cut("m1")
    wait_until(lambda: lab.said_of("worker burst-m1 rests"), "it is held against the worker")
    lab.cloud.take("m1")
    assert result()["01"].worker_id == "burst-m2"
    assert lab.rows("SELECT blame FROM attempts ORDER BY number")[0] == {"blame": "worker"}


def test_a_loss_is_nobodys_while_the_cloud_does_not_say_whose_it_is(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    refused, look = list[Exception](), CloudGroup.look

    def count(group: CloudGroup) -> GroupView:
        try:
            return look(group)
        except TransientError as error:
            refused.append(error)
            raise

    monkeypatch.setattr(CloudGroup, "look", count)
    monkeypatch.setenv("RAS_STANDIN_FAULT", "hang")
    result = lab.begin("1", [lab.group(max_machines=1)], lost_after=0.0)
    lab.computing("m1")
    monkeypatch.delenv("RAS_STANDIN_FAULT")
    lab.cloud.set(error="throttled")
    lab.cloud.cut("m1")
    wait_until(lambda: len(refused) >= 4, "the cloud was asked")
    lab.cloud.take("m1")
    lab.cloud.set(error="")
    assert result()["01"].worker_id == "burst-m2"
    first = lab.rows("SELECT outcome, blame FROM attempts ORDER BY number")[0]
    assert first == {"outcome": "preempted", "blame": "nobody"}


def test_a_machine_with_a_notice_ends_what_it_has_and_takes_nothing_more(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    """It is the machine itself that says so, in its worker folder; another one comes."""
    monkeypatch.setenv("RAS_STANDIN_PACE", "0.01")
    result = lab.begin("1,2", [lab.group(max_machines=1)])
    lab.hold("m1")
    line = "spot interruption at 2026-11-22T20:00:00Z"
    (lab.cloud.machine_folder("m1") / NOTICE_FILE).write_text(f"{line}\n\x1b[31mnot this\n", encoding="utf-8")
    wait_until(lambda: lab.said_of("takes no further plans"), "it is seen")
    monkeypatch.delenv("RAS_STANDIN_PACE")
    lab.cloud.hold("m1", on=False)
    results = result()
    assert lab.said_of("takes no further plans") == [f"worker burst-m1 takes no further plans: {line}"]
    assert [(r.worker_id, r.attempts) for r in results.values()] == [("burst-m1", 1), ("burst-m2", 1)]


def test_a_machine_that_never_gets_ready_is_replaced(lab: Lab):
    lab.cloud.set(duds=2)
    results = lab.begin("1", [lab.group(ready_minutes=0.3 / 60)])()
    assert (results["01"].worker_id, results["01"].outcome) == ("burst-m3", "completed")
    ends = [call[1:] for call in lab.cloud.get("calls") if call[0] == "end"]
    assert ends == [["m1", True], ["m2", True]]
    assert "no route to host" in lab.said_of("m1 is ended")[0]


def test_three_in_a_row_and_no_more_are_bought(lab: Lab):
    lab.cloud.set(duds=9)
    results = lab.begin("1,2", [lab.group(ready_minutes=0.2 / 60, max_machines=1)])()
    assert {result.outcome for result in results.values()} == {"infrastructure-lost"}
    assert "burst: 3 machines in a row were of no use" in results["01"].error_message
    assert "no route to host" in results["01"].error_message
    assert lab.cloud.get("made") == 3


def test_what_one_region_is_short_of_another_gives(lab: Lab):
    lab.cloud.set(capacity=0)
    other = Cloud(lab.folder / "cloud2")
    groups = [lab.group("near"), lab.group("far", other, queue_priority=1)]
    results = lab.begin("1,2", groups)()
    assert {result.worker_id for result in results.values()} <= {"far-m1", "far-m2"}
    assert lab.said_of("the zone is out of machines; it is tried again")[0].startswith("group near: ")
    assert lab.cloud.get("wanted") == 0


def test_credentials_that_expire_stop_neither_what_runs_nor_what_waits(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAS_STANDIN_PACE", "0.01")
    result = lab.begin("1,2,3", [lab.group(max_machines=1)])
    lab.hold("m1")
    lab.cloud.set(error="credentials")
    wait_until(lambda: lab.said_of("credentials have expired"), "it is said")
    monkeypatch.delenv("RAS_STANDIN_PACE")
    lab.cloud.hold("m1", on=False)
    assert {(r.worker_id, r.outcome) for r in result().values()} == {("burst-m1", "completed")}
    assert [line.partition(":")[0] for line in lab.said_of("credentials have expired")] == [
        "group burst",
        "group burst was not given back, and its machines have to end themselves",
    ], "once, and at the end"


def test_without_credentials_plans_end_with_the_reason_and_a_busy_cloud_is_asked_again(lab: Lab):
    lab.cloud.set(error="credentials")
    lost = lab.begin("1", [lab.group()])()["01"]
    assert lost.outcome == "infrastructure-lost"
    assert "burst: look: the credentials have expired" in (lost.error_message or "")
    lab.cloud.set(error="throttled")
    result = lab.begin("1", [lab.group()])
    wait_until(lambda: lab.said_of("too many requests"), "it is throttled")
    lab.cloud.set(error="")
    assert result()["01"].success


def test_a_plan_that_lost_a_machine_gets_one_that_is_not_taken_away(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAS_STANDIN_FAULT", "hang")
    result = lab.begin("1", [lab.group(on_demand_after=1)])
    lab.computing("m1")
    monkeypatch.delenv("RAS_STANDIN_FAULT")
    lab.cloud.take("m1")
    name = result()["01"].worker_id.removeprefix("burst-")
    assert lab.cloud.get("machines")[name]["spot"] is False


def test_an_interrupted_burst_looks_at_its_machines_before_it_stops_them(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    """What runs on them is stopped, and not taken for something that the cloud has taken away."""
    monkeypatch.setenv("RAS_STANDIN_FAULT", "hang")
    journal, workers, settings = Journal(lab.folder / "state"), [lab.group()], CampaignSettings()
    prepared = prepare_plans(select_plans(lab.project, "1"), workers, settings, journal)
    campaign = create_campaign(journal, lab.project, prepared, workers, settings)

    def interrupt() -> None:
        lab.computing("m1")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    code = bursting._compute(journal, campaign, workers, as_json=True)
    journal.close()
    assert code == EXIT_INTERRUPTED
    assert lab.rows("SELECT outcome, worker FROM attempts") == [{"outcome": "cancelled", "worker": "burst-m1"}]
    assert lab.cloud.engines("m1") == []


def test_two_campaigns_do_not_scale_one_group_against_each_other(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAS_STANDIN_PACE", "0.01")
    first = lab.begin("1", [lab.group()])
    lab.hold("m1")
    with pytest.raises(OperatorError, match="another campaign is using group cloud in tests"):
        lab.begin("2", [lab.group()])()
    monkeypatch.delenv("RAS_STANDIN_PACE")
    lab.cloud.hold("m1", on=False)
    assert first()["01"].success


class CloudRunner(Runner):
    """``ras-runner`` that knows the cloud of the test."""

    def _command(self, *args: object) -> tuple[list[str], dict[str, str]]:
        command, env = super()._command(*args)
        command[2] = "tests.elastic.command"
        return command, {**env, "PYTHONPATH": os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])}


@pytest.fixture
def program(lab: Lab) -> Iterator[CloudRunner]:
    host = {"ras_cloud": str(lab.cloud.folder), "ras_max_machines": 2, "ras_idle_minutes": 60}
    made = CloudRunner(lab.folder, slots=1, group="cloud_workers", variables=host)
    document = json.loads(made.inventory.read_text(encoding="utf-8"))
    del document["cloud_workers"]["hosts"]["here"]["ras_worker_folder"]
    made.inventory.write_text(json.dumps(document), encoding="utf-8")
    yield made
    made.stop_engines()


def test_a_group_is_listed_looked_at_and_previewed_before_there_is_a_machine(program: CloudRunner, lab: Lab):
    assert "1 on each of 0 to 2 machines" in " ".join(program.run("workers", "-i", program.inventory).stdout.split())
    (row,) = program.json("execute", lab.project.folder, "-i", program.inventory, "--dry-run", "--plans", "1")
    assert (row["worker_id"], row["slot"]) == ("here", None)
    assert row["bytes_to_send"] == row["bytes"] > 0
    assert "no machine; 0 asked for" in program.run("doctor", "-i", program.inventory).stdout
    lab.cloud.set(error="credentials")
    assert "log on again" in program.run("doctor", "-i", program.inventory, code=None).stdout
    assert lab.cloud.get("made") == 0


def test_a_controller_that_was_killed_is_followed_by_one_that_attaches(program: CloudRunner, lab: Lab):
    """Of two machines one is gone meanwhile: what ran there is preempted, what runs on the other is attached to."""
    program.environment["RAS_STANDIN_PACE"] = "0.02"
    process = program.start("execute", lab.project.folder, "-i", program.inventory, "--plans", "1,2")
    for machine in ("m1", "m2"):
        lab.hold(machine)
    wait_until(lambda: [t["state"] for t in program.tasks().values()] == ["running"] * 2, "both are known to run")
    process.kill()
    process.wait()
    del program.environment["RAS_STANDIN_PACE"]
    lab.cloud.take("m1")
    lab.cloud.hold("m2", on=False)
    lab.cloud.set(error="credentials")
    assert "or go on without it: ras-runner workers drain" in program.run("resume", code=2).stderr
    lab.cloud.set(error="")
    resumed = program.run("resume", code=0)
    assert resumed.stderr.count("attached") == 1
    (lost,) = [row for row in program.attempts() if row["worker"] == "here-m1"]
    assert (lost["outcome"], lost["blame"]) == ("preempted", "nobody")
    assert {task["state"] for task in program.tasks().values()} == {"completed"}
    logs = program.run("logs", "--plan", lost["plan"]).stdout
    assert f"{lost['plan']}#1 | ras-runner: the machine of worker here-m1 is gone" in logs
    assert "nothing is left" in program.run("sweep").stderr, "and nobody is asked about here-m1"
    assert lab.cloud.get("wanted") == 0


def test_a_group_is_drained_and_added_again(program: CloudRunner, lab: Lab):
    program.environment["RAS_STANDIN_FAULT"] = "p01=hang"
    program.start("execute", lab.project.folder, "-i", program.inventory, "--plans", "1")
    lab.computing("m1")
    name = program.json("status")["campaign"]
    drained = json.loads(program.run("workers", "drain", name, "here", "--json").stdout)
    assert drained[0]["state"] == "drained"
    added = json.loads(program.run("workers", "add", name, "-i", program.inventory, "--json").stdout)
    assert added[0]["state"] == "joined"
    program.run("cancel")
    assert program.started[-1].wait(timeout=60) == 1
    wait_until(lambda: lab.cloud.get("wanted") == 0, "it is given back")
