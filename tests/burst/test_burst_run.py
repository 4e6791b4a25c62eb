"""``ras-runner burst run`` from nothing to results and back to nothing: real Terraform, real machines, real bytes.

Two bursts at once: one loses a machine, is told that it will lose another, and ends well; the controller of the other
is killed when Terraform has just made everything.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.burst.cloud import SecureCloud
from tests.burst.players import Host, Players
from tests.commands import Runner, wait_until
from tests.docker.daemon import STANDIN
from tests.services import not_here
from tests.terraform.cloud import REGION
from tests.terraform.program import TerraformUnavailable, find_plugins, find_program

from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project
from ras_runner.hecras.results import read_result

PLANS = 11
TOKEN = "ras-runner:launch-token"
#: Terraform waits about a minute for a bucket's lifecycle rules, and both cores are busy.
LIMIT = 300.0


class Controller(Runner):
    """``ras-runner`` in an office whose cloud is the tests' own; ``state`` may be shared."""

    def connect(self, cloud: SecureCloud, archive: Path, gateway: str) -> None:
        """Its credentials, its Terraform, and what its bursts are to be."""
        settings = self.folder / "terraform.rc"
        settings.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{find_plugins().resolve()}"\n  }}\n}}\n',
            encoding="utf-8",
        )
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        ours = {
            "RAS_RUNNER_TERRAFORM": find_program(),
            "RAS_RUNNER_BURST_WATCH_SECONDS": "2",
            "RAS_RUNNER_BURST_LOOK_SECONDS": "2",
            "TF_CLI_CONFIG_FILE": str(settings),
            "TF_PLUGIN_CACHE_DIR": str(self.folder / "plugins"),
            "RAS_STANDIN_PACE": "0.05",
        }
        self.environment.update(cloud.environment | keys | ours)
        prices = self.folder / "prices.yml"
        prices.write_text(
            "{currency: USD, as_of: 2026-11-01, source: tests, aws: {us-east-1: {machines: {c5.large: {linux: 1.0}}}}}"
        )
        self.order = [
            *("--cloud", "aws", "--region", REGION, "--workers", "2", "--ttl", "1h", "--max-cost", "5", "--yes"),
            *("--image", STANDIN, "--image-archive", archive, "--engine", "standin", "--machine-type", "c5.large"),
            *("--num-cores", "1", "--access-cidr", f"{gateway}/32", "--hours-per-plan", "0.1"),
            *("--prices", prices),
        ]

    @property
    def log(self) -> str:
        """What the commands that were started have said."""
        return (self.folder / "started.log").read_text("utf-8", "replace")

    def bursts(self) -> list[dict[str, Any]]:
        """The records of all bursts, the oldest first."""
        found = sorted(self.state.glob("bursts/*/burst.json"))
        return sorted((json.loads(path.read_text("utf-8")) for path in found), key=lambda record: record["created"])

    def machine_of(self, attempt: dict[str, Any], players: Players) -> Host | None:
        """The machine that an attempt runs on."""
        return next((host for name, host in players.hosts.items() if attempt["worker"].endswith(name)), None)

    def running(self, players: Players) -> dict[str, Host]:
        """Attempts whose plans run, and the machines that they run on."""
        rows = [row for row in self.attempts() if row["state"] == "running"]
        return {row["id"]: host for row in rows if (host := self.machine_of(row, players))}


@dataclass
class Life:
    """What the tests below look at.

    Attributes:
        controller: that ends well.
        killed: whose process was killed.
        process: of the first.
        before: what the cloud had before.
    """

    controller: Controller
    killed: Controller
    process: subprocess.Popen[bytes]
    before: set[str]


@pytest.fixture(scope="module")
def life(
    cloud: SecureCloud, players: Players, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Life]:
    """Two controllers with one state folder, each of which has begun a burst."""
    made = []
    gateway = players.network.gateway
    for name in ("office", "other"):
        folder = tmp_path_factory.mktemp(name)
        controller = Controller(folder)
        try:
            controller.connect(cloud, archive, gateway)
        except TerraformUnavailable as reason:
            not_here(reason)
        write_example_project(folder / "project", plans=PLANS)
        made.append(controller)
    first, second = made
    before = set(cloud.tags())
    second.state = first.state
    process = first.start("burst", "run", first.folder / "project", *first.order)
    wait_until(lambda: first.bursts() or process.poll(), "the first burst is written down", 60)
    assert process.poll() is None, first.log
    second.start("burst", "run", second.folder / "project", *second.order)
    try:
        yield Life(first, second, process, before)
    finally:
        for controller in made:
            controller.stop_engines()


def ours(cloud: SecureCloud, record: dict[str, Any]) -> set[str]:
    """All that the cloud has of a burst."""
    return {name for name, tags in cloud.tags().items() if tags.get(TOKEN) == record["launch_token"]}


def test_a_controller_that_is_killed_when_terraform_is_done(life: Life, cloud: SecureCloud):
    """The next command says what was left, of whatever kind it is; ``burst down`` leaves nothing of it."""
    controller, (process,) = life.killed, life.killed.started
    record = wait_until(lambda: (controller.bursts()[1:] or [None])[0], "the second is written down", 60)

    def applied() -> bool:
        assert process.poll() is None, controller.log
        return "made aws_s3_bucket_lifecycle_configuration" in controller.log  # it takes longest

    wait_until(applied, "Terraform is done", LIMIT)
    process.kill()
    process.wait()
    assert controller.bursts()[1]["state"] == "applying"
    assert ours(cloud, record)

    said = controller.run("status", code=None).stderr
    assert f"ras-runner burst down {record['id']}" in said
    assert controller.bursts()[0]["id"] not in said, "its controller is alive"
    controller.start("burst", "down", record["id"])  # it takes its time; what becomes of it is looked at below


def test_a_machine_that_is_taken_and_one_that_will_be(life: Life, players: Players):
    """What ran on the first is computed elsewhere and no retry is spent; the other gets no more plans."""
    controller = life.controller
    first, second = wait_until(lambda: _busy(life, players, plans=4), "both machines run plans", LIMIT)
    players.kill_instance(first.id)
    wait_until(lambda: first.id not in players.hosts, "it is gone")

    def preempted() -> bool:
        rows = [row for row in controller.attempts() if row["worker"].endswith(first.id)]
        return {"preempted"} <= {row["outcome"] for row in rows} <= {"preempted", "completed"}

    wait_until(preempted, "its plans are preempted", 60)
    wait_until(lambda: len(set(controller.running(players).values())) == 2, "another has come in its place", 90)
    second.announce("spot/instance-action", '{"action": "terminate", "time": "2026-11-22T20:00:00Z"}')
    wait_until(lambda: "spot interruption at 2026-11-22T20:00:00Z" in controller.log, "it is told", 60)
    had = {row["id"] for row in controller.attempts() if row["worker"].endswith(second.id)}

    code = life.process.wait(LIMIT)
    assert code == 0, controller.log
    assert had == {row["id"] for row in controller.attempts() if row["worker"].endswith(second.id)}


def _busy(life: Life, players: Players, plans: int) -> list[Host] | None:
    """The two machines, when they run so many plans."""
    assert players.errors == []
    assert life.process.poll() is None, life.controller.log
    running = life.controller.running(players)
    machines = list(dict.fromkeys(running.values()))
    return machines if len(running) == plans and len(machines) == 2 else None


def test_results_are_there_and_nothing_else(life: Life, cloud: SecureCloud, players: Players):
    controller = life.controller
    results = controller.json("results")
    assert [result["outcome"] for result in results] == ["completed"] * PLANS
    project = Project.open(controller.folder / "project")
    for number in project.plan_numbers:
        assert read_result(project.file(f"p{number}.hdf")).outcome.success
    outcomes = [row["outcome"] for row in controller.attempts()]
    assert outcomes.count("completed") == PLANS
    assert set(outcomes) == {"completed", "preempted"}

    for process in life.killed.started:
        process.wait(LIMIT)
    assert life.killed.started[-1].returncode == 0, life.killed.log
    rows = controller.json("burst", "status", "--all")
    assert [(row["state"], row["machines"], row["problem"]) for row in rows] == [("down", 0, "")] * 2
    (computed,) = [row for row in rows if row["campaign"]]  # the other's controller was killed before it had one
    assert 0 < computed["cost"] < computed["max_cost"]
    assert "burst down" not in controller.run("status").stderr
    assert set(cloud.tags()) == life.before
    wait_until(lambda: players.hosts == {}, "no machine runs", 30)
    assert players.errors == []
