"""A group of machines on AWS as a worker: the group, not its machines, which come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ras_runner.fleet.checks import common
from ras_runner.fleet.doctor import Check, Finding
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

    return common.cloud_group(init_aws_ec2_group(parameters))
