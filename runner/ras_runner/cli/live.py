"""The live view of a campaign, drawn from the journal, so that ``execute`` and ``watch`` show the same."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from ras_runner.campaign.costs import campaign_cost
from ras_runner.campaign.journal import Journal
from ras_runner.campaign.view import CampaignView, attempt_eta, campaign_view, queued_seconds
from ras_runner.cli.output import console, cost_words, duration, first_line, rough, style_of, talk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from ras_runner.campaign.eta import Eta

_REFRESH_SECONDS = 0.5
#: Of each second at most so much goes into the view: it is drawn in the controller's process, beside its work.
_SHARE = 0.05
_LAST_OVER = 6
_LAST_NOTES = 4
#: Lines that are neither plans nor notes: what runs beyond them, the total, which may wrap, and the cursor's.
_OTHER_LINES = 4


def render(view: CampaignView, notes: Sequence[str] = (), cost: str = "", height: int = 1000) -> RenderableType:
    """Running plans with their progress, the last that ended, the whole campaign in one line, and the last notes.

    Args:
        view: the campaign.
        notes: lines for the user.
        cost: what the campaign has cost, in words.
        height: lines of the terminal; running plans that do not fit in are counted in a line of their own.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    over = sorted(
        (t for t in view.tasks if t.outcome is not None and not t.skipped and t.attempts),
        key=lambda t: t.attempts[-1].ended or 0.0,
    )
    for task in over[-_LAST_OVER:]:
        table.add_row(
            task.plan_number,
            Text(task.title[:40]),
            Text(task.state, style_of(task.state)),
            task.worker_id,
            duration(task.execution_time),
            "",
        )
    running = [(task, task.running) for task in view.tasks if task.outcome is None]
    at_work = [(task, attempt) for task, attempt in running if attempt is not None]
    room = max(height - table.row_count - len(notes) - _OTHER_LINES, 1)
    for task, attempt in at_work[:room]:
        left = attempt_eta(attempt)
        bar = ProgressBar(total=1.0, completed=attempt.progress or 0.0, width=24)
        table.add_row(
            task.plan_number,
            Text(task.title[:40]),
            bar if attempt.doing == "running" else Text(attempt.doing, "cyan"),
            f"{attempt.worker_id} slot {attempt.slot}",
            f"{attempt.progress or 0.0:4.0%}",
            Text(why_waiting(queued_seconds(attempt), attempt.message)) if left is None else f"{duration(left)} left",
        )
    eta = view.eta()
    total = Text.assemble(
        (f"{view.over} of {len(view.tasks)} ended", "bold"),
        f", {view.completed} completed, {len(running) - len(at_work)} waiting",
        f", {left_of(eta)}" if eta is not None else "",
        f", {cost}" if cost else "",
    )
    more = [Text(f"and {len(at_work) - room} more that run")] if len(at_work) > room else []
    return Group(table, *more, total, *(Text(note, "yellow") for note in notes))


def left_of(eta: Eta) -> str:
    """``about 3 h 10 min left (2 h 40 min to 4 h)``: most likely, and the bounds in 4 of 5 cases."""
    low, high = rough(eta.low), rough(eta.high)
    return f"about {rough(eta.seconds)} left" + (f" ({low} to {high})" if low != high else "")


def why_waiting(queued: float | None, message: str) -> str:
    """``waiting in queue 12 min: job 7_0: no node has room``, or the message alone of a plan that is in no queue."""
    text = first_line(message)
    return text if queued is None else f"waiting in queue {rough(queued)}: {text}"


class LiveView:
    """Shows a campaign on stderr while the block runs; nothing when stderr is no terminal."""

    def __init__(self, state_dir: Path, campaign: str) -> None:
        self._state_dir, self._campaign = state_dir, campaign
        self._notes: deque[str] = deque(maxlen=_LAST_NOTES)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._console = console(err=True)

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._thread = threading.Thread(target=self._show, name="live view", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def say(self, line: str) -> None:
        """One line for the user: below the plans on a terminal, else on stderr."""
        if self._thread is None:
            talk(line)
        elif not line.startswith("plan "):  # the plans are shown already
            self._notes.append(line)

    def _show(self) -> None:
        from rich.live import Live

        journal = Journal(self._state_dir)
        try:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                pause = _REFRESH_SECONDS
                while not self._over.wait(pause):
                    begun = time.thread_time()
                    view = campaign_view(journal, self._campaign)
                    cost = cost_words(campaign_cost(journal, view))
                    live.update(render(view, tuple(self._notes), cost, live.console.height), refresh=True)
                    pause = max(_REFRESH_SECONDS, (time.thread_time() - begun) / _SHARE)
        finally:
            journal.close()
