"""Compute messages and progress, as text: what HEC-RAS and its solvers say about a run.

The wordings are those of HEC-RAS 5 to 7 on Windows and of the Linux solvers. Exit codes say nothing; these lines do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from ras_runner.hecras.text import lines, parse_date

_MOST = 50
_UNSTABLE = re.compile(r"Simulation went unstable at:?\s*(.*\S)", re.IGNORECASE)
_COMPLETE = re.compile(r"^\s*Complete Process\t\s*[<\d]", re.MULTILINE)
_FINISHED = re.compile(r"Finished (?:Unsteady|Steady) Flow Simulation", re.IGNORECASE)
_TERMINATED = re.compile(r"Flow Simulation Terminated", re.IGNORECASE)
_STOPPED = re.compile(r"(?:stopped|cancel\w*) by (?:the )?user", re.IGNORECASE)
_ERROR = re.compile(
    r"^\s*(?:error\b\s*(?::|with program:)|hdf_error|forrtl: (?:severe|error))"
    r"|\*{2,}\s*ERROR:"
    r"|Minimum error exceeds allowable tolerance"
    r"|Flow Simulation Terminated"
    r"|Segmentation fault",
    re.IGNORECASE,
)
_WARNING = re.compile(r"^\s*(?:\*+\s*)?warning\b\s*:|Extrapolated above Cross Section Table", re.IGNORECASE)
# HEC-RAS puts a channel before each line of .computeMsgs.txt: "Message  | ...", "Progress | 0.48".
_CHANNEL = re.compile(r"^\s*Message\s*\|\s?", re.IGNORECASE)
_PROGRESS = re.compile(r"^\s*(?:Progress\s*[|=]\s*)(\d*\.?\d+(?:E[-+]?\d+)?)\s*$", re.IGNORECASE)
_SIMULATED = re.compile(r"^\s*(\d{1,2}[A-Za-z]{3}\d{4}[ ,]+\d{2}:?\d{2}(?::\d{2})?)\b")


@dataclass(frozen=True, slots=True)
class Messages:
    """What the messages of a run say."""

    text: str
    #: The table of tasks ends with ``Complete Process``. Linux solvers write no such table, and a run that was
    #: terminated can have it.
    complete_process: bool
    #: ``Finished Unsteady Flow Simulation`` or ``Finished Steady Flow Simulation``.
    finished_banner: bool
    #: Simulated time, as written.
    unstable_at: str | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    #: The run was terminated, or stopped by the user.
    terminated: bool
    stopped_by_user: bool


def parse_messages(text: str) -> Messages:
    """Read compute messages or a solver's stream. At most 50 different errors and warnings are kept."""
    all_lines = [_CHANNEL.sub("", line) for line in lines(text)]
    plain = "\n".join(all_lines)
    unstable = _UNSTABLE.search(plain)
    stopped = _STOPPED.search(plain) is not None
    return Messages(
        text=text,
        complete_process=_COMPLETE.search(plain) is not None,
        finished_banner=_FINISHED.search(plain) is not None,
        unstable_at=unstable[1] if unstable else None,
        errors=_matching(all_lines, _ERROR),
        warnings=_matching(all_lines, _WARNING),
        terminated=stopped or _TERMINATED.search(plain) is not None,
        stopped_by_user=stopped,
    )


def _matching(all_lines: list[str], pattern: re.Pattern[str]) -> tuple[str, ...]:
    found = dict.fromkeys(" ".join(line.split()) for line in all_lines if pattern.search(line))
    return tuple(found)[:_MOST]


def progress_fraction(text_tail: str, start: datetime | None = None, end: datetime | None = None) -> float | None:
    """How much of a run is done, from the end of its messages or stream.

    Args:
        text_tail: the last part of ``.computeMsgs.txt``, ``.bcoNN`` or stdout; its first and last line may be cut.
        start: of the simulation; with ``end``, lines of simulated time count too.
        end: of the simulation.

    Returns:
        0 to 1 from the last ``Progress | 0.48`` line, else from the last line of simulated time, else None.
    """
    all_lines = lines(text_tail)
    fractions = [float(match[1]) for line in all_lines if (match := _PROGRESS.match(line))]
    if not fractions and start is not None and end is not None and end > start:
        fractions = [(moment - start) / (end - start) for moment in _simulated_times(all_lines)]
    if not fractions:
        return None
    last = fractions[-1]
    if all_lines[-1] and len(fractions) > 1:  # the last line may be cut: 0.48 read as 0.4
        last = max(last, fractions[-2])
    return min(max(last, 0.0), 1.0)


def _simulated_times(all_lines: list[str]) -> list[datetime]:
    found = []
    for line in all_lines:
        match = _SIMULATED.match(_CHANNEL.sub("", line))
        if match:
            try:
                found.append(parse_date(match[1]))
            except ValueError:
                continue
    return found
