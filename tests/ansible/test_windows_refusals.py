"""A machine or an inventory with something wrong: that host fails and says what to do, the others go on."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.windows_fleet import DASK_ROLE, KEY, PASSWORD, Fleet, Played
from tests.simulators.ansible_windows.machine import SYSTEM_POLICY, WINLOGON, fresh_state

CONTROLLERS = {"windows_firewall_controllers": ["192.0.2.10"]}
SHARES = r"HKLM:\SYSTEM\CurrentControlSet\Services\LanmanServer\Shares"
TOKEN_FILTER = "LocalAccountTokenFilterPolicy"


def registry(path: str, **values: list[object]) -> dict[str, object]:
    """The registry of a fresh machine with these values."""
    known = fresh_state()["registry"]
    return {"registry": known | {path: known.get(path, {}) | values}}


def build(fleet: Fleet) -> None:
    """One machine for each thing that can be wrong."""
    ras = {"users": {"ras": {"sid": "S-1-5-21-1-2-3-1500", "password": PASSWORD}}}
    stranger = {"users": {"ras": {"sid": "S-1-5-21-1-2-3-1500", "password": "another"}}}
    gpo = {"domain_member": True, "faults": {"policy": {"rights": {"SeBatchLogonRight": ["BUILTIN\\Administrators"]}}}}
    uac = {"policy": {"registry": {SYSTEM_POLICY: {TOKEN_FILTER: ["dword", 0]}}}}
    fleet.add("well", "windows_remote_registry")
    fleet.add("reached", "windows_winrm", "windows_ssh", windows_ssh_keys=[KEY])
    domain = ["windows_account", "windows_user_rights", "windows_share", "windows_session"]
    member = {"domain_member": True, "domain_users": ["CORP\\ras"]}
    fleet.add("domain", *domain, state=member, ras_username="CORP\\ras", ras_worker_folder="C:\\Ras Work")
    fleet.add("misspelt", "windows_share", windows_share_acount="ras")
    fleet.add("old", "windows_share", state={"version": "10.0.17134.1"})
    fleet.add("no-desktop", "windows_share", state={"installation": "Server Core"})
    fleet.add("no-admin", "windows_account", state={"administrator": False})
    fleet.add("silent", "windows_account", state={"down": True})
    fleet.add("no-password", "windows_account", windows_account_password="")
    fleet.add("weak-password", "windows_account", state={"faults": {"password_length": 40}})
    fleet.add("policy-right", "windows_account", "windows_user_rights", state=gpo)
    denied = fresh_state()["rights"] | {"SeDenyNetworkLogonRight": ["NT AUTHORITY\\Local account"]}
    fleet.add("denied", "windows_user_rights", state=ras | {"rights": denied})
    fleet.add("wrong-right", "windows_user_rights", windows_user_rights_names=["SeBathLogonRight"])
    fleet.add("baseline", "windows_remote_uac", state=registry(SYSTEM_POLICY, **{TOKEN_FILTER: ["dword", 0]}))
    fleet.add("policy-uac", "windows_remote_uac", state={"domain_member": True, "faults": uac})
    cut_off = {"domain_member": True, "faults": {"no_domain_controller": True}}
    fleet.add("no-policy", "windows_remote_uac", state=cut_off)
    fleet.add("full", "windows_share", state={"free_bytes": 5 * 2**30} | ras)
    fleet.add("long-path", "windows_share", windows_share_path="C:\\" + "x" * 60)
    fleet.add("taken", "windows_share", state=registry(SHARES, RasRemote=["multistring", ["Path=D:\\Other"]]))
    fleet.add("open", "windows_firewall", windows_firewall_controllers=["0.0.0.0/0"])
    fleet.add("nobody", "windows_firewall")
    fleet.add("no-certificate", "windows_winrm", windows_winrm_thumbprint="B" * 40)
    fleet.add("notice", "windows_session", state=registry(SYSTEM_POLICY, legalnoticetext=["string", "Mind!"]))
    fleet.add("other-logon", "windows_session", state=registry(WINLOGON, AutoAdminLogon=["string", "1"]))
    fleet.add("hours", "windows_session", windows_session_drain_hours=[2, 4])
    restart = {"test_restart": True, "windows_session_restart_timeout": 2}
    fleet.add("never-back", "windows_session", state=ras | {"faults": {"never_returns": True}}, **restart)
    fleet.add("no-logon", "windows_session", state=stranger, **restart)
    fleet.add("private-key", "windows_ssh", windows_ssh_keys=["-----BEGIN OPENSSH PRIVATE KEY-----"])
    fleet.add("no-source", "windows_ssh", windows_ssh_keys=[KEY], state={"faults": {"no_update_source": True}})
    setup = fleet.installer("HEC-RAS_66_Setup.exe")
    fleet.add("no-installer", "hecras_windows")
    fleet.add("checksum", "hecras_windows", **setup | {"hecras_windows_checksum": "0" * 64})
    fleet.add("full-for-ras", "hecras_windows", state={"free_bytes": 2**30}, **setup)
    fleet.add("installer-fails", "hecras_windows", state={"faults": {"installer_fails": 1603}}, **setup)
    fleet.add("other-version", "hecras_windows", **fleet.installer("Setup65.exe", version="6.5.0.0"))


def build_dask(fleet: Fleet) -> None:
    """Machines of a Dask cluster, each with one thing wrong."""
    ras = {"users": {"ras": {"sid": "S-1-5-21-1-2-3-1500", "password": PASSWORD}}}
    here = ras | {"sessions": [{"user": "ras", "id": 2}]}
    good = fleet.dask()
    folder = r"C:\ProgramData\ras-runner-dask"
    wrong: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "dask-no-scheduler": ({"windows_dask_worker_scheduler": ""}, here),
        "dask-name": ({"windows_dask_worker_scheduler": "tls://head.example.org:8786"}, here),
        "dask-no-key": ({"windows_dask_worker_tls_key": ""}, here),
        "dask-lost-key": ({"windows_dask_worker_tls_key": "/nowhere/key.pem"}, here),
        "dask-drive": ({"windows_dask_worker_drives": {"R": "files/ras"}}, here),
        "dask-session-of-others": ({}, ras | {"sessions": [{"user": "Engineer", "id": 1}]}),
        "dask-no-python": ({"windows_dask_worker_archive": ""}, here),
        "dask-old-python": ({"windows_dask_worker_python": r"C:\Python39\python.exe"}, here | _old_python()),
        "dask-checksum": ({"windows_dask_worker_checksum": "0" * 64}, here),
        "dask-no-wheels": ({"windows_dask_worker_wheels": str(fleet.folder)}, here),
        "dask-pip": ({"windows_dask_worker_index": ""}, here),
        "dask-folder": ({}, here | {"files": fresh_state()["files"] | {folder.lower(): {"path": folder}}}),
        "dask-silent": ({}, here | {"faults": {"scheduler_silent": True}}),
    }
    for name, (variables, state) in wrong.items():
        fleet.add(name, DASK_ROLE, state=state, **good | variables)


def _old_python() -> dict[str, Any]:
    content = base64.b64encode(b'{"version": "3.9.13150.1013"}').decode()
    python = {"path": r"C:\Python39\python.exe", "content": content}
    return {"files": fresh_state()["files"] | {r"c:\python39\python.exe": python}}


#: Machines with nothing wrong.
WELL = ("well", "reached", "domain")

SAID = {
    "misspelt": "no role knows windows_share_acount. Correct the spelling",
    "old": "Windows build 10.0.17134.1 (Client) is not supported",
    "no-desktop": "(Server Core) is not supported: a worker needs Windows 10 1809",
    "no-admin": "Engineer has no administrator rights here. Set ansible_user to a member of Administrators",
    "silent": "the simulated machine does not answer",
    "no-password": "there is no account ras yet, and windows_account_password is empty. Put the password into a vault",
    "weak-password": "does not meet the password policy requirements. Choose a longer password",
    "policy-right": "a domain GPO overrides this: ras was given SeBatchLogonRight, and the policy took it back. Ask",
    "denied": "a policy denies SeNetworkLogonRight to NT AUTHORITY\\Local account",
    "wrong-right": "Got no match for: SeBathLogonRight",
    "baseline": "LocalAccountTokenFilterPolicy was set to 0, as the CIS and Microsoft baselines do. Use a domain",
    "policy-uac": "a domain GPO overrides this: LocalAccountTokenFilterPolicy is 0 again",
    "no-policy": "the domain's policy could not be applied, so nobody knows what it will put back",
    "full": "C: has 5.0 GiB free, and windows_share needs 20 GiB for C:\\RasRemote. Free some",
    "long-path": "give a folder on a local drive of at most 40 characters",
    "taken": "there is a share RasRemote of another folder already (Path=D:\\Other). Set windows_share_name",
    "open": "windows_firewall_controllers has 0.0.0.0/0, which is not the address of a machine",
    "nobody": "windows_firewall_controllers is empty: not the address",
    "no-certificate": f"There is no certificate {'B' * 40} with a private key in LocalMachine\\My",
    "notice": "a policy shows a notice before logon",
    "other-logon": "Engineer is logged on automatically already",
    "hours": "give two hours of the day (0 to 23) at least six hours apart",
    "never-back": "the machine did not come back within 2 s of its restart",
    "no-logon": "ras has no desktop after the restart, so automatic logon did not work. Log on at the machine",
    "private-key": "windows_ssh_keys holds something that is not a public key",
    "no-source": "0x800f0954 means that a WSUS policy withholds",
    "no-installer": "hecras_windows_installer is empty. Download the installer from HEC",
    "checksum": "not " + "0" * 64 + ". Nothing was installed. Download it again",
    "full-for-ras": "C: has 1.0 GiB free, and hecras_windows needs 5 GiB",
    "installer-fails": "the installer of HEC-RAS 6.6 failed: unexpected rc from install",
    "dask-no-scheduler": 'windows_dask_worker_scheduler is "", and the IP address',
    "dask-name": "when it has a name, give its IP address too",
    "dask-no-key": "tls://192.0.2.5:8786 needs windows_dask_worker_tls_ca, windows_dask_worker_tls_cert and windows",
    "dask-lost-key": "/nowhere/key.pem is no file that can be read on the controller. Correct windows_dask_worker_tls",
    "dask-drive": "windows_dask_worker_drives letters with shares, such as {'R': '\\\\fileserver\\ras'}",
    "dask-session-of-others": "ras is logged on at no desktop, and the Dask worker runs on one. Nothing was",
    "dask-no-python": "windows_dask_worker_python and windows_dask_worker_archive are empty. Download the package",
    "dask-old-python": "C:\\Python39\\python.exe is Python 3.9.13150.1013, and ras-runner needs Python 3.11 or later",
    "dask-checksum": "not " + "0" * 64 + ". Nothing was installed. Download it again",
    "dask-no-wheels": '(0 wheels), and windows_dask_worker_index "https://pypi.org/simple". Give a folder',
    "dask-pip": "pip did not install what C:\\ProgramData\\ras-runner-dask\\requirements.txt asks for: ERROR: No",
    "dask-folder": "ras-runner-dask is there, and this role did not make it: give another windows_dask_worker_folder",
    "dask-silent": "runs, and after 1 s it is not connected to tls://192.0.2.5:8786; it last said: Trying to connect",
    "other-version": "Ras.exe is version 6.5.0.0, and HEC-RAS 6.6 is wanted",
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, windows_collections: Path) -> Fleet:
    """Machines with one thing wrong each, and one that is well."""
    made = Fleet(tmp_path_factory.mktemp("refusals"), windows_collections)
    build(made)
    build_dask(made)
    return made


@pytest.fixture(scope="module")
def played(fleet: Fleet) -> Played:
    """One run over all of them."""
    return fleet.play()


@pytest.mark.parametrize("host", SAID)
def test_the_host_fails_with_what_to_do(played: Played, host: str) -> None:
    assert SAID[host] in played.problem(host), played.output[-2000:]


def test_every_machine_of_the_fleet_is_looked_at(fleet: Fleet) -> None:
    assert set(fleet.hosts) == {*WELL, *SAID}


@pytest.mark.parametrize("host", WELL)
def test_the_others_go_on(fleet: Fleet, played: Played, host: str) -> None:
    assert played.problem(host) == ""
    assert played.of(host, "changed")


def test_an_account_of_a_domain_is_used_and_not_made(fleet: Fleet, played: Played) -> None:
    machine = fleet.state("domain")
    assert "CORP\\ras" in machine["groups"]["Administrators"]
    assert "CORP\\ras" in machine["rights"]["SeBatchLogonRight"]
    assert [machine["shares"]["RasRemote"][key] for key in ("full", "path")] == [["CORP\\ras"], "C:\\Ras Work"]
    assert [machine["registry"][WINLOGON][f"Default{what}Name"][1] for what in ("Domain", "User")] == ["CORP", "ras"]
    assert list(machine["users"]) == ["Engineer"]
    assert played.problem("domain") == ""


def test_a_teardown_does_not_cut_its_own_connection(fleet: Fleet, played: Played) -> None:
    assert played.problem("reached") == ""
    reached = fleet.state("reached")
    in_use = json.dumps({"__windows_winrm_in_use": True, "__windows_ssh_in_use": True})
    left = fleet.play("absent", "--limit", "reached", "-e", in_use)
    assert fleet.state("reached") == reached
    assert "WinRM's HTTPS listener and its certificate are left, since this connection" in left.messages("reached")
    assert "OpenSSH Server is left as it is, since this connection" in left.messages("reached")
    assert fleet.play("absent", "--limit", "reached").code == 0
    assert fleet.state("reached") == {name: table for name, table in fresh_state().items() if name != "calls"}


def test_a_wrong_installer_never_reaches_the_machine(fleet: Fleet, played: Played) -> None:
    assert played.problem("checksum")
    assert not any("setup" in path for path in fleet.state("checksum")["files"])


def test_a_share_of_others_is_left(fleet: Fleet, played: Played) -> None:
    assert played.problem("taken")
    assert fleet.state("taken")["registry"][SHARES] == {"RasRemote": ["multistring", ["Path=D:\\Other"]]}


def test_a_second_run_completes_when_the_cause_is_gone(fleet: Fleet, played: Played) -> None:
    assert played.code != 0
    for host in ("policy-right", "full", "no-installer", "never-back"):
        state = fleet.state(host) | {"faults": {}, "free_bytes": 200 * 2**30, "down": False}
        fleet.set_state(host, state)
    fleet.hosts["no-installer"] |= fleet.installer("HEC-RAS_66_Setup.exe")
    again = fleet.play("present", "--limit", "policy-right,full,no-installer,never-back")
    assert again.code == 0, again.output[-3000:]
    assert "ras" in fleet.state("policy-right")["rights"]["SeBatchLogonRight"]
    assert fleet.state("full")["shares"]["RasRemote"]["full"] == ["ras"]
