"""Answers of AWS read by pure functions: states, ends and shortages, in AWS's own words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ras_runner.workers import aws_reading as reading
from ras_runner.workers.group import MachineState

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


def activity(minutes_ago: float, status: str, message: str = "", what: str = "Launching a new EC2 instance") -> Any:
    start = NOW - timedelta(minutes=minutes_ago)
    return {"StartTime": start, "StatusCode": status, "StatusMessage": message, "Description": what}


def shortage(*activities: Any) -> str:
    return reading.shortage_of(activities, NOW - timedelta(minutes=20))


# Messages as the User Guide of EC2 Auto Scaling has them (ts-as-instancelaunchfailure, ts-as-capacity).
@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity available that "
         "matches your request. Launching EC2 instance failed.", "no machine of these types"),
        ("We currently do not have sufficient c5.2xlarge capacity in the Availability Zone you requested (us-east-1a). "
         "Launching EC2 instance failed.", "no machine of these types"),
        ("Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request "
         "configuration.", "no machine of these types"),
        ("Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded. Launching "
         "EC2 instance failed.", "quota of spot machines"),
        ("You have requested more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket that "
         "the specified instance type belongs to. VcpuLimitExceeded", "quota of processors of full-price machines"),
        ("The image id '[ami-0ff]' does not exist. InvalidAMIID.NotFound Launching EC2 instance failed.",
         "machine image is not there any more"),
        ("InvalidKeyPair.NotFound: The key pair 'k' does not exist. Launching EC2 instance failed.", "key pair is not"),
        ("SpotMaxPriceTooLow - Your Spot request price of 0.01 is lower than required", "cost more"),
        ("You are not authorized to perform this operation.", "no right to start machines"),
        ("Something\nnew \x1b[1m" + "x" * 1000, "the group could not start a machine: Something new"),
    ],
)  # fmt: skip
def test_shortage_is_one_plain_sentence(message: str, sentence: str) -> None:
    said = shortage(activity(1, "Failed", message))
    assert sentence in said
    assert len(said) < 400
    assert said.isprintable()


def test_shortage_is_what_the_latest_launch_says() -> None:
    failed = activity(5, "Failed", "InsufficientInstanceCapacity")
    assert shortage(failed, activity(3, "Successful")) == ""
    assert shortage(activity(3, "Successful"), activity(1, "Failed", "VcpuLimitExceeded"))
    assert shortage(failed, activity(2, "InProgress", what="Terminating EC2 instance: i-1")), "no launch"
    assert shortage(activity(21, "Failed", "InsufficientInstanceCapacity")) == "", "too old"
    assert shortage(activity(1, "InProgress")) == ""
    assert shortage(failed, activity(1, "InProgress"), activity(2, "Cancelled")), "not over yet, or taken back"
    assert shortage() == ""


def instance(state: str, **more: Any) -> dict[str, Any]:
    return {"InstanceId": "i-1", "State": {"Name": state}, "InstanceType": "c6i.large", "LaunchTime": NOW} | more


@pytest.mark.parametrize(
    ("state", "lifecycle", "expected"),
    [
        ("pending", "Pending", MachineState.STARTING),
        ("running", "InService", MachineState.RUNNING),
        ("running", "", MachineState.RUNNING),
        ("running", "Terminating:Wait", MachineState.ENDING),
        ("running", "Detaching", MachineState.ENDING),
        ("shutting-down", "Terminating", MachineState.ENDING),
        ("stopped", "", MachineState.ENDING),
        ("terminated", "Terminating", MachineState.GONE),
        ("hibernating-or-what", "", MachineState.ENDING),
    ],
)
def test_states(state: str, lifecycle: str, expected: MachineState) -> None:
    assert reading.machine_of(instance(state), lifecycle).state is expected


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("Server.SpotInstanceTermination", "the cloud took this spot machine back"),
        ("Client.InstanceInitiatedShutdown", "the machine ended itself"),
        ("Client.UserInitiatedShutdown", "ended through the cloud's API"),
        ("Something.New", ""),
    ],
)
def test_end_of_a_machine_has_its_reason(code: str, sentence: str) -> None:
    machine = reading.machine_of(instance("terminated", StateReason={"Code": code, "Message": "m"}), "")
    assert sentence in machine.notice
    assert bool(machine.notice) == bool(sentence)
    assert reading.machine_of(instance("running", StateReason={"Code": code}), "").notice == ""


def test_public_and_private_addresses() -> None:
    both = instance("running", PrivateIpAddress="10.0.0.7", PublicIpAddress="203.0.113.7")
    assert reading.machine_of(both, "").address == "10.0.0.7"
    assert reading.machine_of(both, "", public=True).address == "203.0.113.7"
    assert reading.machine_of(instance("running", PrivateIpAddress="10.0.0.7"), "", public=True).address == ""
    assert reading.machine_of(instance("pending"), "").address == ""


def test_spot_requests_that_go_on_say_nothing() -> None:
    codes = ("fulfilled", "marked-for-termination", "instance-terminated-by-user", "instance-terminated-no-capacity")
    requests = [{"InstanceId": f"i-{index}", "Status": {"Code": code}} for index, code in enumerate(codes)]
    assert set(reading.notices([*requests, {"Status": {"Code": "marked-for-termination"}}])) == {"i-1", "i-3"}
