"""What ansible-core 2.19 sends to a Windows machine, taken apart. Unknown things raise ``UnknownPayloadError``."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Between the parts of what is sent on standard input.
_SEPARATOR = b"\n\0\0\0\0\n"


class UnknownPayloadError(Exception):
    """Not what this simulator knows; never taken for success."""


@dataclass(frozen=True)
class ModuleCall:
    """One module.

    Attributes:
        name: full name, ``ansible.windows.win_user``.
        path: of the module's PowerShell on the controller; its documentation lies beside it.
        arguments: of the task, without Ansible's own.
        check: check mode.
        diff: asked for differences.
    """

    name: str
    path: Path
    arguments: dict[str, Any]
    check: bool
    diff: bool


@dataclass(frozen=True)
class Wrapped:
    """One of core's own small scripts: name, parameters, and what it reads."""

    name: str
    parameters: dict[str, Any]
    stdin: bytes


def parse(command: str, stdin: bytes | None) -> ModuleCall | Wrapped | str:
    """The module, the small script, or the text of a plain PowerShell command."""
    if stdin and _SEPARATOR in stdin:
        return _parse_input(stdin)
    encoded = re.search(r"-EncodedCommand (\S+)", command)
    return base64.b64decode(encoded[1]).decode("utf-16-le") if encoded else command


def _parse_input(stdin: bytes) -> ModuleCall | Wrapped:
    _, sent, *rest = stdin.split(_SEPARATOR)
    manifest = json.loads(sent)
    *wrappers, action = manifest["actions"]
    for wrapper in wrappers:
        if wrapper["name"] != "become_wrapper.ps1" or wrapper["params"].get("BecomeUser") != "NT AUTHORITY\\SYSTEM":
            raise UnknownPayloadError(f"this wrapper is not simulated: {wrapper}")
    if action["name"] != "module_wrapper.ps1":
        return Wrapped(action["name"], action["params"], b"".join(rest))
    script = action["params"]["Script"]
    arguments = dict(action["params"]["Variables"][0]["Value"])
    return ModuleCall(
        name=script.removesuffix(".ps1").removeprefix("ansible_collections.").replace(".plugins.modules.", "."),
        path=Path(manifest["scripts"][script]["path"]),
        arguments={name: value for name, value in arguments.items() if not name.startswith("_ansible")},
        check=bool(arguments.get("_ansible_check_mode")),
        diff=bool(arguments.get("_ansible_diff")),
    )
