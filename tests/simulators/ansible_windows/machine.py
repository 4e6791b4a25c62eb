"""A Windows machine that is one JSON file: what the emulated modules read and change.

The state's tables (all names are compared as Windows does, without regard to case):
registry (key -> values), services, users, groups, rights, shares, acls, firewall, files, capabilities, certificates,
listeners, secrets (LSA), sessions, scheduled_tasks, and facts about the machine. ``faults`` holds what is wrong with
it:

- ``policy``: what a domain's policy puts back at every refresh: ``rights`` and ``registry``.
- ``no_domain_controller``: no policy can be fetched.
- ``never_returns``: a restart that does not come back.
- ``installer_fails``: exit code of every installer.
- ``no_update_source``: Windows features cannot be fetched.
- ``password_length``: shortest password that the machine takes.
- ``plans``: how many plans run on its Dask worker.
- ``scheduler_silent``: its Dask worker does not reach the scheduler.
- ``will_not_end``: a scheduled task that goes on when it is to end.
"""

from __future__ import annotations

import base64
import copy
import json
import ntpath
import re
from pathlib import Path
from typing import Any

#: Accounts that every Windows has, by SID.
WELL_KNOWN = {
    "S-1-1-0": "Everyone",
    "S-1-5-18": "NT AUTHORITY\\SYSTEM",
    "S-1-5-113": "NT AUTHORITY\\Local account",
    "S-1-5-114": "NT AUTHORITY\\Local account and member of Administrators group",
}
ADMINISTRATORS = "S-1-5-32-544"
WINLOGON = r"HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon"
SYSTEM_POLICY = r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System"


class ModuleFailedError(Exception):
    """A module ends with ``failed``; the message is what Windows or the module would say."""


def fresh_state(**changes: Any) -> dict[str, Any]:
    """A new Windows 11 that nobody has prepared; ``changes`` replace its tables."""
    state: dict[str, Any] = {
        "hostname": "RASWIN",
        "version": "10.0.22631.0",
        "installation": "Client",
        "domain_member": False,
        "administrator": True,
        "administrators_group": "Administrators",
        "free_bytes": 200 * 2**30,
        "boots": 1,
        "registry": {
            WINLOGON: {"AutoAdminLogon": ["string", "0"], "DefaultUserName": ["string", "Engineer"]},
            SYSTEM_POLICY: {"EnableLUA": ["dword", 1]},
            r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall": {},
            r"HKLM:\SYSTEM\CurrentControlSet\Services\LanmanServer\Shares": {},
        },
        "services": {
            "RemoteRegistry": {"start_mode": "disabled", "state": "stopped"},
            "WinRM": {"start_mode": "delayed", "state": "started"},
        },
        "users": {"Engineer": {"sid": "S-1-5-21-1-2-3-1001", "password": "Engineer's own"}},
        "domain_users": [],
        "groups": {"Administrators": ["Engineer"], "Users": ["Engineer"]},
        "rights": {
            "SeNetworkLogonRight": ["Everyone"],
            "SeInteractiveLogonRight": ["BUILTIN\\Administrators"],
            "SeBatchLogonRight": ["BUILTIN\\Administrators"],
            "SeDenyNetworkLogonRight": [],
        },
        "shares": {},
        "acls": {},
        "firewall": {
            "File and Printer Sharing (SMB-In)": {
                "enabled": False,
                "direction": "in",
                "action": "allow",
                "localport": "445",
                "remoteip": "any",
            }
        },
        "files": {},
        "capabilities": {"OpenSSH.Server": "NotPresent"},
        "certificates": {},
        "listeners": {},
        "secrets": {},
        "sessions": [],
        "scheduled_tasks": {},
        "faults": {},
        "calls": [],
    }
    for folder in (r"C:\ProgramData", r"C:\Windows\Temp", r"C:\Program Files (x86)\Common Files", r"C:\Users\Engineer"):
        _add_folder(state["files"], folder)
    return state | copy.deepcopy(changes)


def _add_folder(files: dict[str, Any], path: str) -> None:
    while ntpath.dirname(path) != path:
        files.setdefault(path.lower(), {"path": path})
        path = ntpath.dirname(path)


class Machine:
    """The state below ``root``, changed in place and written by ``save``."""

    def __init__(self, root: Path) -> None:
        self.file = root / "state.json"
        self.state: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))

    def save(self) -> None:
        """Write the state; a reader sees the old one or the new one."""
        temporary = self.file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.state, indent=1, sort_keys=True), encoding="utf-8")
        temporary.replace(self.file)

    def table(self, name: str) -> dict[str, Any]:
        """One of the state's tables."""
        found: dict[str, Any] = self.state[name]
        return found

    def key(self, table: str, name: str) -> str | None:
        """The name under which the table has it, whatever the case of the letters."""
        return next((key for key in self.state[table] if key.lower() == name.lower()), None)

    # files: path -> {"path"} for a folder, {"path", "content"} for a file

    def entry(self, path: str) -> dict[str, Any] | None:
        """The file or folder at the path."""
        found: dict[str, Any] | None = self.state["files"].get(normal(path).lower())
        return found

    def read(self, path: str) -> bytes:
        """Bytes of a file."""
        entry = self.entry(path)
        if entry is None or "content" not in entry:
            raise ModuleFailedError(f"Could not find file '{path}'.")
        return base64.b64decode(entry["content"])

    def write(self, path: str, content: bytes) -> None:
        """Create or replace a file; its folder must be there."""
        path = normal(path)
        parent = self.entry(ntpath.dirname(path))
        if ntpath.dirname(ntpath.dirname(path)) != ntpath.dirname(path) and parent is None:
            raise ModuleFailedError(f"Could not find a part of the path '{path}'.")
        self.state["files"][path.lower()] = {"path": path, "content": base64.b64encode(content).decode()}

    def make_folder(self, path: str) -> None:
        """Create a folder and those above it."""
        _add_folder(self.state["files"], normal(path))

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it."""
        path = normal(path).lower()
        for key in [key for key in self.state["files"] if key == path or key.startswith(path + "\\")]:
            del self.state["files"][key]
            self.state["acls"].pop(key, None)

    def children(self, path: str) -> list[dict[str, Any]]:
        """What lies in a folder."""
        folder = normal(path).lower()
        return [entry for key, entry in self.state["files"].items() if ntpath.dirname(key) == folder and key != folder]

    # accounts

    def account(self, name: str) -> str:
        """The name that Windows has for an account given as name, MACHINE\\name or SID."""
        group = self.state["administrators_group"]
        if name == ADMINISTRATORS or name.lower() == group.lower():
            return f"BUILTIN\\{group}"
        if name in WELL_KNOWN or name in WELL_KNOWN.values():
            return WELL_KNOWN.get(name, name)
        short = re.sub(rf"^(\.|{self.state['hostname']})\\", "", name, flags=re.IGNORECASE)
        for user in (*self.state["users"], *self.state["domain_users"]):
            if user.lower() == short.lower() or self.state["users"].get(user, {}).get("sid") == name:
                return str(user)
        raise ModuleFailedError(f"Failed to translate the account '{name}' to a SID")

    # what happens by itself

    def refresh_policy(self) -> None:
        """A member of a domain gets its policy: at every restart, at gpupdate, and every 90 minutes."""
        policy = self.state["faults"].get("policy", {}) if self.state["domain_member"] else {}
        self.state["rights"].update(copy.deepcopy(policy.get("rights", {})))
        for path, values in policy.get("registry", {}).items():
            self.state["registry"].setdefault(path, {}).update(copy.deepcopy(values))

    def restart(self) -> None:
        """Restart: policy, then automatic logon where it is on, has its password, and no notice asks for a click."""
        self.state["boots"] += 1
        self.state["down"] = bool(self.state["faults"].get("never_returns"))
        self.refresh_policy()
        logon = self.state["registry"].get(WINLOGON, {})
        notice = self.state["registry"].get(SYSTEM_POLICY, {}).get("legalnoticetext", ["string", ""])[1]
        user = logon.get("DefaultUserName", ["string", ""])[1]
        known = self.state["users"].get(user, {})
        works = str(logon.get("AutoAdminLogon", ["", 0])[1]) == "1" and not notice
        signed_on = works and known.get("password") == self.state["secrets"].get("DefaultPassword")
        self.state["sessions"] = [{"user": user, "id": 1}] if signed_on else []


def normal(path: str) -> str:
    """One spelling of a path: backslashes, no variables, none at the end."""
    places = {"temp": r"C:\Windows\Temp", "programdata": r"C:\ProgramData", "systemroot": r"C:\Windows"}
    path = re.sub(r"%(\w+)%", lambda found: places.get(found[1].lower(), found[0]), path)
    return ntpath.normpath(path)
