"""The modules that the roles use, on a ``Machine``. Each takes what its documentation lists and says what changed.

In check mode the caller throws the changed state away, so a module here always does what it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulators.ansible_windows.machine import Machine, ModuleFailedError

Result = dict[str, Any]
Module = Callable[[Machine, dict[str, Any], bool], Result]
MODULES: dict[str, Module] = {}


def module(name: str) -> Callable[[Module], Module]:
    """Register the emulation of a module."""

    def register(function: Module) -> Module:
        MODULES[name] = function
        return function

    return register


def _changed(before: Any, after: Any) -> Result:
    return {"changed": before != after}


# registry

_TYPES = {"string": "REG_SZ", "dword": "REG_DWORD", "expandstring": "REG_EXPAND_SZ", "multistring": "REG_MULTI_SZ"}


@module("ansible.windows.win_reg_stat")
def _reg_stat(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    key = machine.key("registry", args["path"])
    below = args["path"].lower() + "\\"
    keys = [found for found in machine.table("registry") if found.lower().startswith(below)]
    if key is None and not keys:
        return {"changed": False, "exists": False}
    values = machine.table("registry")[key] if key else {}
    if args.get("name") is not None:
        found = next((value for name, value in values.items() if name.lower() == args["name"].lower()), None)
        if found is None:
            return {"changed": False, "exists": False}
        return {"changed": False, "exists": True, "type": _TYPES[found[0]], "value": found[1], "raw_value": found[1]}
    properties = {
        name: {"type": _TYPES[kind], "value": data, "raw_value": data} for name, (kind, data) in values.items()
    }
    sub_keys = sorted({found[len(below) :].split("\\")[0] for found in keys})
    return {"changed": False, "exists": True, "properties": properties, "sub_keys": sub_keys}


@module("ansible.windows.win_regedit")
def _regedit(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    if not args["path"].upper().startswith(("HKLM:\\", "HKCU:\\", "HKU:\\", "HKCR:\\", "HKCC:\\")):
        raise ModuleFailedError(f"path: {args['path']} is not a valid powershell path")
    if args.get("hive"):
        raise ModuleFailedError("simulator: hives are not loaded here")
    registry = machine.table("registry")
    key = machine.key("registry", args["path"])
    name = args.get("name")
    if args["state"] == "absent":
        if key is None:
            return {"changed": False}
        if name is None:
            for found in [found for found in registry if (found.lower() + "\\").startswith(key.lower() + "\\")]:
                del registry[found]
            return {"changed": True}
        stored = next((found for found in registry[key] if found.lower() == name.lower()), None)
        return {"changed": stored is not None and bool(registry[key].pop(stored))}
    if args["type"] == "dword" and not isinstance(args["data"], int) and not str(args["data"]).isdigit():
        raise ModuleFailedError(f"data '{args['data']}' cannot be converted to a dword")
    values = registry.setdefault(key or args["path"], {})
    if name is None:
        return {"changed": key is None}
    stored = next((found for found in values if found.lower() == name.lower()), name)
    data = int(args["data"]) if args["type"] == "dword" else args.get("data")
    before, values[stored] = values.get(stored), [args["type"], data]
    return _changed(before, values[stored])


# services


@module("ansible.windows.win_service_info")
def _service_info(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    key = machine.key("services", args["name"])
    if key is None:
        return {"changed": False, "exists": False, "services": []}
    return {"changed": False, "exists": True, "services": [{"name": key, **machine.table("services")[key]}]}


@module("ansible.windows.win_service")
def _service(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    key = machine.key("services", args["name"])
    if key is None:
        raise ModuleFailedError(
            f"Service '{args['name']}' is not installed, need to set 'path' to create a new service"
        )
    if args.get("state") == "absent":
        raise ModuleFailedError("simulator: services are not removed here")
    service = machine.table("services")[key]
    before = dict(service)
    if args.get("start_mode"):
        service["start_mode"] = args["start_mode"]
    state = "started" if args.get("state") == "restarted" else args.get("state")
    if state == "started" and service["start_mode"] == "disabled":
        raise ModuleFailedError(f"Cannot start service {key}: it is disabled")
    service["state"] = state or service["state"]
    return {"changed": before != service or args.get("state") == "restarted", "exists": True, **service}


# accounts


@module("ansible.windows.win_user")
def _user(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    users = machine.table("users")
    key = machine.key("users", args["name"])
    if args["state"] == "query":
        return {"changed": False, **_about_user(machine, key)}
    if args["state"] == "absent":
        if key is not None:
            del users[key]
            for members in machine.table("groups").values():
                members[:] = [member for member in members if member != key]
        return {"changed": key is not None, "state": "absent"}
    if args["groups"] or args["home_directory"] or args["login_script"]:
        raise ModuleFailedError("simulator: win_user's groups and folders are not simulated")
    before = dict(users[key]) if key else None
    user = users.setdefault(key or args["name"], {"sid": f"S-1-5-21-1-2-3-{1001 + len(users)}"})
    if args["password"] is not None and (before is None or args["update_password"] == "always"):
        if len(args["password"]) < machine.state["faults"].get("password_length", 0):
            raise ModuleFailedError("The password does not meet the password policy requirements.")
        user["password"] = args["password"]
    for name in ("description", "fullname", "password_never_expires", "user_cannot_change_password"):
        if args[name] is not None:
            user[name] = args[name]
    return _changed(before, user) | _about_user(machine, key or args["name"])


def _about_user(machine: Machine, key: str | None) -> Result:
    if key is None:
        return {"state": "absent"}
    groups = [{"name": name} for name, members in machine.table("groups").items() if key in members]
    user = {name: value for name, value in machine.table("users")[key].items() if name != "password"}
    return {"state": "present", "name": key, "groups": groups, **user}


@module("ansible.windows.win_group_membership")
def _group_membership(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    key = machine.key("groups", args["name"])
    if key is None:
        raise ModuleFailedError(f"Could not find local group {args['name']}")
    members = machine.table("groups")[key]
    asked = {machine.account(name) for name in args["members"]}
    before = set(members)
    after = {"present": before | asked, "absent": before - asked, "pure": asked}[args["state"]]
    members[:] = sorted(after)
    return _changed(before, after) | {
        "name": key, "members": members, "added": sorted(after - before), "removed": sorted(before - after)
    }  # fmt: skip


@module("ansible.windows.win_user_right")
def _user_right(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    rights = machine.table("rights")
    if not args["name"].startswith("Se"):
        raise ModuleFailedError(f"the specified right {args['name']} is not a valid right")
    asked = {machine.account(name) for name in args["users"]}
    before = set(rights.get(args["name"], []))
    after = {"add": before | asked, "remove": before - asked, "set": asked}[args["action"]]
    rights[args["name"]] = sorted(after)
    return _changed(before, after) | {"added": sorted(after - before), "removed": sorted(before - after)}


@module("ansible.windows.win_whoami")
def _whoami(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    group = {
        "account_name": machine.state["administrators_group"],
        "domain_name": "BUILTIN",
        "sid": "S-1-5-32-544",
        "type": "Alias",
        "attributes": ["Mandatory", "Enabled by default", "Enabled", "Owner"]
        if machine.state["administrator"]
        else ["Used for deny only"],
    }
    return {"changed": False, "account": {"account_name": "Engineer"}, "groups": [group]}


@module("ansible.windows.win_auto_logon")
def _auto_logon(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    from tests.simulators.ansible_windows.machine import WINLOGON

    logon = machine.table("registry").setdefault(WINLOGON, {})
    secrets = machine.table("secrets")
    before = (dict(logon), dict(secrets))
    if args["state"] == "present":
        user = machine.account(args["username"])
        domain, _, short = user.rpartition("\\")
        logon["AutoAdminLogon"] = ["dword", 1]
        logon["DefaultUserName"] = ["string", short]
        logon["DefaultDomainName"] = ["string", domain or machine.state["hostname"]]
        secrets["DefaultPassword"] = args["password"]
    else:
        if str(logon.get("AutoAdminLogon", ["", 0])[1]) == "1":
            logon["AutoAdminLogon"] = ["dword", 0]
        logon.pop("DefaultUserName", None)
        logon.pop("DefaultDomainName", None)
        secrets.pop("DefaultPassword", None)
    return _changed(before, (logon, secrets))


# shares, rights to files, firewall

_SHARES = r"HKLM:\SYSTEM\CurrentControlSet\Services\LanmanServer\Shares"


@module("ansible.windows.win_share")
def _share(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    shares = machine.table("shares")
    key = machine.key("shares", args["name"])
    listed = machine.table("registry").setdefault(_SHARES, {})
    if args["state"] == "absent":
        listed.pop(key or "", None)
        return {"changed": key is not None and bool(shares.pop(key))}
    entry = machine.entry(args["path"])
    if entry is None:
        raise ModuleFailedError(f"{args['path']} directory does not exist on the host")
    access = {
        name: sorted(machine.account(account.strip()) for account in (args[name] or "").split(",") if account)
        for name in ("full", "change", "read", "deny")
    }
    before = shares.get(key) if key else None
    after = {
        "path": entry["path"], "description": args["description"] or "", "encrypt": args["encrypt"],
        "caching_mode": args["caching_mode"], "list": args["list"], **access,
    }  # fmt: skip
    shares[key or args["name"]] = after
    listed[key or args["name"]] = ["multistring", [f"Path={entry['path']}", "Type=0"]]
    return _changed(before, after)


@module("ansible.windows.win_acl")
def _acl(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    entry = machine.entry(args["path"])
    if entry is None:
        raise ModuleFailedError(f"{args['path']} file or directory does not exist on the host")
    rules = machine.table("acls").setdefault(entry["path"].lower(), [])
    below = args["inherit"] or ("" if "content" in entry else "ContainerInherit, ObjectInherit")
    rule = [machine.account(args["user"]), args["type"], args["rights"], below, args["propagation"]]
    before = list(rules)
    if args["state"] == "present" and rule not in rules:
        rules.append(rule)
    elif args["state"] == "absent" and rule in rules:
        rules.remove(rule)
    changed = _changed(before, rules)
    if not rules:
        del machine.table("acls")[entry["path"].lower()]
    return changed


@module("ansible.windows.win_acl_inheritance")
def _acl_inheritance(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    entry = machine.entry(args["path"])
    if entry is None:
        raise ModuleFailedError(f"{args['path']} file or directory does not exist on the host")
    before = entry.get("inherits", True)
    entry["inherits"] = args["state"] == "present"
    return _changed(before, entry["inherits"])


@module("community.windows.win_firewall_rule")
def _firewall_rule(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    rules = machine.table("firewall")
    key = machine.key("firewall", args["name"])
    if args["state"] == "absent":
        return {"changed": key is not None and bool(rules.pop(key))}
    asked = {name: value for name, value in args.items() if value is not None and name not in ("name", "state")}
    before = dict(rules[key]) if key else None
    rules[key or args["name"]] = (before or {"enabled": True}) | asked
    return _changed(before, rules[key or args["name"]])
