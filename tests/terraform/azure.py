"""What stands for azurerm in tests: its schema, served by a provider that knows nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.terraform.azurerm_schema import provider_schema
from tests.terraform.program import CODE, REPO, TerraformUnavailable

HERE = Path(__file__).parent


def _cache() -> Path:
    """Where tests/install-services.sh keeps the packages."""
    script = REPO / "tests" / "install-services.sh"
    if sys.platform != "linux":
        raise TerraformUnavailable("the schema of azurerm is served on Linux only")
    done = subprocess.run(
        ["bash", script, "azurerm-folder"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    folder = Path(done.stdout.strip())
    if not (folder / "complete").exists():
        raise TerraformUnavailable(f"{folder} is not there: run tests/install-services.sh terraform")
    return folder


def _used() -> set[str]:
    """Resources and data sources that our code names."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(CODE.rglob("*.tf")))
    return set(re.findall(r'^(?:resource|data) "(azurerm_\w+)"', text, re.MULTILINE))


def pinned_version() -> str:
    """Of azurerm, in the root."""
    match = re.search(r'version = "(\d[\d.]+)"', (CODE / "azure" / "versions.tf").read_text(encoding="utf-8"))
    assert match is not None
    return match[1]


def make_plugins(folder: Path) -> Path:
    """A folder of providers with azurerm's schema in it; returns it."""
    cache = _cache()
    [wheel] = cache.glob("cdktf_cdktf_provider_azurerm-*.whl")
    schema = provider_schema(wheel, _used())
    assert set(schema["resource_schemas"]) | set(schema["data_source_schemas"]) >= _used()
    (folder / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    version = pinned_version()
    program = folder / "plugins/registry.terraform.io/hashicorp/azurerm" / version / "linux_amd64"
    program.mkdir(parents=True)
    program /= f"terraform-provider-azurerm_v{version}"
    program.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{cache / 'lib'}' RAS_TEST_AZURERM_SCHEMA='{folder / 'schema.json'}'\n"
        f"exec '{sys.executable}' '{HERE / 'azurerm_provider.py'}' \"$@\"\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return folder / "plugins"
