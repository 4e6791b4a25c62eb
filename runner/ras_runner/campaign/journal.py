"""The journal: one SQLite file that remembers campaigns, whatever happens to the controller.

Everything that happens is an event, appended and applied to the derived tables in one transaction. ``kill -9`` at any
point leaves a journal that says what was being done; :mod:`ras_runner.campaign.run` goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.campaign.events import APPLY, DEFAULTS
from ras_runner.errors import InputError, OperatorError
from ras_runner.oscalls import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SCHEMA_VERSION = 3
#: What brings a file of an earlier version one version on.
_MIGRATIONS = {
    1: "ALTER TABLE attempts ADD COLUMN stage TEXT NOT NULL DEFAULT 'whole';"
    "ALTER TABLE attempts ADD COLUMN prepared_by TEXT NOT NULL DEFAULT '';",
    2: "ALTER TABLE tasks ADD COLUMN project TEXT NOT NULL DEFAULT '';"
    "UPDATE tasks SET project = (SELECT project FROM campaigns WHERE id = tasks.campaign);"
    "CREATE INDEX events_kind ON events (campaign, kind);",
}
_DERIVED = ("campaigns", "tasks", "attempts", "receipts")


class JournalError(OperatorError):
    """The journal cannot be written: the controller stops where it is, and a later one goes on from there."""


class Journal:
    """The journal file of a state directory. Safe to use from several threads and several processes.

    Args:
        state_dir: the folder that holds ``journal.sqlite``; made when it does not exist.

    Raises:
        OperatorError: the folder or the file cannot be used; says why.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.path = state_dir / "journal.sqlite"
        self._mutex = threading.RLock()
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=30, check_same_thread=False, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA synchronous = NORMAL")
            if self._version() != SCHEMA_VERSION:
                with FileLock(state_dir / "locks" / "journal.lock").held():
                    self._migrate()
        except (OSError, sqlite3.Error) as error:
            raise OperatorError(
                f"the journal {self.path} cannot be used: {error}",
                step="open journal",
                action="check the disk and the rights, or give another --state-dir",
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._mutex:
            self._db.close()

    def record(self, campaign: str, kind: str, at: float | None = None, **data: Any) -> None:
        """Append one event and apply it."""
        self.record_all(campaign, [(kind, data)], at)

    def record_all(self, campaign: str, events: Iterable[tuple[str, dict[str, Any]]], at: float | None = None) -> None:
        """Append several events and apply them, all or none."""
        now = time.time() if at is None else at
        with self._transaction():
            for kind, data in events:
                self._append(campaign, kind, now, data)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._mutex:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise self._error("written", error) from error
                raise

    def _error(self, what: str, error: sqlite3.Error) -> JournalError:
        return JournalError(
            f"the journal {self.path} cannot be {what}: {error}",
            step="journal",
            action="free disk space or give the rights back, then: ras-runner resume (what runs goes on)",
        )

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._mutex:
            try:
                return self._db.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError as error:
                raise self._error("read", error) from error

    def row(self, sql: str, *parameters: Any) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, *parameters)
        return found[0] if found else None

    def set_progress(self, progress: Sequence[tuple[float, str]]) -> None:
        """Store (fraction, attempt id) pairs: what may be lost without loss, so no events."""
        with self._transaction():
            self._db.executemany("UPDATE attempts SET progress = ? WHERE id = ?", progress)

    def set_waiting(self, attempt: str, why: str, since: float) -> None:
        """Store why a launched attempt has not begun (empty: it has), and since when it waits (or computes): what may
        be lost without loss, so no event.
        """
        with self._transaction():
            sql = "UPDATE attempts SET message = ?, launched = ? WHERE id = ? AND state = 'running'"
            self._db.execute(sql, (why, since, attempt))

    def set_expected(self, campaign: str, expected: Sequence[tuple[float, str]]) -> None:
        """Store (expected seconds, plan) pairs of a campaign: guesses that are made again, so no events."""
        with self._transaction():
            sql = "UPDATE tasks SET expected = ? WHERE campaign = ? AND plan = ?"
            self._db.executemany(sql, [(seconds, campaign, plan) for seconds, plan in expected])

    def campaign_id(self, campaign: str | None) -> str:
        """A campaign's id, checked; the latest campaign's when none is given.

        Raises:
            InputError: there is no such campaign; lists the latest ones.
        """
        latest = [row["id"] for row in self.rows("SELECT id FROM campaigns ORDER BY created DESC, rowid DESC LIMIT 10")]
        if campaign is None:
            if not latest:
                raise InputError(
                    f"no campaign has been run yet (journal {self.path})",
                    step="find campaign",
                    action="start one with: ras-runner execute PROJECT",
                )
            return str(latest[0])
        found = self.rows(
            "SELECT id FROM campaigns WHERE id = ? OR id LIKE ? || '%'",
            campaign,
            campaign.replace("%", "").replace("_", ""),
        )
        if campaign and len(found) == 1:
            return str(found[0]["id"])
        raise InputError(
            f"{'no campaign is' if not found else 'several campaigns are'} called {campaign!r}",
            step="find campaign",
            action=f"the latest are {', '.join(latest)}" if latest else "start one with: ras-runner execute PROJECT",
        )

    def requests(self, campaign: str, after: int) -> list[tuple[int, str, dict[str, Any]]]:
        """What the user asked a controller for, with an event id above ``after``: (id, kind, data) of each event."""
        found = self.rows(  # by kind: SQLite would rather read all events of the campaign, to have them in order
            "SELECT id, kind, data FROM events INDEXED BY events_kind WHERE campaign = ? AND id > ? AND kind IN "
            "('cancel-requested', 'worker-add-requested', 'worker-drain-requested') ORDER BY id",
            campaign,
            after,
        )
        return [(row["id"], row["kind"], json.loads(row["data"])) for row in found]

    def lock(self, campaign: str) -> FileLock:
        """The lock that the campaign's controller holds."""
        return FileLock(self.state_dir / "locks" / f"{campaign}.lock")

    def is_controlled(self, campaign: str) -> bool:
        """True while a controller, of whatever process, runs this campaign."""
        lock = self.lock(campaign)
        if not lock.acquire():
            return True
        lock.release()
        return False

    def last_event(self, campaign: str) -> int:
        """Id of the campaign's latest event."""
        row = self.row("SELECT MAX(id) AS id FROM events WHERE campaign = ?", campaign)
        return int(row["id"] or 0) if row else 0

    def get_digest(self, path: str, signature: str) -> str | None:
        """The digest remembered for a file in this state."""
        row = self.row("SELECT digest FROM digests WHERE path = ? AND signature = ?", path, signature)
        return None if row is None else str(row["digest"])

    def put_digest(self, path: str, signature: str, digest: str) -> None:
        """Remember a digest."""
        with contextlib.suppress(JournalError), self._transaction():  # a hash can be made again
            self._db.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (path, signature, digest))

    def rebuild(self) -> None:
        """Make the derived tables anew from the events."""
        with self._transaction():
            for table in _DERIVED:
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  names from the tuple above
            for row in self._db.execute("SELECT at, campaign, kind, data FROM events ORDER BY id").fetchall():
                self._apply(row["campaign"], row["kind"], row["at"], json.loads(row["data"]))

    def _append(self, campaign: str, kind: str, at: float, data: dict[str, Any]) -> None:
        text = json.dumps(data, ensure_ascii=False)
        self._db.execute(
            "INSERT INTO events (at, campaign, kind, data) VALUES (?, ?, ?, ?)", (at, campaign, kind, text)
        )
        self._apply(campaign, kind, at, data)

    def _apply(self, campaign: str, kind: str, at: float, data: dict[str, Any]) -> None:
        for statement in APPLY[kind]:
            self._db.execute(statement, {**DEFAULTS, **data, "campaign": campaign, "at": at})

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """Bring the file to this version's schema; only one process at a time does it."""
        version = self._version()
        if version > SCHEMA_VERSION:
            raise OperatorError(
                f"the journal {self.path} was written by a newer ras-runner "
                f"(schema {version}, this one knows {SCHEMA_VERSION})",
                step="open journal",
                action="update ras-runner, or give another --state-dir",
            )
        if version == 0:
            schema = files("ras_runner.campaign").joinpath("schema.sql").read_text(encoding="utf-8")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version = {SCHEMA_VERSION};\nCOMMIT;")
            return
        for old in range(version, SCHEMA_VERSION):
            self._db.executescript(f"BEGIN IMMEDIATE;{_MIGRATIONS[old]}PRAGMA user_version = {old + 1};COMMIT;")


def default_state_dir() -> Path:
    """Where the journal is when nothing is said: the user's state folder."""
    import platformdirs

    return Path(platformdirs.user_state_dir("ras-runner", appauthor=False))
