"""The Windows roles on simulated machines: check mode, set up, once more, and back; what each machine then is."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.windows_fleet import KEY, PASSWORD, WINDOWS_ROLES, Fleet, Played
from tests.simulators.ansible_windows.machine import SYSTEM_POLICY, WINLOGON, fresh_state

State = dict[str, Any]
POWER = r"HKLM:\SOFTWARE\Policies\Microsoft\Power\PowerSettings"
UPDATE = r"HKLM:\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate"
MEMORY = r"HKLM:\SOFTWARE\ras-runner\original"
SSHD_CONFIG = b"Port 2222\r\nPasswordAuthentication yes\r\n"


@dataclass
class History:
    """Two machines through all runs.

    Attributes:
        states: of each machine: ``found``, ``checked``, ``first``, ``second``, ``reverted``.
        runs: of ansible-playbook, by the same names.
        certificate: what came to the controller.
    """

    states: dict[str, dict[str, State]] = field(default_factory=dict)
    runs: dict[str, Played] = field(default_factory=dict)
    certificate: str = ""


def used_machine() -> State:
    """A German server that somebody has used for much of the same before."""
    state = fresh_state(hostname="SRV", version="10.0.20348.0", installation="Server")
    state["administrators_group"] = "Administratoren"
    state["groups"] = {"Administratoren": ["Engineer"], "Benutzer": ["Engineer", "ras"]}
    state["users"]["ras"] = {"sid": "S-1-5-21-1-2-3-1500", "password": PASSWORD, "description": "Runs HEC-RAS"}
    state["rights"]["SeBatchLogonRight"].append("ras")
    state["services"]["RemoteRegistry"] = {"start_mode": "manual", "state": "started"}
    state["services"]["sshd"] = {"start_mode": "auto", "state": "started"}
    state["capabilities"]["OpenSSH.Server"] = "Installed"
    state["certificates"]["A" * 40] = {"name": "of the office", "dns": ["srv"], "der": "MIIA"}
    state["listeners"]["HTTPS"] = "A" * 40
    state["registry"][SYSTEM_POLICY]["InactivityTimeoutSecs"] = ["dword", 900]
    state["registry"][UPDATE] = {"ActiveHoursStart": ["dword", 6]}
    for path, content in {
        r"C:\ProgramData\ssh\sshd_config": SSHD_CONFIG,
        r"C:\RasRemote\notes.txt": b"mine",
        r"C:\Program Files (x86)\HEC\HEC-RAS\6.6\Ras.exe": b'{"version": "6.6.0.0"}',
    }.items():
        parts = path.split("\\")
        for count in range(2, len(parts)):
            folder = "\\".join(parts[:count])
            state["files"].setdefault(folder.lower(), {"path": folder})
        state["files"][path.lower()] = {"path": path, "content": base64.b64encode(content).decode()}
    settings = r"Software\VB and VBA Program Settings\C:\Program Files (x86)\HEC\HEC-RAS\6.6\ras.exe\Projects"
    state["registry"][rf"HKU:\S-1-5-21-1-2-3-1500\{settings}"] = {"Project 1": ["string", r"C:\x.prj"]}
    return state


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, windows_collections: Path) -> History:
    """All runs, once for all tests."""
    fleet = Fleet(tmp_path_factory.mktemp("windows"), windows_collections)
    shared = {
        "windows_firewall_controllers": ["192.0.2.10", "192.0.2.16/28"],
        "windows_firewall_services": ["smb", "winrm", "ssh"],
        "windows_session_drain_hours": [2, 8],
        "windows_ssh_keys": [KEY],
        **fleet.installer("HEC-RAS_66_Setup.exe"),
    }
    certificates = fleet.folder / "certificates"
    certificates.mkdir()
    fleet.add("fresh", *WINDOWS_ROLES, test_restart=True, windows_winrm_certificates=str(certificates), **shared)
    fleet.add("used", *WINDOWS_ROLES, state=used_machine(), **shared)
    history = History()

    def keep(moment: str) -> None:
        for name in fleet.hosts:
            history.states.setdefault(name, {})[moment] = fleet.state(name)

    keep("found")
    for moment, state, options in (
        ("checked", "present", ["--check", "--diff"]),
        ("first", "present", ["-vvv"]),
        ("second", "present", []),
        ("reverted", "absent", []),
    ):
        history.runs[moment] = fleet.play(state, *options)
        keep(moment)
    history.certificate = (certificates / "fresh.pem").read_text(encoding="utf-8")
    return history


MACHINES = pytest.mark.parametrize("machine", ["fresh", "used"])


@MACHINES
def test_no_run_fails(history: History, machine: str) -> None:
    for moment, run in history.runs.items():
        assert (moment, run.problem(machine)) == (moment, "")
        assert run.code == 0, run.output[-3000:]
        assert "simulator:" not in run.output


@MACHINES
def test_check_mode_changes_nothing_and_announces_changes(history: History, machine: str) -> None:
    assert history.states[machine]["checked"] == history.states[machine]["found"]
    announced = {record["role"] for record in history.runs["checked"].of(machine, "changed")}
    done = {record["role"] for record in history.runs["first"].of(machine, "changed")}
    assert announced == done


@MACHINES
def test_the_first_run_changes_and_the_second_does_not(history: History, machine: str) -> None:
    assert history.runs["first"].of(machine, "changed")
    assert history.runs["second"].of(machine, "changed") == []
    assert history.states[machine]["second"] == history.states[machine]["first"]


@MACHINES
def test_reverting_puts_everything_back(history: History, machine: str) -> None:
    of_the_restart = {"boots", "sessions", "down"}  # which is not undone
    found, reverted = (
        {name: table for name, table in history.states[machine][moment].items() if name not in of_the_restart}
        for moment in ("found", "reverted")
    )
    assert reverted == found


def requirement(machine: State, name: str) -> Any:
    """What the roles' READMEs promise, read from a machine's state."""
    registry, group = machine["registry"], machine["administrators_group"]
    ours = {rule: about for rule, about in machine["firewall"].items() if rule.startswith("ras-runner")}
    looks: dict[str, Callable[[], Any]] = {
        "administrator": lambda: "ras" in machine["groups"][group],
        "rights": lambda: sorted(
            right for right in machine["rights"] if "ras" in machine["rights"][right] and "Deny" not in right
        ),
        "token filter": lambda: registry[SYSTEM_POLICY]["LocalAccountTokenFilterPolicy"],
        "remote registry": lambda: machine["services"]["RemoteRegistry"],
        "share": lambda: [machine["shares"]["RasRemote"][key] for key in ("path", "full", "read", "encrypt")],
        "ntfs": lambda: machine["acls"]["c:\\rasremote"],
        "rules": lambda: sorted((about["localport"], about["remoteip"], about["enabled"]) for about in ours.values()),
        "winrm": lambda: machine["services"]["WinRM"],
        "https": lambda: machine["listeners"]["HTTPS"] in machine["certificates"],
        "logon": lambda: [registry[WINLOGON][key][1] for key in ("AutoAdminLogon", "DefaultUserName")],
        "awake": lambda: {value[1] for key in registry if key.startswith(POWER) for value in registry[key].values()},
        "unlocked": lambda: registry[SYSTEM_POLICY]["InactivityTimeoutSecs"],
        "update hours": lambda: [registry[UPDATE][key][1] for key in ("ActiveHoursStart", "ActiveHoursEnd")],
        "ssh": lambda: machine["services"]["sshd"],
        "ssh keys": lambda: KEY in text(machine, r"c:\programdata\ssh\administrators_authorized_keys"),
        "ssh keys' rights": lambda: [
            [rule[0] for rule in machine["acls"][r"c:\programdata\ssh\administrators_authorized_keys"]],
            machine["files"][r"c:\programdata\ssh\administrators_authorized_keys"]["inherits"],
        ],
        "ssh passwords": lambda: text(machine, r"c:\programdata\ssh\sshd_config").splitlines()[1],
        "hec-ras": lambda: r"c:\program files (x86)\hec\hec-ras\6.6\ras.exe" in machine["files"],
    }
    return looks[name]()


def text(machine: State, path: str) -> str:
    """Text of a file of the machine."""
    return base64.b64decode(machine["files"][path]["content"]).decode()


STARTED = {"start_mode": "auto", "state": "started"}


@MACHINES
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("administrator", True),
        ("rights", ["SeBatchLogonRight", "SeInteractiveLogonRight", "SeNetworkLogonRight"]),
        ("token filter", ["dword", 1]),
        ("remote registry", STARTED),
        ("share", ["C:\\RasRemote", ["ras"], [], True]),
        ("ntfs", [["ras", "allow", "FullControl", "ContainerInherit, ObjectInherit", "None"]]),
        ("rules", [(port, "192.0.2.10,192.0.2.16/28", True) for port in ("22", "445", "5986")]),
        ("winrm", STARTED),
        ("https", True),
        ("logon", [1, "ras"]),
        ("awake", {0}),
        ("unlocked", ["dword", 0]),
        ("update hours", [8, 2]),
        ("ssh", STARTED),
        ("ssh keys", True),
        ("ssh passwords", "PasswordAuthentication no"),
        ("hec-ras", True),
    ],
)
def test_the_machine_meets_what_is_documented(history: History, machine: str, name: str, wanted: Any) -> None:
    assert requirement(history.states[machine]["first"], name) == wanted


@MACHINES
def test_only_administrators_change_the_keys_of_ssh(history: History, machine: str) -> None:
    (who, inherits) = requirement(history.states[machine]["first"], "ssh keys' rights")
    group = history.states[machine]["first"]["administrators_group"]
    assert (sorted(who), inherits) == ([f"BUILTIN\\{group}", "NT AUTHORITY\\SYSTEM"], False)


def test_other_accounts_keep_their_rights(history: History) -> None:
    rights = history.states["used"]["first"]["rights"]
    for right, accounts in history.states["used"]["found"]["rights"].items():
        assert set(accounts) <= set(rights[right])


def test_the_restart_brings_the_desktop(history: History) -> None:
    assert history.states["fresh"]["first"]["sessions"] == [{"user": "ras", "id": 1}]
    assert history.states["fresh"]["second"]["boots"] == 2  # only the first run needed one


def test_the_certificate_comes_to_the_controller(history: History) -> None:
    assert history.certificate.startswith("-----BEGIN CERTIFICATE-----\nMII")


def test_terms_of_hec_ras_are_reported_and_never_accepted(history: History) -> None:
    first = history.runs["first"]
    assert "the terms of HEC-RAS 6.6 are unknown for ras. Log on at the machine" in first.messages("fresh")
    assert "the terms of HEC-RAS" not in first.messages("used")  # accepted there already
    for machine in history.states.values():
        assert [key for key in machine["first"]["registry"] if "VB and VBA" in key] == [
            key for key in machine["found"]["registry"] if "VB and VBA" in key
        ]


def test_the_password_is_nowhere_but_where_windows_keeps_it(history: History) -> None:
    for run in history.runs.values():
        assert PASSWORD not in run.output
        assert PASSWORD not in json.dumps(run.records)
    for machine in history.states.values():
        state = copy.deepcopy(machine["first"])
        assert state["secrets"].pop("DefaultPassword") == PASSWORD
        assert state["users"]["ras"].pop("password") == PASSWORD
        assert PASSWORD not in json.dumps(state)


def test_what_was_found_is_kept_once(history: History) -> None:
    nothing_to_keep = {"fresh": set(), "used": {"hecras_windows"}}
    for name, machine in history.states.items():
        assert set(machine["first"]["registry"][MEMORY]) == set(WINDOWS_ROLES) - nothing_to_keep[name]
        assert machine["second"]["registry"][MEMORY] == machine["first"]["registry"][MEMORY]
        assert MEMORY not in machine["reverted"]["registry"]


def test_a_folder_with_something_in_it_is_left(history: History) -> None:
    assert r"c:\rasremote\notes.txt" in history.states["used"]["reverted"]["files"]
