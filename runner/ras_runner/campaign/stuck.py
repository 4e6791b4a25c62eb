"""Engines that show windows may wait in one for a person: seen from outside as no CPU time and no progress."""

from __future__ import annotations

from dataclasses import dataclass

#: Less of a core than this is what a window that waits needs: timers, repainting.
_IDLE_SHARE = 0.01
#: CPU seconds that a look may be off by.
_GRAIN_SECONDS = 0.5
#: Of the time between two looks no more counts: the controller's machine may have slept, or the worker been away.
_LOOK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Activity:
    """What is known of an attempt's activity after a look.

    Attributes:
        looked: when it was last looked at, seconds of a monotonic clock.
        idle: for how many seconds it has done nothing that could be seen.
        cpu_seconds: CPU time of its processes when it was last active.
        tails: ends of its progress files when it was last active.
    """

    looked: float
    idle: float
    cpu_seconds: float
    tails: tuple[str, ...]


def watch(before: Activity | None, now: float, cpu_seconds: float, tails: tuple[str, ...]) -> Activity:
    """Judge one more look at an attempt.

    Args:
        before: what the last look gave; None for the first.
        now: seconds of a monotonic clock.
        cpu_seconds: CPU time of all its running processes. It falls when one of them ends, which is activity too.
        tails: the ends of its progress files.
    """
    if before is None:
        return Activity(now, 0.0, cpu_seconds, tails)
    idle = before.idle + min(now - before.looked, _LOOK_SECONDS)
    used = cpu_seconds - before.cpu_seconds
    if tails != before.tails or used < 0.0 or used > _GRAIN_SECONDS + _IDLE_SHARE * idle:
        return Activity(now, 0.0, cpu_seconds, tails)
    return Activity(now, idle, before.cpu_seconds, before.tails)


def stuck_reason(host: str, minutes: float) -> str:
    """What the user is told of an attempt that was stopped because it did nothing for so many minutes."""
    return (
        f"{host}: run: no CPU time and no progress for {minutes:g} min: HEC-RAS most likely waits in a window, for "
        "its Terms and Conditions for Use to be accepted (once for each version and Windows user) or with a run-time "
        "error\n"
        "  next: log on there as the user that runs plans, open HEC-RAS once and accept its terms, "
        "then open this plan and compute it to see the message"
    )
