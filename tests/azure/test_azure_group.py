"""A group of machines in Azure: the real SDK against an emulated management API."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import pytest
from tests.azure.arm import BASE, GROUP, SET, TAGS, Arm
from tests.azure.conftest import Credential
from tests.commands import wait_until

from ras_runner.errors import InputError, OperatorError, TransientError
from ras_runner.workers.azure import AzureGroup
from ras_runner.workers.base import WorkerSpec
from ras_runner.workers.docker import DockerSpec
from ras_runner.workers.group import GroupView, Machine, MachineState
from ras_runner.workers.registry import make_any_worker, worker_spec
from ras_runner.workers.winrm import WinRmSpec

MakeGroup = Callable[..., AzureGroup]
OTHER_SET = f"{BASE}/Microsoft.Compute/virtualMachineScaleSets/other"


def ids(view: GroupView) -> set[str]:
    return {machine.id for machine in view.machines}


def heard(group: AzureGroup, condition: Callable[[GroupView], Any], what: str) -> GroupView:
    """The first look that shows it: the SDK follows an operation in a thread of its own."""

    def look() -> GroupView | None:
        view = group.look()
        return view if condition(view) else None

    return wait_until(look, what, limit=20)


class TestLook:
    def test_an_empty_group(self, group: AzureGroup) -> None:
        assert group.look() == GroupView((), 0, "")
        assert (group.type, group.hostname, group.engine.name) == (
            "azure",
            f"scale set {GROUP} in westeurope",
            "HEC-RAS 6.6 Linux",
        )

    def test_machines_of_all_pages_with_their_addresses(self, arm: Arm, group: AzureGroup) -> None:
        names = [arm.make(), arm.make(spot=False), arm.make(power="starting"), arm.make(), arm.make()]
        arm.make("stranger", of=OTHER_SET)
        view = group.look()
        assert ids(view) == set(names)
        assert view.wanted == 5
        assert view.machines[0] == Machine(
            id=names[0],
            state=MachineState.RUNNING,
            address="10.0.0.1",
            since=datetime(2026, 11, 22, 19, 1, 0, 500000, UTC).timestamp(),
            zone="2",
            kind="Standard_F8s_v2",
            spot=True,
        )
        assert not view.machines[1].spot
        assert view.machines[2].state is MachineState.STARTING

    def test_public_addresses_when_asked_for(self, arm: Arm, make_group: MakeGroup) -> None:
        for _ in range(3):
            arm.make()
        found = {machine.address for machine in make_group(public_ip=True).look().machines}
        assert found == {"203.0.113.1", "203.0.113.2", "203.0.113.3"}

    @pytest.mark.parametrize(
        ("power", "state", "notice"),
        [
            ("starting", MachineState.STARTING, ""),
            ("running", MachineState.RUNNING, ""),
            ("stopping", MachineState.ENDING, ""),
            ("stopped", MachineState.ENDING, "stopped from within, and is still paid for"),
            ("deallocating", MachineState.ENDING, "the cloud takes this machine back"),
            ("deallocated", MachineState.GONE, "the cloud took this machine back"),
            ("unheard-of", MachineState.STARTING, ""),
        ],
    )
    def test_power_states(self, arm: Arm, group: AzureGroup, power: str, state: MachineState, notice: str) -> None:
        arm.make(power=power)
        [machine] = group.look().machines
        assert machine.state is state
        assert notice in machine.notice
        assert bool(notice) == bool(machine.notice)

    def test_a_machine_that_is_being_deleted(self, arm: Arm, group: AzureGroup) -> None:
        arm.machines[arm.make()]["properties"]["provisioningState"] = "Deleting"
        [machine] = group.look().machines
        assert (machine.state, machine.notice) == (MachineState.ENDING, "the machine is being deleted")

    def test_a_machine_that_could_not_be_made_says_why(self, arm: Arm, group: AzureGroup) -> None:
        name = arm.make(power="starting")
        arm.machines[name]["_codes"] = ["ProvisioningState/failed/ZonalAllocationFailed"]
        assert "zones of the group" in group.look().shortage


class TestResize:
    def test_grows_with_a_share_that_is_not_taken_away(self, arm: Arm, group: AzureGroup) -> None:
        group.resize(3, 1)
        assert arm.bodies == [
            {
                "sku": {"name": "Mix", "capacity": 3},
                "properties": {"priorityMixPolicy": {"baseRegularPriorityCount": 1}},
            }
        ]
        assert group.look() == GroupView((), 3, "")
        arm.finish()
        assert sorted(machine.spot for machine in group.look().machines) == [False, True, True]

    def test_asks_for_nothing_that_it_has(self, arm: Arm, group: AzureGroup) -> None:
        group.resize(2, 0)
        arm.finish()
        group.resize(2, 0)
        assert arm.count("PATCH virtualMachineScaleSets") == 1

    def test_never_more_than_the_most(self, arm: Arm, group: AzureGroup) -> None:
        group.resize(50, 9)
        assert (arm.capacity, arm.base) == (6, 6)

    def test_keeps_what_terraform_set_aside(self, arm: Arm, make_group: MakeGroup) -> None:
        arm.base = 2
        group = make_group(on_demand_base=2)
        group.resize(4, 0)
        assert arm.base == 2

    def test_says_nothing_of_shares_to_a_group_without_spot_machines(self, arm: Arm, group: AzureGroup) -> None:
        arm.set["properties"]["virtualMachineProfile"] = {"priority": "Regular"}
        group.resize(2, 2)
        assert arm.bodies == [{"sku": {"name": "Mix", "capacity": 2}}]

    def test_gives_back_what_is_not_protected_and_not_booted_first(self, arm: Arm, group: AzureGroup) -> None:
        busy, idle, booting = arm.make(), arm.make(), arm.make(power="starting")
        group.protect([busy], on=True)
        group.resize(2, 0)
        assert arm.names() == [busy, idle]
        arm.finish()
        group.resize(0, 0)
        arm.finish()
        assert arm.names() == [busy]
        assert booting not in arm.machines
        assert group.look().wanted == 1
        group.protect([busy], on=False)
        group.resize(0, 0)
        arm.finish()
        assert (arm.machines, group.look()) == ({}, GroupView((), 0, ""))

    def test_gives_back_none_of_those_that_are_not_taken_away(self, arm: Arm, group: AzureGroup) -> None:
        steady, spot, other = arm.make(spot=False), arm.make(), arm.make(spot=False)
        group.resize(1, 1)
        assert arm.names() == [steady]
        assert {spot, other} <= set(arm.machines)

    def test_drops_what_azure_has_not_made_yet_and_spares_what_is_there(self, arm: Arm, group: AzureGroup) -> None:
        there = arm.make()
        group.protect([there], on=True)
        group.resize(5, 0)
        group.resize(0, 0)
        assert arm.capacity == 1
        arm.finish()
        assert arm.names() == [there]

    def test_what_is_going_does_not_count_twice(self, arm: Arm, group: AzureGroup) -> None:
        for _ in range(3):
            arm.make()
        group.resize(2, 0)
        group.resize(2, 0)
        assert arm.count("DELETE virtualMachines") == 1


class TestShortage:
    @pytest.mark.parametrize(
        ("code", "message", "sentence"),
        [
            ("AllocationFailed", "", "the cloud has no machine of these sizes free now"),
            ("ZonalAllocationFailed", "", "the cloud has no machine of these sizes free now in the zones of the group"),
            ("OverconstrainedAllocationRequest", "", "the cloud has no machine that meets all that the group asks for"),
            ("SkuNotAvailable", "", "these sizes are not sold to the subscription"),
            ("QuotaExceeded", "", "the subscription's quota of processors is used up"),
            (
                "OperationNotAllowed",
                "Operation could not be completed as it results in exceeding approved LowPriorityCores quota.",
                "the subscription's quota of processors is used up",
            ),
        ],
    )
    @pytest.mark.parametrize("late", [False, True])
    def test_is_one_sentence(
        self, arm: Arm, group: AzureGroup, code: str, message: str, sentence: str, late: bool
    ) -> None:
        arm.make()
        arm.refuse("PATCH virtualMachineScaleSets", 409, code, message, late=late)
        group.resize(3, 0)
        arm.finish()
        view = heard(group, lambda view: view.shortage, "the refusal")
        assert view.shortage.startswith(sentence)
        assert view.wanted == 3
        group.resize(1, 0)  # let it rest
        assert (group.look().wanted, group.look().shortage) == (1, "")
        group.resize(3, 0)
        arm.finish()
        assert len(group.look().machines) == 3

    def test_is_found_inside_of_what_says_nothing(self, arm: Arm, group: AzureGroup) -> None:
        inside = [{"code": "SkuNotAvailable", "message": "not here"}]
        arm.refuse("PATCH virtualMachineScaleSets", 409, "DeploymentFailed", details=inside, late=True)
        group.resize(1, 0)
        arm.finish()
        assert "not sold" in heard(group, lambda view: view.shortage, "the refusal").shortage

    def test_is_told_in_azures_words_when_no_table_has_it(self, arm: Arm, group: AzureGroup) -> None:
        arm.refuse("PATCH virtualMachineScaleSets", 400, "Odd", "The moon\nis full.", late=True)
        group.resize(1, 0)
        arm.finish()
        view = heard(group, lambda view: view.shortage, "the refusal")
        assert view.shortage == "Azure refused it: The moon is full."

    def test_is_over_when_the_next_try_succeeds(self, arm: Arm, group: AzureGroup) -> None:
        arm.refuse("PATCH virtualMachineScaleSets", 409, "AllocationFailed", late=True)
        group.resize(2, 0)
        arm.finish()
        heard(group, lambda view: view.shortage, "the refusal")
        group.resize(2, 0)  # the same number: Azure does not try again by itself
        arm.finish()
        view = group.look()
        assert (view.shortage, view.wanted, len(view.machines)) == ("", 2, 2)


class TestProtect:
    def test_on_and_off(self, arm: Arm, group: AzureGroup) -> None:
        machines = [arm.make(), arm.make(), arm.make()]
        group.protect(machines[:2], on=True)
        assert arm.protected == set(machines[:2])
        group.protect(machines[1:], on=False)
        assert arm.protected == {machines[0]}

    def test_is_remembered_where_azure_does_not_protect(self, arm: Arm, group: AzureGroup) -> None:
        busy, idle = arm.make(), arm.make()
        for call in ("PUT instances", "GET instances"):
            arm.refuse(call, 409, "OperationNotAllowed", "not for Flexible", times=9)
        group.protect([busy, idle], on=True)
        group.protect([idle], on=False)
        group.resize(0, 0)
        assert arm.names() == [busy]

    def test_of_another_controller_is_kept(self, arm: Arm, group: AzureGroup, make_group: MakeGroup) -> None:
        busy, _ = arm.make(), arm.make()
        group.protect([busy], on=True)
        make_group().resize(0, 0)
        assert arm.names() == [busy]

    def test_without_the_right_to_is_said(self, arm: Arm, group: AzureGroup) -> None:
        arm.refuse("PUT instances", 403, "AuthorizationFailed", "no")
        with pytest.raises(OperatorError, match=r"no right to .*/virtualMachines/write"):
            group.protect([arm.make()], on=True)

    def test_one_that_is_gone_keeps_no_other_from_it(self, arm: Arm, group: AzureGroup) -> None:
        machine = arm.make()
        group.protect(["burst-1_gone", machine], on=True)
        assert arm.protected == {machine}


class TestEnd:
    def test_the_group_has_one_less(self, arm: Arm, group: AzureGroup) -> None:
        one, other = arm.make(), arm.make()
        group.end(one, replace=False)
        assert arm.names() == [other]
        arm.finish()
        assert (ids(group.look()), group.look().wanted) == ({other}, 1)

    def test_another_one_comes_when_it_has_gone(self, arm: Arm, group: AzureGroup) -> None:
        one, other = arm.make(), arm.make()
        group.end(one, replace=True)
        assert group.look().wanted == 2
        assert arm.count("PATCH virtualMachineScaleSets") == 0, "Azure would count the one that is going"
        arm.finish()
        assert group.look().wanted == 2
        arm.finish()
        view = group.look()
        assert len(view.machines) == 2
        assert one not in ids(view)
        assert other in ids(view)
        assert arm.count("PATCH virtualMachineScaleSets") == 1

    def test_none_comes_when_the_group_was_resized_in_between(self, arm: Arm, group: AzureGroup) -> None:
        one, _ = arm.make(), arm.make()
        group.end(one, replace=True)
        group.resize(1, 0)
        arm.finish()
        assert (group.look().wanted, len(arm.names())) == (1, 1)

    def test_one_that_is_gone_already_is_well(self, arm: Arm, group: AzureGroup) -> None:
        group.end("burst-1_gone", replace=False)
        assert arm.count("DELETE virtualMachines") == 0

    @pytest.mark.parametrize("mark", ["another set", "no set", "another launch"])
    def test_what_is_not_of_this_group_is_left_alone(self, arm: Arm, group: AzureGroup, mark: str) -> None:
        name = arm.make("stranger", of=OTHER_SET if mark == "another set" else SET)
        if mark == "no set":
            arm.machines[name]["properties"]["virtualMachineScaleSet"] = None
        elif mark == "another launch":
            arm.machines[name]["tags"] = {"ras-runner-launch-token": "token-0002"}
        with pytest.raises(OperatorError, match="stranger is not one of this group, and is left alone"):
            group.end(name, replace=True)
        assert arm.count("DELETE virtualMachines") == 0
        del arm.machines[name]
        assert group.look().wanted == arm.capacity, "nothing is owed for it"

    def test_nothing_is_done_to_a_group_whose_tags_were_taken_away(self, arm: Arm, group: AzureGroup) -> None:
        name = arm.make()
        arm.set["tags"] = {}
        for call in (lambda: group.end(name, replace=False), lambda: group.resize(0, 0), group.look):
            with pytest.raises(OperatorError, match="does not carry the tag ras-runner-managed-by=ras-runner"):
                call()
        assert arm.names() == [name]


class TestMember:
    def told(self, arm: Arm, machine: str, text: str | bytes) -> None:
        arm.blobs[f"/hosts/{machine}.pub"] = text.encode() if isinstance(text, str) else text

    def running(self, arm: Arm, group: AzureGroup) -> Machine:
        arm.make()
        return group.look().machines[0]

    def test_a_docker_worker_whose_host_key_is_known(self, arm: Arm, make_group: MakeGroup, tmp_path: Path) -> None:
        group = make_group(cores_per_plan=2, queue_priority=3, ssh_key_path=tmp_path / "key", memory_per_plan="4g")
        machine = self.running(arm, group)
        key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
        self.told(arm, machine.id, f"{key} root@worker\n")
        kind, parameters = group.member(machine)
        assert (kind, parameters["worker_id"]) == ("docker", f"burst-{machine.id}")
        assert parameters["docker_host"] == f"ssh://ras@{machine.address}"
        known = asyncssh.read_known_hosts([parameters["known_hosts"]]).match(machine.address, "", 22)[0]
        assert [one.export_public_key().decode().split()[:2] for one in known] == [key.split()[:2]]
        spec: WorkerSpec = worker_spec("docker", parameters)
        assert isinstance(spec, DockerSpec)
        assert (spec.cores_total, spec.cores_per_plan, spec.queue_priority, spec.memory_per_plan) == (8, 2, 3, "4g")
        assert (spec.docker_image, spec.version, spec.worker_folder) == (
            "hecras:6.6",
            "6.6",
            "/var/lib/ras-runner/worker",
        )
        assert spec.ssh_key_path == tmp_path / "key"

    def test_a_winrm_worker_whose_certificate_is_pinned(self, arm: Arm, make_group: MakeGroup) -> None:
        group = make_group(os="windows", docker_image=None, password="env:RAS_PASSWORD", cores_total=None)
        machine = self.running(arm, group)
        self.told(arm, machine.id, "AB" * 32 + "\r\n")
        kind, parameters = group.member(machine)
        assert kind == "winrm"
        spec = worker_spec("winrm", parameters)
        assert isinstance(spec, WinRmSpec)
        assert (spec.fingerprint, spec.hostname, spec.cores_total) == ("ab" * 32, machine.address, 4)
        assert (spec.username, spec.password, spec.version) == ("ras", "env:RAS_PASSWORD", "6.6")
        assert group.engine.name.startswith("HEC-RAS 6.6")

    def test_is_asked_later_until_it_has_told_its_key(self, arm: Arm, group: AzureGroup) -> None:
        with pytest.raises(TransientError, match="has not told its host key yet"):
            group.member(self.running(arm, group))

    def test_is_asked_later_until_it_has_an_address(self, arm: Arm, group: AzureGroup) -> None:
        with pytest.raises(TransientError, match="burst-1_9"):
            group.member(Machine("burst-1_9", MachineState.RUNNING))

    @pytest.mark.parametrize("text", [b"", b"ssh-ed25519 nonsense", b"\xff\x00", b"x" * 100_000])
    def test_what_is_no_host_key_is_refused(self, arm: Arm, group: AzureGroup, text: bytes) -> None:
        machine = self.running(arm, group)
        self.told(arm, machine.id, text)
        with pytest.raises(OperatorError, match="told as its host key cannot be used"):
            group.member(machine)

    def test_the_right_to_read_host_keys_is_named(self, arm: Arm, group: AzureGroup) -> None:
        machine = self.running(arm, group)
        arm.refuse("GET blob", 403, "AuthorizationPermissionMismatch")
        with pytest.raises(OperatorError, match=r"no right to Microsoft\.Storage/.*/blobs/read"):
            group.member(machine)


class TestInit:
    @pytest.mark.parametrize("tags", [{}, {"ras-runner-managed-by": "somebody"}])
    def test_a_group_that_is_not_ours_is_refused(self, arm: Arm, make_group: MakeGroup, tags: dict[str, str]) -> None:
        arm.set["tags"] = tags
        with pytest.raises(OperatorError, match="does not carry the tag ras-runner-managed-by=ras-runner"):
            make_group()

    def test_a_group_of_another_launch_is_refused(self, make_group: MakeGroup) -> None:
        assert make_group(launch_token=TAGS["ras-runner-launch-token"])
        with pytest.raises(OperatorError, match="of another launch, its tag ras-runner-launch-token is token-0001"):
            make_group(launch_token="token-0002")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"orchestrationMode": "Uniform"}, "not a flexible one"),
            ({"virtualMachineProfile": {"priority": "Spot"}}, "keeps machines that were taken away"),
        ],
    )
    def test_groups_of_another_kind_are_refused(
        self, arm: Arm, make_group: MakeGroup, change: dict[str, Any], message: str
    ) -> None:
        arm.set["properties"].update(change)
        with pytest.raises(OperatorError, match=rf"(?s){message}.*next: make it as terraform/azure does"):
            make_group()

    @pytest.mark.parametrize(
        ("status", "code", "message"),
        [
            (404, "ContainerNotFound", "no container of host keys.*check staging_endpoint and host_key_prefix"),
            (403, "AuthorizationPermissionMismatch", r"no right to Microsoft\.Storage/.*blobs/read.*grant it"),
            (403, "AuthorizationFailure", r"no right to Microsoft\.Storage/.*blobs/read.*grant it"),
        ],
    )
    def test_a_staging_account_that_cannot_be_read_is_found_out_first(
        self, arm: Arm, make_group: MakeGroup, status: int, code: str, message: str
    ) -> None:
        arm.refuse("GET blob", status, code)
        with pytest.raises(OperatorError, match=f"(?s){message}"):
            make_group()

    def test_cores_are_those_of_the_smallest_size(self, make_group: MakeGroup) -> None:
        assert make_group(cores_total=None).spec.cores_total == 4

    def test_sizes_that_nobody_knows_need_cores_total(self, arm: Arm, make_group: MakeGroup) -> None:
        arm.set["properties"]["skuProfile"] = None
        arm.set["sku"] = {"name": "Standard_X", "tier": "Standard"}
        with pytest.raises(OperatorError, match="does not say how many processors Standard_X have"):
            make_group(cores_total=None)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"subscription_id": "mine"}, "subscription_id"),
            ({"resource_group": "a/b"}, "resource_group"),
            ({"staging_endpoint": "http://staging"}, "staging_endpoint"),
            ({"host_key_prefix": "../"}, "host_key_prefix"),
            ({"version": ""}, "hecras-linux needs version"),
            ({"min_machines": 9}, "min_machines is 9, and max_machines only 6"),
            ({"max_machines": None}, "max_machines"),
            ({"docker_host": "ssh://a@b"}, "unknown parameter 'docker_host'"),
            ({"os": "windows"}, "unknown parameter 'docker_image'"),
            ({"os": "windows", "docker_image": None, "password": "secret"}, "give a reference, not the secret"),
        ],
    )
    def test_wrong_parameters_are_refused_before_anybody_is_asked(
        self, arm: Arm, parameters: dict[str, Any], changes: dict[str, Any], message: str
    ) -> None:
        given = {name: value for name, value in (parameters | changes).items() if value is not None}
        with pytest.raises(InputError, match=message):
            make_any_worker("azure", given)
        assert arm.calls == []

    def test_without_credentials_it_says_how_to_log_on(self, parameters: dict[str, Any], tmp_path: Path) -> None:
        """azure-identity's own search, on a machine where nobody has logged on."""
        inventory = tmp_path / "inventory.yml"
        host = {f"ras_{name}": str(value) if isinstance(value, Path) else value for name, value in parameters.items()}
        inventory.write_text(json.dumps({"azure_workers": {"hosts": {"burst": host}}}), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "ras_runner", "doctor", "-i", inventory],
            # "dev": lest it asks the network for this machine's identity
            env={"HOME": str(tmp_path), "PATH": str(tmp_path), "AZURE_TOKEN_CREDENTIALS": "dev", "COLUMNS": "300"},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert done.returncode == 3
        assert re.search(r"(?s)there are no credentials of Azure.*next: log on \(az login\)", done.stdout)
        assert "Credential" not in done.stderr, "what the library logs is not for the user's terminal"

    def test_without_the_libraries_it_says_how_to_install_them(
        self, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ras_runner.workers import azure_errors

        def required(package: str, who: str, extra: str) -> None:
            raise OperatorError(f"{who} need {package}", action=f"pip install ras-runner[{extra}]")

        monkeypatch.setattr(azure_errors, "required", required)
        with pytest.raises(OperatorError, match=r"pip install ras-runner\[azure\]"):
            make_any_worker("azure", parameters)


NO_RIGHT = (
    "The client 'x' with object id 'y' does not have authorization to perform action "
    "'Microsoft.Compute/virtualMachineScaleSets/read' over scope '/subscriptions/s' or the scope is invalid."
)
NO_LINKED_RIGHT = (
    "The client has permission to perform action 'Microsoft.Compute/virtualMachineScaleSets/write' on scope 's'; "
    "however, it does not have permission to perform action(s) 'Microsoft.Network/virtualNetworks/subnets/join/action' "
    "on the linked scope(s) 'n'."
)


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code", "message", "expected"),
        [
            (
                401,
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier.",
                "have expired.*az login",
            ),
            (
                401,
                "InvalidAuthenticationTokenTenant",
                "The token is of tenant t.",
                "does not know these.*az login --tenant",
            ),
            (401, "", "", "have expired.*az login"),
            (
                403,
                "AuthorizationFailed",
                NO_RIGHT,
                r"no right to Microsoft\.Compute/virtualMachineScaleSets/read.*grant",
            ),
            (
                403,
                "LinkedAuthorizationFailed",
                NO_LINKED_RIGHT,
                r"no right to Microsoft\.Network/.*/join/action.*grant",
            ),
            (403, "RequestDisallowedByPolicy", "by 'no spot'", "a policy of the subscription forbids it: by 'no spot'"),
            (404, "SubscriptionNotFound", "", "no such subscription.*check subscription_id"),
            (400, "InvalidSubscriptionId", "", "no such subscription.*check subscription_id"),
            (
                404,
                "ResourceGroupNotFound",
                "Resource group 'b'.",
                "no such resource group: Resource group 'b'.*resource_group",
            ),
            (404, "ResourceNotFound", "The Resource 'v'.", "no such thing: The Resource 'v'.*scale_set"),
            (409, "ReadOnlyDisabledSubscription", "It is disabled.", "cannot be used: It is disabled"),
            (409, "ScopeLocked", "locked", "a lock forbids it.*az lock list"),
            (400, "Odd", "The moon is full.", "Azure refused .*Odd: The moon is full"),
        ],
    )
    def test_what_a_person_has_to_do(
        self, arm: Arm, group: AzureGroup, status: int, code: str, message: str, expected: str
    ) -> None:
        arm.refuse("GET virtualMachineScaleSets", status, code, message)
        with pytest.raises(OperatorError, match=f"(?s){expected}") as caught:
            group.look()
        assert GROUP in str(caught.value)
        assert caught.value.step == "look at the group"

    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (429, "TooManyRequests", "asks for a pause for 120 s in Microsoft.Compute/virtualMachines/read"),
            (503, "ServerTimeout", "cannot do Microsoft.Compute/virtualMachines/read now: ServerTimeout"),
            (500, "InternalExecutionError", "InternalExecutionError"),
            (409, "Conflict", "Conflict"),
            (409, "OperationPreempted", "OperationPreempted"),
        ],
    )
    def test_what_may_work_later_is_not_waited_for(
        self, arm: Arm, group: AzureGroup, status: int, code: str, expected: str
    ) -> None:
        arm.refuse("GET virtualMachines/list", status, code, headers={"Retry-After": "120"}, times=9)
        with pytest.raises(TransientError, match=expected):
            group.look()
        assert arm.count("GET virtualMachines/list") == 1

    def test_a_throttled_page_is_a_throttled_look(self, arm: Arm, group: AzureGroup) -> None:
        for _ in range(3):
            arm.make()
        arm.refuse("GET networkInterfaces/list", 429, "TooManyRequests")
        with pytest.raises(TransientError, match="networkInterfaces/read"):
            group.look()
        assert len(group.look().machines) == 3

    def test_no_right_to_change_is_no_shortage(self, arm: Arm, group: AzureGroup) -> None:
        arm.refuse("PATCH virtualMachineScaleSets", 403, "LinkedAuthorizationFailed", NO_LINKED_RIGHT)
        with pytest.raises(OperatorError, match=r"no right to Microsoft\.Network"):
            group.resize(1, 0)
        assert group.look().shortage == ""

    def test_azure_that_is_not_there(
        self, make_group: MakeGroup, group: AzureGroup, parameters: dict[str, Any]
    ) -> None:
        from ras_runner.workers.azure_api import AzureApi

        api = AzureApi(group.spec.names, Credential(), base_url="https://127.0.0.1:1")
        with pytest.raises(TransientError, match=r"(?s)Azure does not answer.*network and HTTPS_PROXY"):
            api.scale_set("look at the group")

    def test_a_certificate_that_nobody_vouches_for(self, arm: Arm, group: AzureGroup) -> None:
        from ras_runner.workers.azure_api import AzureApi

        api = AzureApi(group.spec.names, Credential(), base_url=arm.url)
        with pytest.raises(OperatorError, match="the connection to Azure is not trusted"):
            api.scale_set("look at the group")

    @pytest.mark.parametrize("answered", [False, True])
    def test_credentials_that_expire_while_it_works(self, arm: Arm, make_group: MakeGroup, answered: bool) -> None:
        from azure.core.exceptions import ClientAuthenticationError

        credential = Credential()
        group = make_group(credential)
        said = "AADSTS700082: The refresh token has expired due to inactivity."
        answer = SimpleNamespace(status_code=400, reason="Bad Request", headers={}, text=lambda: "{}")
        response = answer if answered else None
        credential.error = ClientAuthenticationError(f"Authentication failed: {said}", response=response)
        for client in (group._api._compute, group._api._network):  # as if the token they hold had run out
            client._config.authentication_policy._token = None
        with pytest.raises(OperatorError, match=r"(?s)log-on to Azure failed: .*AADSTS700082.*az login"):
            group.look()
