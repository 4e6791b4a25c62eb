"""A group of machines on Azure as a worker: the group, not its machines, which come and go."""

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
    worker_spec("azure", parameters)
    return [Check("cloud-group", lambda: _group(parameters))]


def _group(parameters: Mapping[str, Any]) -> Finding:
    from ras_runner.workers.azure import init_azure_group

    return common.cloud_group(init_azure_group(parameters))
