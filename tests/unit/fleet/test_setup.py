"""``ras-runner setup`` before Ansible runs, and what its events mean."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.commands import Runner

from ras_runner.errors import InputError, OperatorError
from ras_runner.fleet import setup
from ras_runner.fleet.setup import SetupOrder, SetupProgress, find_playbook, read_event, run_setup

posix = pytest.mark.skipif(sys.platform == "win32", reason="Ansible does not run on Windows")


def event(kind: str, task: str, **data: object) -> dict[str, object]:
    """As ansible-runner gives them."""
    return {"event": kind, "created": "2026-01-01T00:00:00", "event_data": {"host": "a", "task": task, **data}}


def order(tmp_path: Path) -> SetupOrder:
    """An inventory that is there."""
    (tmp_path / "lab.yml").write_text("local: {hosts: {here: }}\n")
    return SetupOrder(tmp_path / "lab.yml")


def test_a_windows_controller_is_told_the_two_ways(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(OperatorError, match=r"(?s)does not run on Windows.*wsl --install.*execution environment"):
        run_setup(order(tmp_path), tmp_path, lambda step, progress: None)


def test_without_ansible_the_command_that_installs_it_is_given(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(setup, "find_spec", lambda name: None)
    with pytest.raises(OperatorError, match=r"pip install 'ras-runner\[ansible\]'"):
        run_setup(order(tmp_path), tmp_path, lambda step, progress: None)


@posix
def test_the_inventory_has_to_be_one(tmp_path: Path):
    with pytest.raises(InputError, match="there is no inventory"):
        run_setup(SetupOrder(tmp_path / "absent.yml"), tmp_path, lambda step, progress: None)
    (tmp_path / "workers.json").write_text("{}")
    with pytest.raises(InputError, match="what setup writes"):
        run_setup(SetupOrder(tmp_path / "workers.json"), tmp_path, lambda step, progress: None)


@posix
def test_the_playbooks_of_the_checkout_are_found_from_anywhere(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, settings = find_playbook("setup_worker")
    assert Path(path).is_file()
    assert Path(settings["ANSIBLE_CONFIG"]).is_file()


def test_without_playbooks_it_says_where_to_get_them(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OperatorError, match="ansible-galaxy collection build"):
        find_playbook("absent")


def test_the_installed_collection_is_used_by_name(tmp_path: Path, monkeypatch):
    folder = tmp_path / "ansible_collections" / "ras" / "runner" / "playbooks"
    folder.mkdir(parents=True)
    (folder / "absent.yml").touch()
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path))
    assert find_playbook("absent") == ("ras.runner.absent", {})


def test_a_host_is_ready_when_the_last_play_says_so():
    progress = SetupProgress()
    for given in (
        event("runner_on_start", "linux_worker : Make the user", role="linux_worker"),
        event("runner_on_ok", "linux_worker : Make the user", role="linux_worker", res={"changed": True}),
        event("runner_on_skipped", "linux_worker : Other", role="linux_worker"),
        event("runner_on_ok", "Say which hosts are ready", play="Workers file and summary", res={"changed": False}),
    ):
        step = read_event(given)
        assert step is not None
        progress.hear(step)
    assert progress.hosts["a"].ready
    assert progress.hosts["a"].changed == 1


def test_failures_say_why():
    failed = event("runner_on_failed", "x : Y", res={"results": [{"msg": "fine"}, {"failed": True, "msg": "no room"}]})
    step = read_event(failed)
    assert step is not None and (step.state, step.task, step.message) == ("failed", "Y", "no room")
    censored = read_event(event("runner_on_failed", "Y", res={"censored": "the output has been hidden"}))
    assert censored is not None and "hidden" in censored.message
    assert read_event(event("runner_on_failed", "Y", ignore_errors=True)) is None
    assert read_event({"event": "playbook_on_stats", "event_data": {}}) is None


def test_an_inventory_that_ansible_cannot_read(runner: Runner, tmp_path: Path):
    pytest.importorskip("ansible_runner")
    (tmp_path / "lab.yml").write_text("local: {hosts: {here: }}\n")
    done = runner.run("setup", "-i", "lab.yml", "--limit", "nobody", code=2)
    assert "before it came to any host" in done.stderr
    assert "nobody" in done.stderr or "limit" in done.stderr
