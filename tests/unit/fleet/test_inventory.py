"""Inventories: what is understood, what is left out, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ras_runner.errors import InputError
from ras_runner.fleet.inventory import read_inventory
from ras_runner.fleet.pool import make_pool

ROOT = Path(__file__).resolve().parents[3]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "inventory.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_inventory_of_the_checkout_asks_for_the_standin():
    (entry,) = read_inventory(ROOT / "inventory" / "local.yml")
    assert (entry.type, entry.parameters["engine"]) == ("local", "standin")
    (worker,) = make_pool(ROOT / "inventory" / "local.yml").workers
    assert worker.max_parallel_plans == 2


def test_without_an_inventory_the_standin_is_never_taken(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAS_HECRAS_FOLDER", raising=False)
    pool = make_pool()
    assert not any("stand-in" in worker.engine.name for worker in pool.workers)
    assert pool.workers or "looked for" in pool.left_out["local"]


def test_variables_of_a_host_win_over_its_group_and_of_a_group_over_all(tmp_path: Path):
    path = written(
        tmp_path,
        """
all:
  vars: {ras_cores_total: 1, ras_cores_per_plan: 1, ras_engine: standin, ansible_user: x}
  children:
    local:
      vars: {ras_cores_total: 2, ras_queue_priority: 3}
      hosts:
        a: {ras_cores_total: 4}
        b:
""",
    )
    a, b = read_inventory(path)
    assert a.parameters == {
        "cores_total": 4,
        "cores_per_plan": 1,
        "engine": "standin",
        "queue_priority": 3,
        "worker_id": "a",
    }
    assert b.parameters["cores_total"] == 2


def test_a_host_without_a_worker_type_is_left_out_with_the_reason(tmp_path: Path):
    path = written(tmp_path, "web: {hosts: {www: {}}}\nlocal: {hosts: {here: {ras_engine: standin}}}\n")
    pool = make_pool(path)
    assert [worker.worker_id for worker in pool.workers] == ["here"]
    assert "no ras_worker_type" in pool.left_out["www"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no groups"),
        ("[local]\nhost ras_engine=standin\n", "not plain YAML|no groups|not a mapping"),
        ("a: [1, 2", "not plain YAML"),
        ("local: {hosts: [a, b]}", "hosts of group local.*not a mapping"),
        ("local: 3", "group local.*not a mapping"),
        ("local: {hosts: {a: {ras_engine: '{{ x }}'}}}", "template"),
        ("local: {hosts: {a: {ras_engine: !vault x}}}", "not plain YAML"),
        ("local: {hosts: {a: {ras_engin: standin}}}", "unknown parameter 'engin'.*cores_per_plan"),
        ("local: {hosts: {a: {ras_engine: standin, ras_cores_total: many}}}", "cores_total"),
        ("local: {hosts: {a: {ras_engine: standin, ras_queue_priority: 10}}}", "queue_priority"),
        ("local: {hosts: {a: {ras_engine: standin, ras_worker_id: 'a b'}}}", "worker_id"),
        ("x: {hosts: {a: {ras_worker_type: telepathy}}}", "unknown worker type 'telepathy'.*local"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=f"(?s){message}"):
        make_pool(written(tmp_path, text))


def test_no_such_file(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        make_pool(tmp_path / "absent.yml")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("ras_cores_per_plan: 0", "cores_per_plan: Input should be greater than or equal to 1"),
        ("ras_version: 6.6", "version: Input should be a valid string (in YAML: in quotes)"),
        ("ras_passphrase: secret", "passphrase: give a reference, not the secret"),
        ("ras_proxy_jump: '@gate'", "'@gate' is not user@host:port"),
        ("ras_colour: red", "unknown parameter 'colour'"),
    ],
)
def test_a_wrong_parameter_is_told_with_the_host_that_has_it(tmp_path: Path, wrong: str, said: str):
    """Of fifty hosts in an inventory one has to know which to correct."""
    path = tmp_path / "inventory.yml"
    path.write_text(
        "ssh_workers:\n  vars: {ras_username: me, ras_cores_total: 2, ras_port: 1}\n"
        f"  hosts:\n    box7:\n      ras_hostname: 127.0.0.1\n      {wrong}\n"
    )
    with pytest.raises(InputError) as caught:
        make_pool(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith("box7: check parameters: ")
    assert caught.value.action
