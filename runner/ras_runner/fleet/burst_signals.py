"""Signals while something is rented: it is given back first."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

#: Interrupts that are answered with patience before one gets through while a burst is taken down.
_PATIENCE = 2


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM, and the end of the terminal, are as Ctrl-C: what is rented must be given back."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling([name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)], end):
        yield


@contextlib.contextmanager
def patient(say: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C does not stop what is being taken down, unless somebody insists."""
    heard = 0

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard += 1
        if heard > _PATIENCE:
            raise KeyboardInterrupt
        say("the burst is being taken down: wait. Without that its machines run on to the end of their time")

    with _handling([name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)], hear):
        yield


@contextlib.contextmanager
def _handling(names: list[str], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    numbers = [getattr(signal, name) for name in names]
    # what is ignored (nohup) stays so
    before = {number: old for number in numbers if (old := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
