"""``ras-runner doctor`` on SSH hosts: one that is well, and one for each thing that may be wrong."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.ssh.conftest import SshRunner

from ras_runner.fleet.doctor import as_data, examine
from ras_runner.fleet.pool import worker_entries
from ras_runner.transports import ssh_connection, ssh_login


def by_host(runner: SshRunner, *args: object, code: int | None = 0) -> dict[str, dict[str, dict[str, Any]]]:
    """Host -> requirement -> what was found."""
    found = runner.json("doctor", "-i", runner.inventory, *args, "--json", code=code)
    return {host["worker_id"]: {check["requirement"]: check for check in host["checks"]} for host in found}


def snapshot(folder: Path) -> set[Path]:
    return set(folder.rglob("*")) if folder.exists() else set()


def test_hosts_that_are_well_and_hosts_that_are_not(runner: SshRunner, tmp_path: Path):
    inventory = json.loads(runner.inventory.read_text("utf-8"))
    hosts = inventory["ssh_workers"]["hosts"]
    good = hosts["there"]
    closed = tmp_path / "closed"
    closed.write_bytes(b"a file, not a folder")
    with socket.socket() as shut:
        shut.bind(("127.0.0.1", 0))
        hosts["off"] = {**good, "ras_port": shut.getsockname()[1]}
        hosts["unknown"] = {**good, "ras_known_hosts": str(tmp_path / "none")}
        hosts["folder"] = {**good, "ras_worker_folder": str(closed)}
        hosts["engine"] = {**good, "ras_standin_command": "no-such-program"}
        hosts["typo"] = {**good, "ras_cores": 2}
        runner.inventory.write_text(json.dumps(inventory), encoding="utf-8")
        before = snapshot(tmp_path)
        found = by_host(runner, code=3)
        assert snapshot(tmp_path) == before
    assert {check["verdict"] for check in found["there"].values()} <= {"ok", "warning"}
    failed = {
        host: [(c["requirement"], c["remedy"]) for c in checks.values() if c["verdict"] == "failed"]
        for host, checks in found.items()
    }
    assert [name for name, _ in failed["off"]] == ["port-open"]
    assert [name for name, _ in failed["unknown"]] == ["login"]
    assert "ssh-keyscan" in failed["unknown"][0][1]
    assert [name for name, _ in failed["folder"]] == ["worker-folder"]
    assert [name for name, _ in failed["engine"]] == ["engine"]
    assert "standin_command" in failed["engine"][0][1]
    assert [name for name, _ in failed["typo"]] == ["variables"]
    assert {c["verdict"] for name, c in found["off"].items() if name not in ("name-resolves", "port-open")} == {
        "not checked"
    }


def test_a_host_that_says_nothing(runner: SshRunner, monkeypatch: pytest.MonkeyPatch):
    for module in (ssh_login, ssh_connection):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        runner.write_inventory(port=silent.getsockname()[1])
        [found] = as_data(examine(worker_entries(runner.inventory)[1]))
    assert [check["requirement"] for check in found["checks"] if check["verdict"] == "failed"] == ["login"]


def test_one_host_by_name_as_a_table(runner: SshRunner):
    done = runner.run("doctor", "there", "-i", runner.inventory)
    assert "the host key is the known one" in done.stdout
    assert "nothing is changed" in done.stderr
    wrong = runner.run("doctor", "nowhere", "-i", runner.inventory, code=2)
    assert "has no host nowhere" in wrong.stderr
