"""Plays the machines that a cloud says it has: each is a host of this machine with namespaces, sshd and dockerd of its
own, which does what its user data says. What the cloud ends is killed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tests.burst.cloud import SecureCloud
from tests.burst.network import Network
from tests.commands import wait_until

REPO = Path(__file__).resolve().parents[2]
#: A machine costs two cores of this one when it starts.
MACHINES_AT_ONCE = 3


@dataclass(eq=False)
class Host:
    """A machine that is played.

    Attributes:
        id, address: as the cloud has them.
        folder: all that it writes is below.
    """

    id: str
    address: str
    folder: Path
    network: Network
    number: int
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def cgroup(self) -> str:
        """Of its containers."""
        return f"/ras-burst-{os.getpid()}-{self.number}"

    def start(self, identity: dict[str, Any], user_data: str) -> None:
        """Switch it on."""
        (self.folder / "notices").mkdir(parents=True)
        (self.folder / "user-data").write_text(user_data, "utf-8")
        own = {"id": self.id, "address": self.address, "gateway": self.network.gateway, "cgroup": self.cgroup}
        (self.folder / "identity.json").write_text(json.dumps(own | identity), "utf-8")
        space = self.network.add(self.number, self.address)
        kinds = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        # not `ip netns exec`: that one hides the control groups, which containers need
        inside = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{space}", "unshare", *kinds]
        with (self.folder / "console.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*inside, sys.executable, "-m", "tests.burst.machine", self.folder],
                cwd=REPO,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def announce(self, path: str, text: str) -> None:
        """Let its metadata service answer at ``path``, such as ``spot/instance-action``."""
        (self.folder / "notices" / path.replace("/", "_")).write_text(text, "utf-8")

    @property
    def runs(self) -> bool:
        """It has not ended by itself."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Power off, at once: its processes end, and with them its mounts and its network."""
        if self.process is not None:
            for child in psutil.Process(self.process.pid).children() if self.runs else []:
                child.kill()  # the first process of its namespace: the kernel ends the others
            self.process.kill()
            self.process.wait()
        self.network.remove(self.number, self.address)
        wait_until(self._no_cgroup, f"control groups {self.cgroup} go", 30)

    def _no_cgroup(self) -> bool:
        left = [top for top in Path("/sys/fs/cgroup").glob(f"*{self.cgroup}") if top.is_dir()]
        left += [top for top in [Path("/sys/fs/cgroup", self.cgroup.strip("/"))] if top.is_dir()]
        for top in left:
            for folder in [*sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True), top]:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        return not any(top.is_dir() for top in left)


class Players:
    """Follows the cloud: starts hosts and ends them.

    Attributes:
        hosts: those that run, by machine.
        played: all machines that there were.
        errors: what went wrong in its thread.
    """

    def __init__(self, cloud: SecureCloud, network: Network, folder: Path) -> None:
        self.cloud, self.network, self.folder = cloud, network, folder
        self.hosts: dict[str, Host] = {}
        self.played: list[str] = []
        self.errors: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def kill_instance(self, machine: str) -> None:
        """The cloud takes a machine: it is gone, and the cloud says so."""
        self.cloud.client("ec2").terminate_instances(InstanceIds=[machine])

    def _follow(self) -> None:
        while not self._end.wait(0.3):
            try:
                self._look()
            except Exception:
                self.errors.append(traceback.format_exc())
                return

    def _look(self) -> None:
        """Make the hosts what the cloud says they are."""
        machines = {m["InstanceId"]: m for m in self.cloud.machines() if m["State"]["Name"] == "running"}
        for name in [name for name in self.hosts if name not in machines]:
            self.hosts.pop(name).kill()
        for name, host in self.hosts.items():
            if not host.runs:  # it has switched itself off
                self.kill_instance(name)
        for name, machine in machines.items():
            if name not in self.hosts:
                self._start(machine)

    def _start(self, machine: dict[str, Any]) -> None:
        name = machine["InstanceId"]
        if len(self.hosts) == MACHINES_AT_ONCE:
            raise RuntimeError(f"{len(self.hosts)} machines run already, and now {name}")
        host = Host(name, machine["PrivateIpAddress"], self.folder / name, self.network, len(self.played))
        self.played.append(name)
        value = self.cloud.client("ec2").describe_instance_attribute(InstanceId=name, Attribute="userData")
        host.start(self._identity(machine), base64.b64decode(value["UserData"]["Value"]).decode())
        self.hosts[name] = host

    def _identity(self, machine: dict[str, Any]) -> dict[str, Any]:
        """What the machine gets from its instance profile, and how it reaches the cloud."""
        tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
        scaling, ec2 = self.cloud.client("autoscaling"), self.cloud.client("ec2")
        [group] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[tags["aws:autoscaling:groupName"]])[
            "AutoScalingGroups"
        ]
        template = group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
        [version] = ec2.describe_launch_template_versions(
            LaunchTemplateId=template["LaunchTemplateId"], Versions=[template["Version"]]
        )["LaunchTemplateVersions"]
        profile = version["LaunchTemplateData"]["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        [role] = self.cloud.client("iam").get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
        given = self.cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName=machine["InstanceId"])
        keys = given["Credentials"]
        credentials = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": keys["AccessKeyId"],
            "SecretAccessKey": keys["SecretAccessKey"],
            "Token": keys["SessionToken"],
            "Expiration": keys["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return {"credentials": credentials, "environment": self.cloud.environment}

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End all hosts."""
        self._end.set()
        self._thread.join()
        for host in self.hosts.values():
            host.kill()
        self.hosts.clear()


@contextlib.contextmanager
def playing(cloud: SecureCloud, network: Network, folder: Path) -> Iterator[Players]:
    """Machines are played for as long as the block lasts; nothing of them stays."""
    players = Players(cloud, network, folder)
    players.start()
    try:
        yield players
        assert players.errors == []
    finally:
        players.stop()
