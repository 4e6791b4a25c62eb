"""Modules about files, programs and the machine itself."""

from __future__ import annotations

import base64
import hashlib
import json
import ntpath
import re
from typing import Any

from tests.simulators.ansible_windows.machine import Machine, ModuleFailedError, normal
from tests.simulators.ansible_windows.modules import Result, module
from tests.simulators.ansible_windows.tasks import python, schtasks

_UNINSTALL = r"HKLM:\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall"


@module("ansible.windows.win_stat")
def _stat(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    entry = machine.entry(args["path"])
    if entry is None:
        return {"changed": False, "stat": {"exists": False}}
    about: Result = {"exists": True, "path": entry["path"], "isdir": "content" not in entry}
    about["isreg"] = not about["isdir"]
    if about["isreg"]:
        content = machine.read(args["path"])
        about |= {"size": len(content), "checksum": hashlib.new(args["checksum_algorithm"], content).hexdigest()}
    return {"changed": False, "stat": about}


@module("ansible.windows.win_find")
def _find(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    if args["recurse"] or args["patterns"] or len(args["paths"]) != 1:
        raise ModuleFailedError("simulator: win_find lists one folder only")
    if machine.entry(args["paths"][0]) is None:
        return {"changed": False, "files": [], "matched": 0, "examined": 0}
    found = machine.children(args["paths"][0])
    wanted = [
        entry for entry in found if args["file_type"] == "any" or ("content" in entry) == (args["file_type"] == "file")
    ]
    return {"changed": False, "files": [{"path": e["path"]} for e in wanted], "matched": len(wanted)}


@module("ansible.windows.slurp")
def _slurp(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    content = base64.b64encode(machine.read(args["src"])).decode()
    return {"changed": False, "content": content, "encoding": "base64", "source": args["src"]}


@module("ansible.windows.win_file")
def _file(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    entry = machine.entry(args["path"])
    if args["state"] == "directory":
        if entry is not None and "content" in entry:
            raise ModuleFailedError(f"path {args['path']} is not a directory")
        machine.make_folder(args["path"])
        return {"changed": entry is None}
    if args["state"] == "absent":
        machine.remove(args["path"])
        return {"changed": entry is not None}
    raise ModuleFailedError(f"simulator: win_file state {args['state']} is not simulated")


@module("ansible.windows.win_tempfile")
def _tempfile(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    path = ntpath.join(normal(args["path"]), f"{args['prefix']}{len(machine.state['files'])}{args['suffix'] or ''}")
    if args["state"] == "directory":
        machine.make_folder(path)
    else:
        machine.write(path, b"")
    return {"changed": True, "path": path, "state": args["state"]}


@module("ansible.windows.win_copy")
def _copy(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    """The action plugin asks first what is different (``query``), then sends those files (``single``)."""
    mode = args["_copy_mode"]
    if mode == "query":
        base = args["dest"]
        different = []
        for file in args["files"]:
            there = machine.entry(ntpath.join(base, file["dest"]))
            same = there is not None and "content" in there
            if same and args.get("force", True):
                same = hashlib.sha1(machine.read(ntpath.join(base, file["dest"]))).hexdigest() == file["checksum"]
            if not same:
                different.append(file)
        return {"changed": bool(different), "files": different, "directories": [], "symlinks": []}
    if mode == "single":
        machine.write(args["dest"], machine.read(args["src"]))
        return {"changed": True, "dest": args["dest"]}
    raise ModuleFailedError(f"simulator: win_copy mode {mode} is not simulated")


@module("community.windows.win_file_version")
def _file_version(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    version = json.loads(machine.read(args["path"]))["version"]
    return {"changed": False, "win_file_version": {"path": args["path"], "file_version": version}}


@module("ansible.windows.win_package")
def _package(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    """An installer is JSON: ``product``, ``version``, ``folder`` and whether it wants a restart."""
    registry = machine.table("registry")
    if args["state"] == "absent":
        key = machine.key("registry", f"{_UNINSTALL}\\{args['product_id']}")
        if key is None:
            return {"changed": False, "reboot_required": False}
        folder = registry.pop(key)["InstallLocation"][1]
        machine.remove(folder)
        while not machine.children(folder := ntpath.dirname(folder)):
            machine.remove(folder)
        return {"changed": True, "rc": 0, "reboot_required": False}
    if args["creates_path"] and machine.entry(args["creates_path"]) is not None:
        return {"changed": False, "reboot_required": False}
    content = machine.read(args["path"])
    found = hashlib.new(args["checksum_algorithm"], content).hexdigest()
    if args["checksum"] and args["checksum"].lower() != found:
        raise ModuleFailedError(f"The checksum for {args['path']} did not match '{args['checksum']}', it was '{found}'")
    code = machine.state["faults"].get("installer_fails", 0)
    if code not in (args["expected_return_code"] or [0, 3010]):
        raise ModuleFailedError(f"unexpected rc from install of {args['path']}: see rc, stdout and stderr (rc {code})")
    installer = json.loads(content)
    machine.make_folder(installer["folder"])
    machine.write(ntpath.join(installer["folder"], "Ras.exe"), json.dumps({"version": installer["version"]}).encode())
    registry[f"{_UNINSTALL}\\{installer['product']}"] = {
        "DisplayName": ["string", f"HEC-RAS {installer['version']}"],
        "InstallLocation": ["string", installer["folder"]],
    }
    return {"changed": True, "rc": 0, "reboot_required": False}


@module("community.windows.win_disk_facts")
def _disk_facts(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    volume = {"size": 500 * 2**30, "size_remaining": machine.state["free_bytes"]}
    boot = {"drive_letter": None, "volumes": []}
    disk = {"number": 0, "partitions": [boot, {"drive_letter": "C", "volumes": [volume]}]}
    return {"changed": False, "ansible_facts": {"ansible_disks": [disk]}}


@module("ansible.windows.win_ping")
def _ping(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    return {"changed": False, "ping": args["data"]}


@module("ansible.windows.setup")
def _setup(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    facts = {
        "ansible_os_family": "Windows",
        "ansible_system": "Win32NT",
        "ansible_hostname": machine.state["hostname"],
        "ansible_fqdn": machine.state["hostname"] + ".example.org",
        "ansible_distribution": "Microsoft Windows",
        "ansible_distribution_version": machine.state["version"],
        "ansible_os_installation_type": machine.state["installation"],
        "ansible_windows_domain_member": machine.state["domain_member"],
    }
    return {"changed": False, "ansible_facts": facts}


@module("ansible.windows.win_command")
def _command(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    argv = args.get("argv") or []
    if argv and argv[0] == "schtasks.exe":
        return schtasks(machine, argv)
    if argv and argv[0].endswith("\\python.exe"):
        return python(machine, argv, args.get("chdir"))
    line = args.get("_raw_params") or args.get("cmd") or " ".join(argv)
    if re.match(r"gpupdate(\.exe)? ", line):
        if machine.state["faults"].get("no_domain_controller"):
            return {"changed": True, "rc": 1, "stdout": "Computer policy could not be updated successfully."}
        machine.refresh_policy()
        return {"changed": True, "rc": 0, "stdout": "Computer Policy update has completed successfully.", "stderr": ""}
    raise ModuleFailedError(f"simulator: no such program here: {line}")
