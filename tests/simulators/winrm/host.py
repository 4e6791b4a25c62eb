"""A Windows host as our PowerShell programs see it: real files, real processes (under wine), and a state.

PowerShell is not there. A program is recognised by its whole text, as the package has it, and done here; any other
program, and any other command line, fails as PowerShell fails. So what these programs would really do on Windows is not
shown by tests on this host: docs/testing-windows.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.simulators.windows_host.facts import facts
from tests.simulators.windows_host.state import HostState
from tests.simulators.winrm.wsman import Answer
from tests.wine.wine import PYTHON, Windows

from ras_runner.transports.windows_powershell import command_line, script_text

#: Seconds between 1601, where Windows counts from, and 1970.
EPOCH = 11644473600
NOBODY_IS_LOGGED_ON = 0x800710E0
DISK_FULL = 0x80070070 - (1 << 32)


class HostError(Exception):
    """What a program fails with: type of the exception, HRESULT, message."""

    def __init__(self, kind: str, message: str, code: int = -2146233087) -> None:
        super().__init__(message)
        self.kind, self.code = kind, code


@dataclass
class Agent:
    """Processes of the Windows machine, by a program that runs there."""

    windows: Windows
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        program = Path(__file__).with_name("agent.py")
        pipe = subprocess.PIPE
        self._process = self.windows.popen([PYTHON, "-u", program], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)

    def __call__(self, name: str, *arguments: object) -> Any:
        """Have it do something."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self.mutex:
            stdin.write(json.dumps([name, arguments]).encode() + b"\n")
            stdin.flush()
            answer = json.loads(stdout.readline())
        if "error" in answer:
            raise HostError("Win32Exception", answer["error"])
        return answer["value"]

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


@dataclass
class Task:
    """A scheduled task."""

    description: str
    result: int = 0x41303


@dataclass
class SimulatedHost:
    """The host's state, and what our programs do to it.

    Attributes:
        agent: its processes.
        state: who is logged on.
        faults: ``no powershell``, ``no desktop``, ``disk full``, ``folder denied``,
            ``damage uploads``, ``late answers``.
        installed: programs in folders that the Windows machine has not.
        tasks: registered tasks by name.
        calls: names of the programs that were run.
        unknown: command lines and programs that are not ours.
        looks: looks wait for it.
    """

    agent: Agent
    state: HostState = field(default_factory=HostState)
    faults: set[str] = field(default_factory=set)
    installed: list[str] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    looks: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.looks.set()

    def reset(self) -> None:
        """As it was at first, for the next test."""
        self.looks.set()
        self.state, self.faults, self.tasks = HostState(), set(), {}
        self.calls, self.unknown, self.installed = [], [], []

    def execute(self, line: str, stdin: bytes, user: str) -> Answer:
        """What the host does with a command line."""
        if line != command_line() or "no powershell" in self.faults:
            self.unknown.append(line)
            return Answer(1, b"", b"'powershell.exe' is not recognized as an internal or external command")
        call = json.loads(base64.b64decode(b"".join(stdin.split()), validate=True))
        name = next((name for name in PROGRAMS if script_text(name) == call["script"]), "")
        if not name:
            self.unknown.append(call["script"])
        self.calls.append(name or "unknown")
        try:
            value = PROGRAMS.get(name, not_simulated)(self, call["parameters"], user)
            answer = {"ok": True, "value": value}
        except HostError as error:
            answer = {"ok": False, "type": error.kind, "message": str(error), "code": error.code}
        except OSError as error:
            answer = {"ok": False, "type": "IOException", "message": str(error), "code": -2146232800}
        said = b"ras-runner " + base64.b64encode(json.dumps(answer).encode())
        return Answer(0, b"a line of a profile\r\n" + said + b"\r\n")

    def writing(self) -> None:
        """Fail as a host whose files cannot be written."""
        if "disk full" in self.faults:
            raise HostError("IOException", "There is not enough space on the disk.", DISK_FULL)
        if "folder denied" in self.faults:
            raise HostError("UnauthorizedAccessException", "Access to the path is denied.")


def here(path: str) -> Path:
    """A path of the Windows machine, on this one."""
    if not path.startswith("Z:\\"):
        raise HostError("DirectoryNotFoundException", f"Could not find a part of the path '{path}'.")
    return Path(path[2:].replace("\\", "/"))


def filetime(seconds: float) -> int:
    """A time as Windows counts."""
    return int((seconds + EPOCH) * 1e7)


def not_simulated(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    raise HostError("CommandNotFoundException", "this program is not simulated")


def prepare(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    host.writing()
    for name in ("store", "w"):
        (here(p["folder"]) / name).mkdir(parents=True, exist_ok=True)
    (here(p["folder"]) / "w" / p["probe"]).touch()
    (here(p["folder"]) / "w" / p["probe"]).unlink()
    engines = [path for path in host.installed for pattern in p["patterns"] if fnmatchcase(path, pattern)]
    engines += [path for path in p["programs"] if path.startswith("Z:") and in_wine(host, path)]
    said = host.state.session_table()
    system = "Microsoft Windows (simulated)"
    return {"system": system, "folder": p["folder"], "user": f"SIM\\{user}", "engines": engines, "sessions": said}


def in_wine(host: SimulatedHost, path: str) -> bool:
    """Whether the Windows machine has a file; some lie in its own root."""
    return path == PYTHON or here(path).is_file()


def launch(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    if p["task"] in host.tasks:
        raise HostError("CimException", "Cannot create a file when that file already exists.", -2147024713)
    task = host.tasks[p["task"]] = Task(p["description"])
    wanted = p["user"].rpartition("\\")[2]
    claim = here(p["folder"]) / "claim"
    if "no desktop" in host.faults or not any(session.user == wanted for session in host.state.sessions):
        task.result = NOBODY_IS_LOGGED_ON
    else:
        host.agent("start", "C:\\windows\\system32\\cmd.exe " + p["arguments"], p["folder"])
        until = time.monotonic() + p["seconds"]
        while not claim.is_dir() and time.monotonic() < until:
            time.sleep(0.01)
    if "late answers" in host.faults:
        raise HostError("OperationCanceledException", "the answer is lost")
    roots = [{"pid": n, "created": str(at), "command": c} for n, _, at, _, c in host.agent("processes") if c]
    return {"claimed": claim.is_dir(), "result": task.result, "roots": roots}


def unregister(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    ours = [n for n in p["tasks"] if n in host.tasks and host.tasks[n].description == p["description"]]
    for name in ours:
        del host.tasks[name]
    return {"removed": ours}


def look(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    host.looks.wait(60)
    for note in p["notes"]:
        if here(note["path"]).parent.is_dir():
            here(note["path"]).write_text(note["text"], encoding="utf-8")
    listed = host.agent("processes")
    attempts = []
    for attempt in p["attempts"]:
        folder = here(attempt["folder"])
        seconds = None
        if (folder / "exit.json").is_file():
            seconds = (folder / "exit.json").stat().st_mtime - (folder / "claim").stat().st_mtime
        tails = [end(here(path), p["bytes"]) or "" for path in attempt["tails"]]
        found = {name: end(folder / file, 65536) for name, file in (("exit", "exit.json"), ("tree", "tree.json"))}
        attempts.append({**found, "seconds": seconds, "tails": tails})
    return {
        "now": str(filetime(time.time())),
        "processes": [f"{pid} {parent} {at} {cpu}" for pid, parent, at, cpu, _ in listed],
        "commands": [{"pid": pid, "command": command} for pid, _, _, _, command in listed if command],
        "attempts": attempts,
    }


def end(path: Path, count: int) -> str | None:
    """The end of a file in base64."""
    if not path.is_file():
        return None
    return base64.b64encode(path.read_bytes()[-count:]).decode()


def stop(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    for one in p["processes"]:
        host.agent("end", one["pid"], int(one["created"]))
    return {}


def stored(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    sizes = []
    for path in map(here, p["paths"]):
        sizes.append(path.stat().st_size if path.is_file() else -1)
        if path.is_file():
            os.utime(path, (time.time(), path.stat().st_mtime))
    return {"sizes": sizes}


def attempts(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    work = here(p["work"])
    found = []
    for folder in sorted(path for path in work.iterdir() if path.is_dir()) if work.is_dir() else ():
        last = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
        found.append({"name": folder.name, "idle": time.time() - last})
    return {"attempts": found}


def tell_facts(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    return facts(host.state, user)


def write(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    host.writing()
    path = here(p["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(p["offset"])
        file.write(base64.b64decode(p["data"]))
        file.truncate()
    return {}


def unpack(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    host.writing()
    archive = here(p["archive"])
    if p["data"]:
        archive.write_bytes(base64.b64decode(p["data"]))
    bad = []
    with zipfile.ZipFile(archive) as packed:
        for file in p["files"]:
            target = here(file["target"])
            target.parent.mkdir(parents=True, exist_ok=True)
            data = packed.read(file["entry"])
            if "damage uploads" in host.faults:
                data = data[:-1]
            if hashlib.sha256(data).hexdigest().upper() != file["sha256"]:
                bad.append(file["target"])
                continue
            target.unlink(missing_ok=True)
            target.write_bytes(data)
    archive.unlink()
    host.faults.discard("damage uploads")
    return {"bad": bad}


def place(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    host.writing()
    for item in p["places"]:
        source, target = here(item["source"]), here(item["target"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if item["link"]:
            os.link(source, target)
        else:
            shutil.copyfile(source, target)
            shutil.copystat(source, target)
    return {}


def read(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    path = here(p["path"])
    if not path.is_file():
        return {"exists": False}
    data = path.read_bytes()
    at = max(p["start"], len(data) - p["count"], 0) if p["end"] else p["start"]
    piece = base64.b64encode(data[at : at + p["count"]]).decode()
    return {"exists": True, "size": len(data), "data": piece}


def list_folder(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    claim, folder = here(p["claim"]), here(p["folder"])
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return {
        "now": str(filetime(time.time())),
        "claimed": str(filetime(claim.stat().st_mtime)) if claim.is_dir() else None,
        "files": [
            {"name": f.name, "size": f.stat().st_size, "written": str(filetime(f.stat().st_mtime))} for f in files
        ],
    }


def pack(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    archive, sums = here(p["archive"]), []
    with zipfile.ZipFile(archive, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name in p["names"]:
            path = here(p["folder"]) / name
            packed.write(path, name)
            sums.append(hashlib.sha256(path.read_bytes()).hexdigest().upper())
    size, data = archive.stat().st_size, b""
    if size <= p["inline"]:
        data = archive.read_bytes()
        archive.unlink()
    return {"size": size, "data": base64.b64encode(data).decode(), "sums": sums}


def remove(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    path = here(p["path"])
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return {}


def claim(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    folder = here(p["folder"])
    if not folder.is_dir():
        return {"taken": True}
    try:
        (folder / "claim").mkdir()
        (folder / "claim" / p["token"]).touch()
    except FileExistsError:
        pass
    return {"taken": (folder / "claim" / p["token"]).exists()}


def trim(host: SimulatedHost, p: dict[str, Any], user: str) -> dict[str, Any]:
    now, freed = time.time(), 0
    for part in [path for top in (p["store"], p["work"]) for path in here(top).rglob("*.part")]:
        if now - part.stat().st_mtime > p["parts"]:
            freed += part.stat().st_size
            part.unlink()
    files = [f for f in here(p["store"]).rglob("*") if f.is_file() and re.fullmatch("[0-9a-f]{64}", f.name)]
    held = sum(f.stat().st_size for f in files)
    for file in sorted(files, key=lambda f: f.stat().st_atime):
        if held <= p["limit"] or now - file.stat().st_atime < p["lately"]:
            break
        if file.stat().st_nlink == 1:
            held -= file.stat().st_size
            freed += file.stat().st_size
            file.unlink()
    return {"freed": freed}


PROGRAMS: dict[str, Callable[[SimulatedHost, dict[str, Any], str], dict[str, Any]]] = {
    "attempts": attempts,
    "claim": claim,
    "facts": tell_facts,
    "launch": launch,
    "list": list_folder,
    "look": look,
    "pack": pack,
    "place": place,
    "prepare": prepare,
    "read": read,
    "remove": remove,
    "stop": stop,
    "stored": stored,
    "trim": trim,
    "unpack": unpack,
    "unregister": unregister,
    "write": write,
}
