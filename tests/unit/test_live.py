"""What the live view shows of a campaign that is larger than the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from ras_runner.campaign.journal import Journal
from ras_runner.campaign.view import campaign_view
from ras_runner.cli.live import render


def test_running_plans_that_do_not_fit_are_counted_and_the_total_stays_in_sight(journal: Journal) -> None:
    head = {"project": "/p/a.prj", "title": "", "workers": "[]", "settings": "{}"}
    task = {"title": "", "flow_type": "steady", "expected": None, "project": "/p/a.prj"}
    attempt = {"number": 1, "worker": "lab", "folder": "", "stage": "whole"}
    names = [f"a{seq // 99:03}.p{seq % 99 + 1:02}" for seq in range(1000)]
    journal.record_all(
        "c",
        [
            ("campaign-created", head),
            *(("task-added", {**task, "plan": name, "seq": seq}) for seq, name in enumerate(names)),
            *(
                ("attempt-created", {**attempt, "attempt": name, "plan": name, "slot": slot})
                for slot, name in enumerate(names[:300])
            ),
        ],
    )
    view = campaign_view(journal, "c")

    def lines(height: int) -> list[str]:
        console = Console(file=io.StringIO(), width=100, height=height)
        console.print(render(view, ["worker lab rests"], height=height))
        return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]

    small = lines(24)
    assert len(small) < 24
    shown = sum(line.startswith("a0") for line in small)
    assert small[shown:] == [
        f"and {300 - shown} more that run",
        "0 of 1000 ended, 0 completed, 700 waiting",
        "worker lab rests",
    ]
    assert sum(line.startswith("a0") for line in lines(400)) == 300
    assert "more that run" not in "".join(lines(400))
