"""What a controller removes of the workspaces that an earlier one left."""

from pathlib import Path, PurePosixPath
from typing import Any
from unittest.mock import Mock

from ras_runner.campaign.campaigns import CampaignSettings
from ras_runner.campaign.decisions import Blame
from ras_runner.campaign.events import attempt_ended
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.run import _Run
from ras_runner.outcomes import Outcome


def test_the_next_controller_removes_what_had_not_begun_and_keeps_what_was_lost(tmp_path: Path) -> None:
    """An attempt that a node lost before it began leaves nothing to look at; a kill before its removal changes none."""
    journal = Journal(tmp_path)
    for name, blame in (("lost", Blame.PART), ("unbegun", Blame.PART_UNBEGUN)):
        created: dict[str, Any] = {"plan": "01", "number": 1, "worker": "w", "slot": 0, "folder": "", "stage": "whole"}
        staged: dict[str, Any] = {"staged": 0, "tree": "", "inputs": "", "prepared_by": ""}
        journal.record("c", "attempt-created", attempt=name, **created)
        journal.record("c", "attempt-launching", attempt=name, **staged)
        journal.record("c", "attempt-launched", attempt=name, native_id="1_0:b")
        journal.record_all("c", [attempt_ended(name, Outcome.INFRASTRUCTURE_LOST, "its node failed", blame)])
    worker: Any = Mock(attempt_folder=lambda attempt: PurePosixPath("/w", attempt))
    run: Any = _Run.__new__(_Run)
    run.journal, run.campaign, run.settings = journal, "c", CampaignSettings()
    run.workers, run.known, run.gone, run.projects, run.plans = {"w": worker}, {}, set(), {}, {}
    assert run._settle_attempts() == []
    worker.transport.remove.assert_called_once_with(PurePosixPath("/w/unbegun"))
    cleaned = journal.rows("SELECT id FROM attempts WHERE cleaned = 1")
    assert [row["id"] for row in cleaned] == ["unbegun"]
    journal.close()
