"""The modules keep to checkov's policies, apart from the exceptions that terraform/.checkov.yaml explains."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.services import not_here
from tests.terraform.program import CODE

INSTALL = CODE.parent / "tests" / "install-services.sh"
SETTINGS = CODE / ".checkov.yaml"
#: What no policy lets pass, lest checkov says yes to everything.
WRONG = """
resource "aws_security_group" "open" {
  description = "everybody gets in"
  ingress {
    description = "ssh"
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}
"""


@pytest.fixture(scope="module")
def checkov() -> Path:
    """The program, in a virtual environment of its own."""
    asked = subprocess.run(["bash", INSTALL, "checkov-folder"], capture_output=True, text=True, check=False)
    folder = Path(asked.stdout.strip())
    if not (folder / "complete").exists():
        not_here(f"checkov is not in {folder}: run {INSTALL} terraform")
    return folder / "bin" / "checkov"


def test_policies_are_kept_and_no_exception_is_needless(checkov: Path, tmp_path: Path) -> None:
    code = tmp_path / "terraform"
    shutil.copytree(CODE, code, ignore=shutil.ignore_patterns(".checkov.yaml", "tests", ".terraform", "*.tfstate*"))
    (code / "wrong").mkdir()
    (code / "wrong" / "main.tf").write_text(WRONG, encoding="utf-8")

    found = _checked(checkov, code, tmp_path)

    assert found["summary"]["parsing_errors"] == 0, found["results"]["parsing_errors"]
    failed = found["results"]["failed_checks"]
    assert "CKV_AWS_24" in {one["check_id"] for one in failed if one["resource"] == "aws_security_group.open"}
    ours = {
        one["check_id"]: f"{one['check_name']}: {one['resource']}" for one in failed if "open" not in one["resource"]
    }
    excepted = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))["skip-check"]
    assert {check: what for check, what in ours.items() if check not in excepted} == {}
    assert set(excepted) - set(ours) == set(), "nothing needs these exceptions"
    looked_at = {one["resource"].removeprefix("module.workers.") for one in found["results"]["passed_checks"]}
    assert {"aws_launch_template.worker", "aws_s3_bucket.staging", "azurerm_storage_account.staging"} <= looked_at


def test_every_exception_has_its_reason() -> None:
    lines = SETTINGS.read_text(encoding="utf-8").partition("skip-check:\n")[2].splitlines()
    assert lines[0].startswith("  # "), "a group of exceptions begins with its reason"
    assert all(line.startswith(("  # ", "  - CKV")) for line in lines)


def _checked(checkov: Path, code: Path, home: Path) -> Any:
    """What checkov finds without exceptions. It asks nobody: there is no key, and nothing to download."""
    command = [checkov, "-d", code, "--framework", "terraform", "--skip-download", "--compact", "-o", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return json.loads(done.stdout)
