"""What can be seen in the files of the Windows roles without running them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.ansible.windows_fleet import DASK_ROLE, REPOSITORY, ROLES, WINDOWS_ROLES
from tests.simulators.ansible_windows import tasks  # noqa: F401 - its scripts are registered
from tests.simulators.ansible_windows.powershell import errors, parameters
from tests.simulators.ansible_windows.scripts import SCRIPTS

BOOTSTRAP = REPOSITORY / "playbooks" / "files" / "bootstrap-windows.ps1"
ALL = ["windows_base", *WINDOWS_ROLES, DASK_ROLE]
POWERSHELL = sorted([*ROLES.glob("*/files/*.ps1"), *(REPOSITORY / "playbooks").rglob("*.ps1")])


def load(*parts: str) -> Any:
    """A YAML file of the roles."""
    return yaml.safe_load(ROLES.joinpath(*parts).read_text(encoding="utf-8"))


def test_readmes_are_in_step_with_the_argument_specs() -> None:
    script = Path(__file__).with_name("role_readme.py")
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, ""), f"run: python {script}"


@pytest.mark.parametrize("role", ALL)
def test_defaults_are_those_of_the_argument_specs(role: str) -> None:
    specs = load(role, "meta", "argument_specs.yml")["argument_specs"]
    assert load(role, "defaults", "main.yml") == {
        name: option["default"] for name, option in specs["main"]["options"].items()
    }
    assert all(name.startswith(f"{role}_") for entry in specs.values() for name in entry.get("options", {}))
    assert all((ROLES / role / "tasks" / f"{entry}.yml").exists() for entry in specs)


@pytest.mark.parametrize("role", ALL[1:])
def test_every_role_has_a_way_back_and_hides_passwords(role: str) -> None:
    specs = load(role, "meta", "argument_specs.yml")["argument_specs"]
    assert "revert" in specs
    for name, option in specs["main"]["options"].items():
        is_secret = name.endswith("_password") and "choices" not in option
        assert option.get("no_log", False) is is_secret
    paragraphs = specs["main"]["description"]
    assert [any(p.startswith(start) for p in paragraphs) for start in ("Security: ", "To undo: ")] == [True, True]


def test_the_check_of_variables_knows_every_windows_role() -> None:
    there = {path.name for path in ROLES.iterdir() if path.name.startswith("windows_") or path.name == "hecras_windows"}
    assert set(load("windows_base", "vars", "main.yml")["__windows_base_roles"]) == there == set(ALL)


@pytest.mark.parametrize("script", POWERSHELL, ids=lambda path: path.name)
def test_powershell_parses(script: Path) -> None:
    assert errors(script.read_text(encoding="utf-8")) == []
    assert script.read_bytes().isascii()  # Windows PowerShell reads other bytes in the machine's code page


def test_powershell_that_does_not_parse_is_found() -> None:
    text = BOOTSTRAP.read_text(encoding="utf-8")
    assert errors(text.replace("if ($Remove) {", "if ($Remove {", 1))
    assert errors(text.rstrip().removesuffix("'"))


def test_all_powershell_is_in_files_that_the_gate_sees() -> None:
    for role in ALL:
        for path in (ROLES / role / "tasks").iterdir():
            text = path.read_text(encoding="utf-8")
            assert not any(word in text for word in ("win_shell", "script:", "raw:", "powershell.exe"))
    assert {path.relative_to(ROLES).as_posix() for path in ROLES.glob("*/files/*.ps1")} <= set(SCRIPTS)


def test_the_bootstrap_is_small_and_its_checksum_is_in_the_docs() -> None:
    assert len(BOOTSTRAP.read_text(encoding="utf-8").splitlines()) < 100
    assert set(parameters(BOOTSTRAP.read_text(encoding="utf-8"))) == {
        "Controllers", "PublicKey", "LocalAdministrators", "Remove"
    }  # fmt: skip
    checksum = hashlib.sha256(BOOTSTRAP.read_bytes()).hexdigest()
    assert checksum in (REPOSITORY / "docs" / "ansible-windows.md").read_text(encoding="utf-8")
