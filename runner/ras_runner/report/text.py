"""Numbers as an engineer reads them."""

from __future__ import annotations

from datetime import datetime

#: Stands where there is no value.
ABSENT = "\N{EN DASH}"


def duration(seconds: float | None) -> str:
    """`seconds` in at most two units: ``4.7 s``, ``12 min 03 s``, ``3 h 05 min``, ``2 d 04 h``; a dash for None."""
    if seconds is None:
        return ABSENT
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def tick(seconds: float) -> str:
    """A place on a time axis, elapsed since its start: ``0``, ``30 s``, ``10 min``, ``1.5 h``, ``2 d``."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.4g} {name}"
    return f"{seconds:.4g} s" if seconds else "0"


def moment(unix: float | None) -> str:
    """`unix` (seconds) on the clock of this machine, with its offset from UTC; a dash for None."""
    return ABSENT if unix is None else datetime.fromtimestamp(unix).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def size(count: int) -> str:
    """`count` bytes in decimal units: ``812 B``, ``4.1 MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
