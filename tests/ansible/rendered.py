"""What a role's own variables come to, as Ansible renders them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROLES = Path(__file__).parents[2] / "roles"


def rendered(role: str, name: str, **given: Any) -> Any:
    """The value of a variable of the role's ``vars``, with these variables in place of its defaults."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    loader, variables = DataLoader(), {}
    for part in ("defaults", "vars"):
        text = (ROLES / role / part / "main.yml").read_text(encoding="utf-8")
        variables |= loader.load(trust_as_template(text))
    return Templar(loader, variables={**variables, **given}).template(variables[name])
