"""The playbooks of the collection on a simulated Windows machine: set up, verified, torn down."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.ansible.windows_fleet import PASSWORD, REPOSITORY, Fleet

from ras_runner.workers.registry import worker_spec

#: What a restart leaves behind on any machine.
_OF_A_RESTART = ("boots", "down", "sessions")


def play(fleet: Fleet, name: str, *options: str) -> str:
    """Run a playbook of the collection; what it prints."""
    variables = {
        "ras_worker_type": "psexec" if "psexec" in _types() else "ssh",
        "windows_account_password": PASSWORD,
        "windows_firewall_controllers": ["10.0.0.5"],
        "ras_password": "env:RAS_PASSWORD",
    }
    inventory = fleet.folder / "lab.json"
    inventory.write_text(json.dumps({"windows_workers": {"hosts": fleet.hosts, "vars": variables}}), encoding="utf-8")
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
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _types() -> list[str]:
    schema = json.loads((REPOSITORY / "docs" / "workers.schema.json").read_text(encoding="utf-8"))
    types: list[str] = schema["$defs"]["WorkerRecord"]["properties"]["type"]["enum"]
    return types


def _changed(output: str) -> int:
    found = re.search(r"^pc .*changed=(\d+)", output, re.MULTILINE)
    assert found
    return int(found[1])


def _lasting(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in _OF_A_RESTART}


def test_a_windows_machine_becomes_a_worker_and_is_put_back(tmp_path: Path, windows_collections: Path) -> None:
    fleet = Fleet(tmp_path, windows_collections)
    fleet.add("pc", **fleet.installer("HEC-RAS_66.exe"))
    before = fleet.state("pc")
    play(fleet, "setup_worker.yml", "--check")
    assert fleet.state("pc") == before
    assert _changed(play(fleet, "setup_worker.yml")) > 0
    assert _changed(play(fleet, "setup_worker.yml")) == 0
    (worker,) = json.loads((tmp_path / "workers.json").read_text(encoding="utf-8"))["workers"]
    spec = worker_spec(worker["type"], worker["parameters"])  # it can be used as it is
    assert spec.model_dump(include={"share_path", "worker_folder", "username", "password"}) == {
        "share_path": rf"\\{worker['parameters']['hostname']}\RasRemote",
        "worker_folder": r"C:\RasRemote",
        "username": "ras",
        "password": "env:RAS_PASSWORD",
    }
    assert worker["found"]["sessions"] == [{"id": 1, "user": "ras"}]
    assert PASSWORD not in (tmp_path / "workers.json").read_text(encoding="utf-8")
    verified = play(fleet, "verify_worker.yml", "--check")
    assert "NOT met" not in verified
    assert verified.count("would change nothing") == 10
    assert _changed(play(fleet, "teardown_worker.yml")) > 0
    assert _lasting(fleet.state("pc")) == _lasting(before)
