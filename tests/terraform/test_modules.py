"""Modules and roots without a cloud: form, types, what they ask for and refuse, and that their READMEs are true."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.services import not_here
from tests.terraform.azure import make_plugins, pinned_version
from tests.terraform.program import CODE, Terraform, TerraformUnavailable

CLOUDS = ("aws", "azure")
FOLDERS = ("aws", "modules/aws_workers", "azure", "modules/azure_workers")
_VARIABLE = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}\n', re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(r'^output "(\w+)" \{\n  description = "(.*)"\n', re.MULTILINE)
_ROW = re.compile(r"^\| `(\w+)` \| (.*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def azurerm(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform with the schema of azurerm as a provider."""
    folder = tmp_path_factory.mktemp("azurerm")
    try:
        return Terraform(folder / "terraform", make_plugins(folder))
    except TerraformUnavailable as reason:
        not_here(reason)


@pytest.fixture
def by_cloud(terraform: Terraform, azurerm: Terraform) -> dict[str, Terraform]:
    """Terraform with the provider of each cloud."""
    return {"aws": terraform, "azure": azurerm}


def test_form_is_terraforms_own(terraform: Terraform) -> None:
    terraform.run(".", "fmt", "-check", "-recursive", "-diff")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_root_is_valid(by_cloud: dict[str, Terraform], cloud: str) -> None:
    by_cloud[cloud].init(cloud, "-backend=false", "-reconfigure")
    assert by_cloud[cloud].json(cloud, "validate", "-json")["diagnostics"] == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_module_asks_for_the_right_things_and_refuses_wrong_ones(by_cloud: dict[str, Terraform], cloud: str) -> None:
    module = f"modules/{cloud}_workers"
    by_cloud[cloud].init(module)
    said = by_cloud[cloud].run(module, "test", "-no-color", limit=200)
    runs = (CODE / module / "tests" / "mock.tftest.hcl").read_text(encoding="utf-8").count('\nrun "')
    assert f"Success! {runs} passed, 0 failed." in said


def test_azurerm_of_the_tests_refuses_what_azurerm_does_not_know(azurerm: Terraform, tmp_path: Path) -> None:
    """Lest all of the above say yes to everything."""
    wrong = azurerm.folder / "wrong"
    wrong.mkdir()
    (wrong / "main.tf").write_text(
        "terraform {\n  required_providers {\n"
        f'    azurerm = {{ source = "hashicorp/azurerm", version = "{pinned_version()}" }}\n  }}\n}}\n'
        'resource "azurerm_resource_group" "g" {\n  name = "g"\n  tags = "none"\n  colour = "red"\n}\n',
        encoding="utf-8",
    )
    azurerm.init("wrong")
    said = azurerm.run("wrong", "validate", "-no-color", codes=(1,))
    assert '"location" is required' in said
    assert 'argument named "colour" is not expected' in said
    assert "map of string required" in said


@dataclass(frozen=True)
class Variable:
    """A variable as its block has it."""

    type: str
    default: str
    description: str


def _variables(folder: str) -> dict[str, Variable]:
    found = {}
    for name, body in _VARIABLE.findall((CODE / folder / "variables.tf").read_text(encoding="utf-8")):
        field = dict(re.findall(r"^  (\w+) +(?:= )(.*)$", body, re.MULTILINE))
        found[name] = Variable(field["type"], field.get("default", ""), field["description"].strip('"'))
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_root_takes_what_the_module_takes_and_hands_it_on(cloud: str) -> None:
    root = dict(_VARIABLE.findall((CODE / cloud / "variables.tf").read_text(encoding="utf-8")))
    module = dict(_VARIABLE.findall((CODE / f"modules/{cloud}_workers/variables.tf").read_text(encoding="utf-8")))
    own = {"aws": {"region"}, "azure": {"subscription_id"}}[cloud]

    assert {name: body for name, body in root.items() if name not in own} == module
    call = (CODE / cloud / "main.tf").read_text(encoding="utf-8").partition('module "workers"')[2]
    assert dict(re.findall(r"^  (\w+) += var\.(\w+)$", call, re.MULTILINE)) == {name: name for name in module}
    outputs = [_OUTPUT.findall((CODE / f / "outputs.tf").read_text(encoding="utf-8")) for f in FOLDERS if cloud in f]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("folder", FOLDERS)
def test_readme_lists_every_variable_and_output(folder: str) -> None:
    readme = (CODE / folder / "README.md").read_text(encoding="utf-8")
    inputs, outputs = readme.partition("## Outputs")[0], readme.partition("## Outputs")[2]

    expected = {
        name: f"{v.type} | {f'`{v.default}`' if v.default else 'required'} | {v.description}"
        for name, v in _variables(folder).items()
    }
    assert dict(_ROW.findall(inputs.partition("## Variables")[2])) == expected
    described = dict(_OUTPUT.findall((CODE / folder / "outputs.tf").read_text(encoding="utf-8")))
    assert dict(_ROW.findall(outputs)) == described


@pytest.mark.parametrize("cloud", CLOUDS)
def test_versions_are_pinned_in_roots_and_have_floors_in_modules(cloud: str) -> None:
    root = (CODE / cloud / "versions.tf").read_text(encoding="utf-8")
    module = (CODE / f"modules/{cloud}_workers/versions.tf").read_text(encoding="utf-8")

    assert re.search(r'version = "\d+\.\d+\.\d+"', root)
    assert re.search(r'version = ">= \d+\.\d+, < \d+\.0"', module)
    assert 'backend "local" {}' in root
