"""Fixtures for bursts: an AWS on loopback (moto), a Terraform that does as it is told, and a burst's parameters."""

from __future__ import annotations

import gzip
import json
import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.botocore_models import models_read_once
from tests.cloud.fake_terraform import FakeTerraform
from tests.terraform.cloud import REGION, Cloud, running_cloud

from ras_runner import Burst
from ras_runner.fleet.burst_record import BurstRecord, burst_folders

__all__ = ["models_read_once"]

#: The image is one that moto has from the start.
BUCKET, IMAGE = "a-bucket", "ami-12c6146b"


@pytest.fixture(scope="session")
def moto() -> Iterator[Cloud]:
    """An AWS."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request else
    with running_cloud() as cloud:
        yield cloud


@dataclass
class Place:
    """Where bursts are made in a test.

    Attributes:
        cloud: an AWS with a staging bucket.
        terraform: that is found.
        folder: the test's.
        said: what bursts have told the user.
        parameters: of a burst that is in order.
    """

    cloud: Cloud
    terraform: FakeTerraform
    folder: Path
    said: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "state"

    def burst(self, **others: Any) -> Burst:
        """A burst, not begun."""
        return Burst(**{**self.parameters, **others}, state_dir=self.state, say=self.said.append)

    def records(self) -> list[BurstRecord]:
        """What is known of the bursts there were."""
        return [folder.read() for folder in burst_folders(self.state)]

    def record(self) -> BurstRecord:
        """What is known of the only burst there was."""
        [record] = self.records()
        return record

    def states(self) -> list[tuple[str, str]]:
        """Each call of Terraform, and how far the burst was by its record then."""
        return [(call["command"], call["state"]) for call in self.terraform.calls() if call["command"] != "version"]


@pytest.fixture
def place(moto: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty AWS but for a staging bucket, and a Terraform that works."""
    urllib.request.urlopen(urllib.request.Request(f"{moto.url}/moto-api/reset", method="POST")).close()
    fake = FakeTerraform(tmp_path / "fake")
    fake.install()
    variables = {
        **fake.environment(),
        "AWS_ENDPOINT_URL": moto.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-settings"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "TF_PLUGIN_CACHE_DIR": str(tmp_path / "plugins"),
        "RAS_RUNNER_BURST_RETRY_SECONDS": "0.05",
        "RAS_RUNNER_BURST_WATCH_SECONDS": "0.05",
        "RAS_RUNNER_BURST_STOP_SECONDS": "60",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "RAS_RUNNER_TERRAFORM"):
        monkeypatch.delenv(name, raising=False)
    moto.client("s3").create_bucket(Bucket=BUCKET)
    archive = tmp_path / "worker.tar.gz"
    archive.write_bytes(gzip.compress(b"an image"))
    parameters = {
        "cloud": "aws",
        "region": REGION,
        "workers": 2,
        "ttl": "2h",
        "max_cost": "40",
        "docker_image": "standin:1",
        "engine": "standin",
        "image_archive": archive,
        "access_cidrs": ["203.0.113.7"],
        "machine_types": ["c6i.2xlarge"],
    }
    return Place(moto, fake, tmp_path, parameters=parameters)


def tags(**changes: str) -> list[dict[str, str]]:
    """Tags as our Terraform gives them, with changes; an empty value leaves one out."""
    ours = {
        "managed-by": "ras-runner",
        "campaign": "burst-20200101-0000-abcd",
        "owner": "me@here",
        "expires-at": "2020-01-01T00:00:00Z",
        "launch-token": "token-of-a-burst",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    return [{"Key": f"ras-runner:{name}", "Value": value} for name, value in ours.items() if value]


def make_machine(place: Place, token: str, **changes: str) -> str:
    """A machine with our tags."""
    labels = tags(launch_token=token, **changes)
    made = place.cloud.client("ec2").run_instances(
        ImageId=IMAGE,
        InstanceType="c6i.2xlarge",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": labels}],
    )
    return str(made["Instances"][0]["InstanceId"])


def make_scaling_group(place: Place, name: str = "a-group", labels: list[dict[str, str]] | None = None) -> None:
    """A group without machines; with our tags when nothing is said."""
    ec2 = place.cloud.client("ec2")
    ec2.create_launch_template(
        LaunchTemplateName=f"{name}-template", LaunchTemplateData={"ImageId": IMAGE, "InstanceType": "c6i.2xlarge"}
    )
    given = {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    template = {"LaunchTemplateName": f"{name}-template", "Version": "$Latest"}
    place.cloud.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=0,
        MaxSize=2,
        DesiredCapacity=0,
        AvailabilityZones=[f"{REGION}a"],
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": template,
                "Overrides": [{"InstanceType": "c6i.2xlarge"}],
            },
            "InstancesDistribution": {"OnDemandBaseCapacity": 0},
        },
        Tags=[{**tag, **given} for tag in (tags() if labels is None else labels)],
    )


def read_json(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
