"""The workers file: its schema, older and newer versions, secrets, and the docs that are made from the code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.generated import generated

from ras_runner.errors import InputError
from ras_runner.fleet.inventory import GROUP_TYPES, find_inventory, read_inventory
from ras_runner.fleet.pool import make_pool
from ras_runner.fleet.workers_file import SECRET_NAMES, json_schema, plain_secrets

ROOT = Path(__file__).resolve().parents[3]
WORKER = {"engine": "standin", "cores_total": 2}


def written(tmp_path: Path, data: Any) -> Path:
    path = tmp_path / "workers.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def file(*workers: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"schema_version": 1, "workers": list(workers), **others}


def test_what_was_found_becomes_workers(tmp_path: Path):
    here = {"name": "here", "type": "local", "parameters": {**WORKER, "worker_folder": str(tmp_path / "w")}}
    path = written(tmp_path, file(here, left_out=[{"name": "there", "reason": "it is asleep"}]))
    pool = make_pool(path)
    assert [(worker.worker_id, worker.spec.cores_total) for worker in pool.workers] == [("here", 2)]
    assert pool.left_out == {"there": "it is asleep"}


def test_the_workers_file_comes_before_the_inventory_of_the_checkout(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_inventory(None) is None
    (tmp_path / "inventory").mkdir()
    for name in ("local.yml", "workers.json"):
        (tmp_path / "inventory" / name).write_text("{}")
        assert find_inventory(None) == Path("inventory") / name


def test_a_plain_secret_leaves_its_host_out_and_is_not_shown(tmp_path: Path):
    secret = {"name": "a", "type": "ssh", "parameters": {"hostname": "a", "passphrase": "hunter2"}}
    good = {"name": "b", "type": "local", "parameters": {**WORKER, "worker_folder": str(tmp_path / "w")}}
    pool = make_pool(written(tmp_path, file(secret, good)))
    assert [worker.worker_id for worker in pool.workers] == ["b"]
    assert "passphrase is written there in plain text" in pool.left_out["a"]
    assert "hunter2" not in pool.left_out["a"]


def test_the_file_of_ras_commander_is_still_read(tmp_path: Path):
    old = {
        "workers": [
            {
                "name": "Local Compute",
                "worker_type": "local",
                "worker_folder": str(tmp_path / "w"),
                "queue_priority": 3,
                "cores_total": 8,
                "cores_per_plan": 4,
                "engine": "standin",
                "enabled": True,
                "_comment": "of an office",
            },
            {"name": "Off", "worker_type": "psexec", "hostname": "pc2", "enabled": False},
            {"name": "Old PC", "worker_type": "psexec", "hostname": "pc3", "password": "hunter2", "enabled": True},
        ]
    }
    pool = make_pool(written(tmp_path, old))
    (worker,) = pool.workers
    assert (worker.worker_id, worker.queue_priority, worker.spec.slots()) == ("Local-Compute", 3, 2)
    assert pool.left_out["Off"] == "enabled is false"
    assert "plain text" in pool.left_out["Old PC"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"schema_version": 2}, "schema version 2.*versions up to 1"),
        ({"schema_version": "one"}, "schema version one"),
        (file({"name": "a"}), r"workers\.0\.type: Field required"),
        (file({"name": "a", "type": "local", "colour": "red"}), r"workers\.0\.colour"),
        (file(found=3), "found: Extra inputs"),
        (file({"name": "a", "type": "telepathy"}), "unknown worker type 'telepathy'"),
        (file({"name": "a", "type": "local", "parameters": {"cores": 3}}), "unknown parameter 'cores'"),
        ({"workers": ["a"]}, r"workers\.0: Input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, data: Any, message: str):
    with pytest.raises(InputError, match=f"(?s){message}"):
        make_pool(written(tmp_path, data))


def test_the_schema_takes_what_is_right_and_refuses_what_is_wrong():
    jsonschema = pytest.importorskip("jsonschema", reason="it is not installed on the Windows machine of the tests")
    schema = json.loads(json_schema())
    check = jsonschema.Draft202012Validator(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    good = {"name": "a", "type": "local", "parameters": WORKER, "found": {"cores": 4, "hecras": {"6.6": "/opt"}}}
    assert check.is_valid(file(good))
    assert not check.is_valid(file({**good, "type": "telepathy"}))
    assert not check.is_valid(file({**good, "parameters": {"cores_total": 0}}))
    assert not check.is_valid(file({**good, "parameters": {"cores": 1}}))


def test_a_launch_token_is_a_tag_and_no_secret():
    assert plain_secrets({"launch_token": "c-1-20260801", "token": "x", "password": "y"}) == ["token", "password"]


def test_a_group_whose_workers_cannot_be_used_yet_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(GROUP_TYPES, "carrier_pigeons", "pigeon")
    path = tmp_path / "lab.yml"
    path.write_text("carrier_pigeons: {hosts: {coop: {}}}\n")
    assert "plans cannot be sent to pigeon workers yet" in make_pool(path).left_out["coop"]


def test_groups_give_the_worker_type(tmp_path: Path):
    path = tmp_path / "lab.yml"
    path.write_text("".join(f"{group}: {{hosts: {{{group}-1: {{}}}}}}\n" for group in GROUP_TYPES))
    assert {entry.name: entry.type for entry in read_inventory(path)} == {
        "aws_ec2_workers-1": "aws_ec2",
        "azure_workers-1": "azure",
        "local-1": "local",
        "docker_workers-1": "docker",
        "ssh_workers-1": "ssh",
        "windows_workers-1": "psexec",
        "dask_workers-1": "dask",
        "slurm_workers-1": "slurm",
    }


def test_a_machine_of_a_dask_cluster_is_no_worker_by_itself(tmp_path: Path):
    path = tmp_path / "lab.yml"
    path.write_text(
        "dask_workers: {hosts: {office: {ras_scheduler_address: 'tcp://head:8786', ras_shared_folder: /srv/ras}}}\n"
        "windows_dask_machines: {hosts: {pc-1: {ras_version: '{{ version }}'}}}\n"
    )
    assert {entry.name: (entry.type, entry.left_out) for entry in read_inventory(path)} == {
        "office": ("dask", ""),
        "pc-1": ("", "it is a machine of a Dask cluster: the cluster is the worker, as a host of dask_workers"),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="paths are written as POSIX has them")
def test_docs_are_as_the_code_makes_them():
    for path, text in generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is old: run python -m tests.generated"


def test_the_role_and_the_runner_agree():
    role = yaml.safe_load((ROOT / "roles/worker_report/vars/main.yml").read_text(encoding="utf-8"))
    assert role["worker_report_group_types"] == GROUP_TYPES
    check = (ROOT / "roles/worker_report/tasks/check.yml").read_text(encoding="utf-8")
    assert f"'search', '{SECRET_NAMES.pattern}'" in check


def test_every_requirement_is_looked_at_by_its_role():
    rows = yaml.safe_load((ROOT / "runner/ras_runner/fleet/requirements.yml").read_text(encoding="utf-8"))
    assert len({row["id"] for row in rows["requirements"]}) == len(rows["requirements"])
    for row in rows["requirements"]:
        assert set(row) == {"id", "title", "system", "why", "check", "remedy", "role"}
        verify = ROOT / "roles" / row["role"] / "tasks" / "verify.yml"
        if row["system"] == "linux":
            assert f"      {row['id']}:\n" in verify.read_text(encoding="utf-8"), row["id"]
