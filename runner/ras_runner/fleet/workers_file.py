"""The workers file (``inventory/workers.json``): what ``ras-runner setup`` found on machines, and what they are to be.

Schema: docs/workers.schema.json, made from the models below. Version 0 is the flat file of ras-commander
(``RemoteWorkers.json``), which has no ``schema_version``; it is still read.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ras_runner.errors import InputError
from ras_runner.secret import check_reference
from ras_runner.workers.registry import WORKER_TYPES, spec_models

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
#: Parameters that may only be references to secrets (roles/worker_report checks the same).
SECRET_NAMES = re.compile("pass|secret|(?<!launch_)token")
_STEP = "read workers file"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DockerImage(_Model):
    """An image on a machine that holds an engine.

    Attributes:
        id: its digest, ``sha256:...``.
        tags: its names.
        engine: of its label.
        version: of that engine.
    """

    id: str
    tags: tuple[str, ...] = ()
    engine: str = ""
    version: str = ""


class Docker(_Model):
    """A Docker Engine on a machine.

    Attributes:
        version: of the Engine.
        images: those that hold an engine.
    """

    version: str
    images: tuple[DockerImage, ...] = ()


class Session(_Model):
    """A desktop session on a Windows machine.

    Attributes:
        id: never 0, which has no desktop.
        user: whose it is.
    """

    id: Annotated[int, Field(ge=1)]
    user: str


class Found(_Model):
    """What was found on a machine.

    Attributes:
        system: operating system and release.
        cores: logical processors.
        memory_bytes: of the machine.
        disk_bytes: size of the file system of the worker folder.
        hecras: version -> folder.
        docker: None where no daemon answers.
        sessions: desktop sessions, on Windows.
    """

    system: str = ""
    cores: Annotated[int, Field(ge=1)] | None = None
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    disk_bytes: Annotated[int, Field(ge=0)] | None = None
    hecras: dict[str, str] = Field(default_factory=dict)
    docker: Docker | None = None
    sessions: tuple[Session, ...] = ()


class WorkerRecord(_Model):
    """A host that is a worker.

    Attributes:
        name: the host's name in the inventory.
        type: worker type.
        parameters: of that type; secrets only as references.
        found: what was found there.
    """

    name: str
    type: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    found: Found = Found()


class LeftOut(_Model):
    """A host that is no worker.

    Attributes:
        name: its name in the inventory.
        reason: why, and what to do.
    """

    name: str
    reason: str


class WorkersFile(_Model):
    """The whole file.

    Attributes:
        schema_version: of this form.
        workers: ready to take plans.
        left_out: hosts that are none.
    """

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)]
    workers: tuple[WorkerRecord, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def is_workers_file(data: object) -> bool:
    """Whether what a file holds is meant to be a workers file of any version."""
    return isinstance(data, dict) and ("schema_version" in data or isinstance(data.get("workers"), list))


def parse_workers_file(data: dict[str, Any], path: Path) -> WorkersFile:
    """A workers file of this version, or of an older one.

    Args:
        data: the parsed JSON.
        path: of the file, for messages.

    Raises:
        InputError: it is of a newer version, or not of the schema; says where.
    """
    version = data.get("schema_version", 0)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version}; this ras-runner reads versions up to {SCHEMA_VERSION}",
            step=_STEP,
            action="update ras-runner, or write the file anew with ras-runner setup",
        )
    try:
        return WorkersFile.model_validate(_from_version_0(data) if version == 0 else data)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise InputError(
            f"{path} is not a workers file: {wrong}",
            step=_STEP,
            action="write it anew with ras-runner setup; its form is in docs/workers.schema.json",
        ) from None


def plain_secrets(parameters: dict[str, Any]) -> list[str]:
    """Names of parameters that hold a secret where a reference belongs."""
    wrong = []
    for name, value in parameters.items():
        if SECRET_NAMES.search(name) and value:
            try:
                check_reference(str(value))
            except ValueError:
                wrong.append(name)
    return wrong


def _from_version_0(data: dict[str, Any]) -> dict[str, Any]:
    """ras-commander's file: parameters lie flat beside ``name``, ``worker_type`` and ``enabled``."""
    workers: list[Any] = []
    left_out: list[dict[str, str]] = []
    for number, row in enumerate(data.get("workers", ()), start=1):
        if not isinstance(row, dict):
            workers.append(row)  # refused by the schema, with its place
            continue
        flat = {key: value for key, value in row.items() if not key.startswith("_")}
        name, kind = str(flat.pop("name", f"worker {number}")), flat.pop("worker_type", "")
        if not flat.pop("enabled", True):
            left_out.append({"name": name, "reason": "enabled is false"})
            continue
        flat.setdefault("worker_id", re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:64])
        workers.append({"name": name, "type": kind, "parameters": flat})
    return {"schema_version": SCHEMA_VERSION, "workers": workers, "left_out": left_out}


def json_schema() -> str:
    """docs/workers.schema.json: the models above, and the parameters of each worker type below ``$defs``."""
    schema = WorkersFile.model_json_schema()
    record = schema["$defs"]["WorkerRecord"]
    record["properties"]["type"]["enum"] = sorted(WORKER_TYPES)
    record["allOf"] = []
    models = spec_models()
    for name, model in models.items():
        schema["$defs"][name] = model.model_json_schema()
    for kind in sorted(WORKER_TYPES):
        allowed = [{"$ref": f"#/$defs/{name}"} for name in models if name.partition(" ")[0] == kind]
        record["allOf"].append(
            {
                "if": {"properties": {"type": {"const": kind}}},
                "then": {"properties": {"parameters": allowed[0] if len(allowed) == 1 else {"anyOf": allowed}}},
            }
        )
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def variable_table() -> str:
    """The table of worker variables in docs/inventory.md: each with its types, defaults and meaning."""
    rows: dict[tuple[str, ...], list[str]] = {}
    models = spec_models()
    for kind, spec in models.items():
        meanings, schema = _meanings(spec), spec.model_json_schema()
        for name, prop in schema["properties"].items():
            if name == "worker_id":
                default = "the host's name"
            elif name in schema.get("required", ()):
                default = "required"
            else:
                default = f"`{prop['default']}`" if prop.get("default") not in (None, "") else ""
            variable = name if name.startswith("ras_") else f"ras_{name}"
            rows.setdefault((variable, _type_words(prop), default, meanings[name]), []).append(kind)
    lines = ["| variable | worker types | type | default | meaning |", "|---|---|---|---|---|"]
    for (variable, words, default, meaning), kinds in sorted(rows.items()):
        of = "all" if len(kinds) == len(models) else ", ".join(kinds)
        lines.append(f"| `{variable}` | {of} | {words} | {default} | {meaning} |")
    return "\n".join(lines).replace("\\\\", "\\") + "\n"


def _type_words(prop: dict[str, Any]) -> str:
    if "enum" in prop:
        return ", ".join(prop["enum"])
    if "anyOf" in prop:
        return " or ".join(_type_words(p) for p in prop["anyOf"] if p.get("type") != "null")
    if "minimum" in prop and "maximum" in prop:
        return f"{prop['type']}, {prop['minimum']} to {prop['maximum']}"
    if prop.get("format") == "path":
        return "path"
    kind = str(prop.get("type", "text"))
    return "text" if kind == "string" else kind


def _meanings(spec: type[BaseModel]) -> dict[str, str]:
    """Parameter -> meaning, from the docstrings of the model and of its base."""
    found: dict[str, str] = {}
    for base in reversed(spec.__mro__):
        text = inspect.cleandoc(base.__doc__ or "").partition("Attributes:")[2]  # Python 3.13 keeps no indentation
        for names, meaning in re.findall(r"^    (\w+(?:, \w+)*): (.+(?:\n        .+)*)", text, re.MULTILINE):
            plain = " ".join(meaning.split()).replace("``", "`").rstrip(".")
            found.update(dict.fromkeys(names.split(", "), plain))
    return found
