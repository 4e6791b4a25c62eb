"""A campaign's own scaling with a group on Azure: what it decides, done to the emulated API, on a clock of the test."""

from __future__ import annotations

import pytest
from tests.azure.arm import Arm

from ras_runner.campaign.elastic import Elastic
from ras_runner.campaign.group_actions import Action, End, Gone, Join, Joined, Look, Protect, Resize
from ras_runner.workers.azure import AzureGroup
from ras_runner.workers.group import MachineState


class Campaign:
    """A campaign that wants machines for its plans; every machine that runs can be used.

    Attributes:
        wanted: how many machines its plans want.
        joined: machine -> plans that run there.
    """

    def __init__(self, arm: Arm, group: AzureGroup) -> None:
        self.arm, self.group, self.core = arm, group, Elastic(group.spec)
        self.now, self.wanted = 0.0, 0
        self.joined: dict[str, int] = {}
        self.most = 0

    def step(self) -> list[Action]:
        """One look and what follows from it; Azure gets everything done that was begun."""
        self.now += self.group.spec.look_seconds
        view = self.group.look()
        joined = {name: Joined(plans) for name, plans in self.joined.items()}
        actions = self.core.decide(Look(view, self.now, joined, (), self.wanted))
        for action in actions:
            match action:
                case Resize(machines, on_demand):
                    self.group.resize(machines, on_demand)
                case Protect(machines, on):
                    self.group.protect(machines, on=on)
                case End(machine, replace):
                    assert not self.joined.get(machine), "it runs plans"
                    self.group.end(machine, replace=replace)
                case Join(machine):
                    self.joined[machine.id] = 1
                case Gone(machine):
                    self.joined.pop(machine, None)
        self.most = max(self.most, len(self.arm.of_set()))
        self.arm.finish()
        for machine in self.arm.of_set():
            machine["_power"] = "running"
            machine["properties"]["provisioningState"] = "Succeeded"
        return actions

    def steps(self, seconds: float) -> list[Action]:
        """As many as fit."""
        return [action for _ in range(int(seconds / self.group.spec.look_seconds)) for action in self.step()]


@pytest.fixture
def campaign(arm: Arm, group: AzureGroup) -> Campaign:
    return Campaign(arm, group)


def test_has_what_its_plans_want_and_gives_it_back(campaign: Campaign, arm: Arm) -> None:
    campaign.wanted = 3
    campaign.steps(60)
    assert len(campaign.joined) == 3
    assert arm.protected == set(campaign.joined)

    busy = next(iter(campaign.joined))
    campaign.wanted, campaign.joined = 1, {name: int(name == busy) for name in campaign.joined}
    campaign.steps(700)
    assert arm.names() == [busy]
    campaign.wanted, campaign.joined = 0, {busy: 0}
    campaign.steps(700)
    assert (arm.names(), arm.capacity, campaign.joined) == ([], 0, {})
    assert campaign.most == 3


def test_a_machine_that_is_taken_away_is_noticed_and_another_one_comes(campaign: Campaign, arm: Arm) -> None:
    campaign.wanted = 2
    campaign.steps(60)
    taken, other = campaign.joined
    arm.machines[taken]["_power"] = "deallocating"
    arm.machines[taken]["properties"]["provisioningState"] = "Deleting"
    (gone,) = [action for action in campaign.step() if isinstance(action, Gone)]
    assert gone.machine == taken
    del arm.machines[taken]  # as Azure does: the set is smaller, and nobody brings another one
    arm.capacity -= 1
    campaign.steps(120)
    assert other in campaign.joined
    assert len(campaign.joined) == len(arm.names()) == 2
    assert campaign.most == 2


@pytest.mark.parametrize("late", [False, True])
def test_a_shortage_is_a_pause_and_not_the_end(campaign: Campaign, arm: Arm, late: bool) -> None:
    arm.refuse("PATCH virtualMachineScaleSets", 409, "AllocationFailed", times=99, late=late)
    campaign.wanted = 2
    campaign.steps(300)
    tried = arm.count("PATCH virtualMachineScaleSets")
    assert campaign.core.room(campaign.now) == 0, "other groups take the plans"
    assert tried < 12, "it is not asked at each look"

    arm.refusals.clear()
    campaign.steps(600)
    assert len(campaign.joined) == 2
    assert campaign.core.room(campaign.now) == campaign.group.spec.max_machines


def test_a_machine_that_never_gets_ready_is_replaced(campaign: Campaign, arm: Arm) -> None:
    campaign.wanted = 1
    campaign.steps(30)
    (first,) = arm.names()
    campaign.joined.clear()
    campaign.core.cannot_use(first, "no daemon answers")
    arm.machines[first]["properties"]["timeCreated"] = "1970-01-01T00:00:01Z"
    campaign.now += 60 * campaign.group.spec.ready_minutes
    ends = [action for action in campaign.step() if isinstance(action, End)]
    assert [(end.machine, end.replace) for end in ends] == [(first, True)]
    campaign.steps(60)
    assert len(arm.names()) == 1
    assert first not in arm.names()
    assert campaign.group.look().machines[0].state is MachineState.RUNNING
    assert campaign.most == 1
