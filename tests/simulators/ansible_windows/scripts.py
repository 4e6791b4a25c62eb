"""The few PowerShell scripts of the roles, known by their text: what each would find and do on a ``Machine``.

A script that no role has fails. Its parameters are checked against its own ``param`` block.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.simulators.ansible_windows.machine import Machine, ModuleFailedError
from tests.simulators.ansible_windows.modules import Result, module
from tests.simulators.ansible_windows.powershell import parameters, supports_should_process

ROLES = Path(__file__).parents[3] / "roles"
#: What a script sets: $Ansible.Changed and $Ansible.Result.
Answer = tuple[bool, Any]
SCRIPTS: dict[str, Callable[[Machine, dict[str, Any], bool], Answer]] = {}


def script(name: str) -> Callable[..., Any]:
    """Register the emulation of ``roles/NAME``."""

    def register(function: Callable[[Machine, dict[str, Any], bool], Answer]) -> Callable[..., Any]:
        SCRIPTS[name] = function
        return function

    return register


@functools.cache
def _known_scripts() -> dict[str, str]:
    return {
        path.read_text(encoding="utf-8").strip(): path.relative_to(ROLES).as_posix()
        for path in ROLES.glob("*/files/*.ps1")
    }


@module("ansible.windows.win_powershell")
def _powershell(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    name = _known_scripts().get(args["script"].strip())
    if name is None or name not in SCRIPTS:
        raise ModuleFailedError(f"simulator: this script is not one of the roles': {args['script'][:80]!r}")
    if check and not supports_should_process(args["script"]):
        return {"changed": False, "skipped": True, "msg": "skipped, running in check mode"}
    given = args["parameters"] or {}
    known = parameters(args["script"])
    if unknown := sorted(set(given) - set(known)):
        raise ModuleFailedError(f"A parameter cannot be found that matches parameter name '{unknown[0]}'.")
    if missing := sorted(name for name, mandatory in known.items() if mandatory and name not in given):
        raise ModuleFailedError(
            f"Cannot process command because of one or more missing mandatory parameters: {missing}"
        )
    changed, result = SCRIPTS[name](machine, given, check)
    return {"changed": changed, "result": result, "output": [], "error": []}


@script("windows_winrm/files/https_listener.ps1")
def _https_listener(machine: Machine, given: dict[str, Any], check: bool) -> Answer:
    listeners, certificates = machine.table("listeners"), machine.table("certificates")
    before = listeners.get("HTTPS", "")
    certificates_before = dict(certificates)
    if given["State"] == "absent":
        listeners.pop("HTTPS", None)
        if given.get("Thumbprint"):
            listeners["HTTPS"] = given["Thumbprint"]
        for thumbprint in [t for t, about in certificates.items() if about["name"] == given["FriendlyName"]]:
            del certificates[thumbprint]
    else:
        thumbprint = given.get("Thumbprint") or before or _own_certificate(machine, given)
        if thumbprint not in certificates:
            raise ModuleFailedError(f"There is no certificate {thumbprint} with a private key in LocalMachine\\My.")
        listeners["HTTPS"] = thumbprint
    after = listeners.get("HTTPS", "")
    shown = before if check else after
    result = {"before": before, "thumbprint": shown, "certificate": certificates.get(shown, {}).get("der", "")}
    return (before, certificates_before) != (after, certificates), result


def _own_certificate(machine: Machine, given: dict[str, Any]) -> str:
    certificates = machine.table("certificates")
    for thumbprint, about in certificates.items():
        if about["name"] == given["FriendlyName"] and about["dns"] == list(given["DnsName"]):
            return str(thumbprint)
    thumbprint = hashlib.sha1(repr(given["DnsName"]).encode()).hexdigest().upper()
    certificates[thumbprint] = {"name": given["FriendlyName"], "dns": list(given["DnsName"]), "der": "MIIB"}
    return thumbprint


@script("windows_ssh/files/capability.ps1")
def _capability(machine: Machine, given: dict[str, Any], check: bool) -> Answer:
    capabilities, services = machine.table("capabilities"), machine.table("services")
    before = capabilities["OpenSSH.Server"]
    if given["State"] == "present" and before != "Installed":
        if machine.state["faults"].get("no_update_source") and not check:
            raise ModuleFailedError("Add-WindowsCapability failed. Error code = 0x800f0954")
        capabilities["OpenSSH.Server"] = "Installed"
        services["sshd"] = {"start_mode": "manual", "state": "stopped"}
        machine.make_folder(r"C:\ProgramData\ssh")
        machine.write(
            r"C:\ProgramData\ssh\sshd_config",
            b"#Port 22\r\n#PubkeyAuthentication yes\r\n#PasswordAuthentication yes\r\nMatch Group administrators\r\n"
            b"       AuthorizedKeysFile __PROGRAMDATA__/ssh/administrators_authorized_keys\r\n",
        )
    elif given["State"] == "absent" and before == "Installed":
        capabilities["OpenSSH.Server"] = "NotPresent"
        services.pop("sshd", None)
    return capabilities["OpenSSH.Server"] != before, {"before": before}


@script("windows_firewall/files/wider_rules.ps1")
def _wider_rules(machine: Machine, given: dict[str, Any], check: bool) -> Answer:
    return False, [
        name
        for name, rule in machine.table("firewall").items()
        if rule["enabled"]
        and rule["remoteip"] == "any"
        and rule["direction"] == "in"
        and rule["action"] == "allow"
        and rule["localport"] in given["Ports"]
    ]


@script("windows_session/files/desktops.ps1")
def _desktops(machine: Machine, given: dict[str, Any], check: bool) -> Answer:
    return False, [
        {"user": f"{machine.state['hostname']}\\{session['user']}", "session": session["id"]}
        for session in machine.state["sessions"]
    ]


@script("worker_report/files/look.ps1")
def _look(machine: Machine, given: dict[str, Any], check: bool) -> Answer:
    found = [entry["path"].rpartition("\\")[0] for entry in machine.table("files").values()]
    installed = [folder for folder in found if machine.entry(folder + "\\Ras.exe")]
    return False, {
        "system": f"Microsoft Windows {machine.state['version']}",
        "cores": 8,
        "memory_bytes": 32 * 2**30,
        "disk_bytes": 500 * 2**30,
        "hecras": {folder.rpartition("\\")[2]: folder for folder in installed},
        "sessions": machine.state["sessions"],
    }
