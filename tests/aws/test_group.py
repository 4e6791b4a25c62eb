"""The group of machines on AWS, against moto: what is looked at, and what is changed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult
from moto.ec2.responses.spot_instances import SpotInstances
from tests.aws.conftest import GROUP, IMAGE, OURS, Aws

from ras_runner.errors import InputError, OperatorError, TransientError
from ras_runner.fleet.doctor import examine
from ras_runner.fleet.inventory import WorkerEntry
from ras_runner.workers.aws_reading import with_base
from ras_runner.workers.docker import DockerSpec
from ras_runner.workers.group import MachineState
from ras_runner.workers.registry import worker_spec
from ras_runner.workers.winrm import WinRmSpec


class TestLook:
    def test_says_what_the_machines_are(self, aws: Aws) -> None:
        view = aws.group().look()

        there = aws.instances()
        assert {machine.id for machine in view.machines} == set(there)
        assert (view.wanted, view.shortage) == (2, "")
        for machine in view.machines:
            real = there[machine.id]
            assert machine.state is MachineState.RUNNING
            assert machine.address == real["PrivateIpAddress"]
            assert machine.since == real["LaunchTime"].timestamp()
            assert machine.zone.startswith("us-east-1")
            assert machine.kind == real["InstanceType"]
            assert (machine.spot, machine.notice) == (False, "")

    def test_leaves_out_machines_of_others(self, aws: Aws) -> None:
        aws.make_group("foreign", tags={"team": "hydrology"})
        aws.make_group("another", tags=OURS)
        assert len(aws.instances()) == 6
        assert len(aws.group().look().machines) == 2

    def test_reads_all_pages(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        group = aws.group(max_machines=60)
        group.resize(12, 0)
        paginate = group.calls.client("ec2", "test").get_paginator
        monkeypatch.setattr(
            group.calls.client("ec2", "test"), "get_paginator", lambda name: _small_pages(paginate(name))
        )
        assert len(group.look().machines) == 12

    def test_tells_machines_that_ended_from_those_that_run(self, aws: Aws) -> None:
        group = aws.group()
        first, second = sorted(aws.instances())
        aws.client("ec2").terminate_instances(InstanceIds=[first])
        states = {machine.id: machine.state for machine in group.look().machines}
        assert states[first] is MachineState.GONE
        assert states[second] is MachineState.RUNNING

    def test_sees_spot_machines_that_are_taken(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        taken, kept = sorted(aws.instances())
        requests = {aws.become_spot(taken): taken, aws.become_spot(kept): kept}
        asked: list[Any] = []

        def answer(self: SpotInstances) -> ActionResult:
            asked.append(self._filters_from_querystring())
            return ActionResult(
                {
                    "SpotInstanceRequests": [
                        {
                            "SpotInstanceRequestId": request,
                            "InstanceId": machine,
                            "State": "active",
                            "Status": {"Code": "marked-for-termination" if machine == taken else "fulfilled"},
                        }
                        for request, machine in requests.items()
                    ]
                }
            )

        monkeypatch.setattr(SpotInstances, "describe_spot_instance_requests", answer)
        machines = {machine.id: machine for machine in aws.group().look().machines}
        assert all(machine.spot for machine in machines.values())
        assert "takes this spot machine back" in machines[taken].notice
        assert machines[kept].notice == ""
        assert [set(one["spot-instance-request-id"]) for one in asked] == [set(requests)]

    def test_says_why_there_are_fewer_than_wanted(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        message = (
            "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity available that "
            "matches your request. Launching EC2 instance failed."
        )
        failed = {
            "ActivityId": "1",
            "AutoScalingGroupName": GROUP,
            "Cause": "c",
            "Description": "Launching a new EC2 instance.  Status Reason: Could not launch",
            "StartTime": datetime.now(UTC) - timedelta(minutes=2),
            "StatusCode": "Failed",
            "StatusMessage": message,
        }
        monkeypatch.setattr(
            AutoScalingResponse, "describe_scaling_activities", lambda self: ActionResult({"Activities": [failed]})
        )
        group = aws.group()
        assert group.look().shortage == "", "it has what it wants"
        first, _ = sorted(aws.instances())
        aws.client("autoscaling").suspend_processes(AutoScalingGroupName=GROUP)
        aws.client("ec2").stop_instances(InstanceIds=[first])
        assert group.look().shortage == "the cloud has no machine of these types free now"

    def test_says_when_the_time_of_the_group_is_over(self, aws: Aws) -> None:
        group = aws.group()
        aws.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MinSize=0,
            MaxSize=0,
            DesiredCapacity=0,
            MixedInstancesPolicy=with_base(aws.group_now()["MixedInstancesPolicy"], 0),
        )
        assert "time is over" in group.look().shortage

    def test_says_when_the_group_is_gone(self, aws: Aws) -> None:
        group = aws.group()
        aws.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
        with pytest.raises(
            OperatorError, match="group rastest in us-east-1: look at the group: the group is not there"
        ):
            group.look()


class TestScale:
    def test_resizes_up_and_down(self, aws: Aws) -> None:
        group = aws.group()
        group.resize(5, 0)
        assert group.look().wanted == len(_running(group)) == 5
        group.resize(1, 0)
        assert group.look().wanted == len(_running(group)) == 1

    def test_respects_the_group_s_own_maximum(self, aws: Aws) -> None:
        group = aws.group()
        group.resize(500, 0)
        assert aws.group_now()["DesiredCapacity"] == 60

    def test_sets_and_takes_back_the_base_of_machines_that_are_not_taken_away(self, aws: Aws) -> None:
        group = aws.group(on_demand_base=1)
        before = aws.group_now()["MixedInstancesPolicy"]
        for asked, base in ((3, 3), (0, 1)):
            group.resize(4, asked)
            policy = aws.group_now()["MixedInstancesPolicy"]
            assert policy["InstancesDistribution"]["OnDemandBaseCapacity"] == base
            assert policy["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 0
            assert policy["LaunchTemplate"]["Overrides"] == before["LaunchTemplate"]["Overrides"]
            template = policy["LaunchTemplate"]["LaunchTemplateSpecification"]
            assert (
                template["LaunchTemplateId"]
                == before["LaunchTemplate"]["LaunchTemplateSpecification"]["LaunchTemplateId"]
            )

    def test_protected_machines_stay_when_the_group_shrinks(self, aws: Aws) -> None:
        group = aws.group()
        group.resize(4, 0)
        kept = _running(group)[2]
        group.protect([kept], on=True)
        group.resize(1, 0)
        assert _running(group) == [kept]
        group.protect([kept], on=False)
        assert not aws.group_now()["Instances"][0]["ProtectedFromScaleIn"]

    def test_protects_fifty_at_a_time_and_only_what_has_to_be(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        group = aws.group(max_machines=60)
        group.resize(60, 0)
        ids = _running(group)
        group.protect(ids[:5], on=True)
        sizes: list[int] = []
        original = AutoScalingResponse.set_instance_protection

        def counted(self: AutoScalingResponse) -> ActionResult:
            sizes.append(len(self._get_param("InstanceIds", [])))
            return original(self)

        monkeypatch.setattr(AutoScalingResponse, "set_instance_protection", counted)
        group.protect([*ids, "i-00000000000000000"], on=True)
        assert sizes == [50, 5]
        assert all(one["ProtectedFromScaleIn"] for one in aws.group_now()["Instances"])


class TestEnd:
    def test_with_another_in_its_place(self, aws: Aws) -> None:
        group = aws.group()
        first = _running(group)[0]
        group.end(first, replace=True)
        assert aws.instances()[first]["State"]["Name"] == "terminated"
        assert len(_running(group)) == group.look().wanted == 2
        group.end(first, replace=True)
        assert len(_running(group)) == 2, "it was ended already"

    def test_with_one_less(self, aws: Aws) -> None:
        group = aws.group()
        group.end(_running(group)[0], replace=False)
        assert len(_running(group)) == group.look().wanted == 1

    @pytest.mark.parametrize("whose", ["another group of ours", "a foreign group", "nobody", "ours without its tag"])
    def test_never_what_is_not_of_this_group(self, aws: Aws, whose: str) -> None:
        group, before = aws.group(), set(aws.instances())
        ec2 = aws.client("ec2")
        if whose == "nobody":
            ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)
        elif whose == "ours without its tag":
            before.remove(sorted(before)[0])
            ec2.delete_tags(Resources=list(set(aws.instances()) - before), Tags=[{"Key": "ras-runner:managed-by"}])
        else:
            aws.make_group("other", tags=OURS if "ours" in whose else {"team": "hydrology"}, machines=1)
        [foreign] = set(aws.instances()) - before
        with pytest.raises(OperatorError, match="does not carry the tags of this group: it is left alone"):
            group.end(foreign, replace=False)
        assert aws.instances()[foreign]["State"]["Name"] == "running"

    def test_of_a_machine_that_nobody_knows_is_no_failure(self, aws: Aws) -> None:
        aws.group().end("i-0123456789abcdef0", replace=True)
        assert aws.group_now()["DesiredCapacity"] == 2


class TestMember:
    def test_is_a_docker_worker_whose_host_key_is_known(self, aws: Aws, host_key: bytes) -> None:
        key = aws.folder / "key"
        key.touch()
        group = aws.group(ssh_key_path=str(key), memory_per_plan="2g", queue_priority=3, worker_id="cloud")
        machine = group.look().machines[0]
        aws.put_host_key(machine.id, host_key)

        kind, parameters = group.member(machine)

        assert kind == "docker"
        spec = worker_spec(kind, parameters)
        assert isinstance(spec, DockerSpec)
        assert spec.docker_host == f"ssh://ras@{machine.address}"
        assert (spec.worker_id, spec.queue_priority) == (f"cloud-{machine.id}", 3)
        assert (spec.memory_per_plan, str(spec.ssh_key_path)) == ("2g", str(key))
        assert (spec.docker_image, spec.engine) == ("ras-standin", "standin")
        assert spec.worker_folder == "/var/lib/ras-runner/worker"
        assert "cores_total" not in parameters, "each machine says itself what it has"
        known = asyncssh.read_known_hosts(str(spec.known_hosts)).match(machine.address, "", 22)
        assert known[0] == [asyncssh.import_public_key(host_key)]
        assert Path(spec.known_hosts).parent == aws.folder / "keys"

    def test_has_the_cores_that_were_given(self, aws: Aws, host_key: bytes) -> None:
        group = aws.group(cores_total=6)
        machine = group.look().machines[0]
        aws.put_host_key(machine.id, host_key)
        assert group.member(machine)[1]["cores_total"] == 6

    def test_knows_the_hosts_on_the_way(self, aws: Aws, host_key: bytes) -> None:
        jump = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
        theirs = aws.folder / "known_hosts"
        theirs.write_text(f"[jump.example]:2222 {jump}10.0.0.9 {jump}", encoding="ascii")
        group = aws.group(proxy_jump="me@jump.example:2222", known_hosts=str(theirs))
        machine = group.look().machines[0]
        aws.put_host_key(machine.id, host_key)
        known = asyncssh.read_known_hosts(group.member(machine)[1]["known_hosts"])
        assert known.match("jump.example", "", 2222)[0] == [asyncssh.import_public_key(jump)]
        assert known.match("10.0.0.9", "", 22)[0] == [], "only what is needed"

    def test_waits_until_the_machine_has_told_its_host_key(self, aws: Aws) -> None:
        group = aws.group()
        machine = group.look().machines[0]
        with pytest.raises(TransientError, match=f"machine {machine.id} has not told its host key yet"):
            group.member(machine)

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"ssh-ed25519 AAAA", b"\xff\xfe", b"ssh-rsa " * 10_000])
    def test_refuses_what_is_no_host_key(self, aws: Aws, content: bytes) -> None:
        group = aws.group()
        machine = group.look().machines[0]
        aws.put_host_key(machine.id, content)
        with pytest.raises(OperatorError, match="cannot be used"):
            group.member(machine)
        assert not (aws.folder / "keys").exists()

    def test_takes_no_comment_of_the_machine(self, aws: Aws, host_key: bytes) -> None:
        group = aws.group()
        machine = group.look().machines[0]
        aws.put_host_key(machine.id, host_key.strip() + b" a\x0c* " + host_key)
        text = Path(group.member(machine)[1]["known_hosts"]).read_text(encoding="ascii")
        assert text == f"{machine.address} {b' '.join(host_key.split()[:2]).decode()}\n", "no key for other hosts"

    def test_says_when_the_hosts_on_the_way_cannot_be_known(self, aws: Aws, host_key: bytes) -> None:
        group = aws.group(proxy_jump="jump.example", known_hosts=str(aws.folder))
        machine = group.look().machines[0]
        aws.put_host_key(machine.id, host_key)
        with pytest.raises(OperatorError, match=r"known hosts .* cannot be read: .*\n.*proxy_jump"):
            group.member(machine)

    def test_says_when_its_object_breaks_off(self, aws: Aws, host_key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        group = aws.group()
        machine = group.look().machines[0]
        aws.put_host_key(machine.id, host_key)

        def broken(self: StreamingBody, amt: int | None = None) -> bytes:
            raise ReadTimeoutError(endpoint_url="https://s3")

        monkeypatch.setattr(StreamingBody, "read", broken)
        with pytest.raises(TransientError, match="AWS does not answer s3:GetObject"):
            group.member(machine)

    def test_takes_one_line_of_what_holds_more(self, aws: Aws, host_key: bytes) -> None:
        group = aws.group()
        machine = group.look().machines[0]
        aws.put_host_key(machine.id, host_key + b"* " + host_key)
        text = Path(group.member(machine)[1]["known_hosts"]).read_text(encoding="ascii")
        assert len(text.splitlines()) == 1
        assert "*" not in text

    def test_is_not_made_of_a_machine_on_its_way_out(self, aws: Aws) -> None:
        group = aws.group()
        first = _running(group)[0]
        aws.client("ec2").terminate_instances(InstanceIds=[first])
        [gone] = [machine for machine in group.look().machines if machine.id == first]
        with pytest.raises(TransientError, match="on its way out"):
            group.member(gone)

    def test_of_windows_is_a_winrm_worker_with_its_certificate_pinned(
        self, aws: Aws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WINDOWS_PASSWORD", "hunter2")
        group = _windows(aws)
        machine = group.look().machines[0]
        fingerprint = hashlib.sha256(b"certificate").hexdigest()
        aws.put_host_key(machine.id, f"{fingerprint.upper()}\r\n".encode())

        kind, parameters = group.member(machine)

        spec = worker_spec(kind, parameters)
        assert kind == "winrm"
        assert isinstance(spec, WinRmSpec)
        assert (spec.hostname, spec.fingerprint) == (machine.address, fingerprint)
        assert (spec.username, spec.password, spec.version) == ("Administrator", "env:WINDOWS_PASSWORD", "6.6")
        assert spec.cores_total == {"c6i.2xlarge": 8, "c6i.4xlarge": 16}[machine.kind]
        assert group.engine.name == "HEC-RAS 6.6"

        aws.put_host_key(machine.id, b"no fingerprint")
        with pytest.raises(OperatorError, match="not the SHA-256 of a certificate"):
            group.member(machine)


class TestDoctor:
    def test_says_how_the_group_is(self, aws: Aws) -> None:
        [examination] = examine([WorkerEntry("cloud", "aws_ec2", aws.parameters())])
        assert not examination.failed
        [row] = examination.rows
        assert row.finding.evidence == "group rastest in us-east-1: 2 running; 2 asked for, at most 10"

    def test_says_what_is_wrong_with_it(self, aws: Aws) -> None:
        aws.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=GROUP, ForceDelete=True)
        lost, mistyped = examine(
            [
                WorkerEntry("cloud", "aws_ec2", aws.parameters()),
                WorkerEntry("cloud", "aws_ec2", aws.parameters(colour="blue")),
            ]
        )
        assert "no such autoscaling group" in lost.rows[0].finding.evidence
        assert "terraform output group" in lost.rows[0].remedy
        assert "unknown parameter 'colour'" in mistyped.rows[0].finding.evidence


class TestInit:
    def test_takes_the_cores_of_the_smallest_type(self, aws: Aws) -> None:
        group = aws.group()
        assert (group.type, group.hostname, group.spec.cores_total) == ("aws_ec2", "group rastest in us-east-1", 8)
        assert group.engine.name.startswith("stand-in")
        assert group.spec.slots() == 2

    @pytest.mark.parametrize("by", [{"launch_token": "token-of-this-test"}, {"campaign": "c-1"}])
    def test_finds_the_group_by_its_tags(self, aws: Aws, by: dict[str, str]) -> None:
        assert aws.group(group=None, **by).name == GROUP

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"group": "other"}, "group other in us-east-1: init worker: there is no such autoscaling group"),
            ({"group": None}, "give group .*, or launch_token or campaign"),
            ({"group": None, "campaign": "c-2"}, "group of campaign c-2 in us-east-1: .* no such autoscaling group"),
            ({"launch_token": "another-token"}, "does not carry the tags .*launch-token=another-token: it is left"),
            ({"group": "foreign"}, "does not carry the tags ras-runner:managed-by=ras-runner: it is left alone"),
            ({"group": None, "campaign": "twice"}, "several such groups: one, two\n.*name one of them"),
            ({"max_machines": 61}, "max_machines is 61, and the group takes 60 at most"),
            ({"max_machines": 1, "min_machines": 2}, "min_machines is 2, and max_machines only 1"),
            ({"region": "the moon"}, "region"),
            ({"docker_image": None}, "docker_image: Field required"),
            ({"engine": "hecras-linux"}, "hecras-linux needs version"),
            ({"passwort": "x"}, "unknown parameter 'passwort'"),
            ({"proxy_jump": "a b"}, "proxy_jump: .* is not user@host:port"),
            ({"profile": "nobody"}, "The config profile .nobody. could not be found"),
            ({"os": "windows", "password": "hunter2", "version": "6.6"}, "password"),
        ],
    )
    def test_refuses_bad_input(self, aws: Aws, changes: dict[str, Any], said: str) -> None:
        aws.make_group("foreign", tags={"team": "hydrology"})
        for name in ("one", "two"):
            aws.make_group(name, tags=OURS | {"ras-runner:campaign": "twice"}, machines=0)
        with pytest.raises(InputError, match=said):
            aws.group(**changes)

    def test_says_which_package_is_missing(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "boto3", None)
        with pytest.raises(OperatorError, match=r"pip install ras-runner\[aws\]"):
            aws.group()

    def test_says_when_a_key_or_a_password_is_not_there(self, aws: Aws) -> None:
        with pytest.raises(OperatorError, match=r"there is no key file .*gone.pem\n.*ssh_public_key"):
            aws.group(ssh_key_path=str(aws.folder / "gone.pem"))
        with pytest.raises(OperatorError, match="WINDOWS_PASSWORD"):
            _windows(aws)

    def test_says_when_the_bucket_is_not_there(self, aws: Aws) -> None:
        with pytest.raises(OperatorError, match=r"no such staging bucket .*\n.*terraform output staging_bucket"):
            aws.group(staging_bucket="rastest-elsewhere")


def _running(group: Any) -> list[str]:
    return [machine.id for machine in group.look().machines if machine.state is MachineState.RUNNING]


def _windows(aws: Aws) -> Any:
    return aws.group(os="windows", docker_image=None, engine=None, version="6.6", password="env:WINDOWS_PASSWORD")


def _small_pages(paginator: Any) -> Any:
    """A paginator that asks for five things at a time."""
    original = paginator.paginate
    paginator.paginate = lambda **kwargs: original(**kwargs, PaginationConfig={"PageSize": 5})
    return paginator
