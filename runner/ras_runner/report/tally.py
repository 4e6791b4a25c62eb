"""The sums of a campaign and the timeline of its slots, as plain numbers. No I/O, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ras_runner.outcomes import Outcome
from ras_runner.report.model import AttemptRow, CampaignReport, PlanRow

#: Words of a plan without an outcome, beside those of `Outcome`.
RUNNING, WAITING, NOT_RUN, LEFT = "running", "waiting", "not-run", "left"
#: An attempt that prepared its plan for another worker; a plan is never shown so.
PREPARED = "prepared"

#: Every state a plan can be shown in, from good to bad to open: (symbol, label). The symbols are in every
#: system font, so that colour is never the only sign.
FACES: dict[str, tuple[str, str]] = {
    Outcome.COMPLETED: ("✓", "completed"),
    Outcome.COMPLETED_WITH_WARNINGS: ("!", "completed with warnings"),
    Outcome.UNSTABLE: ("≈", "unstable"),
    Outcome.INCOMPLETE: ("½", "incomplete"),
    Outcome.ENGINE_ERROR: ("✗", "engine error"),
    Outcome.TIMED_OUT: ("≥", "timed out"),
    Outcome.INFRASTRUCTURE_LOST: ("∅", "infrastructure lost"),
    Outcome.PREEMPTED: ("«", "preempted"),
    Outcome.CANCELLED: ("■", "cancelled"),
    PREPARED: ("→", "prepared"),
    RUNNING: ("»", "running"),
    WAITING: ("○", "waiting"),
    LEFT: ("?", "end not known"),
    NOT_RUN: ("○", "not run"),
}

_TICK_STEPS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of a campaign; times in seconds, `slot_use` 0 to 1 or None when nothing ran."""

    counts: tuple[tuple[str, int], ...]
    plans: int
    usable: int
    failed: int
    open: int
    skipped: int
    attempts: int
    compute_time: float
    wall_time: float
    slots: int
    slot_use: float | None
    bytes_staged: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt on the timeline; `left` and `width` in percent of the whole, `number` counts the plan's attempts.

    `index` is the plan's place in the campaign.
    """

    index: int
    plan: PlanRow
    attempt: AttemptRow
    number: int
    state: str
    left: float
    width: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One slot of one worker and the attempts that ran in it, by time."""

    worker_id: str
    slot: int
    bars: tuple[Bar, ...]


def plan_state(plan: PlanRow, campaign_state: str) -> str:
    """The outcome of a plan or, where it has none, whether it runs, waits, was never run or was left."""
    if plan.outcome is not None:
        return plan.outcome
    last = next((attempt_state(a, campaign_state) for a in reversed(plan.attempts) if a.outcome is None), None)
    return last or (WAITING if campaign_state == "running" else NOT_RUN)


def attempt_state(attempt: AttemptRow, campaign_state: str) -> str:
    """The outcome of an attempt or, where it has none, whether it runs, waits or was never seen to end."""
    if attempt.outcome is not None:
        return PREPARED if attempt.prepares and attempt.outcome == Outcome.COMPLETED else attempt.outcome
    if attempt.started is None:
        return WAITING if campaign_state == "running" else NOT_RUN
    return RUNNING if campaign_state == "running" else LEFT


def horizon(campaign: CampaignReport, now: float) -> float:
    """The last moment the report speaks of, Unix seconds.

    That is the end of the campaign; `now` while it runs; and for an interrupted one the last moment anything is
    known of, so that a day of standing still does not count as wall time.
    """
    if campaign.ended is not None:
        return max(campaign.ended, campaign.created)
    known = [t for p in campaign.plans for a in p.attempts for t in (a.started, a.ended) if t is not None]
    if campaign.state == "running":
        known.append(now)
    return max([campaign.created, *known])


def totals(campaign: CampaignReport, until: float) -> Totals:
    """Sum up a campaign as of `until` (Unix seconds, see `horizon`)."""
    counts = Counter(plan_state(p, campaign.state) for p in campaign.plans)
    attempts = [a for p in campaign.plans for a in p.attempts]
    busy = sum(_span(a, until)[1] for a in attempts if a.started is not None)
    slots = len({(a.worker_id, a.slot) for a in attempts if a.started is not None})
    wall = until - campaign.created
    usable = counts[Outcome.COMPLETED] + counts[Outcome.COMPLETED_WITH_WARNINGS]
    still_open = sum(counts[state] for state in (RUNNING, WAITING, LEFT, NOT_RUN))
    return Totals(
        counts=tuple(sorted(counts.items(), key=lambda item: rank(item[0]))),
        plans=len(campaign.plans),
        usable=usable,
        failed=len(campaign.plans) - usable - still_open,
        open=still_open,
        skipped=sum(p.skipped for p in campaign.plans),
        attempts=len(attempts),
        compute_time=sum(p.execution_time or 0.0 for p in campaign.plans if not p.skipped),
        wall_time=wall,
        slots=slots,
        slot_use=min(1.0, busy / (slots * wall)) if slots and wall > 0 else None,
        bytes_staged=sum(p.bytes_staged for p in campaign.plans),
    )


def rank(state: str) -> int:
    """Place of a state from good to bad to open; an unknown word comes last."""
    return list(FACES).index(state) if state in FACES else len(FACES)


def lanes(campaign: CampaignReport, until: float) -> tuple[Lane, ...]:
    """The timeline: who ran what when, one lane a slot, sorted by worker and slot."""
    found: dict[tuple[str, int], list[Bar]] = {}
    for index, plan in enumerate(campaign.plans):
        for number, attempt in enumerate(plan.attempts, start=1):
            if attempt.started is not None:
                bar = _bar(campaign, index, number, until)
                found.setdefault((attempt.worker_id, attempt.slot), []).append(bar)
    return tuple(Lane(w, s, tuple(sorted(bars, key=lambda b: b.left))) for (w, s), bars in sorted(found.items()))


def ticks(seconds: float, at_most: int = 8) -> tuple[tuple[float, float], ...]:
    """Round places on a time axis `seconds` long: (percent of the axis, seconds since its start)."""
    if seconds <= 0:
        return ((0.0, 0.0),)
    last = _TICK_STEPS[-1]
    step = next((s for s in _TICK_STEPS if seconds / s <= at_most), last * (int(seconds / last / at_most) + 1))
    return tuple((100.0 * t / seconds, float(t)) for t in _steps(seconds, step))


def _steps(seconds: float, step: int) -> Iterable[int]:
    return range(0, int(seconds) + 1, step)


def _span(attempt: AttemptRow, until: float) -> tuple[float, float]:
    """Start (Unix seconds) and length (seconds) of a launched attempt; an open one lasts `until`."""
    start = attempt.started if attempt.started is not None else until
    end = attempt.ended if attempt.ended is not None else until
    return start, max(0.0, end - start)


def _bar(campaign: CampaignReport, index: int, number: int, until: float) -> Bar:
    """Place an attempt on the axis; clocks of workers differ, so it is kept within the axis and visible."""
    plan = campaign.plans[index]
    attempt = plan.attempts[number - 1]
    whole = max(until - campaign.created, 1e-9)
    start, seconds = _span(attempt, until)
    left = min(max(100.0 * (start - campaign.created) / whole, 0.0), 99.8)
    width = min(max(100.0 * seconds / whole, 0.2), 100.0 - left)
    return Bar(index, plan, attempt, number, attempt_state(attempt, campaign.state), left, width, seconds)
