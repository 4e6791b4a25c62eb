"""Watches a burst while its campaign runs: what it costs, and when it has to stop. A thread of its own."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from ras_runner.campaign.costs import record_cost
from ras_runner.campaign.membership import State as Answered
from ras_runner.campaign.membership import drain_worker
from ras_runner.errors import InputError
from ras_runner.fleet.spending import HardStop

if TYPE_CHECKING:
    from ras_runner.campaign.journal import Journal
    from ras_runner.fleet.burst_life import BurstLife
    from ras_runner.fleet.burst_money import Account

#: What was spent goes into the journal so often, seconds: status, watch and the report read it there.
_RECORD_EVERY = 300.0
_DRAIN_SECONDS = 5.0


class Watchman:
    """Looks every few seconds until it is dismissed.

    Args:
        life: the burst.
        account: what it costs.
        journal: where its campaigns are.
    """

    def __init__(self, life: BurstLife, account: Account, journal: Journal) -> None:
        self._life, self._account, self._journal = life, account, journal
        self._over = threading.Event()
        self._recorded, self._stop_at = -_RECORD_EVERY, 0.0
        self._trouble = ""
        #: Why the burst was stopped before its plans were done; empty when it was not.
        self.stopped = ""
        self._thread = threading.Thread(target=self._run, name="burst", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def dismiss(self) -> None:
        """End, and wait for it."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def record(self, *, final: bool) -> None:
        """Write what was spent into the journal of each campaign that used the burst."""
        spending = self._account.spending(self._life.record, time.time())
        for campaign in self._campaigns(running=False):
            record = spending.record(self._life.record.id, self._life.record.cloud, final=final)
            record_cost(self._journal, campaign, record)
            self._recorded = time.monotonic()

    def _run(self) -> None:
        while not self._over.wait(self._life.tempo.watch):
            for step in (
                self._look,
                self._judge,
            ):  # what is not seen costs as it did: time and money go on being counted
                try:
                    step()
                except Exception as error:  # a bug of ours, too, must not leave the limits unwatched
                    self._tell(error)

    def _tell(self, error: Exception) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            self._life.say(f"burst {self._life.record.id} cannot be watched: {error}")

    def _look(self) -> None:
        self._life.look()
        self._trouble = ""
        if time.monotonic() - self._recorded >= _RECORD_EVERY:
            self.record(final=False)

    def _judge(self) -> None:
        now = time.time()
        if not self.stopped:
            due = self._due(now)
            if due.at <= now:
                self.stopped, self._stop_at = due.why, now + self._life.tempo.stop
                self._life.say(
                    f"burst {self._life.record.id} is stopped: {due.why}. What is computed is collected; the rest waits"
                )
                self._stop_campaigns()
        elif now < self._stop_at:
            self._stop_campaigns()
        else:
            self._over.set()  # should it not come down, the controller tries it again at its end
            self._life.say(f"burst {self._life.record.id} is taken down now: its plans had their time to end")
            self._life.down()

    def _due(self, now: float) -> HardStop:
        """When it has to be stopped; by the time alone when its cost cannot be worked out."""
        record = self._life.record
        try:
            return self._account.hard_stop(record, self._account.spending(record, now))
        except Exception as error:  # whatever it is, its time is known
            self._tell(error)
            return HardStop(record.expires_at - self._life.tempo.stop, "its time to live is over")

    def _stop_campaigns(self) -> None:
        """Let no plan go to the burst any more; campaigns that have nothing else stop in an orderly way."""
        for campaign in self._campaigns(running=True):
            try:
                answer = drain_worker(self._journal, campaign, self._life.record.id, _DRAIN_SECONDS)
                alone = answer.state is Answered.REFUSED
            except InputError:  # it is the only worker there
                alone = True
            if alone:
                self._journal.record(campaign, "cancel-requested", plan=None)

    def _campaigns(self, *, running: bool) -> list[str]:
        """The campaigns that have the burst among their workers."""
        rows = self._journal.rows("SELECT id, state, workers FROM campaigns")
        wanted = self._life.record.id
        return [
            row["id"]
            for row in rows
            if any(item["parameters"]["worker_id"] == wanted for item in json.loads(row["workers"]))
            and (not running or row["state"] == "running")
        ]
