"""How the command line writes: tables and JSON to stdout, talk to stderr."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from ras_runner.campaign.costs import CampaignCost

STYLES = {
    "completed": "green",
    "completed-with-warnings": "yellow",
    "waiting": "dim",
    "staging": "cyan",
    "launching": "cyan",
    "running": "cyan",
}


def console(*, err: bool = False) -> Console:
    """A console for stdout, or for stderr. Files and pipes get wide, plain text."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(stderr=err, highlight=False, soft_wrap=not stream.isatty(), width=None if stream.isatty() else 160)


def talk(text: str) -> None:
    """One message for the user, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def talk_of_standin(worker: str, source: str) -> None:
    """Say that a worker does not compute with HEC-RAS."""
    talk(f"worker {worker} ({source}) computes with the STAND-IN ENGINE - NOT HEC-RAS - NOT FOR ENGINEERING USE")


def print_json(data: Any) -> None:
    """JSON on stdout; paths become text."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=True, default=str) + "\n")


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> None:
    """A table on stdout.

    Args:
        title: above the table.
        columns: headings.
        rows: cells; plain text, never markup.
        right: indices of the columns to align on the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, heading in enumerate(columns):
        table.add_column(heading, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=style_of(cell)) for cell in row))
    console().print(table)


def style_of(word: str) -> str:
    """Colour of an outcome or state; failures are red, anything else has none."""
    from ras_runner.outcomes import Outcome

    if word in STYLES:
        return STYLES[word]
    return "red" if word in set(Outcome) else ""


def duration(seconds: float | None) -> str:
    """``1:02:03``, ``2:03`` or ``1.2 s``; ``-`` when unknown."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def cost_words(cost: CampaignCost | None) -> str:
    """``12.34 USD``, with ``so far`` while more may come; empty where nothing was rented."""
    if cost is None:
        return ""
    return f"{cost.total} {cost.currency}" + ("" if cost.final else " so far")


def rough(seconds: float) -> str:
    """A time that is not known exactly: ``3 h 10 min``, ``25 min``, ``40 s``; from 10 hours on full hours."""
    if seconds < 60:
        return f"{math.ceil(seconds / 5) * 5} s"
    minutes = round(seconds / 60) if seconds < 3600 else round(seconds / 600) * 10
    hours, minutes = divmod(minutes, 60)
    if hours >= 10:
        return f"{round(seconds / 3600)} h"
    return " ".join([f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0))


def size(count: int) -> str:
    """Bytes, readable: ``3.1 MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def first_line(text: str) -> str:
    """The first line of a message, for a table cell."""
    return text.splitlines()[0] if text else ""


def short(path: Path) -> str:
    """A path, relative to the current folder where that is shorter."""
    try:
        relative = str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
    return min(relative, str(path), key=len)
