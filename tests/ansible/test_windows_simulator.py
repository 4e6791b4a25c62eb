"""The simulated Windows machine never takes the unknown for success."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.ansible.windows_fleet import REPOSITORY, ROLES, Fleet, Played


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, windows_collections: Path) -> Played:
    """A play in which everything is wrong."""
    fleet = Fleet(tmp_path_factory.mktemp("mistyped"), windows_collections)
    fleet.add("machine", test_script=str(ROLES / "windows_ssh" / "files" / "capability.ps1"))
    return fleet.play(playbook=REPOSITORY / "tests" / "ansible" / "mistyped.yml")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("Unknown argument", "pth. Supported parameters include: caching_mode"),
        ("Wrong choice", "value of state must be one of"),
        ("Wrong type", "unable to convert to bool"),
        ("Missing argument", "missing required arguments: users"),
        ("Unknown script", "this script is not one of the roles'"),
        ("Unknown service", "Service 'nosuch' is not installed"),
        ("Unknown account", "Failed to translate the account 'ghost' to a SID"),
        ("Module without emulation", "the module ansible.windows.win_hotfix is not simulated"),
        ("Unknown program", "no such program here: format.com"),
        ("Shell", "the module ansible.windows.win_shell is not simulated"),
        ("Raw command", "non-zero return code"),
        ("Unknown parameter of a script", "A parameter cannot be found that matches parameter name 'Sauce'"),
        ("Missing parameter of a script", "missing mandatory parameters: ['State']"),
    ],
)
def test_the_wrong_fails(played: Played, task: str, said: str) -> None:
    records = [record for record in played.of("machine", "ignored") if record["task"] == task]
    assert [said in record["message"] for record in records] == [True], played.output[-3000:]


def test_nothing_else_happened(played: Played) -> None:
    assert played.of("machine", "ok", "changed") == []
