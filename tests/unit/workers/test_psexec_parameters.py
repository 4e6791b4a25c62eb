"""Parameters of PsExec workers that are wrong before anybody is asked."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ras_runner.errors import InputError, OperatorError
from ras_runner.workers.registry import make_worker

GOOD: dict[str, Any] = {
    "hostname": "pc7",
    "share_path": r"\\pc7\RasRemote",
    "username": "modeller",
    "password": "env:NO_SUCH_VARIABLE_HERE",
    "cores_total": 8,
}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"share_path": r"Z:\RasRemote"}, "is a drive, which only one machine"),
        ({"share_path": "//pc7/RasRemote"}, r"give the share as \\\\host\\share"),
        ({"share_path": r"\\pc7"}, r"give the share as \\\\host\\share"),
        ({"worker_folder": "RasRemote"}, "with its drive"),
        ({"worker_folder": r"\\pc7\RasRemote"}, "with its drive"),
        ({"worker_folder": "C:\\"}, "with its drive"),
        ({"worker_folder": r"C:\Räs"}, "plain ASCII"),
        ({"worker_folder": r"C:\%TEMP%"}, "plain ASCII"),
        ({"password": "Secret-1"}, "give a reference, not the secret"),
        ({"password": ""}, "username and password together"),
        ({"username": ""}, "username and password together"),
        ({"session_id": "console"}, "session_id"),
        ({"system_account": True}, "system_account needs a session_id"),
        ({"hostname": "pc 7"}, "hostname"),
        ({"colour": "red"}, "unknown parameter 'colour'"),
    ],
)
def test_refused_with_the_reason_and_never_the_secret(wrong: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said) as caught:
        make_worker("psexec", {**GOOD, **wrong})
    assert "Secret-1" not in str(caught.value)


def test_the_share_has_to_be_the_hosts():
    with pytest.raises(OperatorError, match="is on another machine than pc7"):
        make_worker("psexec", {**GOOD, "share_path": r"\\nas\RasRemote"})


def test_a_secret_that_is_not_there():
    with pytest.raises(OperatorError, match="NO_SUCH_VARIABLE_HERE is not set"):
        make_worker("psexec", GOOD)


def test_a_missing_extra_has_its_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "smbprotocol", None)
    monkeypatch.setenv("NO_SUCH_VARIABLE_HERE", "x")
    with pytest.raises(OperatorError, match=r"pip install ras-runner\[windows\]"):
        make_worker("psexec", GOOD)
