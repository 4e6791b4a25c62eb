"""Workers join and leave a campaign while it runs, through the program as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import Runner, wait_until

from ras_runner import oscalls
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.membership import State, add_worker, drain_worker, members
from ras_runner.hecras.project import Project


@pytest.fixture
def one(runner: Runner) -> Runner:
    """A worker with one slot in the inventory of campaigns, ``here``; plan 01 runs on it until it is stopped."""
    made = Runner(runner.folder, slots=1, started=runner.started)
    made.environment["RAS_STANDIN_FAULT"] = "p01=hang"
    return made


def inventory(runner: Runner, **hosts: dict[str, object]) -> Path:
    """An inventory of local workers with the stand-in; their folders lie where the test's engines are looked for."""
    standin = {"ras_engine": "standin", "ras_cores_total": 1, "ras_cores_per_plan": 1}
    content = {
        name: {**standin, "ras_worker_folder": str(runner.worker_folder / name), **own} for name, own in hosts.items()
    }
    path = runner.folder / "others.yml"
    path.write_text(json.dumps({"local": {"hosts": content}}), encoding="utf-8")
    return path


def campaign(runner: Runner) -> str:
    return str(runner.json("status")["campaign"])


def start(runner: Runner, project: Project, plans: str = "1,2,3") -> str:
    """A campaign whose first plan runs; its id."""
    runner.start_running(1, project.folder, "--plans", plans)
    return campaign(runner)


def is_over(runner: Runner, *plans: str) -> bool:
    tasks = runner.tasks()
    return all(tasks[plan]["state"] == "completed" for plan in plans)


def change(runner: Runner, *args: object, code: int = 0) -> dict[str, str]:
    """``ras-runner workers add`` or ``drain`` for one worker: what came of it."""
    (answer,) = json.loads(runner.run("workers", *args, "--json", code=code).stdout)
    return answer


def cancel(runner: Runner) -> None:
    runner.run("cancel")
    assert runner.started[-1].wait(timeout=60) == 1
    runner.check_no_engine_runs()


def test_a_worker_joins_a_running_campaign_and_takes_its_plans(one: Runner, project: Project):
    name = start(one, project)
    added = one.run("workers", "add", name, "-i", inventory(one, two={}))
    assert "takes plans" in added.stderr
    assert "NOT HEC-RAS" in added.stderr
    wait_until(lambda: is_over(one, "02", "03"), "the others are done")
    assert {t["worker_id"] for number, t in one.tasks().items() if number != "01"} == {"two"}
    assert change(one, "add", name, "-i", one.folder / "others.yml", "two")["state"] == "joined", "it is there already"
    cancel(one)


def test_a_drained_worker_ends_what_it_has_is_attached_to_and_stays_drained(one: Runner, project: Project):
    one.environment.update(RAS_STANDIN_FAULT="", RAS_STANDIN_PACE="0.03")
    name = start(one, project, "1,2,3,4")
    one.run("workers", "add", name, "-i", inventory(one, two={"ras_cores_total": 2}))
    wait_until(lambda: [t["state"] for t in one.tasks().values()].count("running") == 3, "three plans run")
    assert change(one, "drain", name, "two")["state"] == "drained"
    one.started[-1].kill()
    one.started[-1].wait()
    assert one.run("resume").stderr.count("attached") == 3
    rows = one.attempts()
    assert [row["outcome"] for row in rows] == ["completed"] * 4
    ran = {row["plan"]: row["worker"] for row in rows}
    assert [ran[plan] for plan in ("01", "04")] == ["here", "here"], ran
    assert set(ran.values()) == {"here", "two"}
    assert one.workspaces() == []
    refused = one.run("workers", "add", name, "-i", one.folder / "others.yml", code=2)
    assert "have completed" in refused.stderr


def test_a_worker_that_only_solves_takes_what_lies_prepared_when_it_joins(one: Runner, project: Project):
    names = (f"{project.name}.prj", f"{project.name}.p02")
    subprocess.run([sys.executable, "-m", "ras_standin", "prepare", *names], cwd=project.folder, check=True)
    name = start(one, project)
    others = inventory(one, linux={"ras_preprocess_on_host": True})
    assert change(one, "add", name, "-i", others)["state"] == "joined"
    wait_until(lambda: is_over(one, "02"), "the new worker solves plan 02")
    assert one.tasks()["03"]["state"] == "waiting"
    cancel(one)
    assert [(r["stage"], r["worker"]) for r in one.attempts() if r["plan"] == "02"] == [("solve", "linux")]


def test_requests_of_one_moment_do_not_contradict_each_other(one: Runner, project: Project):
    """From several terminals: the controller sees them together."""
    one.environment["RAS_STANDIN_FAULT"] = "p01=hang,p02=hang"
    name = start(one, project)
    one.run("workers", "add", name, "-i", inventory(one, two={}))
    wait_until(lambda: [t["state"] for t in one.tasks().values()].count("running") == 2, "plan 03 waits for a slot")
    journal = Journal(one.state)
    member = members(journal, name)["two"]
    spec = json.dumps({"type": member.type, "parameters": member.parameters})
    asked = [("drain", "two"), ("drain", "here"), ("add", "two"), ("add", "two")]
    events = [
        (f"worker-{verb}-requested", {"worker": worker, "request": f"{number}", "spec": spec})
        for number, (verb, worker) in enumerate(asked)
    ]
    journal.record_all(name, events)

    def answers() -> list[str]:
        query = (
            "SELECT kind FROM events WHERE kind IN ('worker-added', 'worker-drained', 'worker-refused') "
            "AND json_extract(data, '$.request') IN ('0', '1', '2', '3') ORDER BY json_extract(data, '$.request')"
        )
        return [row["kind"] for row in journal.rows(query)]

    wait_until(lambda: len(answers()) == 4, "all are answered")
    assert answers() == ["worker-drained", "worker-refused", "worker-added", "worker-added"]
    assert not members(journal, name)["two"].drained
    journal.close()
    cancel(one)


def test_what_cannot_be_done_is_refused_with_the_reason(one: Runner, project: Project, tmp_path: Path):
    name = start(one, project)
    solvers = tmp_path / "hec" / "bin"
    solvers.mkdir(parents=True)
    for program in ("RasUnsteady", "RasGeomPreprocess", "RasSteady"):
        (solvers / program).touch()
    others = inventory(
        one,
        here={"ras_cores_total": 7},
        missing={"ras_engine": "hecras-linux", "ras_hecras_folder": "/nowhere"},
        unprepared={"ras_engine": "hecras-linux", "ras_hecras_folder": str(solvers.parent)},
        unknown={"ras_color": "red"},
    )
    far = {"ras_hostname": "h", "ras_username": "u", "ras_passphrase": "hunter2hunter2"}
    secret = tmp_path / "secret.yml"
    secret.write_text(json.dumps({"ssh_workers": {"hosts": {"far": far}}}), encoding="utf-8")
    for args, message in (
        (("add", name, "-i", secret), "passphrase"),
        (("add", name, "-i", others, "nope"), "has no worker nope"),
        (("add", name, "-i", others, "here"), "of other cores_total"),
        (("add", name, "-i", others, "missing"), "/nowhere"),
        (("add", name, "-i", others, "unprepared"), "the Linux solvers cannot make"),
        (("add", name, "-i", others, "unknown"), "unknown parameter 'color'"),
        (("add", "nope", "-i", others), "no campaign is called 'nope'"),
        (("drain", name, "nope"), "its workers are here"),
        (("drain", name, "here"), "is left for plans 02, 03"),
    ):
        said = one.run("workers", *args, code=2).stderr
        assert message in said
        assert "hunter2hunter2" not in said
    assert not [path for path in one.state.rglob("journal*") if b"hunter2hunter2" in path.read_bytes()]
    assert "after the word add" in one.run("workers", "-i", others, "add", name, code=2).stderr
    cancel(one)


def test_a_campaign_that_does_not_run_has_the_change_at_its_next_resume(one: Runner, project: Project):
    name = start(one, project)
    cancel(one)
    one.environment["RAS_STANDIN_FAULT"] = "p01=exit"
    refused = change(one, "drain", name, "here", code=2)
    assert "no other worker" in refused["message"]
    assert change(one, "add", name, "-i", inventory(one, two={}))["state"] == "recorded"
    assert change(one, "drain", name, "here")["state"] == "recorded"
    assert change(one, "drain", name, "here")["state"] == "drained"
    one.run("resume", code=1)
    ran = {row["plan"]: row["worker"] for row in one.attempts()}
    assert ran == {"01": "two", "02": "two", "03": "two"}
    assert change(one, "add", name, "-i", inventory(one, two={}))["state"] == "recorded"


def test_a_campaign_goes_on_without_a_worker_that_is_not_to_be_had_once_that_is_drained(one: Runner, project: Project):
    name = start(one, project)
    one.run("workers", "add", name, "-i", inventory(one, two={}))
    one.started[-1].kill()
    one.started[-1].wait()
    folder = one.worker_folder / "two"
    wait_until(folder.is_dir, "it had been made")
    folder.rename(one.folder / "elsewhere")
    folder.write_text("in its way", encoding="utf-8")
    one.environment["RAS_STANDIN_FAULT"] = ""
    for row in one.attempts():
        assert oscalls.stop_attempt(row["id"], row["native_id"]) == []
    refused = one.run("resume", code=2)
    assert f"ras-runner workers drain {name} two" in refused.stderr
    assert change(one, "drain", name, "two")["state"] == "recorded"
    one.run("resume")
    assert is_over(one, "01", "02", "03")


def test_an_answer_that_takes_longer_than_one_waits(journal: Journal, project: Project, tmp_path: Path):
    from ras_runner import init_ras_worker
    from ras_runner.campaign.campaigns import CampaignSettings, create_campaign, prepare_plans

    parameters = {"engine": "standin", "worker_folder": tmp_path / "w", "cores_total": 1}
    workers = [init_ras_worker("local", worker_id=name, **parameters) for name in ("a", "b")]
    settings = CampaignSettings()
    name = create_campaign(
        journal, project, prepare_plans(project.plans(), workers, settings, journal), workers, settings
    )
    with journal.lock(name).held():  # a controller that does not answer
        assert drain_worker(journal, name, "a", wait=0.0).state is State.TRYING
        assert add_worker(journal, name, "local", {**parameters, "worker_id": "c"}, wait=0.0).state is State.TRYING
    assert list(members(journal, name)) == ["a", "b"]
    assert drain_worker(journal, name, "a").state is State.RECORDED
    assert add_worker(journal, name, "local", {**parameters, "worker_id": "c"}).state is State.RECORDED
    assert [(m.worker_id, m.drained) for m in members(journal, name).values()] == [
        ("a", True),
        ("b", False),
        ("c", False),
    ]
    before = members(journal, name)
    journal.rebuild()
    assert members(journal, name) == before
    assert add_worker(journal, name, "local", {**parameters, "worker_id": "a"}).state is State.RECORDED
    assert not members(journal, name)["a"].drained
