"""The rig by itself: a machine of a group that boto3 makes becomes a worker by what its user data does."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from tests.burst.cloud import SecureCloud
from tests.burst.players import Players
from tests.commands import wait_until
from tests.docker.daemon import STANDIN
from tests.ssh.sshd import make_key
from tests.terraform.program import CODE, render

from ras_runner import compute_parallel_remote, init_ras_project, init_ras_worker
from ras_runner.hecras.project import Project

T = CODE / "modules" / "aws_workers" / "templates"


def test_machine(cloud: SecureCloud, players: Players, archive: Path, tmp_path: Path, project: Project):
    t0 = time.time()
    key = make_key(tmp_path / "key")
    s3, iam, ec2, asg = (cloud.client(n) for n in ("s3", "iam", "ec2", "autoscaling"))
    s3.create_bucket(Bucket="staging")
    s3.upload_file(str(archive), "staging", "images/worker.tar.gz")
    print("upload", time.time() - t0, archive.stat().st_size)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}},
        ],
    }
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    profile = iam.create_instance_profile(InstanceProfileName="p")["InstanceProfile"]
    iam.add_role_to_instance_profile(InstanceProfileName="p", RoleName="r")
    values = {
        "ssh_public_key": (tmp_path / "key.pub").read_text().strip(),
        "worker_folder": "/var/lib/ras-runner/worker",
        "bucket": "staging",
        "hosts": "campaigns/c-1/hosts",
        "archive": "images/worker.tar.gz",
        "image": STANDIN,
        "region": "us-east-1",
        "expires": "2030-01-01T00:00:00Z",
        "idle_seconds": 900,
    }
    empty = tmp_path / "empty"
    empty.mkdir()
    values["load_image"] = render(T / "load-image.sh.tftpl", values, empty)
    values["end_worker"] = render(T / "end-worker.sh.tftpl", values, empty)
    data = render(T / "worker.yaml.tftpl", values, empty)
    lt = ec2.create_launch_template(
        LaunchTemplateName="t",
        LaunchTemplateData={
            "ImageId": "ami-12c6146b",
            "InstanceType": "c5.large",
            "UserData": base64.b64encode(data.encode()).decode(),
            "IamInstanceProfile": {"Arn": profile["Arn"]},
        },
    )["LaunchTemplate"]
    spec = {"LaunchTemplateId": lt["LaunchTemplateId"], "Version": "1"}
    t0 = time.time()
    asg.create_auto_scaling_group(
        AutoScalingGroupName="g",
        MinSize=0,
        MaxSize=2,
        DesiredCapacity=1,
        VPCZoneIdentifier=",".join(cloud.network()[1]),
        MixedInstancesPolicy={
            "LaunchTemplate": {"LaunchTemplateSpecification": spec, "Overrides": [{"InstanceType": "c5.large"}]}
        },
    )
    wait_until(lambda: players.hosts or players.errors, "a host", 20)
    assert not players.errors, players.errors[0]
    [host] = players.hosts.values()
    name = f"campaigns/c-1/hosts/{role['RoleId']}:{host.id}.pub"

    def told() -> bool:
        assert host.runs, (host.folder / "console.log").read_text()
        return name in [o["Key"] for o in s3.list_objects_v2(Bucket="staging")["Contents"]]

    wait_until(told, "host key", 60)
    print("host key", time.time() - t0)
    known = tmp_path / "known_hosts"
    known.write_bytes(f"{host.address} ".encode() + s3.get_object(Bucket="staging", Key=name)["Body"].read())
    wait_until(
        lambda: (
            "load-image'] exit code" in (host.folder / "console.log").read_text()
            or "load-image']: exit" in (host.folder / "console.log").read_text()
        ),
        "image",
        100,
    )
    print("image", time.time() - t0)
    worker = init_ras_worker(
        "docker",
        docker_host=f"ssh://ras@{host.address}",
        docker_image=STANDIN,
        engine="standin",
        ssh_key_path=str(key),
        known_hosts=str(known),
        cores_total=2,
        cores_per_plan=1,
        worker_folder="/var/lib/ras-runner/worker",
    )
    print("worker", time.time() - t0)
    results = compute_parallel_remote(["01"], [worker], init_ras_project(project.folder), state_dir=tmp_path / "state")
    print(results, time.time() - t0)
    assert results["01"].success
    players.kill_instance(host.id)
    wait_until(lambda: host.id not in players.hosts, "gone")
    print("gone", time.time() - t0)
