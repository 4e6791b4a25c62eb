"""One simulated Windows machine as the connection plugin sees it: commands in, answers out."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tests.simulators.ansible_windows import files, scripts, tasks  # noqa: F401 - they register their modules
from tests.simulators.ansible_windows.arguments import supports_check_mode, validated
from tests.simulators.ansible_windows.machine import Machine, ModuleFailedError, normal
from tests.simulators.ansible_windows.modules import MODULES
from tests.simulators.ansible_windows.payload import ModuleCall, UnknownPayloadError, Wrapped, parse

Answer = tuple[int, bytes, bytes]
#: Their action plugins send arguments that are not in the documentation.
_UNDOCUMENTED = {"ansible.windows.win_copy", "ansible.windows.win_command"}


#: The clean-up of a temporary folder of Ansible's.
_REMOVAL = re.compile(r"^Remove-Item '(C:\\Windows\\Temp\\ansible-tmp-[^']+)' -Force -Recurse;", re.MULTILINE)


class DownError(Exception):
    """The machine does not answer."""


def run(command: str, stdin: bytes | None, root: Path) -> Answer:
    """Answer one command: exit code, standard output and standard error.

    Raises:
        DownError: the machine restarted and did not come back.
    """
    machine = Machine(root)
    if machine.state.get("down"):
        raise DownError
    try:
        sent = parse(command, stdin)
        answer = _answer(machine, sent)
    except UnknownPayloadError as unknown:
        machine.state["calls"].append(["unknown", str(unknown)])
        answer = (1, b"", f"simulator: {unknown}".encode())
    machine.save()
    return answer


def _answer(machine: Machine, sent: ModuleCall | Wrapped | str) -> Answer:
    if isinstance(sent, ModuleCall):
        return _module(machine, sent)
    if isinstance(sent, Wrapped):
        return _wrapped(machine, sent)
    return _plain(machine, sent)


def _module(machine: Machine, call: ModuleCall) -> Answer:
    machine.state["calls"].append([call.name, call.check])
    saved = copy.deepcopy(machine.state)
    try:
        result = _result(machine, call)
    except ModuleFailedError as failure:
        machine.state = saved
        result = {"failed": True, "changed": False, "msg": str(failure)}
    if call.check:
        machine.state = saved
    return int(bool(result.get("failed"))), json.dumps(result).encode() + b"\r\n", b""


def _result(machine: Machine, call: ModuleCall) -> dict[str, Any]:
    if call.name not in MODULES:
        raise ModuleFailedError(f"simulator: the module {call.name} is not simulated")
    arguments = call.arguments
    if call.name not in _UNDOCUMENTED:
        arguments = validated(call.path, call.name, arguments)
    if call.check and not supports_check_mode(call.path):
        skipped = f"remote module ({call.name}) does not support check mode"
        return {"changed": False, "skipped": True, "msg": skipped}
    return MODULES[call.name](machine, arguments, call.check)


def _wrapped(machine: Machine, script: Wrapped) -> Answer:
    if script.name == "powershell_mkdtemp.ps1":
        path = f"{normal(script.parameters['Directory'])}\\{script.parameters['Name']}"
        machine.make_folder(path)
        return 0, path.encode() + b"\r\n", b""
    if script.name == "winrm_put_file.ps1":
        content = b"".join(base64.b64decode(line.strip(b'"')) for line in script.stdin.split())
        machine.write(script.parameters["Path"], content)
        return 0, json.dumps({"sha1": hashlib.sha1(content).hexdigest()}).encode(), b""
    raise UnknownPayloadError(f"core's {script.name} is not simulated")


def _plain(machine: Machine, text: str) -> Answer:
    """What win_reboot and the clean-up of temporary folders send."""
    if "LastBootUpTime" in text:
        return 0, str(133_000_000_000_000_000 + machine.state["boots"]).encode() + b"\r\n", b""
    if "shutdown.exe /r" in text:
        machine.restart()
        tasks.after_restart(machine)
        return 0, b'{"stdout":"","stderr":"","rc":0}\r\n', b""
    if "AutoLogonChecked" in text and (success := re.search(r"success-[\w-]+", text)):
        return 0, success[0].encode() + b"\r\n", b""
    if removal := _REMOVAL.search(text):
        machine.remove(removal[1])
        return 0, b"", b""
    raise UnknownPayloadError(f"this command is not simulated: {text[:200]}")


def put(root: Path, path: str, content: bytes) -> None:
    """A file that the connection uploads."""
    machine = Machine(root)
    if machine.state.get("down"):
        raise DownError
    machine.write(path, content)
    machine.save()
