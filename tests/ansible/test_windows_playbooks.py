"""The playbooks of the collection on simulated Windows machines: set up, verified, torn down."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from tests.ansible.windows_fleet import PASSWORD, REPOSITORY, Fleet

from ras_runner._version import __version__
from ras_runner.workers.registry import worker_spec

#: What a restart leaves behind on any machine.
_OF_A_RESTART = ("boots", "down", "sessions")
#: The Dask cluster of ``desk``.
CLUSTER = {
    "ras_scheduler_address": "tls://192.0.2.5:8786",
    "ras_shared_folder": "/srv/ras",
    "ras_worker_folder": "R:\\ras",
    "ras_os": "windows",
    "ras_engine": "hecras-windows",
    "ras_exe_path": r"C:\Program Files (x86)\HEC\HEC-RAS\6.6\Ras.exe",
    "ras_resources": {"ras": 4},
    "ras_tls_ca_file": "ca.pem",
    "ras_tls_cert": "cert.pem",
    "ras_tls_key": "key.pem",
}
FOLDER = r"C:\ProgramData\ras-runner-dask"
TASK = r"\ras-runner\dask-worker"


def play(fleet: Fleet, name: str, *options: str, code: int = 0) -> str:
    """Run a playbook of the collection on ``pc``, a worker, and ``desk``, of a Dask cluster; what it prints."""
    variables = {
        "windows_account_password": PASSWORD,
        "windows_firewall_controllers": ["10.0.0.5"],
    }
    worker = {"ras_worker_type": "psexec" if "psexec" in _types() else "ssh", "ras_password": "env:RAS_PASSWORD"}
    groups = {
        "windows_workers": {"hosts": {"pc": fleet.hosts["pc"]}, "vars": variables | worker},
        "windows_dask_machines": {"hosts": {"desk": fleet.hosts["desk"]}, "vars": variables},
        "dask_workers": {"hosts": {"office": CLUSTER}},
    }
    inventory = fleet.folder / "lab.json"
    inventory.write_text(json.dumps(groups), encoding="utf-8")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            inventory,
            *options,
            REPOSITORY / "playbooks" / name,
        ],
        env=fleet._environment(fleet.folder / "records.jsonl"),
        cwd=fleet.folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def _types() -> list[str]:
    schema = json.loads((REPOSITORY / "docs" / "workers.schema.json").read_text(encoding="utf-8"))
    types: list[str] = schema["$defs"]["WorkerRecord"]["properties"]["type"]["enum"]
    return types


def _changed(output: str, host: str = "pc") -> int:
    found = re.search(rf"^{host} .*changed=(\d+)", output, re.MULTILINE)
    assert found
    return int(found[1])


def _lasting(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in _OF_A_RESTART}


def test_windows_machines_become_workers_and_are_put_back(tmp_path: Path, windows_collections: Path) -> None:
    fleet = Fleet(tmp_path, windows_collections)
    fleet.add("pc", **fleet.installer("HEC-RAS_66.exe"))
    fleet.add("desk", ras_engine="standin", **fleet.dask(), windows_dask_worker_drives={"R": r"\\files\ras"})
    before = {name: fleet.state(name) for name in fleet.hosts}
    play(fleet, "setup_worker.yml", "--check")
    assert {name: fleet.state(name) for name in fleet.hosts} == before
    done = play(fleet, "setup_worker.yml", "--diff", "-vvv")
    assert [_changed(done, name) > 0 for name in fleet.hosts] == [True, True]
    assert not any(secret in done for secret in (PASSWORD, "the PEM of key"))
    _check_the_dask_worker(fleet.state("desk"))
    again = play(fleet, "setup_worker.yml")
    assert [_changed(again, name) for name in fleet.hosts] == [0, 0]
    _check_the_workers_file(tmp_path / "workers.json")
    _check_that_changes_wait_for_plans(fleet)
    verified = play(fleet, "verify_worker.yml", "--check")
    assert "NOT met" not in verified
    assert verified.count("would change nothing") == 10 + 3
    assert "the worker runs in session 1, connected to tls://192.0.2.5:8786" in verified
    torn_down = play(fleet, "teardown_worker.yml")
    assert [_changed(torn_down, name) > 0 for name in fleet.hosts] == [True, True]
    for name in fleet.hosts:
        assert _lasting(fleet.state(name)) == _lasting(before[name])


def _check_the_dask_worker(machine: dict[str, Any]) -> None:
    task = machine["scheduled_tasks"][TASK]
    assert task["run"]["session"] == 1
    wanted = {
        "username": "ras",
        "logon_type": "interactive_token",
        "run_level": "limited",
        "execution_time_limit": "PT0S",
    }
    assert task["settings"].items() >= wanted.items()
    assert [trigger["type"] for trigger in task["settings"]["triggers"]] == ["logon", "time"]
    rule = machine["firewall"]["ras-runner dask-worker"]
    assert [rule[key] for key in ("localport", "remoteip", "enabled")] == ["8790", "192.0.2.5", True]
    folder = machine["files"][FOLDER.lower()]
    assert folder["inherits"] is False
    rights = {(who, right) for who, _, right, *_ in machine["acls"][FOLDER.lower()]}
    assert {right for who, right in rights if who == "ras"} == {"ReadAndExecute"}
    assert _text(machine, r"tls\key.pem") == "the PEM of key\n"
    settings = json.loads(_text(machine, "worker.json"))
    assert settings["drives"] == {"R": r"\\files\ras"}
    assert not any("tls\\" in argument for argument in settings["arguments"])
    files = yaml.safe_load(_text(machine, r"config\dask.yaml"))["distributed"]["comm"]["tls"]
    assert files["worker"]["key"] == rf"{FOLDER}\tls\key.pem"
    asked = _text(machine, "requirements.txt").splitlines()[2:]
    assert asked == [
        "--index-url https://pypi.org/simple",
        "--find-links wheels",
        f"./wheels/ras_runner-{__version__}-py3-none-any.whl[dask]",
        f"distributed=={version('distributed')}",
    ]


def _check_the_workers_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    cluster, worker = json.loads(text)["workers"]
    spec = worker_spec(worker["type"], worker["parameters"])  # it can be used as it is
    assert spec.model_dump(include={"share_path", "worker_folder", "username", "password"}) == {
        "share_path": rf"\\{worker['parameters']['hostname']}\RasRemote",
        "worker_folder": r"C:\RasRemote",
        "username": "ras",
        "password": "env:RAS_PASSWORD",
    }
    assert worker["found"]["sessions"] == [{"id": 1, "user": "ras"}]
    assert (cluster["name"], cluster["type"]) == ("office", "dask")  # and nothing of its machine
    assert worker_spec("dask", cluster["parameters"]).model_dump()["resources"] == {"ras": 4.0}
    assert json.loads(text)["left_out"] == []
    assert PASSWORD not in text


def _check_that_changes_wait_for_plans(fleet: Fleet) -> None:
    fleet.hosts["desk"]["windows_dask_worker_cores"] = 6
    fleet.set_state("desk", fleet.state("desk") | {"faults": {"plans": 2}})
    alone = ("--limit", "desk", "--tags", "dask")
    refused = " ".join(play(fleet, "setup_worker.yml", *alone, code=2).split())
    assert "2 plans run on this Dask worker, which is to be stopped. Wait, or let this wait" in refused
    run = fleet.state("desk")["scheduled_tasks"][TASK]["run"]
    fleet.set_state("desk", fleet.state("desk") | {"faults": {}})
    play(fleet, "setup_worker.yml", *alone)
    assert fleet.state("desk")["scheduled_tasks"][TASK]["run"] != run


def _text(machine: dict[str, Any], name: str) -> str:
    """Text of a file of the Dask worker's folder."""
    return base64.b64decode(machine["files"][rf"{FOLDER}\{name}".lower()]["content"]).decode()
