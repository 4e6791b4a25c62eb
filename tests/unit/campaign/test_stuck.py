"""When an engine that shows windows is taken to be waiting for a person."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ras_runner.campaign.stuck import Activity, stuck_reason, watch

TAILS = ("Simulation Time = 01JAN2000 01:00",)


def looks(*seen: tuple[float, float, tuple[str, ...]]) -> Activity:
    """The judgement after looks at (time, CPU seconds, tails)."""
    activity = None
    for now, cpu, tails in seen:
        activity = watch(activity, now, cpu, tails)
    assert activity is not None
    return activity


def test_nothing_happens_so_time_adds_up():
    assert looks(*((float(t), 3.0, TAILS) for t in range(0, 601, 10))).idle == 600.0


def test_a_window_that_repaints_now_and_then_is_idle_all_the_same():
    assert looks(*((float(t), 3.0 + t * 0.004, TAILS) for t in range(0, 601, 10))).idle == 600.0


def test_computing_is_activity_without_any_progress():
    assert looks(*((float(t), t * 0.05, TAILS) for t in range(0, 6001, 10))).idle < 20.0


def test_progress_is_activity_without_cpu_time():
    assert looks(*((float(t), 0.0, (f"step {t // 50}",)) for t in range(0, 6001, 10))).idle < 50.0


def test_a_process_that_has_ended_is_activity():
    assert looks((0.0, 9.0, TAILS), (20.0, 9.0, TAILS), (40.0, 2.0, TAILS)).idle == 0.0


def test_a_machine_that_slept_is_not_counted_as_idle():
    assert looks((0.0, 9.0, TAILS), (8 * 3600.0, 9.0, TAILS)).idle <= 30.0


@given(st.lists(st.tuples(st.floats(0.1, 1000.0), st.floats(0.0, 100.0)), min_size=1, max_size=50))
def test_it_is_never_idle_for_longer_than_it_was_looked_at(steps: list[tuple[float, float]]):
    now = cpu = 0.0
    activity = watch(None, now, cpu, ())
    for seconds, used in steps:
        now, cpu = now + seconds, cpu + used
        activity = watch(activity, now, cpu, ())
        assert 0.0 <= activity.idle <= now + 1e-6


def test_the_reason_names_host_cause_and_what_to_do():
    reason = stuck_reason("ws1", 10.0)
    assert reason.startswith("ws1: run: no CPU time and no progress for 10 min")
    assert "Terms and Conditions" in reason
    assert "next: log on there" in reason
