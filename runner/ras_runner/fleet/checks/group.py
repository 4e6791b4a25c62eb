"""A group of cloud machines: whether the cloud answers, and gives what it was asked for. Nothing is asked for here."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.workers.base import Worker
from ras_runner.workers.registry import make_any_worker, worker_spec

if TYPE_CHECKING:
    from collections.abc import Mapping


def checks(worker_type: str, parameters: Mapping[str, Any]) -> list[Check]:
    """What a group needs.

    Raises:
        InputError: a parameter is wrong.
    """
    worker_spec(worker_type, parameters)

    def look() -> Finding:
        group = make_any_worker(worker_type, parameters)
        if isinstance(group, Worker):
            raise InputError(f"{worker_type} is no group of machines")
        view = group.look()
        states = Counter(machine.state.value for machine in view.machines)
        there = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no machine"
        said = f"{group.hostname}: {there}; {view.wanted} asked for, at most {group.spec.max_machines}"
        if view.shortage:
            return Finding(Verdict.WARNING, f"{said}; {view.shortage}")
        return Finding(Verdict.OK, said)

    return [Check("cloud-group", look)]
