"""``ras-runner logs``: what the engines said, from the running workspaces or from the logs that were kept."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ras_runner.campaign.membership import members
from ras_runner.campaign.view import campaign_view
from ras_runner.cli.listing import open_journal
from ras_runner.errors import InputError
from ras_runner.workers.registry import make_worker

if TYPE_CHECKING:
    from pathlib import Path

    from ras_runner.campaign.journal import Journal
    from ras_runner.campaign.view import AttemptView
    from ras_runner.workers.base import Worker

_EVERY_SECONDS = 0.5


def logs(campaign: str | None, plan: str, state_dir: Path | None, *, follow: bool) -> None:
    """Print the engines' output, each line after its plan's number; with ``follow`` until the campaign is over."""
    journal = open_journal(state_dir)
    chosen = journal.campaign_id(campaign)
    number = campaign_view(journal, chosen).plan(plan) if plan else None
    tail = _Tail(journal, chosen, number)
    while True:
        controlled = journal.is_controlled(chosen)
        tail.print_new()
        if not follow or not controlled:
            break
        time.sleep(_EVERY_SECONDS)
    if number is not None and not tail.found:
        raise InputError(
            f"plan {number} has not been tried in campaign {chosen}", step="logs", action="see: ras-runner status"
        )


class _Tail:
    """Prints of each attempt's stream what has not been printed."""

    def __init__(self, journal: Journal, campaign: str, plan: str | None) -> None:
        self._journal, self._campaign, self._plan = journal, campaign, plan
        self._printed: dict[str, int] = {}
        self._workers: dict[str, Worker] = {}
        self.found = False

    def print_new(self) -> None:
        view = campaign_view(self._journal, self._campaign)
        for task in view.tasks:
            if self._plan in (None, task.plan_number):
                for attempt in task.attempts:
                    self.found = True
                    self._print(attempt, attempt is task.attempts[-1])

    def _print(self, attempt: AttemptView, last: bool) -> None:
        start = self._printed.get(attempt.id, 0)
        data = self._read(attempt, start)
        complete = data.rfind(b"\n") + 1 if attempt.outcome is None else len(data)
        self._printed[attempt.id] = start + complete
        head = attempt.plan_number if last and attempt.number == 1 else f"{attempt.plan_number}#{attempt.number}"
        for line in data[:complete].decode("utf-8", "replace").splitlines():
            sys.stdout.write(f"{head} | {line}\n")
        sys.stdout.flush()

    def _read(self, attempt: AttemptView, start: int) -> bytes:
        kept = self._journal.state_dir / "logs" / self._campaign / f"{attempt.id}.log"
        if kept.is_file():
            return kept.read_bytes()[start:]
        if members(self._journal, self._campaign)[attempt.worker_id].gone:
            return b"" if start else f"ras-runner: the machine of worker {attempt.worker_id} is gone\n".encode()
        worker = self._worker(attempt.worker_id)
        return worker.transport.read(worker.attempt_folder(attempt.id) / "stdout.log", start=start, last=1 << 30) or b""

    def _worker(self, name: str) -> Worker:
        """Made when it is needed: another that is away is nothing to this one's logs, and it may have just joined."""
        if name not in self._workers:
            member = members(self._journal, self._campaign)[name]
            self._workers[name] = make_worker(member.type, member.parameters)
        return self._workers[name]
