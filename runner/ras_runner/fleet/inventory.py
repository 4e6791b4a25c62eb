"""Workers from an inventory file: a plain Ansible YAML inventory whose hosts carry ``ras_`` variables.

Documented in docs/inventory.md. Groups give the worker type where ``ras_worker_type`` does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ras_runner.errors import InputError

#: Worker type of the hosts of a group, unless ``ras_worker_type`` says otherwise.
GROUP_TYPES = {
    "local": "local",
    "docker_workers": "docker",
    "psexec_workers": "psexec",
    "ssh_workers": "ssh",
    "winrm_workers": "winrm",
}
#: Where an inventory is looked for when none is named, below the current folder.
DEFAULT_INVENTORY = Path("inventory") / "local.yml"
_STEP = "read inventory"


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """One host of an inventory, as a worker.

    Attributes:
        name: the host's name; the worker id unless ``ras_worker_id`` is given.
        type: worker type; empty when the inventory does not say.
        parameters: of the worker type.
    """

    name: str
    type: str
    parameters: dict[str, Any] = field(default_factory=dict)


def find_inventory(path: Path | None) -> Path | None:
    """The inventory to use: the one named, else ``inventory/local.yml`` below the current folder, else None."""
    if path is not None:
        return path
    return DEFAULT_INVENTORY if DEFAULT_INVENTORY.is_file() else None


def read_inventory(path: Path) -> list[WorkerEntry]:
    """The workers of a YAML inventory file.

    Raises:
        InputError: no such file, not YAML, not an inventory, or values that only Ansible can render.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the inventory {path} cannot be read: {error}",
            step=_STEP,
            action="give the path of a YAML inventory with -i",
        ) from error
    except yaml.YAMLError as error:
        place = (
            f" (line {error.problem_mark.line + 1})"
            if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark
            else ""
        )
        raise InputError(
            f"the inventory {path} is not plain YAML{place}: {getattr(error, 'problem', None) or error}",
            step=_STEP,
            action="correct it; see docs/inventory.md",
        ) from error
    if not isinstance(data, dict) or not data:
        raise InputError(
            f"the inventory {path} has no groups", step=_STEP, action="see docs/inventory.md for an example"
        )
    hosts: dict[str, dict[str, Any]] = {}
    for name, group in data.items():
        _read_group(str(name), group, {}, hosts, path)
    return [_entry(name, variables, path) for name, variables in hosts.items()]


def _read_group(name: str, group: Any, inherited: dict[str, Any], hosts: dict[str, dict[str, Any]], path: Path) -> None:
    """Ansible's precedence: variables of all < parent group < group < host."""
    group = _mapping(group, f"group {name}", path)
    variables = {**inherited, **_mapping(group.get("vars"), f"vars of group {name}", path)}
    if name in GROUP_TYPES:
        variables.setdefault("ras_worker_type", GROUP_TYPES[name])
    for host, own in _mapping(group.get("hosts"), f"hosts of group {name}", path).items():
        hosts[str(host)] = {**hosts.get(str(host), {}), **variables, **_mapping(own, f"host {host}", path)}
    for child, content in _mapping(group.get("children"), f"children of group {name}", path).items():
        _read_group(str(child), content, variables, hosts, path)


def _mapping(value: Any, what: str, path: Path) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{what} in {path} is not a mapping", step=_STEP, action="correct it; see docs/inventory.md")
    return value


def _entry(name: str, variables: dict[str, Any], path: Path) -> WorkerEntry:
    parameters = {}
    for key, value in variables.items():
        if not key.startswith("ras_") or key == "ras_worker_type":
            continue
        if isinstance(value, str) and "{{" in value:
            raise InputError(
                f"host {name} in {path}: {key} is a template, which only Ansible can render",
                step=_STEP,
                action="write the plain value",
            )
        parameters[key if key == "ras_exe_path" else key.removeprefix("ras_")] = value
    parameters.setdefault("worker_id", name)
    return WorkerEntry(name, str(variables.get("ras_worker_type", "")), parameters)
