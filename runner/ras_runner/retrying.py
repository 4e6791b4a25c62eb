"""Repeating calls that may be repeated: reading, and renaming over a file that somebody has open."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def retrying(
    call: Callable[[], Result],
    *on: type[Exception],
    attempts: int,
    first: float,
    longest: float,
    within: float | None = 45.0,
) -> Result:
    """Call until it works.

    Args:
        call: what to do; it must do no harm when done twice.
        on: the errors after which it is tried again.
        attempts: how often at most.
        first, longest: seconds between two tries, growing from the first to the longest.
        within: no new try so many seconds after the first began; None where one call may take long.

    Raises:
        The last error, when none of the tries worked.
    """
    import stamina

    stamina.instrumentation.set_on_retry_hooks([])  # it would write to the user's terminal
    for attempt in stamina.retry_context(
        on=on, attempts=attempts, timeout=within, wait_initial=first, wait_max=longest
    ):
        with attempt:
            return call()
    raise AssertionError("unreachable: the last try returned or raised")
