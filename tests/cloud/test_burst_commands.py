"""``ras-runner burst`` as a user has it: a program that is interrupted and killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.cloud.conftest import Place, make_machine, make_scaling_group, tags
from tests.commands import Runner, wait_until

from ras_runner import compute_parallel_remote, init_ras_worker
from ras_runner.campaign.campaigns import CampaignSettings
from ras_runner.cli import bursting
from ras_runner.errors import InputError
from ras_runner.fleet import bursts
from ras_runner.fleet.burst_order import make_order
from ras_runner.fleet.burst_record import State
from ras_runner.hecras.example import write_example_project
from ras_runner.workers.base import this_owner

ARGUMENTS = [
    *("--region", "us-east-1", "--workers", "2", "--ttl", "2h", "--max-cost", "40", "--engine", "standin"),
    *("--image", "standin:1", "--access-cidr", "203.0.113.7", "--machine-type", "c6i.2xlarge", "--num-cores", "1"),
]


@pytest.fixture
def arguments(place: Place) -> list[Any]:
    """Options of a burst that is in order."""
    return [*ARGUMENTS, "--image-archive", place.parameters["image_archive"]]


def test_nothing_is_bought_unless_somebody_agrees(
    place: Place, runner: Runner, example_prj: Path, arguments: list[Any]
) -> None:
    done = runner.run("burst", "run", example_prj, *arguments, "--hours-per-plan", "0.5", code=2)
    assert "nobody is here to agree" in done.stderr
    assert "never above" in done.stderr
    done = runner.run("burst", "run", example_prj, *arguments, code=2)
    assert "--hours-per-plan" in done.stderr
    cost = runner.json("burst", "cost", *arguments, "--plans", 3, "--hours-per-plan", "0.5")
    assert 0 < cost["low"] <= cost["likely"] <= cost["high"] <= cost["ceiling"]
    assert place.terraform.commands() == []
    assert not (place.state / "bursts").exists()


def test_several_projects_are_one_burst(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = place.folder / "studies"
    for name in ("Creek", "River"):
        write_example_project(tree / name, name, plans=1)
    worker = init_ras_worker("local", engine="standin", worker_folder=place.folder / "worker", cores_total=1)
    computed = compute_parallel_remote(None, [worker], tree, num_cores=1, state_dir=place.state)
    results = [Path(result.hdf_path) for result in computed.values() if result.hdf_path]
    going_out: list[float] = []

    def prospect(*given: Any, out_gb: float, **others: Any) -> bursts.Prospect:
        going_out.append(out_gb)
        return real(*given, out_gb=out_gb, **others)

    real = bursts.prospect
    monkeypatch.setattr(bursts, "prospect", prospect)

    def run(*projects: Path, force: bool) -> int:
        settings = CampaignSettings(force_rerun=force)
        return bursting.run(projects, "all", place.parameters, settings, place.state, yes=False, as_json=True)

    assert run(tree, force=False) == 0
    said = capsys.readouterr()
    assert "nothing was bought" in said.err
    assert [row["plan_number"] for row in json.loads(said.out)] == ["Creek.p01", "River.p01"]
    with pytest.raises(InputError, match="nobody is here to agree"):
        run(tree / "River", tree / "Creek", force=True)
    assert "receipts of 2 past runs" in capsys.readouterr().err
    assert going_out == [pytest.approx(sum(path.stat().st_size for path in results) / 1e9)]
    assert place.terraform.commands() == []


def test_run_that_is_ended_gives_everything_back(
    place: Place, runner: Runner, example_prj: Path, arguments: list[Any]
) -> None:
    make_scaling_group(place)
    place.terraform.script(group="a-group")
    process = runner.start("burst", "run", example_prj, *arguments, "--hours-per-plan", "0.5", "--yes")
    wait_until(lambda: place.records() and place.record().campaign, "its campaign runs")
    scaling = place.cloud.client("autoscaling")
    wait_until(
        lambda: scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["DesiredCapacity"], "machines are wanted"
    )
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 130
    assert place.record().state is State.DOWN
    assert place.terraform.commands()[-1] == "destroy"
    assert {task["state"] for task in runner.tasks().values()} == {"cancelled"}
    assert "Traceback" not in (runner.folder / "started.log").read_text()


def test_controller_killed_between_apply_and_its_record(
    place: Place, runner: Runner, example_prj: Path, arguments: list[Any]
) -> None:
    place.terraform.script(apply=[{"wait": "deaf"}])
    process = runner.start("burst", "up", *arguments, "--yes")
    wait_until((place.terraform.folder / "waiting").exists, "it is being applied")
    record = place.record()
    assert record.state is State.APPLYING
    process.kill()
    process.wait()
    make_machine(place, record.launch_token)  # made, and in nobody's state
    (place.terraform.folder / "go on").touch()

    done = runner.run("plans", example_prj)
    assert done.stderr == (
        f"ras-runner: burst {record.id} is still up (its machines end {record.expires}): "
        f"ras-runner burst down {record.id}\n"
    )
    [row] = runner.json("burst", "status")
    assert (row["burst"], row["state"], row["machines"], row["max_cost"]) == (record.id, "applying", 1, 40.0)
    assert runner.json("burst", "cost", record.id)["hourly"] > 0
    assert "nothing is left" in runner.run("burst", "down").stderr
    assert place.record().state is State.DOWN
    assert place.cloud.machines() == []
    assert runner.json("burst", "status") == []


def test_down_needs_no_prices(place: Place, runner: Runner) -> None:
    rates = place.folder / "rates.yml"
    rates.write_text("{currency: USD, as_of: 2026-11-01, source: ours}", encoding="utf-8")
    asked = bursts.prospect(make_order({**place.parameters, "prices": rates}), place.state, attended=True)
    bursts.let_go(bursts.begin(asked, place.state, place.said.append, attended=True).folder)
    rates.unlink()
    assert "cannot be worked out" in runner.run("burst", "down").stderr
    assert place.record().state is State.DOWN


def test_sweep_lists_and_removes(place: Place, runner: Runner) -> None:
    ec2 = place.cloud.client("ec2")
    machine = make_machine(place, "token-of-a-burst", owner=this_owner())
    labels = [{"ResourceType": "key-pair", "Tags": tags(owner=this_owner())}]
    ec2.create_key_pair(KeyName="old", TagSpecifications=labels)

    listed = runner.run("burst", "sweep", "--region", "us-east-1")
    assert machine in listed.stdout
    assert "--yes" in listed.stderr
    rows = runner.json("burst", "sweep", "--region", "us-east-1", "--yes")
    assert [(row["kind"], row["name"], row["becomes"]) for row in rows] == [
        ("machine", machine, "removed"),
        ("key pair", "old", "removed"),
    ]
    assert place.cloud.machines() == ec2.describe_key_pairs()["KeyPairs"] == []
