"""Writes the report: one folder that opens in a browser, offline, from wherever it is moved to."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import secrets
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ras_runner.errors import OperatorError
from ras_runner.outcomes import Outcome
from ras_runner.report import tally, text
from ras_runner.report.model import CampaignReport, PlanRow
from ras_runner.report.plots import MAX_POINTS, PlanPlots, names_standin, read_plots

#: What every result of the stand-in engine is marked with.
STANDIN_LABEL = "STAND-IN ENGINE - NOT HEC-RAS - NOT FOR ENGINEERING USE"

_PLOTLY = "plotly.min.js"
#: Campaigns of more plans than this get fewer points a curve, so that the page stays below about 5 MB.
_FULL_DETAIL_PLANS = 99
#: Of campaigns of more plans than this only those that need attention have a section with plots, at most so many.
_MOST_SECTIONS = 500
#: More bars than this cannot be told apart on the timeline.
_MOST_BARS = 2000


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with what the page needs beside the row: its place in the page, its state, its plots.

    Without plots it has no section of its own.
    """

    row: PlanRow
    anchor: str
    state: str
    standin: bool
    plots: PlanPlots | None


def write_report(campaign: CampaignReport, folder: Path) -> Path:
    """Write the report of a campaign, in place of an earlier one.

    The folder then holds ``index.html`` and ``plotly.min.js``, needs no network, and can be moved or zipped.
    A result that cannot be read is a sentence in the report, not an error.

    Args:
        campaign: the campaign as it stands; it may still be running.
        folder: where the report goes; made when absent. Other files in it are left alone.

    Returns:
        path of ``index.html``.

    Raises:
        OperatorError: the folder cannot be written to.
    """
    page = render(campaign, time.time())
    index = folder / "index.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy_plotly(folder / _PLOTLY)
        # A title read from a file name may hold half a character (a surrogate), which UTF-8 cannot write.
        _replace(index, page.encode("utf-8", "replace"))
    except OSError as error:
        raise OperatorError(
            f"the report cannot be written to {folder}: {error}",
            action="free disk space or choose another folder you may write to, then ask for the report again",
            step="write report",
        ) from error
    return index


def render(campaign: CampaignReport, now: float) -> str:
    """The page of a campaign as it stands at `now` (Unix seconds); reads the result files of its plans."""
    until = tally.horizon(campaign, now)
    views = plan_views(campaign)
    drawn = sum(len(plan.attempts) for plan in campaign.plans) <= _MOST_BARS
    several_projects = len({view.row.project for view in views}) > 1
    template = _environment().get_template("report.html.j2")
    return template.render(
        campaign=campaign,
        totals=tally.totals(campaign, until),
        views=views,
        lanes=tally.lanes(campaign, until) if drawn else (),
        most_bars=_MOST_BARS,
        drawn=drawn,
        sections=[view for view in views if view.plots is not None],
        ticks=tally.ticks(until - campaign.created),
        until=until,
        several_projects=several_projects,
        standin_count=sum(view.standin for view in views),
        standin_label=STANDIN_LABEL,
        open_all=len(views) <= 3,
        plotly=_PLOTLY,
        nonce=secrets.token_urlsafe(16),
    )


def plan_views(campaign: CampaignReport) -> list[PlanView]:
    """Each plan with a unique anchor (``plan-01``), its state and, where it has a section, its plots."""
    views, seen = [], Counter[str]()
    detailed = _with_sections(campaign)
    points = max(60, min(MAX_POINTS, MAX_POINTS * _FULL_DETAIL_PLANS // max(1, len(detailed))))
    for index, row in enumerate(campaign.plans):
        anchor = "plan-" + re.sub(r"[^A-Za-z0-9_-]+", "_", row.plan_number)
        seen[anchor] += 1
        plots = read_plots(row.result, points) if index in detailed else None
        views.append(
            PlanView(
                row=row,
                # Campaigns may span several projects, which number their plans alike.
                anchor=anchor if seen[anchor] == 1 else f"{anchor}-{seen[anchor]}",
                state=tally.plan_state(row, campaign.state),
                standin=names_standin(row.engine) or (plots is not None and plots.standin),
                plots=plots,
            )
        )
    return views


def _with_sections(campaign: CampaignReport) -> set[int]:
    """Places of the plans that have a section: all, or of a large campaign the first that did not simply complete."""
    places = range(len(campaign.plans))
    if len(campaign.plans) <= _MOST_SECTIONS:
        return set(places)
    quiet = (Outcome.COMPLETED, tally.WAITING, tally.NOT_RUN)
    loud = [place for place in places if tally.plan_state(campaign.plans[place], campaign.state) not in quiet]
    return set(loud[:_MOST_SECTIONS])


def script_json(value: Any) -> Markup:
    r"""`value` as JSON that may stand inside a ``<script>`` element.

    Everything that could end the element or open a comment in it (``</``, ``<!--``), and the line separators that
    older JavaScript does not accept in strings, is written as a ``\u`` escape, which JSON readers undo.

    Raises:
        ValueError: NaN or infinity, which JSON does not have.
    """
    source = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        source = source.replace(character, f"\\u{ord(character):04x}")
    return Markup(source)  # noqa: S704 - made safe just above


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ras_runner.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=text.duration, tick=text.tick, moment=text.moment, bytesize=text.size, script_json=script_json
    )
    environment.globals.update(
        face=lambda state: tally.FACES.get(state, ("?", state)),
        css=lambda state: f"s-{state}" if state in tally.FACES else "s-unknown",
        rank=tally.rank,
        attempt_state=tally.attempt_state,
    )
    return environment


def _copy_plotly(target: Path) -> None:
    """Copy plotly's bundled script beside the page, unless it is there already."""
    source = importlib.resources.files("plotly") / "package_data" / _PLOTLY
    with importlib.resources.as_file(source) as bundled:
        if target.is_file() and target.stat().st_size == bundled.stat().st_size:
            return
        part = target.with_name(f".{_PLOTLY}.{os.getpid()}")
        shutil.copyfile(bundled, part)
        part.replace(target)


def _replace(target: Path, content: bytes) -> None:
    """Write a file under another name, then put it in place: a reader sees the old or the new one, whole."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(target)
