"""Writes roles/ROLE/README.md from the role's argument_specs, which Ansible checks the variables against.

python tests/ansible/role_readme.py            writes all of them
python tests/ansible/role_readme.py --check    says which are not in step, and exits 1
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[2] / "roles"


def readme(role: Path) -> str:
    """Markdown: what the role does, and a table of its variables."""
    entries = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    parts = [f"# {role.name}", _prose(entries["main"]["short_description"]) + "."]
    parts += [_prose(paragraph) for paragraph in _paragraphs(entries["main"].get("description"))]
    if options := entries["main"].get("options"):
        parts += ["## Variables", _table(options)]
    others = {name: entry for name, entry in entries.items() if name != "main"}
    if others:
        parts.append("## Other entries")
        lines = [f"- `tasks_from: {name}`: {_line(entry['short_description'])}." for name, entry in others.items()]
        parts.append("\n".join(lines))
    parts.append("Made by tests/ansible/role_readme.py from meta/argument_specs.yml.")
    return "\n\n".join(parts) + "\n"


def _paragraphs(description: str | list[str] | None) -> list[str]:
    return [description] if isinstance(description, str) else description or []


def _line(text: str) -> str:
    """One line, with Ansible's marks C(...) as code."""
    return " ".join(re.sub(r"\bC\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", text).split())


def _prose(text: str) -> str:
    return textwrap.fill(_line(text), 118, break_long_words=False, break_on_hyphens=False)


def _table(options: dict[str, Any]) -> str:
    rows = ["| variable | type | default | what |", "|---|---|---|---|"]
    for name, option in options.items():
        kind = option.get("type", "str")
        kind = f"{kind} of {option['elements']}" if "elements" in option else kind
        what = " ".join(_line(paragraph) for paragraph in _paragraphs(option.get("description")))
        if "choices" in option:
            what += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        rows.append("| " + " | ".join([f"`{name}`", kind, _default(option), what.replace("|", "\\|")]) + " |")
    return "\n".join(rows)


def _default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "required"
    if "default" not in option:
        return ""
    default = option["default"]
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return "`" + (text or '""').replace("|", "\\|") + "`"


def main(arguments: list[str]) -> int:
    """Write, or check."""
    behind = []
    for specs in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = specs.parents[1]
        file, wanted = role / "README.md", readme(role)
        if not file.exists() or file.read_text(encoding="utf-8") != wanted:
            behind.append(role.name)
            if "--check" not in arguments:
                file.write_text(wanted, encoding="utf-8")
    if behind:
        print("written:" if "--check" not in arguments else "not in step:", ", ".join(behind))
    return int("--check" in arguments and bool(behind))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
