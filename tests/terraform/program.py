"""Runs Terraform on a copy of ``terraform/``: providers from a folder of this machine, a time limit on every call."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
CODE = REPO / "terraform"
CACHE = Path(os.environ.get("RAS_TEST_CACHE", "/var/cache/ras-runner-tests"))


class TerraformUnavailable(Exception):  # noqa: N818  a state of this machine
    """Terraform, or a provider, is not on this machine."""


def find_program() -> str:
    """Terraform, of PATH or where tests/install-services.sh has found it."""
    if found := shutil.which("terraform") or shutil.which(CACHE / "terraform"):
        return found
    raise TerraformUnavailable("terraform is not in PATH: run tests/install-services.sh terraform")


def find_plugins() -> Path:
    """Folder of providers that ``terraform init -plugin-dir`` takes."""
    folder = Path(os.environ.get("RAS_TEST_TF_PLUGIN_DIR", CACHE / "terraform-plugins"))
    if (folder / "registry.terraform.io" / "hashicorp" / "aws").is_dir():
        return folder
    raise TerraformUnavailable(
        f"no AWS provider for Terraform in {folder}: "
        "run tests/install-services.sh terraform, or set RAS_TEST_TF_PLUGIN_DIR"
    )


@dataclass
class Terraform:
    """Terraform on a copy of the project's modules and roots.

    Attributes:
        folder: of the copy; ``aws``, ``modules/aws_workers`` ... below it.
        plugins: folder of providers.
        environment: added to Terraform's own.
    """

    folder: Path
    plugins: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.program = find_program()
        shutil.copytree(CODE, self.folder, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))

    def run(self, root: str, *args: str, limit: float = 120, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command in ``root`` and return what it said; fail when it ends with another code or not in time (s)."""
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        # no settings of the user's, no telemetry, nobody to answer questions
        keep |= {"TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "TF_INPUT": "0", "TF_IN_AUTOMATION": "1"}
        done = subprocess.run(
            [self.program, f"-chdir={self.folder / root}", *args],
            env=keep | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=limit,
            check=False,
        )
        assert done.returncode in codes, f"terraform {args} in {root}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def init(self, root: str, *args: str) -> None:
        """``terraform init`` with the providers of this machine."""
        lock = self.folder / root / ".terraform.lock.hcl"
        committed = lock.read_bytes() if lock.is_file() else None
        self.run(root, "init", "-no-color", f"-plugin-dir={self.plugins}", *args)
        assert committed is None or lock.read_bytes() == committed, "the committed lock file is not what init needs"

    def json(self, root: str, *args: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.run(root, *args))


def render(template: Path, values: dict[str, object], folder: Path) -> str:
    """A template with its values, by Terraform's own ``templatefile``. ``folder`` is an empty one."""
    literal = json.dumps(values).replace("${", "$${").replace("%{", "%%{")  # texts, not templates themselves
    expression = f"jsonencode(templatefile({json.dumps(str(template))}, {literal}))\n"
    done = subprocess.run(
        [find_program(), f"-chdir={folder}", "console"],
        env={"PATH": os.environ["PATH"], "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"},
        input=expression,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(json.loads(done.stdout))
