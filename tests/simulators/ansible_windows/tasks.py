"""Scheduled tasks, and the one program that a role starts by them: a Dask worker, as far as its start file tells.

A task in ``scheduled_tasks`` has ``settings`` (what the role asked for) and ``run``: None, or the session it runs in
and a hash of the files that it was started with.
"""

from __future__ import annotations

import hashlib
import io
import json
import ntpath
import re
import zipfile
from typing import Any

from tests.simulators.ansible_windows.machine import Machine, ModuleFailedError, normal
from tests.simulators.ansible_windows.modules import Result, module
from tests.simulators.ansible_windows.scripts import Answer, script

_FILES = (
    "start.py",
    "worker.json",
    "installed.txt",
    r"config\dask.yaml",
    r"tls\ca.pem",
    r"tls\cert.pem",
    r"tls\key.pem",
)


@module("community.windows.win_scheduled_task")
def _scheduled_task(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    tasks = machine.table("scheduled_tasks")
    name = ntpath.join(args["path"], args["name"])
    key = machine.key("scheduled_tasks", name)
    if args["state"] == "absent":
        return {"changed": key is not None and bool(tasks.pop(key))}
    asked = {option: value for option, value in args.items() if value is not None and option not in _NOT_SETTINGS}
    if key is None and not asked.get("actions"):
        raise ModuleFailedError("failed to create task: a task needs at least one action")
    if "username" in asked:
        asked["username"] = machine.account(asked["username"])
    task = tasks.setdefault(key or name, {"settings": {}, "run": None})
    before = dict(task["settings"])
    task["settings"] |= asked
    return {"changed": before != task["settings"]}


_NOT_SETTINGS = ("name", "path", "state", "update_password")


@module("community.windows.win_scheduled_task_stat")
def _scheduled_task_stat(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    key = machine.key("scheduled_tasks", ntpath.join(args["path"], args["name"]))
    return {"changed": False, "task_exists": key is not None}


def schtasks(machine: Machine, argv: list[str]) -> Result:
    """``schtasks.exe /Run`` and ``/End``."""
    verb, option, name = argv[1:4]
    key = machine.key("scheduled_tasks", name)
    if option != "/TN" or key is None:
        return {"changed": True, "rc": 1, "stderr": "ERROR: The system cannot find the file specified."}
    task = machine.table("scheduled_tasks")[key]
    if verb == "/Run":
        begin(machine, task)
    elif verb == "/End" and not machine.state["faults"].get("will_not_end"):
        task["run"] = None
    return {"changed": True, "rc": 0, "stdout": "SUCCESS", "stderr": ""}


def begin(machine: Machine, task: dict[str, Any]) -> None:
    """Start a task's program where its user is logged on; one that runs is left alone, as IgnoreNew has it."""
    settings = task["settings"]
    sessions = [one["id"] for one in machine.state["sessions"] if one["user"] == settings["username"]]
    if task["run"] or not sessions or not settings.get("enabled", True):
        return
    if settings["logon_type"] != "interactive_token" or settings["multiple_instances"] != 2:
        raise ModuleFailedError("simulator: only tasks of the logged-on user are simulated, one run at a time")
    for action in settings["actions"]:
        for path in (action["path"], action["arguments"].strip('"')):
            machine.read(path)  # raises where it is not there
        task["run"] = {"session": sessions[0], "files": _hash(machine, ntpath.dirname(action["arguments"].strip('"')))}


def after_restart(machine: Machine) -> None:
    """What ran has ended; tasks that a logon starts are started."""
    for task in machine.table("scheduled_tasks").values():
        task["run"] = None
        if any(trigger["type"] == "logon" for trigger in task["settings"]["triggers"]):
            begin(machine, task)


def _hash(machine: Machine, folder: str) -> str:
    found = hashlib.sha256()
    for name in _FILES:
        path = ntpath.join(folder, name)
        found.update(machine.read(path) if machine.entry(path) else b"-")
    return found.hexdigest()


@script("windows_dask_worker/files/look.ps1")
def _look(machine: Machine, given: dict[str, Any], check: bool) -> Answer:
    start = ntpath.join(given["Folder"], "start.py").lower()
    runs = [
        task["run"]
        for task in machine.table("scheduled_tasks").values()
        if task["run"] and start in str(task["settings"]["actions"]).replace("\\\\", "\\").lower()
    ]
    settings = json.loads(machine.read(ntpath.join(given["Folder"], "worker.json"))) if runs else {"arguments": [""]}
    scheduler, faults = settings["arguments"][0], machine.state["faults"]
    return False, {
        "sessions": [run["session"] for run in runs],
        "running": bool(runs),
        "connected": scheduler.endswith(f":{given['Port']}") and not faults.get("scheduler_silent"),
        "outdated": any(run["files"] != _hash(machine, given["Folder"]) for run in runs),
        "plans": faults.get("plans", 0) if runs else 0,
        "said": "Trying to connect to scheduler" if runs and faults.get("scheduler_silent") else "",
    }


@module("community.windows.win_unzip")
def _unzip(machine: Machine, args: dict[str, Any], check: bool) -> Result:
    if not args["src"].lower().endswith(".zip") or args["recurse"]:
        raise ModuleFailedError("simulator: PSCX is not on this machine")
    with zipfile.ZipFile(io.BytesIO(machine.read(args["src"]))) as archive:
        for name in archive.namelist():
            path = normal(ntpath.join(args["dest"], name))
            machine.make_folder(ntpath.dirname(path))
            machine.write(path, archive.read(name))
    if args["delete_archive"]:
        machine.remove(args["src"])
    return {"changed": True}


def python(machine: Machine, argv: list[str], chdir: str | None) -> Result:
    """``python -m venv FOLDER``, and ``python -m pip install ... --requirement FILE`` in the environment so made."""
    done = {"changed": True, "rc": 0, "stdout": "", "stderr": ""}
    version = machine.read(argv[0])
    if argv[1:3] == ["-m", "venv"]:
        for name in ("python.exe", "pythonw.exe"):
            machine.make_folder(ntpath.join(argv[3], "Scripts"))
            machine.write(ntpath.join(argv[3], "Scripts", name), version)
        return done
    if argv[1:4] != ["-m", "pip", "install"] or not ntpath.dirname(argv[0]).endswith("Scripts"):
        raise ModuleFailedError(f"simulator: Python does not do this here: {argv}")
    lines = machine.read(ntpath.join(chdir or "", argv[argv.index("--requirement") + 1])).decode().splitlines()
    wheels = [entry["path"] for entry in machine.children(ntpath.join(chdir or "", "wheels"))]
    packages = [re.split(r"\[|==", line)[0] for line in lines if line and line[0] not in "#-"]
    own = [ntpath.normpath(ntpath.join(chdir or "", name)) for name in packages if name.startswith("./")]
    named = [name for name in packages if not name.startswith("./")]
    lacking = [name for name in named if not any(f"\\{name.replace('-', '_')}-" in wheel for wheel in wheels)]
    if "--no-index" not in lines:
        lacking = []
    if lacking := [*lacking, *(path for path in own if machine.entry(path) is None)]:
        return done | {"rc": 1, "stderr": f"ERROR: No matching distribution found for {lacking[0]}"}
    site = ntpath.join(ntpath.dirname(ntpath.dirname(argv[0])), "Lib", "site-packages")
    machine.make_folder(site)
    for name in packages:
        machine.write(ntpath.join(site, ntpath.basename(name)), b"installed")
    return done
