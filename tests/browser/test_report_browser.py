"""The report in a real browser: headless Chromium on ``file://``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from tests.unit.report.samples import HOSTILE, attempt, campaign, cost, plan, write_unsteady

from ras_runner.report import write_report

pytestmark = pytest.mark.browser

_QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
]


@dataclass(frozen=True)
class Chromium:
    """A browser with a profile of its own."""

    program: str
    profile: Path

    def open(self, page: Path, anchor: str = "") -> tuple[str, list[str]]:
        """Open a page, let it work for ten seconds of its own time, and return its DOM and its console lines."""
        run = subprocess.run(
            [
                self.program,
                *_QUIET,
                f"--user-data-dir={self.profile}",
                "--window-size=1200,1600",
                "--virtual-time-budget=10000",
                "--dump-dom",
                page.as_uri() + anchor,
            ],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=True,
        )
        return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def chromium(tmp_path: Path) -> Chromium:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        reason = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Chromium(program, tmp_path / "profile")


def _section(dom: str, anchor: str) -> str:
    return dom.split(f'id="{anchor}"', 1)[1].split("</details>", 1)[0]


def test_the_console_of_a_bad_page_is_seen(chromium: Chromium, tmp_path: Path) -> None:
    """Guards the other tests: without this, no console lines could mean that nobody listened."""
    page = tmp_path / "bad.html"
    page.write_text("<script>throw new Error('seen')</script>", encoding="utf-8")
    _, console = chromium.open(page)
    assert any("seen" in line for line in console)


def test_an_opened_plan_is_drawn_and_the_others_wait(chromium: Chromium, tmp_path: Path) -> None:
    result = write_unsteady(tmp_path / "Creek.p01.hdf")
    index = write_report(campaign(*(plan(f"{n:02d}", result=result) for n in range(1, 11))), tmp_path / "report")
    dom, console = chromium.open(index, "#plan-07")
    assert console == []
    drawn = _section(dom, "plan-07")
    titles = re.findall(r'class="gtitle"[^>]*>([^<]*)', drawn)
    assert titles == ["Stage hydrographs", "Flow hydrographs", "Maximum water surface \N{EN DASH} Creek Upper"]
    assert 'class="main-svg"' in drawn
    assert dom.count('<svg class="main-svg"') == drawn.count('<svg class="main-svg"')


def test_a_small_report_opens_with_its_plots(chromium: Chromium, tmp_path: Path) -> None:
    result = write_unsteady(tmp_path / "Creek.p01.hdf")
    index = write_report(campaign(plan("01", result=result), plan("02")), tmp_path / "report")
    dom, console = chromium.open(index)
    assert console == []
    assert '<svg class="main-svg"' in _section(dom, "plan-01")
    assert '<svg class="main-svg"' not in _section(dom, "plan-02")


def test_plots_offer_no_upload(chromium: Chromium, tmp_path: Path) -> None:
    """Plotly's own set of buttons sends the chart, so a client's results, to a server."""
    result = write_unsteady(tmp_path / "Creek.p01.hdf")
    dom, _ = chromium.open(write_report(campaign(plan(result=result)), tmp_path / "report"))
    buttons = set(re.findall(r'class="modebar-btn"[^>]*data-title="([^"]+)"', dom))
    assert "Download plot as a PNG" in buttons
    assert not [button for button in buttons if re.search("share|cloud|edit", button, re.IGNORECASE)]


def test_hostile_texts_are_shown_and_not_run(chromium: Chromium, tmp_path: Path) -> None:
    attack = f"{HOSTILE}<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    result = write_unsteady(tmp_path / "Creek.p01.hdf", river=attack.replace("\u2028", ""))
    row = plan(title=attack, message=attack, warnings=(attack,), attempts=(attempt(message=attack),), result=result)
    index = write_report(campaign(row, project=attack), tmp_path / "report")
    # Without its policy, so that it is the escaping which is tested and not the browser's second line of defence.
    source = index.read_text(encoding="utf-8")
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
    assert bare != source
    index.write_text(bare, encoding="utf-8")
    dom, console = chromium.open(index)
    assert console == []
    assert "<title>Creek study \N{EN DASH} campaign report</title>" in dom
    assert "<img" not in dom
    assert '<svg class="main-svg"' in dom


def test_names_with_markup_stand_in_the_plot_as_they_are(chromium: Chromium, tmp_path: Path) -> None:
    result = write_unsteady(tmp_path / "Creek.p01.hdf", river="<b>Creek</b>")
    dom, _ = chromium.open(write_report(campaign(plan(result=result)), tmp_path / "report"))
    assert "&lt;b&gt;Creek&lt;/b&gt; Upper 5000</text>" in _section(dom, "plan-01")


def test_a_click_on_a_heading_sorts_the_table(chromium: Chromium, tmp_path: Path) -> None:
    rows = (("01", 30.0, Decimal("9.40")), ("02", 1000.0, None), ("03", 4.0, Decimal("3.00")))
    plans = (plan(number, execution_time=seconds, cost=paid) for number, seconds, paid in rows)
    index = write_report(campaign(*plans, cost=cost()), tmp_path / "report")
    source = index.read_text(encoding="utf-8")
    nonce = re.search(r"nonce-([\w-]+)", source)
    assert nonce
    for heading, clicks, order in (
        ("Time", 1, ["03", "01", "02"]),
        ("Time", 2, ["02", "01", "03"]),
        ("USD", 1, ["02", "03", "01"]),
    ):
        click = (
            f"[...document.querySelectorAll('#plans th button')].find((b) => b.textContent === '{heading}').click();"
        )
        clicked = f'<script nonce="{nonce[1]}">{click * clicks}</script></body>'
        index.write_text(source.replace("</body>", clicked), encoding="utf-8")
        dom, console = chromium.open(index)
        assert console == []
        assert re.findall(r'class="plan-number"><a href="#plan-(\d\d)"', dom) == order
