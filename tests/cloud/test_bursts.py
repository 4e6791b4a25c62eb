"""The life of a burst: written down, made, watched, taken down, whatever goes wrong. Terraform is played."""

from __future__ import annotations

import _thread
import json
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from tests.cloud.conftest import BUCKET, Place, make_machine, make_scaling_group, read_json, tags
from tests.commands import Runner, wait_until
from tests.terraform.cloud import REGION

from ras_runner import compute_parallel_remote
from ras_runner.api import RasProject
from ras_runner.campaign.costs import campaign_cost
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.view import campaign_view
from ras_runner.errors import InputError, OperatorError
from ras_runner.fleet import bursts
from ras_runner.fleet.burst_aws import AwsBurst
from ras_runner.fleet.burst_life import BurstLife, seen_machines
from ras_runner.fleet.burst_money import Account, account_of
from ras_runner.fleet.burst_record import BurstFolder, MachineTime, State, burst_folders, left_behind
from ras_runner.hecras.project import Project
from ras_runner.workers.local import init_local_worker


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The group of machines is a worker on this machine, of the same name."""

    def make(life: Any) -> Any:
        parameters = {"worker_id": life.record.id, "engine": "standin", "cores_total": 1, "cores_per_plan": 1}
        return init_local_worker({**parameters, "worker_folder": tmp_path / "worker"})

    monkeypatch.setattr(bursts, "make_group", make)


def test_from_nothing_to_nothing(place: Place, group: None) -> None:
    with place.burst() as workers:
        record = place.record()
        assert record.state is State.UP
        assert [worker.worker_id for worker in workers] == [record.id]
        assert place.cloud.client("s3").get_object(Bucket=BUCKET, Key="images/worker.tar.gz")["ContentLength"] > 0
        assert left_behind(place.state) == [], "somebody has it in hand"

    assert place.record().state is State.DOWN
    assert place.states() == [
        ("init", "planned"),
        ("plan", "planned"),
        ("apply", "applying"),
        ("output", "applying"),
        ("init", "destroying"),
        ("destroy", "destroying"),
    ]
    folder = burst_folders(place.state)[0].path
    values = read_json(folder / "variables.tfvars.json")
    assert (values["workers"], values["max_workers"], values["launch_token"]) == (0, 2, record.launch_token)
    assert (values["access_cidrs"], values["max_hours"]) == (["203.0.113.7/32"], 2)
    assert values["expires_at"] == record.expires
    assert values["ssh_public_key"].startswith("ssh-ed25519 ")
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in "".join(json.dumps(call) for call in place.terraform.calls())


def test_plans_run_and_their_cost_is_in_the_journal(place: Place, group: None, project: Project) -> None:
    with place.burst() as workers:
        make_machine(place, place.record().launch_token)
        wait_until(lambda: place.record().machines, "the machine is seen")
        done = compute_parallel_remote("01", workers, RasProject(project), num_cores=1, state_dir=place.state)

    assert done["01"].success
    [machine] = place.record().machines.values()
    assert machine.kind == "c6i.2xlarge"
    assert machine.end is not None
    journal = Journal(place.state)
    cost = campaign_cost(journal, campaign_view(journal, journal.campaign_id(None)))
    journal.close()
    assert cost is not None
    assert cost.final
    assert place.cloud.machines() == [], "what Terraform did not know of is gone as well"


def test_time_is_over_before_plans_are_done(place: Place, group: None, project: Project, monkeypatch: Any) -> None:
    monkeypatch.setenv("RAS_RUNNER_BURST_STOP_SECONDS", "600")  # as long as it may live: it is stopped at once
    burst = place.burst(ttl="10m")
    with burst as workers:
        wait_until(lambda: burst.stopped, "it is stopped")
        done = compute_parallel_remote("all", workers, RasProject(project), num_cores=1, state_dir=place.state)

    assert {result.outcome for result in done.values()} <= {"cancelled", "completed"}
    assert "cancelled" in {result.outcome for result in done.values()}
    assert "time to live" in burst.stopped
    assert place.record().state is State.DOWN


def test_campaign_with_other_workers_goes_on_with_them(
    place: Place, group: None, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAS_RUNNER_BURST_STOP_SECONDS", "600")
    parameters = {"worker_id": "own", "engine": "standin", "cores_total": 1, "cores_per_plan": 1}
    own = init_local_worker({**parameters, "worker_folder": place.folder / "own"})
    burst = place.burst(ttl="10m")
    with burst as workers:
        both = [*workers, own]
        done = compute_parallel_remote("01,02", both, RasProject(project), num_cores=1, state_dir=place.state)

    assert burst.stopped
    assert {result.outcome for result in done.values()} == {"completed"}
    assert place.record().state is State.DOWN


def test_plans_that_do_not_end_in_their_time_do_not_keep_it_up(
    place: Place, group: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAS_RUNNER_BURST_STOP_SECONDS", "1")
    with place.burst(max_cost="0.00001"):  # less than the machine costs while it is stopped
        make_machine(place, place.record().launch_token)
        wait_until(lambda: place.record().state is State.DOWN, "it is taken down while the block goes on")
    assert place.terraform.commands().count("destroy") == 1


def test_apply_that_fails_halfway_is_taken_down(place: Place) -> None:
    place.terraform.script(apply=[{"error": "creating Auto Scaling Group", "detail": "VcpuLimitExceeded: 32 of 32"}])
    with pytest.raises(OperatorError) as caught, place.burst():
        raise AssertionError("unreachable")

    assert "the burst could not be made, and nothing is left of it" in caught.value.cause
    assert "VcpuLimitExceeded: 32 of 32" in caught.value.cause
    assert "limit raised" in caught.value.action
    assert Path(caught.value.log).is_file()
    assert place.states()[-1] == ("destroy", "destroying")
    assert place.record().state is State.DOWN
    assert left_behind(place.state) == []


def test_plan_that_fails_buys_nothing(place: Place) -> None:
    place.terraform.script(plan=[{"error": "no matching EC2 VPC found"}])
    with pytest.raises(OperatorError, match="no matching EC2 VPC"), place.burst():
        raise AssertionError("unreachable")
    assert place.terraform.commands() == ["init", "plan"]
    assert place.record().state is State.DOWN


def test_destroy_that_fails_twice_then_works(place: Place, group: None) -> None:
    place.terraform.script(destroy=[{"error": "DependencyViolation"}, {"error": "timeout"}])
    with place.burst():
        pass
    assert place.terraform.commands().count("destroy") == 3
    assert place.record().state is State.DOWN
    assert len([line for line in place.said if "trying again" in line]) == 2


def test_destroy_that_never_works_says_what_is_left_and_what_ends_when(place: Place, group: None) -> None:
    place.terraform.script(destroy=[{"error": "DependencyViolation"}] * 9)
    with pytest.raises(OperatorError) as caught, place.burst():
        pass

    record = place.record()
    assert record.state is State.FAILED
    assert "Left: aws_autoscaling_group.workers, aws_s3_bucket.staging" in caught.value.cause
    assert record.expires in caught.value.cause
    assert f"ras-runner burst down {record.id}" in caught.value.action
    [sentence] = left_behind(place.state)
    assert sentence.startswith(f"burst {record.id} is still up")
    place.terraform.script()
    bursts.open_burst(place.state, "", place.said.append).down()
    assert place.record().state is State.DOWN


def test_expired_credentials_at_the_end_are_tried_once(place: Place, group: None) -> None:
    place.terraform.script(destroy=[{"error": "ExpiredToken: The security token included in the request is expired"}])
    with pytest.raises(OperatorError) as caught, place.burst():
        pass
    assert place.terraform.commands().count("destroy") == 1
    assert "log on to the cloud again" in caught.value.action
    assert "end by themselves" in caught.value.cause


@pytest.mark.parametrize("command", ["init", "plan", "apply"])
def test_interrupt_while_it_is_made(place: Place, command: str) -> None:
    place.terraform.script(**{command: [{"wait": "polite"}]})
    _when_it_waits(place)
    with pytest.raises(KeyboardInterrupt), place.burst():
        raise AssertionError("unreachable")
    assert place.record().state is State.DOWN
    assert ("destroy" in place.terraform.commands()) == (command == "apply")


def test_interrupt_while_it_is_used_and_while_it_is_taken_down(place: Place, group: None) -> None:
    with pytest.raises(KeyboardInterrupt), place.burst():
        place.terraform.script(destroy=[{"wait": "polite"}])
        _when_it_waits(place, go_on=True)
        raise KeyboardInterrupt
    assert place.record().state is State.DOWN
    assert not (place.terraform.folder / "interrupted").exists(), "destroy is not stopped by an impatient person"
    assert any("wait" in line for line in place.said)


def test_machines_that_a_killed_campaign_has_protected_are_released(place: Place, group: None) -> None:
    """Terraform would wait for them in vain; those of a group that only has the same name are not touched."""
    scaling = place.cloud.client("autoscaling")
    with place.burst():
        record = place.record()
        foreign = replace(record, id="foreign")
        for name, labels in ((record.id, tags(launch_token=record.launch_token)), ("foreign", [])):
            make_scaling_group(place, name, labels)
            scaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
            there = scaling.describe_auto_scaling_instances()["AutoScalingInstances"]
            [mine] = [one["InstanceId"] for one in there if one["AutoScalingGroupName"] == name]
            scaling.set_instance_protection(AutoScalingGroupName=name, InstanceIds=[mine], ProtectedFromScaleIn=True)
        for one in (record, foreign):
            AwsBurst(REGION, "").release(one)
        found = scaling.describe_auto_scaling_instances()["AutoScalingInstances"]
    assert {one["AutoScalingGroupName"]: one["ProtectedFromScaleIn"] for one in found} == {
        record.id: False,
        "foreign": True,
    }


def test_failed_upload_is_taken_down(place: Place) -> None:
    place.terraform.script(bucket="there-is-none")
    with pytest.raises(OperatorError, match="staging bucket"), place.burst():
        raise AssertionError("unreachable")
    assert place.record().state is State.DOWN


def test_two_bursts_share_nothing(place: Place, group: None) -> None:
    with place.burst(), place.burst():
        one, two = (folder.path for folder in burst_folders(place.state))
        places = {call["env"]["TF_DATA_DIR"] for call in place.terraform.calls("apply")}
        assert places == {str(one / "data"), str(two / "data")}
        assert (one / "terraform.tfstate").is_file()
        assert read_json(one / "terraform.tfstate") != read_json(two / "terraform.tfstate")
        assert place.records()[0].launch_token != place.records()[1].launch_token
        with pytest.raises(InputError, match="2 bursts are up"):
            bursts.open_burst(place.state, "", print)


def test_state_of_another_burst_is_not_destroyed(place: Place, group: None) -> None:
    with pytest.raises(OperatorError, match="that of another burst"), place.burst():
        path = burst_folders(place.state)[0].path / "terraform.tfstate"
        state = read_json(path)
        state["outputs"]["tags"]["value"]["ras-runner:launch-token"] = "somebody-elses"
        path.write_text(json.dumps(state), encoding="utf-8")
    assert "destroy" not in place.terraform.commands()


def test_burst_that_is_in_hand_is_left_to_its_controller(place: Place, group: None, runner: Runner) -> None:
    with place.burst() as _:
        [folder] = burst_folders(place.state)
        assert folder.in_hand()
        done = runner.run("burst", "down", folder.path.name, "--state-dir", place.state, code=2)
        assert "is in the hands of another ras-runner" in done.stderr


def test_up_has_its_machines_and_a_workers_file(place: Place) -> None:
    name = "a-group"
    make_scaling_group(place, name)
    place.terraform.script(group=name)
    asked = bursts.prospect(place.burst().order, place.state, attended=False)
    path = bursts.bring_up(asked, place.state, place.said.append)

    [scaling] = place.cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert scaling["DesiredCapacity"] == 2
    [worker] = read_json(path)["workers"]
    assert (worker["type"], worker["parameters"]["group"]) == ("aws_ec2", name)
    assert place.record().state is State.UP
    assert left_behind(place.state) == [], "it is up on purpose"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "burst-20200101-0000-abcd"}', '{"machines": 3}'])
def test_record_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    folder = BurstFolder(tmp_path / "bursts" / "burst-20200101-0000-abcd")
    folder.path.mkdir(parents=True)
    folder.record_path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is no record of a burst"):
        folder.read()
    [sentence] = left_behind(tmp_path)
    assert "burst sweep" in sentence


# what is refused before anything is bought


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cloud": "azure", "region": "westeurope"}, "azure"),
        ({"region": "us-east-9"}, "has no region"),
        ({"vpc_id": "vpc-0123456789abcdef0"}, "no network vpc-0123456789abcdef0"),
        ({"subnet_ids": ["subnet-0123456789abcdef0"]}, "subnet-0123456789abcdef0"),
        ({"machine_types": ["x9.huge"]}, "x9.huge"),
        ({"cores_per_plan": 64}, "64 cores"),
        ({"access_cidrs": []}, "--access-cidr"),
        ({"max_cost": "0.01", "plans": 10, "hours_per_plan": 1}, "will probably cost"),
        ({"profile": "nobodys"}, "nobodys"),
    ],
)
def test_what_the_cloud_does_not_have(place: Place, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        place.burst(**changes).check()
    assert message in str(caught.value)
    assert caught.value.action
    assert place.terraform.commands() == []
    assert not (place.state / "bursts").exists()


def test_everybody_may_be_said(place: Place) -> None:
    place.burst(access_cidrs=["0.0.0.0/0"], allow_access_from_anywhere=True).check()


def test_unattended_burst_must_be_affordable_to_its_end(place: Place) -> None:
    with pytest.raises(InputError, match="nobody stops it"):
        bursts.prospect(place.burst(max_cost="0.5").order, place.state, attended=False)


def test_region_without_a_default_network(place: Place) -> None:
    ec2 = place.cloud.client("ec2")
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    with pytest.raises(InputError, match="has no subnet"):
        place.burst().check()
    [network] = ec2.describe_vpcs()["Vpcs"]
    ec2.delete_vpc(VpcId=network["VpcId"])
    with pytest.raises(InputError, match="there is no default network") as caught:
        place.burst().check()
    assert "--vpc-id" in caught.value.action


@pytest.mark.parametrize(
    ("code", "message"),
    [("ExpiredToken", "have expired"), ("InvalidClientTokenId", "does not know"), ("AccessDenied", "no right to")],
)
def test_credentials_that_do_not_do(place: Place, monkeypatch: pytest.MonkeyPatch, code: str, message: str) -> None:
    def refuse(self: BaseClient, operation: str, given: dict[str, Any]) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    with pytest.raises(OperatorError, match=message):
        place.burst().check()


def test_no_credentials(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(OperatorError, match="no AWS credentials"):
        place.burst().check()


def test_own_rates_are_found_from_elsewhere(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = "{currency: USD, as_of: 2026-11-01, source: ours, aws: {us-east-1: {machines: {c6i.2xlarge: {linux: 9}}}}}"
    (place.folder / "rates.yml").write_text(rates, encoding="utf-8")
    monkeypatch.chdir(place.folder)
    place.terraform.script(plan=[{"error": "no"}])
    with pytest.raises(OperatorError), place.burst(prices="rates.yml"):
        raise AssertionError("unreachable")
    monkeypatch.chdir("/")
    record = place.record()
    record.machines["i-1"] = MachineTime("c6i.2xlarge", False, record.created)
    assert account_of(record, place.state).spending(record, record.created + 3600).lines["machines"] == 9


@pytest.mark.parametrize(("package", "extra"), [("asyncssh", "ssh"), ("docker", "docker"), ("boto3", "aws")])
def test_missing_package(place: Place, monkeypatch: pytest.MonkeyPatch, package: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "ras_runner.transports.docker_api", raising=False)
    monkeypatch.delattr("ras_runner.transports.docker_api", raising=False)
    with pytest.raises(OperatorError) as caught:
        place.burst().check()
    assert caught.value.action.replace("'", "") == f"pip install ras-runner[{extra}]"


def test_no_terraform(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAS_RUNNER_TERRAFORM", "/no/such/terraform")
    with pytest.raises(OperatorError, match="is no program"):
        place.burst().check()


def test_interrupt_right_before_it_is_taken_down(place: Place, group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(self: BurstLife) -> None:
        signal.raise_signal(signal.SIGINT)

    with place.burst():
        monkeypatch.setattr(BurstLife, "look", look)
    assert place.record().state is State.DOWN
    assert any("wait" in line for line in place.said)


def test_limits_hold_although_the_watch_has_a_bug(place: Place, group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAS_RUNNER_BURST_STOP_SECONDS", "600")  # as long as it may live: it is stopped at once
    for method in ("machines", "spending"):
        monkeypatch.setattr(AwsBurst if method == "machines" else Account, method, lambda *_: {}["bug"])
    burst = place.burst(ttl="10m")
    with pytest.raises(KeyError), burst:  # the last account, too, when all is down
        wait_until(lambda: burst.stopped, "it is stopped")
    assert place.record().state is State.DOWN


def test_machine_that_one_list_lacks_is_paid_for_all_the_same() -> None:
    machine = MachineTime("c6i.2xlarge", False, 100.0)
    missing = seen_machines({"i-1": machine}, {}, 200.0)
    assert missing["i-1"].end == 200.0
    assert seen_machines(missing, {"i-1": machine}, 230.0)["i-1"].end is None


def test_profile_counts_for_terraform_too(place: Place, group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment are those of another account, which nobody has agreed to."""
    settings = place.folder / "settings"
    settings.write_text("[profile office]\naws_access_key_id = office\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    with place.burst(profile="office"):
        pass
    for command in ("apply", "destroy"):
        [call] = place.terraform.calls(command)
        assert call["env"]["AWS_PROFILE"] == "office"
        assert call["env"]["AWS_ACCESS_KEY_ID"] == call["env"]["AWS_SECRET_ACCESS_KEY"] == ""


def test_profile_in_the_environment_that_there_is_not(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nonesuch")
    with pytest.raises(InputError, match="nonesuch"):
        place.burst().check()


def _when_it_waits(place: Place, *, go_on: bool = False) -> None:
    """Interrupt as soon as Terraform waits."""

    def watch() -> None:
        wait_until((place.terraform.folder / "waiting").exists, "terraform waits", 30)
        _thread.interrupt_main()
        if go_on:
            wait_until(lambda: any("wait" in line for line in place.said), "the interrupt is answered", 30)
            (place.terraform.folder / "go on").touch()

    threading.Thread(target=watch, daemon=True).start()
