"""A module's arguments against its own documentation: unknown, missing and mistyped ones fail as on Windows."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from tests.simulators.ansible_windows.machine import ModuleFailedError


@functools.cache
def _specification(module: Path, name: str) -> dict[str, Any]:
    from ansible.plugins.loader import fragment_loader
    from ansible.utils.plugin_docs import get_docstring

    source = next(path for suffix in (".yml", ".py") if (path := module.with_suffix(suffix)).exists())
    collection = ".".join(name.split(".")[:2])
    documented = get_docstring(str(source), fragment_loader, collection_name=collection, plugin_type="module")[0]
    return _options(documented.get("options") or {})


def _options(documented: dict[str, Any]) -> dict[str, Any]:
    kept = ("type", "elements", "choices", "default", "aliases")
    options = {}
    for name, option in documented.items():
        options[name] = {key: option[key] for key in kept if option.get(key) is not None}
        options[name]["required"] = bool(option.get("required")) and "default" not in options[name]
        if option.get("suboptions"):
            options[name]["options"] = _options(option["suboptions"])
    return options


def validated(module: Path, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with defaults and types; ModuleFailedError for those that the module does not know or take."""
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    result = ArgumentSpecValidator(_specification(module, name)).validate(arguments)
    if result.error_messages:
        raise ModuleFailedError("; ".join(result.error_messages))
    checked: dict[str, Any] = result.validated_parameters
    return checked


def supports_check_mode(module: Path) -> bool:
    """Whether the module says that it can tell without changing; else Windows skips it in check mode."""
    text = module.read_text(encoding="utf-8")
    return re.search(r"supports_check_mode\s*=?\s*\$true", text, re.IGNORECASE) is not None
