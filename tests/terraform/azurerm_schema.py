"""The schema of Terraform's azurerm provider, from the package of PyPI that wraps it for CDK for Terraform.

The provider's own binary cannot be had here. ``cdktf-cdktf-provider-azurerm`` is generated from that binary's schema:
its JSII assembly holds the names, types and optionality of all that a user writes, its JavaScript which lists are sets
and what the provider computes. Read back here into the form of ``terraform providers schema -json``. Measured on the
AWS provider, whose schema is known: of 31,962 attributes none was wrong about being required, and 21 were missing.
Lost are the provider's own checks of values, conflicts between arguments, and defaults.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
_LINK = re.compile(r"/docs(?:/\S+)?#(\w+) ")
_PAGE = re.compile(r"azurerm/[\d.]+/docs(?:/(?:resources|data-sources)/\w+)? (\w+)")
_BLOCK = re.compile(r"\w+ block\.")
_STORAGE = re.compile(r'^\s+(\w+): \{\n\s+value: .*\n\s+isBlock: (?:true|false),\n\s+type: "(\w+)"', re.MULTILINE)
_PARTS = re.compile(r"\n(?=function \w+ToHclTerraform|    synthesizeHclAttributes)")
_CLASS = re.compile(r"^class (\w+) extends .*?^\}", re.MULTILINE | re.DOTALL)
_COMPUTED = re.compile(
    r"// (\w+) - computed: true, optional: false, required: false\n"
    r"\s+(?:this\._\w+ = (.+);|get \w+\(\) \{\n\s+return (.+);)"
)
_GETTERS = (
    ("getStringAttribute", "string"),
    ("getNumberAttribute", "number"),
    ("getBooleanAttribute", "bool"),
    ("tolist(this.getListAttribute", ["set", "string"]),
    ("getListAttribute", ["list", "string"]),
    ("getNumberListAttribute", ["list", "number"]),
    ("StringMap", ["map", "string"]),
)


class Assembly:
    """The package's types, and the JavaScript of its modules.

    Parameters:
        wheel: ``cdktf_cdktf_provider_azurerm-*.whl``.
    """

    def __init__(self, wheel: Path) -> None:
        self.types: dict[str, dict[str, Any]] = {}
        self._sources: dict[str, str] = {}
        self._storage: dict[str, dict[str, dict[str, str]]] = {}
        with zipfile.ZipFile(wheel) as archive:
            [name] = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
            with archive.open(name) as packed, tarfile.open(fileobj=packed, mode="r|gz") as members:
                for member in members:
                    self._take(member, members)

    def _take(self, member: tarfile.TarInfo, members: tarfile.TarFile) -> None:
        parts = member.name.split("/")
        wanted = member.name == "package/.jsii" or (parts[:2] == ["package", "lib"] and parts[3:] == ["index.js"])
        file = members.extractfile(member) if wanted else None
        if file is None:
            return
        content = file.read()
        if member.name == "package/.jsii":
            document = json.loads(content)
            if document.get("schema") == "jsii/file-redirect":
                document = json.loads(gzip.decompress(content))
            self.types = document["types"]
        else:
            self._sources[parts[2].replace("-", "")] = content.decode()

    def source(self, fqn: str) -> str:
        """JavaScript of the module that a type is in."""
        return self._sources.get(fqn.split(".")[1].replace("_", "").replace("-", "").lower(), "")

    def storage(self, fqn: str, name: str) -> dict[str, str]:
        """Attribute -> ``list``, ``set``, ``map`` ... of a structure; of the resource when ``name`` is ``#class``."""
        module = fqn.split(".")[1]
        if module not in self._storage:
            found: dict[str, dict[str, str]] = {}
            for part in _PARTS.split("\n" + self.source(fqn)):
                writer = re.match(r"function (\w+)ToHclTerraform", part)
                key = writer[1].lower() if writer else "#class" if "synthesizeHclAttributes" in part[:60] else None
                if key:
                    found[key] = dict(_STORAGE.findall(part))
            self._storage[module] = found
        return self._storage[module].get(name.lower(), {})

    def computed(self, fqn: str, name: str) -> Iterator[tuple[str, Any]]:
        """What the provider fills in, of a class of that module, with its type."""
        body = next((match[0] for match in _CLASS.finditer(self.source(fqn)) if match[1] == name), "")
        for match in _COMPUTED.finditer(body):
            yield match[1], self._getter(fqn, match[2] or match[3])

    def _getter(self, fqn: str, expression: str) -> Any:
        for text, kind in _GETTERS:
            if text in expression:
                return kind
        if match := re.search(r"new (\w+)List\(", expression):
            return ["list", ["object", dict(self.computed(fqn, match[1] + "OutputReference"))]]
        return "dynamic"

    def properties(self, fqn: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """What a user writes, by Terraform's name."""
        for item in self.types.get(fqn, {}).get("properties", []):
            docs = item.get("docs", {})
            if link := _LINK.search(docs.get("summary", "") + " " + docs.get("remarks", "")):
                yield link[1], item

    def attribute_type(self, kind: dict[str, Any], storage: str | None) -> Any:
        """Terraform's type of a JSII one."""
        if "primitive" in kind:
            return PRIMITIVES[kind["primitive"]]
        if "union" in kind:
            own = [part for part in kind["union"]["types"] if part.get("fqn") != "cdktf.IResolvable"]
            return self.attribute_type(own[0], storage)
        if "collection" in kind:
            element = self.attribute_type(kind["collection"]["elementtype"], None)
            if kind["collection"]["kind"] == "map":
                return ["map", element]
            return [storage if storage in ("list", "set") else "list", element]
        name = kind["fqn"]
        shape = self.storage(name, name.split(".")[-1])
        fields = {key: self.attribute_type(item["type"], shape.get(key)) for key, item in self.properties(name)}
        return ["object", fields] if fields else "dynamic"


def _type_name(kind: dict[str, Any]) -> str | None:
    """The structure that a JSII type is, or is made of."""
    if "fqn" in kind:
        return None if kind["fqn"] == "cdktf.IResolvable" else kind["fqn"]
    parts = kind["union"]["types"] if "union" in kind else []
    if "collection" in kind:
        parts = [kind["collection"]["elementtype"]]
    return next((name for part in parts if (name := _type_name(part))), None)


def _is_collection(kind: dict[str, Any]) -> bool:
    return "collection" in kind or any(_is_collection(part) for part in kind.get("union", {}).get("types", []))


def _block(assembly: Assembly, fqn: str, outputs: str, storage_name: str, *, top: bool) -> dict[str, Any]:
    """Schema of a block: of a resource's body when ``top``."""
    attributes: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    storage = assembly.storage(fqn, storage_name)
    for name, item in assembly.properties(fqn):
        optional = bool(item.get("optional"))
        if _BLOCK.match(item.get("docs", {}).get("summary", "")):
            blocks[name] = _nested(assembly, name, item, storage.get(name), optional=optional)
        else:
            kind = assembly.attribute_type(item["type"], storage.get(name))
            attributes[name] = {"type": kind, "optional" if optional else "required": True}
    for name, kind in assembly.computed(fqn, outputs):
        attributes.setdefault(name, {"type": kind, "computed": True})
    if top:
        attributes["id"] = {"type": "string", "optional": True, "computed": True}
    return {"attributes": attributes, "block_types": blocks}


def _nested(
    assembly: Assembly, name: str, item: dict[str, Any], storage: str | None, *, optional: bool
) -> dict[str, Any]:
    inner = _type_name(item["type"])
    assert inner is not None, name
    short = inner.split(".")[-1]
    nested: dict[str, Any] = {
        "nesting_mode": "single" if name == "timeouts" else "set" if storage == "set" else "list",
        "block": _block(assembly, inner, short + "OutputReference", short, top=False),
    }
    if name != "timeouts" and not _is_collection(item["type"]):
        nested["max_items"] = 1
    if not optional:
        nested["min_items"] = 1
    return nested


def provider_schema(wheel: Path, wanted: set[str]) -> dict[str, Any]:
    """Schema of the provider and of the resources and data sources in ``wanted``, as Terraform prints it."""
    assembly = Assembly(wheel)
    schema: dict[str, Any] = {"resource_schemas": {}, "data_source_schemas": {}}
    places = {
        "cdktf.TerraformResource": "resource_schemas",
        "cdktf.TerraformDataSource": "data_source_schemas",
        "cdktf.TerraformProvider": "provider",
    }
    for fqn, item in assembly.types.items():
        place = places.get(item.get("base", ""))
        if place is None:
            continue
        docs = item.get("docs", {})
        page = _PAGE.search(docs.get("summary", "") + " " + docs.get("remarks", ""))
        if page is None or (place != "provider" and page[1] not in wanted):
            continue
        body = _block(assembly, f"{fqn}Config", item["name"], "#class", top=place != "provider")
        if place == "provider":
            body["attributes"].pop("alias", None)
            schema["provider"] = {"version": 0, "block": body}
        else:
            schema[place][page[1]] = {"version": 0, "block": body}
    return schema
