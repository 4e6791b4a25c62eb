"""The page of the report, read as a browser's parser reads it."""

from __future__ import annotations

import json
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.unit.report.samples import HOSTILE, attempt, campaign, cost, plan, write_unsteady

from ras_runner.errors import OperatorError
from ras_runner.outcomes import Outcome
from ras_runner.report import PlanRow, tally, write_report
from ras_runner.report.html import STANDIN_LABEL, script_json


class Page(HTMLParser):
    """The elements, the text outside scripts, and the JSON of a page."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data: dict[str, object] = {}
        self._raw = ""
        self._script = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else ""
        self._script = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self.tags[-1][1].get("type") == "application/json":
            self.data[str(self.tags[-1][1]["id"])] = json.loads(self._script)
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw:
            self._script += data
        else:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def anchors(self) -> list[str | None]:
        return [attrs.get("id") for tag, attrs in self.tags if tag == "details"]


def _write(folder: Path, *plans: PlanRow, **changes: object) -> Page:
    return Page(write_report(campaign(*plans, **changes), folder / "report").read_text(encoding="utf-8"))


def test_hostile_texts_are_text(tmp_path: Path) -> None:
    texts: dict[str, Any] = {
        "title": HOSTILE,
        "message": HOSTILE,
        "engine": HOSTILE,
        "warnings": (HOSTILE,),
        "flow_type": HOSTILE,
    }
    tries = (attempt(1, 0, 9, outcome="preempted", worker_id=HOSTILE, message=HOSTILE), attempt(2, 9, 20))
    harmless = _write(tmp_path, plan(attempts=tries[1:] * 2, message="m", warnings=("w",)))
    page = _write(
        tmp_path,
        plan(**texts, project=HOSTILE, worker_id=HOSTILE, attempts=tries),
        title=HOSTILE,
        project=HOSTILE,
        campaign_id=HOSTILE,
        version=HOSTILE,
    )
    assert page.text.count(HOSTILE) >= 12
    for tag in ("script", "img"):
        assert page.count(tag) == harmless.count(tag)
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]


def test_hostile_names_in_a_result_do_not_leave_the_plot_data(tmp_path: Path) -> None:
    river = HOSTILE.replace("\u2028", "")
    page = _write(tmp_path, plan(result=write_unsteady(tmp_path / "Creek.p01.hdf", river=river)))
    data = page.data["plan-01-data"]
    assert isinstance(data, dict)
    assert data["sections"][0]["name"].startswith(river)
    assert page.count("script") == 3  # plotly, the data of one plan, the page's own


def test_json_in_a_script_cannot_end_it() -> None:
    source = str(script_json({"name": HOSTILE + "\u2029"}))
    assert not set(source) & set("<>&\u2028\u2029")
    assert json.loads(source) == {"name": HOSTILE + "\u2029"}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_shown_by_symbol_and_words(tmp_path: Path, outcome: Outcome) -> None:
    page = _write(tmp_path, plan(outcome=outcome.value))
    symbol, label = tally.FACES[outcome]
    assert f"{symbol}{label}" in page.text
    assert [attrs for _, attrs in page.tags if attrs.get("class") == f"state s-{outcome}"]


def test_an_outcome_of_a_later_version_is_shown_as_it_is(tmp_path: Path) -> None:
    assert "?melted" in _write(tmp_path, plan(outcome="melted")).text


def test_a_failed_plan_shows_its_reason_and_the_tail_of_its_log(tmp_path: Path) -> None:
    page = _write(tmp_path, plan(outcome="engine-error", message="Exit Code = 157\nlast line of the log"))
    assert "Reason" in page.text and "Exit Code = 157\nlast line of the log" in page.text


def test_warnings_attempts_and_skipped_plans_are_told(tmp_path: Path) -> None:
    tries = (attempt(1, 0, 9, outcome="preempted", message="spot reclaimed"), attempt(2, 9, 20))
    page = _write(tmp_path, plan("01", warnings=("first", "second"), attempts=tries), plan("02", skipped=True))
    for words in ("2 warnings", "first", "second", "spot reclaimed", "unchanged since an earlier run", "#2"):
        assert words in page.text
    assert [attrs for tag, attrs in page.tags if tag == "a" and attrs.get("class") == "bar s-preempted retried"]


@pytest.mark.parametrize(("engine", "marked"), [("HEC-RAS 6.6", False), ("ras-standin 0.1.0", True)])
def test_standin_results_are_marked_in_the_banner_the_table_and_the_section(
    tmp_path: Path, engine: str, marked: bool
) -> None:
    page = _write(tmp_path, plan(engine=engine), plan("02"))
    assert page.text.count(STANDIN_LABEL) == (3 if marked else 0)


def test_a_campaign_without_plans(tmp_path: Path) -> None:
    page = _write(tmp_path)
    assert "This campaign has no plans." in page.text and page.count("table") == 0


def test_a_running_campaign(tmp_path: Path) -> None:
    waiting = plan("02", outcome=None, attempts=(), execution_time=None, worker_id="")
    page = _write(
        tmp_path, plan(outcome=None, attempts=(attempt(1, 0, None),)), waiting, plan("03"), state="running", ended=None
    )
    assert "»running 1" in page.text and "○waiting 1" in page.text
    assert "1 of 3 plans have a usable result; 2 still to come." in page.text
    assert "As of " in page.text


def test_an_interrupted_campaign_says_what_can_be_done(tmp_path: Path) -> None:
    page = _write(tmp_path, plan(outcome=None, attempts=(attempt(1, 0, None),)), state="interrupted", ended=None)
    assert "the campaign can be resumed" in page.text and "?end not known" in page.text


def test_an_unreadable_result_leaves_the_others_whole(tmp_path: Path) -> None:
    broken = tmp_path / "Creek.p02.hdf"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n cut off")
    good = write_unsteady(tmp_path / "Creek.p01.hdf")
    page = _write(tmp_path, plan("01", result=good), plan("02", result=broken))
    assert list(page.data) == ["plan-01-data"]
    assert "The result file Creek.p02.hdf could not be read for plotting" in page.text


def test_the_folder_can_be_moved_and_needs_no_network(tmp_path: Path) -> None:
    page = _write(tmp_path, plan(result=write_unsteady(tmp_path / "Creek.p01.hdf")))
    links = [attrs[name] for _, attrs in page.tags for name in ("href", "src", "action", "srcset") if name in attrs]
    assert {link for link in links if link and not link.startswith("#")} == {"plotly.min.js"}
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["index.html", "plotly.min.js"]
    assert str(tmp_path) not in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy and policy.startswith("default-src 'none'; script-src 'nonce-")


def test_every_link_within_the_page_has_its_target(tmp_path: Path) -> None:
    page = _write(tmp_path, plan("01"), plan("02"), plan("01", project="Brook"))
    assert page.anchors() == ["plan-01", "plan-02", "plan-01-2"]
    links = {str(attrs["href"])[1:] for tag, attrs in page.tags if tag == "a"}
    assert links == set(page.anchors())
    assert "Brook" in page.text


def test_ninety_nine_plans_stay_small(tmp_path: Path) -> None:
    result = write_unsteady(tmp_path / "Creek.hdf", steps=5000, sections=60)
    plans = [plan(f"{n:02d}", result=result) for n in range(1, 100)]
    index = write_report(campaign(*plans), tmp_path / "report")
    page = Page(index.read_text(encoding="utf-8"))
    assert len(page.data) == 99
    assert index.stat().st_size < 5_000_000


def test_a_large_campaign_is_a_table_with_sections_for_those_that_need_attention(tmp_path: Path) -> None:
    result, tries = write_unsteady(tmp_path / "Creek.hdf", steps=500, sections=2), (attempt(1), attempt(2), attempt(3))
    plans = [plan(f"{n % 99 + 1:02d}", project=f"P{n // 99}", result=result, attempts=tries) for n in range(1000)]
    plans[777] = plan("86", outcome="unstable", message="went up", result=result)
    plans[888] = plan("98", outcome="completed-with-warnings", warnings=("dry",))
    page = _write(tmp_path, *plans)
    assert page.anchors() == ["plan-86-8", "plan-98-9"]
    assert {str(attrs["href"])[1:] for tag, attrs in page.tags if tag == "a"} == set(page.anchors())
    assert [len(page.data), sum(tag == "tr" for tag, _ in page.tags)] == [1, 1000 + 5]  # headings and two attempts
    assert "998 of 1000 plans have no section here" in page.text
    assert "Not drawn: 2996 attempts" in page.text


def test_a_report_replaces_the_one_before_and_copies_plotly_once(tmp_path: Path) -> None:
    _write(tmp_path, title="before")
    script = tmp_path / "report" / "plotly.min.js"
    inode_and_time = (script.stat().st_ino, script.stat().st_mtime_ns)
    page = _write(tmp_path, title="after")
    assert "after" in page.text and "before" not in page.text
    assert (script.stat().st_ino, script.stat().st_mtime_ns) == inode_and_time


def test_a_damaged_copy_of_plotly_is_replaced(tmp_path: Path) -> None:
    _write(tmp_path)
    script = tmp_path / "report" / "plotly.min.js"
    whole = script.stat().st_size
    script.write_bytes(b"half")
    _write(tmp_path)
    assert script.stat().st_size == whole


def test_half_a_character_in_a_title_is_no_failure(tmp_path: Path) -> None:
    assert "Plan ?" in _write(tmp_path, plan(title="Plan \udce9")).text


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file", encoding="utf-8")
    with pytest.raises(OperatorError, match="choose another folder"):
        write_report(campaign(), tmp_path / "report")


def test_the_cost_stands_at_the_top_in_the_table_with_each_plan_and_in_its_section(tmp_path: Path) -> None:
    page = _write(tmp_path, plan("01", cost=Decimal("12.40")), plan("02"), cost=cost())
    words = " ".join(page.text.split())
    assert "Cost of rented machines12.40 USD" in words
    assert "Cost12.40 USD" in words
    assert "machines 11.90, disks 0.50 own rates of 2026-01-31" in words
    assert "storage" not in words
    assert "so far" not in words
    assert [attrs["data-key"] for tag, attrs in page.tags if attrs.get("data-key") in ("12.40", "-1")] == [
        "12.40",
        "-1",
    ]


def test_a_cost_that_is_not_final_says_so_and_what_no_plan_pays_for(tmp_path: Path) -> None:
    rows = cost(final=False, unassigned=Decimal("0.40"))
    words = " ".join(_write(tmp_path, plan(), cost=rows).text.split())
    assert "12.40 USD so far" in words
    assert "Machines are still there: more will come." in words
    assert "0.40 USD were paid without a plan having run." in words


def test_a_campaign_without_rented_machines_says_nothing_of_cost(tmp_path: Path) -> None:
    page = _write(tmp_path, plan())
    assert "Cost" not in page.text
    assert "USD" not in page.text
