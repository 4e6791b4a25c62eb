"""Workers from an inventory file: the workers file, or a plain Ansible YAML inventory with ``ras_`` variables.

Documented in docs/inventory.md. Groups give the worker type where ``ras_worker_type`` does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ras_runner.errors import InputError
from ras_runner.fleet.workers_file import WorkersFile, is_workers_file, parse_workers_file, plain_secrets

#: Worker type of the hosts of a group, unless ``ras_worker_type`` says otherwise.
GROUP_TYPES = {
    "aws_ec2_workers": "aws_ec2",
    "azure_workers": "azure",
    "local": "local",
    "docker_workers": "docker",
    "dask_workers": "dask",
    "slurm_workers": "slurm",
    "ssh_workers": "ssh",
    "windows_workers": "psexec",
}
#: Groups whose hosts are no workers by themselves, and why.
PARTS = {
    "windows_dask_machines": "it is a machine of a Dask cluster: the cluster is the worker, as a host of dask_workers",
}
#: Where an inventory is looked for when none is named, below the current folder: what setup has written comes first.
DEFAULT_INVENTORIES = (Path("inventory") / "workers.json", Path("inventory") / "local.yml")
_STEP = "read inventory"
#: Among a host's variables: why it is no worker. Ansible takes no variable of such a name.
_LEFT_OUT = "left out:"


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """One host of an inventory, as a worker.

    Attributes:
        name: the host's name; the worker id unless ``ras_worker_id`` is given.
        type: worker type; empty when the inventory does not say.
        parameters: of the worker type.
        left_out: why it is no worker; empty when it is meant to be one.
    """

    name: str
    type: str
    parameters: dict[str, Any] = field(default_factory=dict)
    left_out: str = ""


def find_inventory(path: Path | None) -> Path | None:
    """The inventory to use: the one named, else one of ``DEFAULT_INVENTORIES`` below the current folder, else None."""
    if path is not None:
        return path
    return next((default for default in DEFAULT_INVENTORIES if default.is_file()), None)


def read_inventory(path: Path) -> list[WorkerEntry]:
    """The workers of a workers file or a YAML inventory file.

    Raises:
        InputError: no such file, not YAML, not an inventory, or values that only Ansible can render.
    """
    data = _loaded(path)
    if is_workers_file(data):
        return _from_workers_file(parse_workers_file(data, path))
    hosts: dict[str, dict[str, Any]] = {}
    for name, group in data.items():
        _read_group(str(name), group, {}, hosts, path)
    return [_entry(name, variables, path) for name, variables in hosts.items()]


def _from_workers_file(file: WorkersFile) -> list[WorkerEntry]:
    entries = []
    for record in file.workers:
        wrong = plain_secrets(record.parameters)
        reason = (
            f"{', '.join(wrong)} is written there in plain text; give env:NAME, file:path or keyring:service/user"
            if wrong
            else ""
        )
        entries.append(WorkerEntry(record.name, record.type, {"worker_id": record.name, **record.parameters}, reason))
    return [*entries, *(WorkerEntry(host.name, "", {}, host.reason) for host in file.left_out)]


def _loaded(path: Path) -> dict[str, Any]:
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
    return data


def _read_group(name: str, group: Any, inherited: dict[str, Any], hosts: dict[str, dict[str, Any]], path: Path) -> None:
    """Ansible's precedence: variables of all < parent group < group < host."""
    group = _mapping(group, f"group {name}", path)
    variables = {**inherited, **_mapping(group.get("vars"), f"vars of group {name}", path)}
    if name in GROUP_TYPES:
        variables.setdefault("ras_worker_type", GROUP_TYPES[name])
    if name in PARTS:
        variables[_LEFT_OUT] = PARTS[name]
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
    if _LEFT_OUT in variables:
        return WorkerEntry(name, "", {}, variables[_LEFT_OUT])
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
