"""The journal: events and the tables derived from them, whatever interrupts."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ras_runner.campaign.events import APPLY, task_ended
from ras_runner.campaign.journal import SCHEMA_VERSION, Journal
from ras_runner.errors import InputError, OperatorError

HEAD = {"project": "/x/a.prj", "title": "T", "workers": "[]", "settings": "{}"}
RECEIPT = {
    "project": "/x/a.prj",
    "plan": "01",
    "engine": "e",
    "inputs": "i",
    "result": "a.p01.hdf",
    "digest": "d",
    "outcome": "completed",
    "warnings": "[]",
    "seconds": 1.0,
    "worker": "w",
}


def tables(journal: Journal) -> dict[str, list[tuple]]:
    names = ("campaigns", "tasks", "attempts", "receipts")
    return {name: [tuple(row) for row in journal.rows(f"SELECT * FROM {name} ORDER BY 1, 2")] for name in names}


def add_campaign(journal: Journal, name: str, plans: list[str]) -> None:
    events = [("campaign-created", HEAD)]
    events += [
        ("task-added", {"plan": p, "seq": i, "title": p, "flow_type": "unsteady", "expected": None})
        for i, p in enumerate(plans)
    ]
    journal.record_all(name, events)


def test_derived_tables_can_be_made_again_from_the_events(journal: Journal):
    add_campaign(journal, "c", ["01", "02"])
    journal.record("c", "attempt-created", attempt="a1", plan="01", number=1, worker="w", slot=0, folder="/w/a1")
    journal.record("c", "attempt-launching", attempt="a1", staged=5, tree="p", inputs="i")
    journal.record("c", "attempt-launched", attempt="a1", native_id="1:2")
    journal.record_all(
        "c",
        [
            ("result-published", {**RECEIPT, "attempt": "a1"}),
            ("attempt-ended", {"attempt": "a1", "outcome": "completed", "message": "", "blame": "nobody"}),
            task_ended("01", "completed", "", worker="w", result="a.p01.hdf", seconds=1.0),
        ],
    )
    journal.record("c", "attempt-cleaned", attempt="a1")
    journal.record("c", "cancel-requested", plan="02")
    before = tables(journal)
    assert before["tasks"][0][6] == "completed"
    journal.rebuild()
    assert tables(journal) == before


def test_a_record_is_all_or_nothing(journal: Journal):
    add_campaign(journal, "c", ["01"])
    with pytest.raises(sqlite3.IntegrityError):
        journal.record_all("c", [task_ended("01", "completed", ""), ("campaign-created", HEAD)])
    assert journal.row("SELECT outcome FROM tasks")["outcome"] is None
    assert [row["kind"] for row in journal.rows("SELECT kind FROM events")] == ["campaign-created", "task-added"]


def test_a_kill_in_mid_record_loses_only_that_record(tmp_path: Path):
    script = """
import os, sys
from pathlib import Path
from ras_runner.campaign import journal as module
journal = module.Journal(Path(sys.argv[1]))
journal.record("c", "campaign-created", project="p", title="t", workers="[]", settings="{}")
apply = journal._apply
def die(*args):
    apply(*args)
    os._exit(9)
journal._apply = die
journal.record("c", "campaign-finished")
"""
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 9
    journal = Journal(tmp_path)
    assert journal.row("SELECT state FROM campaigns")["state"] == "running"
    assert len(journal.rows("SELECT * FROM events")) == 1


def test_several_processes_may_make_the_journal_at_once(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from ras_runner.campaign.journal import Journal\n"
        "Journal(Path(sys.argv[1])).put_digest('p', 's', 'd')"
    )
    for number in range(3):
        command = [sys.executable, "-c", code, str(tmp_path / str(number))]
        together = [subprocess.Popen(command) for _ in range(5)]
        assert [process.wait() for process in together] == [0] * 5


def test_a_journal_of_the_first_version_is_brought_up_to_date_and_read(tmp_path: Path):
    """Its attempts were all whole ones, its plans all of one project; its events lack what is newer."""
    journal = Journal(tmp_path)
    add_campaign(journal, "c", ["01"])
    old = {"attempt": "a1", "plan": "01", "number": 1, "worker": "w", "slot": 0, "folder": "/w/a1"}
    journal.record("c", "attempt-created", **old)
    before = tables(journal)
    journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute("ALTER TABLE attempts DROP COLUMN stage")
        db.execute("ALTER TABLE attempts DROP COLUMN prepared_by")
        db.execute("ALTER TABLE tasks DROP COLUMN project")
        db.execute("DROP INDEX events_kind")
        db.execute("PRAGMA user_version = 1")
    journal = Journal(tmp_path)
    assert tables(journal) == before
    journal.record("c", "attempt-created", **{**old, "attempt": "a2", "number": 2, "stage": "prepare"})
    journal.rebuild()
    assert [row["stage"] for row in journal.rows("SELECT stage FROM attempts ORDER BY id")] == ["whole", "prepare"]
    journal.close()


def test_a_newer_journal_is_refused_and_left_alone(tmp_path: Path):
    Journal(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(OperatorError, match="newer ras-runner"):
        Journal(tmp_path)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path):
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(OperatorError, match=r"journal\.sqlite cannot be used"):
        Journal(tmp_path)


def test_campaigns_are_found_by_id_by_its_beginning_or_as_the_latest(journal: Journal):
    with pytest.raises(InputError, match="no campaign has been run yet"):
        journal.campaign_id(None)
    add_campaign(journal, "20260101-0900-aaaa", [])
    add_campaign(journal, "20260102-0900-bbbb", [])
    assert journal.campaign_id(None) == "20260102-0900-bbbb"
    assert journal.campaign_id("20260101") == "20260101-0900-aaaa"
    for wrong in ("2026", "xyz", "%", "_", ""):
        with pytest.raises(InputError, match="campaign"):
            journal.campaign_id(wrong)


def test_every_event_kind_names_known_tables(journal: Journal):
    for statements in APPLY.values():
        for statement in statements:
            parameters = dict.fromkeys(re.findall(r":(\w+)", statement))
            assert journal._db.execute(f"EXPLAIN {statement}", parameters).fetchall()


@given(
    st.lists(
        st.tuples(st.sampled_from(["01", "02", "03"]), st.sampled_from(["completed", "unstable", "reopen"])),
        max_size=12,
    )
)
def test_any_history_of_tasks_is_rebuilt_as_it_was(tmp_path_factory, history):
    journal = Journal(tmp_path_factory.mktemp("journal"))
    add_campaign(journal, "c", ["01", "02", "03"])
    for plan, what in history:
        if what == "reopen":
            journal.record("c", "task-reopened", plan=plan)
        else:
            journal.record_all("c", [task_ended(plan, what, "m")])
    before = tables(journal)
    journal.rebuild()
    assert tables(journal) == before
    journal.close()
