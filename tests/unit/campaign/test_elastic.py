"""How many machines a group should have: single rules, and what holds under everything a cloud may do."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ras_runner.campaign.elastic import Elastic, Offer, share
from ras_runner.campaign.group_actions import Action, End, Gone, Join, Joined, Leave, Look, Protect, Resize, Tell
from ras_runner.errors import OperatorError, TransientError
from ras_runner.workers.group import GroupSpec, GroupView, Machine, MachineState

RUNNING, STARTING = MachineState.RUNNING, MachineState.STARTING
MINUTE = 60.0


def spec(**parameters: object) -> GroupSpec:
    known = {"worker_id": "g", "engine": "standin", "cores_total": 1, "cores_per_plan": 1, "max_machines": 5}
    return GroupSpec(**{**known, **parameters})


def machine(name: str, state: MachineState = RUNNING, **others: object) -> Machine:
    return Machine(name, state, "10.0.0.1", **others)


def look(machines: list[Machine], now: float, **others: object) -> Look:
    """A look at a group that has what it was asked for."""
    alive = sum(m.state in (RUNNING, STARTING) for m in machines)
    view = GroupView(tuple(machines), others.pop("asked", alive), others.pop("shortage", ""))
    return Look(view, now, **others)


def only(kind: type[Action], actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


@pytest.mark.parametrize(("wanted", "asked"), [(0, 1), (3, 3), (99, 5)])
def test_a_group_has_what_its_plans_want_between_its_limits(wanted: int, asked: int):
    actions = Elastic(spec(min_machines=1)).decide(look([], 0.0, wanted=wanted))
    assert actions == [Resize(asked, 0)]


def test_a_machine_joins_when_it_runs_and_is_protected_once_it_has():
    core, one = Elastic(spec()), machine("a")
    assert core.decide(look([machine("a", STARTING)], 0.0, wanted=1)) == []
    assert core.decide(look([one], 10.0, wanted=1)) == [Join(one)]
    assert core.decide(look([one], 20.0, wanted=1, making={"a"})) == []
    assert core.decide(look([one], 30.0, wanted=1, joined={"a": Joined(1)})) == [Protect(frozenset("a"), on=True)]
    assert core.decide(look([one], 40.0, wanted=1, joined={"a": Joined(1)})) == []


def test_what_is_idle_for_too_long_leaves_and_is_given_back_and_what_runs_plans_is_not():
    core, two = Elastic(spec(idle_minutes=2)), [machine("a"), machine("b")]
    joined = {"a": Joined(0), "b": Joined(1)}
    core.decide(look(two, 0.0, joined=joined))
    assert core.decide(look(two, 2 * MINUTE - 1, joined=joined)) == []
    given = core.decide(look(two, 2 * MINUTE, joined=joined))
    why = "nothing is left for it to do"
    assert given == [Leave("a", why), Protect(frozenset("a"), on=False), End("a", False, why)]
    gone = [machine("a", MachineState.ENDING), machine("b")]
    (said,) = core.decide(look(gone, 2 * MINUTE + 10, joined={"a": Joined(0, why), "b": Joined(1)}))
    assert said == Gone("a", "machine a was given back")


def test_a_plan_in_between_begins_the_idle_time_anew():
    core, one = Elastic(spec(idle_minutes=2)), [machine("a")]
    for at, plans in ((0.0, 0), (100.0, 1), (110.0, 0), (200.0, 0)):
        assert only(End, core.decide(look(one, at, joined={"a": Joined(plans)}))) == []
    assert only(End, core.decide(look(one, 230.0, joined={"a": Joined(0)})))


def test_what_never_gets_ready_is_replaced_and_after_three_in_a_row_no_more_is_bought():
    core, now, said = Elastic(spec(ready_minutes=1)), 0.0, []
    for name in "abc":
        one = [machine(name, since=now)]
        assert only(Join, core.decide(look(one, now, wanted=1)))
        core.cannot_use(name, "no daemon answers")
        now += MINUTE + 1
        actions = core.decide(look(one, now, wanted=1))
        said.append(only(End, actions))
    reason = "it could not be used within 1 min: no daemon answers"
    assert said == [[End("a", True, reason)], [End("b", True, reason)], [End("c", False, reason)]]
    assert "3 machines in a row" in only(Tell, actions)[0].text
    assert "no daemon answers" in core.hopeless(now)
    assert core.decide(look([], now + 10, wanted=3)) == []


def test_one_that_gets_ready_is_not_outweighed_by_others_that_do_not():
    core, crowd = Elastic(spec(ready_minutes=1)), [machine(name, since=5.0) for name in "abcd"]
    core.decide(look(crowd, 5.0, wanted=4))
    actions = core.decide(look(crowd, 100.0, wanted=4, joined={"a": Joined(1)}))
    assert [end.replace for end in only(End, actions)] == [True] * 3
    assert core.hopeless(100.0) == ""


def test_a_machine_that_was_there_before_gets_its_time_too():
    core, old = Elastic(spec(ready_minutes=15)), [machine("a", since=1.0)]
    assert core.decide(look(old, 100000.0, wanted=1)) == [Join(old[0])]


@pytest.mark.parametrize("state", [MachineState.ENDING, MachineState.GONE])
def test_a_machine_that_is_taken_away_is_gone_at_once(state: MachineState):
    core = Elastic(spec())
    core.decide(look([machine("a")], 0.0, wanted=1, joined={"a": Joined(1)}))
    (gone, resize) = core.decide(look([machine("a", state)], 10.0, wanted=1, joined={"a": Joined(1)}))
    assert gone == Gone("a", "the cloud has taken machine a away")
    assert resize == Resize(1, 0)


def test_one_list_that_is_short_of_a_machine_is_not_believed():
    core = Elastic(spec())
    joined = {"a": Joined(1)}
    assert only(Gone, core.decide(look([], 0.0, wanted=1, joined=joined))) == []
    assert only(Gone, core.decide(look([machine("a")], 10.0, wanted=1, joined=joined))) == []
    assert only(Gone, core.decide(look([], 20.0, wanted=1, joined=joined))) == []
    assert only(Gone, core.decide(look([], 30.0, wanted=1, joined=joined)))


def test_a_noticed_machine_takes_no_more_plans_and_another_is_asked_for():
    core, noticed = Elastic(spec()), [machine("a", notice="spot interruption at 20:00")]
    actions = core.decide(look(noticed, 0.0, wanted=1, joined={"a": Joined(1)}))
    assert actions == [Leave("a", "spot interruption at 20:00"), Resize(2, 0)]
    assert core.is_noticed("a")
    ends = only(End, core.decide(look(noticed, 10.0, wanted=1, asked=2, joined={"a": Joined(0, "notice")})))
    assert [end.machine for end in ends] == ["a"], "it is of no use any more"


def test_a_notice_that_the_machine_tells_itself_counts_as_well():
    core, one = Elastic(spec(max_machines=1)), [machine("a")]
    core.decide(look(one, 0.0, wanted=1, joined={"a": Joined(1)}))
    core.noticed("a", "rebalance recommendation")
    assert core.decide(look(one, 10.0, wanted=1, joined={"a": Joined(1, "rebalance")})) == [], "never more than max"
    (gone, _) = core.decide(
        look([replace(one[0], state=MachineState.GONE)], 20.0, joined={"a": Joined(1, "r")}, asked=1)
    )
    assert gone == Gone("a", "the cloud has taken machine a away (rebalance recommendation)")


def test_a_worker_that_is_out_is_ended_when_nothing_runs_there_and_replaced():
    core, one = Elastic(spec()), [machine("a")]
    assert only(End, core.decide(look(one, 0.0, wanted=1, joined={"a": Joined(1, "disk full")}))) == []
    (end,) = only(End, core.decide(look(one, 10.0, wanted=1, asked=2, joined={"a": Joined(0, "disk full")})))
    assert end.replace


def test_a_shortage_is_told_passed_on_and_tried_again_with_longer_pauses():
    core, now, pauses = Elastic(spec(look_seconds=10)), 0.0, []
    short = {"shortage": "no capacity in a", "wanted": 3}
    assert core.decide(look([], now, asked=0, **short)) == [Resize(3, 0)]
    while now < 4000.0:
        now += 10.0
        before = core.room(now)
        asked = 3 if before > 0 else 0
        actions = core.decide(look([], now, asked=asked, **short))
        if only(Tell, actions):
            assert core.room(now) == 0
            pauses.append(now)
    gaps = [round(b - a) for a, b in itertools.pairwise(pauses)]
    assert gaps[:3] == sorted(gaps[:3])
    assert gaps[0] < gaps[2]
    assert core.hopeless(now) == "no capacity in a", "for an hour there was nothing"


def test_a_shortage_that_is_over_is_forgotten():
    core = Elastic(spec())
    core.decide(look([], 0.0, wanted=2))
    core.decide(look([], 60.0, wanted=2, asked=2, shortage="none left"))
    assert core.room(61.0) == 0
    crowd = [machine("a"), machine("b")]
    actions = core.decide(look(crowd, 300.0, wanted=2, joined={"a": Joined(1), "b": Joined(1)}))
    assert only(Tell, actions) == []
    assert core.room(300.0) == 5
    assert core.hopeless(1e6) == ""


def test_errors_of_the_cloud_are_waited_out_but_not_those_that_need_a_person():
    core = Elastic(spec(ready_minutes=1))
    core.failed(TransientError("throttled"), 0.0)
    assert core.hopeless(60.0) == ""
    assert "throttled" in core.hopeless(241.0)
    core.decide(look([], 300.0))
    assert core.hopeless(300.0) == ""
    core.failed(OperatorError("the credentials have expired"), 310.0)
    assert "expired" in core.hopeless(310.0)
    assert core.room(310.0) == 0


def test_plans_that_want_a_steady_machine_get_one_even_when_the_group_is_full_of_others():
    core = Elastic(spec(max_machines=2))
    spots = [machine("a", spot=True), machine("b", spot=True)]
    joined = {"a": Joined(1), "b": Joined(1)}
    actions = core.decide(look(spots, 0.0, wanted=2, on_demand=1, joined=joined))
    assert only(Resize, actions) == [Resize(2, 1)]
    assert only(End, actions) == []
    assert core.brings_steady(0.0)
    (end,) = only(End, core.decide(look(spots, 10.0, wanted=2, on_demand=1, joined={**joined, "b": Joined(0)})))
    assert (end.machine, end.replace) == ("b", True)


def test_a_group_that_gives_no_steady_machines_is_not_asked_for_ever():
    core, crowd = Elastic(spec(max_machines=9)), [machine("a", spot=True, since=0.0)]
    now, bought = 0.0, 0
    for _ in range(50):
        now += 10.0
        joined = {m.id: Joined(0) for m in crowd}
        actions = core.decide(look(crowd, now, wanted=1, on_demand=1, joined=joined))
        for action in only(Resize, actions):
            bought = max(bought, action.machines)
            while len(crowd) < action.machines:
                crowd.append(machine(f"n{len(crowd)}", spot=True, since=now))
    assert bought <= 5
    assert not core.brings_steady(now)


def test_a_group_that_is_closed_gives_everything_back_at_once():
    core, two = Elastic(spec()), [machine("a"), machine("b")]
    core.decide(look(two, 0.0, joined={"a": Joined(0), "b": Joined(1)}))
    core.close()
    actions = core.decide(look(two, 10.0, wanted=9, joined={"a": Joined(0), "b": Joined(1, "drained")}))
    assert [end.machine for end in only(End, actions)] == ["a"]
    assert only(Resize, actions) == []
    assert core.hopeless(10.0)


def test_what_the_first_group_cannot_take_goes_to_the_next():
    nobody = frozenset[str]()
    assert share({nobody: 10}, [Offer("a", 4), Offer("b", 100)], None) == {"a": 4, "b": 6}
    assert share({nobody: 10}, [Offer("a", 0), Offer("b", 100)], 3) == {"a": 0, "b": 3}
    assert share({nobody: 5, frozenset("a"): 5}, [Offer("a", 5), Offer("b", 5)], None) == {"a": 5, "b": 5}


@dataclass
class Cloud:
    """A group that does as it is told, slowly, and sometimes not at all."""

    maximum: int
    asked: int = 0
    machines: dict[str, list] = field(default_factory=dict)
    made: int = 0

    def step(self, now: float, boots: int, dud: bool, lose: str, warn: str) -> None:
        """Time passes: machines begin, boot after so many looks (a dud never can be used); one is lost, one warned."""
        self.machines.pop(lose, None)
        if warn in self.machines:
            self.machines[warn][3] = "soon"
        while len(self.machines) < self.asked:
            self.made += 1
            self.machines[f"m{self.made}"] = [now, boots, dud, ""]
        for row in self.machines.values():
            row[1] -= 1

    def view(self) -> GroupView:
        rows = [
            machine(name, STARTING if boots > 0 else RUNNING, since=since, notice=notice)
            for name, (since, boots, _, notice) in self.machines.items()
        ]
        return GroupView(tuple(rows), self.asked)

    def do(self, action: Action, plans: dict[str, int]) -> None:
        match action:
            case Resize(machines):
                assert machines <= self.maximum, "more than its limit"
                assert machines >= len(self.machines), "the cloud would choose what it takes"
                self.asked = machines
            case End(name, again):
                assert plans.get(name, 0) == 0, "what runs plans was ended"
                del self.machines[name]
                self.asked -= not again


@dataclass(frozen=True)
class Step:
    """What happens between two looks."""

    tasks: int
    boots: int = 1
    dud: bool = False
    lost: int = 0
    warned: int = 0
    ends: bool = True


STEPS = st.lists(
    st.builds(
        Step,
        tasks=st.integers(0, 12),
        boots=st.integers(0, 3),
        dud=st.booleans(),
        lost=st.integers(0, 30),
        warned=st.integers(0, 30),
        ends=st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(steps=STEPS, minimum=st.integers(0, 2), slots=st.integers(1, 3), final=st.integers(0, 9))
def test_whatever_happens_it_keeps_its_limits_spares_what_runs_and_comes_to_rest(
    steps: list[Step], minimum: int, slots: int, final: int
):
    """Tasks come and end, machines boot slowly, never, are warned or lost; then all is quiet."""
    told = spec(min_machines=minimum, max_machines=4, idle_minutes=2, ready_minutes=5, cores_total=slots)
    core, cloud, now = Elastic(told), Cloud(4), 0.0
    out, plans = dict[str, str](), dict[str, int]()
    for number, step in enumerate([*steps, *[Step(final)] * 120]):
        now += 10.0
        cloud.step(now, step.boots, step.dud, f"m{step.lost}", f"m{step.warned}")
        left = step.tasks
        for name in sorted(out):  # plans go where there is room; some have ended
            plans[name] = 0 if step.ends else min(plans.get(name, 0), left)
            if not out[name]:
                plans[name] = min(slots, left)
            left -= plans[name]
        seen = {name: Joined(plans[name], why) for name, why in out.items()}
        for action in core.decide(Look(cloud.view(), now, seen, (), -(-step.tasks // slots))):
            assert not (isinstance(action, Resize | End) and number > len(steps) + 90), "it never comes to rest"
            match action:
                case Join(one):
                    if cloud.machines[one.id][2]:
                        core.cannot_use(one.id, "it is a dud")
                    else:
                        out[one.id] = ""
                case Leave(name, why):
                    assert not out[name], "it leaves twice"
                    out[name] = why
                case Gone(name):
                    assert name not in cloud.machines, "it is there"
                    del out[name]
                    plans.pop(name, None)
                case _:
                    cloud.do(action, plans)
            assert len(cloud.machines) <= 4
    if not core.hopeless(now):
        assert len(cloud.machines) == cloud.asked == min(max(-(-final // slots), minimum), 4)
        assert set(out) == set(cloud.machines)
