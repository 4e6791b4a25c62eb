"""A group of machines on AWS as a worker: the group, not its machines, which come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.workers.group import MachineState
from ras_runner.workers.registry import worker_spec

if TYPE_CHECKING:
    from collections.abc import Mapping


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What a group of machines needs.

    Raises:
        InputError: a parameter is wrong.
    """
    worker_spec("aws_ec2", parameters)
    return [Check("cloud-group", lambda: _group(parameters))]


def _group(parameters: Mapping[str, Any]) -> Finding:
    from ras_runner.workers.aws_ec2 import init_aws_ec2_group

    group = init_aws_ec2_group(parameters)
    view = group.look()
    running = sum(machine.state is MachineState.RUNNING for machine in view.machines)
    evidence = f"{group.hostname}: {running} machines run, {view.wanted} are wanted, {group.spec.max_machines} at most"
    if view.shortage:
        return Finding(Verdict.WARNING, f"{evidence}; {view.shortage}")
    return Finding(Verdict.OK, evidence)
