"""A play over WinRM: Ansible's own winrm connection, HTTPS and a login, to a simulated Windows machine."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.windows_fleet import KEY, PASSWORD, Fleet, Played
from tests.simulators.ansible_windows import host

ROLES = ["windows_account", "windows_share", "windows_ssh"]


@dataclass
class Office:
    """What was played against the listener.

    Attributes:
        fleet: one machine, ``pc``, reached in several ways.
        played: one run.
        refused: users whose login was refused.
    """

    fleet: Fleet
    played: Played
    refused: list[str]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, windows_collections: Path) -> Iterator[Office]:
    """A machine that answers on a port, and one run over all ways to reach it."""
    if not Path(__file__).parents[1].joinpath("simulators", "winrm").is_dir():
        pytest.skip("the listener comes with the WinRM worker's tests (tests/simulators/winrm)")
    from tests.simulators.winrm.certificates import Issuer
    from tests.simulators.winrm.wsman import Answer, WsmanServer

    folder = tmp_path_factory.mktemp("office")
    fleet = Fleet(folder, windows_collections)
    fleet.add("pc")
    mutex = threading.Lock()

    def execute(line: str, stdin: bytes, user: str) -> Answer:
        with mutex:
            return Answer(*host.run(line, stdin, folder / "pc"))

    known, other = Issuer(_made(folder / "known")), Issuer(_made(folder / "other"))
    server = WsmanServer(known.issue("localhost"), execute, {"Administrator": PASSWORD}, known.path)
    with contextlib.closing(socket.socket()) as free, contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        free.bind(("127.0.0.1", 0))
        ways = {
            "pc": {},
            "stranger": {"ansible_winrm_ca_trust_path": str(other.path)},
            "wrong": {"ansible_password": "not-" + PASSWORD, "ansible_user": "Somebody"},
            "gone": {"ansible_port": free.getsockname()[1]},
        }
        fleet.hosts = {name: _variables(server.port, known.path) | way for name, way in ways.items()}
        yield Office(fleet, fleet.play(), server.refused)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _variables(port: int, issuer: Path) -> dict[str, Any]:
    return {
        "ansible_connection": "winrm",
        "ansible_host": "localhost",
        "ansible_port": port,
        "ansible_winrm_transport": "basic",
        "ansible_winrm_ca_trust_path": str(issuer),
        "ansible_user": "Administrator",
        "ansible_password": PASSWORD,
        "test_roles": ROLES,
        "windows_ssh_keys": [KEY],
    }


def test_roles_and_files_go_over_winrm(office: Office) -> None:
    assert office.played.problem("pc") == "", office.played.output[-3000:]
    machine = office.fleet.state("pc")
    assert machine["shares"]["RasRemote"]["full"] == ["ras"]
    sent = machine["files"][r"c:\programdata\ssh\administrators_authorized_keys"]["content"]
    assert base64.b64decode(sent).decode() == KEY + "\n"


@pytest.mark.parametrize(
    ("way", "said"),
    [("stranger", "certificate verify failed"), ("wrong", "credentials were rejected"), ("gone", "Connection refused")],
)
def test_a_machine_that_is_not_reached_says_why(office: Office, way: str, said: str) -> None:
    assert said in office.played.problem(way)
    assert PASSWORD not in office.played.output


def test_a_wrong_password_is_tried_once(office: Office) -> None:
    assert office.refused.count("Somebody") == 1
