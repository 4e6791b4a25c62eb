"""The AWS root, applied to moto. Terraform spends a minute on waiting for a bucket's rules: that goes on aside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.terraform.cloud import OVERRIDE, REGION, Cloud
from tests.terraform.program import Terraform

OURS = "ras-runner:launch-token"
TOKEN = "token-of-this-test"
ROOT = "aws"


@dataclass
class Burst:
    """What was applied.

    Attributes:
        cloud, terraform: where, and with what.
        variables: file of the root's variables.
        before: what the cloud had before.
    """

    cloud: Cloud
    terraform: Terraform
    variables: Path
    before: set[str]

    def apply(self, *args: str) -> str:
        """Apply with these variables, or others where ``args`` say so."""
        return self.run("apply", "-auto-approve", *args, limit=240)

    def run(self, command: str, *args: str, **kwargs: Any) -> str:
        """A command that takes variables."""
        return self.terraform.run(ROOT, command, "-no-color", f"-var-file={self.variables}", *args, **kwargs)

    def output(self, name: str) -> Any:
        """An output of the root."""
        return self.terraform.json(ROOT, "output", "-json", name)

    def ours(self) -> dict[str, dict[str, str]]:
        """All that the cloud has with our token."""
        return {name: tags for name, tags in self.cloud.tags().items() if tags.get(OURS) == TOKEN}


def applied(cloud: Cloud, terraform: Terraform, folder: Path) -> Burst:
    """Two machines, on a copy of the code that is used for nothing else."""
    vpc, subnets = cloud.network()
    values = {
        "region": REGION,
        "name": "rastest",
        "campaign": "c-1",
        "owner": "somebody@office",
        "launch_token": TOKEN,
        "expires_at": (datetime.now(UTC) + timedelta(hours=4)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "max_workers": 4,
        "vpc_id": vpc,
        "subnet_ids": subnets,
        "access_cidrs": ["203.0.113.7/32", "2001:db8::/64"],
        "ssh_public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILySjoNGuzjmwR2Q9Ol7nPY/nEcLeD4nyxebFWY/GaUY test",
    }
    variables = folder / "burst.tfvars.json"
    variables.write_text(json.dumps(values), encoding="utf-8")
    (terraform.folder / ROOT / "moto_override.tf").write_text(OVERRIDE, encoding="utf-8")
    terraform.environment["AWS_ENDPOINT_URL"] = cloud.url
    made = Burst(cloud, terraform, variables, set(cloud.tags()))
    terraform.init(ROOT, f"-backend-config=path={folder / 'terraform.tfstate'}")
    made.apply("-var=workers=2")
    return made
