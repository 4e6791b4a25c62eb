"""The same group on Azure itself: only when asked for, because it costs money. Never run where this was written.

``RAS_TEST_AZURE_LIVE=1 RAS_TEST_AZURE_GROUP=group.json pytest tests/azure/test_azure_live.py``, where the file holds
the parameters of ``init_ras_worker("azure", ...)`` for a group that terraform/azure has made with ``workers=0``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.commands import wait_until

from ras_runner.errors import TransientError
from ras_runner.workers.azure import AzureGroup, init_azure_group
from ras_runner.workers.group import Machine, MachineState

pytestmark = pytest.mark.skipif(
    os.environ.get("RAS_TEST_AZURE_LIVE") != "1", reason="rents a machine on Azure: only with RAS_TEST_AZURE_LIVE=1"
)
#: Seconds within which Azure makes or deletes a machine.
PATIENCE = 1200.0


def running(group: AzureGroup) -> Machine | None:
    return next((machine for machine in group.look().machines if machine.state is MachineState.RUNNING), None)


def can_be_used(group: AzureGroup, machine: Machine) -> bool:
    try:
        return bool(group.member(machine))
    except TransientError:
        return False


def test_a_machine_comes_is_kept_and_goes() -> None:
    group = init_azure_group(json.loads(Path(os.environ["RAS_TEST_AZURE_GROUP"]).read_text(encoding="utf-8")))
    assert isinstance(group, AzureGroup)
    assert group.look().machines == ()
    try:
        group.resize(1, 0)
        machine = wait_until(lambda: running(group), "a machine that runs", PATIENCE)
        wait_until(lambda: can_be_used(group, machine), "its host key", PATIENCE)
        group.protect([machine.id], on=True)
        group.resize(0, 0)
        assert running(group) is not None, "it is protected"
        group.end(machine.id, replace=False)
        wait_until(lambda: not group.look().machines, "its end", PATIENCE)
        assert group.look().wanted == 0
    finally:
        for left in group.look().machines:
            group.end(left.id, replace=False)
