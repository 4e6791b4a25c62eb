"""From when the time of an attempt counts that has waited in its worker's own queue."""

import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from ras_runner.campaign.controller import Controller
from ras_runner.transports.base import Status


@pytest.mark.parametrize(("ran", "moved"), [(20.0, True), (None, False)])
def test_only_what_was_seen_to_compute_counts_from_then_on(ran: float | None, moved: bool) -> None:
    """A job that is over, and whose files are not to be seen yet, has made its result before this look at it: were it
    to count from now on, the result would be taken for an older one.
    """
    queued = time.time() - 600.0
    attempt: Any = SimpleNamespace(
        id="a1", plan_number="01", worker=Mock(), waiting="job 7_0", hopeless=None, launched=queued, progress=None
    )
    controller: Any = Mock(_told=[])
    controller._has_begun = lambda *given: Controller._has_begun(controller, *given)
    Controller._waits(controller, attempt, Status(True, None, ran=ran))
    assert attempt.waiting == ""
    assert (attempt.launched > queued) is moved
    assert bool(controller._told) is moved
    controller.journal.set_waiting.assert_called_once_with("a1", "", attempt.launched)
