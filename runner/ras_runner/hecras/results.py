"""Did it work? What the results HDF of a plan says, and what follows from it.

The engine's exit code says nothing, so the outcome comes from the summary in the results, the last output time, the
volume accounting and the compute messages.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ras_runner.hecras.messages import Messages, parse_messages
from ras_runner.hecras.plan import FlowType
from ras_runner.hecras.text import parse_date
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    import h5py

#: Volume errors above this are worth a look (percent).
VOLUME_ERROR_LIMIT = 1.0
#: Time stamps have a resolution of one second.
_TIME_TOLERANCE = timedelta(seconds=1)

_UNSTEADY_SUMMARIES = ("Results/Unsteady/Summary", "Results/Summary")
_STEADY_SUMMARY = "Results/Steady/Summary"
_PROGRAM_GROUPS = ("Results/Unsteady", "Results/Steady/Output", "Results/Steady")
_BLOCKS = "Results/Unsteady/Output/Output Blocks"
_STAMPS = f"{_BLOCKS}/Base Output/Unsteady Time Series/Time Date Stamp"
_MESSAGES = "Results/Summary/Compute Messages (text)"
_INFORMATION = "Plan Data/Plan Information"
#: What h5py raises for damaged files, beside OSError, once the file is open.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, AttributeError)


class Problem(StrEnum):
    """Why a file is no finished result."""

    MISSING = "missing"
    STALE = "stale"
    NOT_HDF = "not an HDF file"
    UNREADABLE = "unreadable"
    NO_SUMMARY = "no summary"
    RUNNING = "running"
    WRONG_PLAN = "wrong plan"


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """What a results file says about its run."""

    path: Path
    problem: Problem | None = None
    outcome: Outcome = Outcome.ENGINE_ERROR
    #: One plain sentence; empty only when the run completed without warnings.
    reason: str = ""
    #: The engine's own word, such as ``Unsteady Finished Successfully``.
    solution: str = ""
    flow_type: FlowType | None = None
    program: str = ""
    file_version: str = ""
    #: Written by the stand-in engine: not HEC-RAS.
    stand_in: bool = False
    run_time: timedelta | None = None
    volume_error_percent: float | None = None
    #: In the project's unit of length.
    max_wsel_error: float | None = None
    #: Simulated time, as written.
    unstable_at: str | None = None
    last_output: datetime | None = None
    simulation_end: datetime | None = None
    warnings: tuple[str, ...] = ()
    messages: str = field(default="", repr=False)


def read_result(path: Path, *, not_before: float | None = None, extra_messages: str = "") -> ResultSummary:
    """Judge the results file of a plan.

    Args:
        path: ``<name>.pNN.hdf``.
        not_before: the attempt's start (seconds since 1970); an older file is not this attempt's result.
        extra_messages: the engine's stream or message file, judged together with the messages in the HDF.

    Returns:
        The summary. A bad file is no exception: ``problem``, ``outcome`` and ``reason`` say what is wrong.
    """
    outside = parse_messages(extra_messages)
    bare = ResultSummary(path, messages=extra_messages)
    try:
        modified = path.stat().st_mtime
    except (OSError, ValueError):
        return _with_problem(bare, Problem.MISSING, f"the engine left no {path.name}", outside)
    if not_before is not None and modified < not_before:
        return _with_problem(bare, Problem.STALE, f"{path.name} is older than this attempt", outside)
    import h5py

    try:
        if not path.is_file() or not h5py.is_hdf5(path):
            return _with_problem(bare, Problem.NOT_HDF, f"{path.name} is not an HDF file", outside)
        with h5py.File(path, "r", locking=False) as file:
            summary, problem = _read(file, bare)
    except _DAMAGE as error:
        reason = f"{path.name} cannot be read, it is truncated or was left open: {_one_line(error)}"
        return _with_problem(bare, Problem.UNREADABLE, reason, outside)
    said = parse_messages("\n".join(part for part in (summary.messages, extra_messages) if part))
    return _judge(replace(summary, messages=said.text, warnings=said.warnings), problem, said)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _with_problem(summary: ResultSummary, problem: Problem, reason: str, said: Messages) -> ResultSummary:
    """A result that is none: the messages may still say why."""
    summary = replace(summary, problem=problem, warnings=said.warnings)
    if said.unstable_at:
        reason = f"the simulation went unstable at {said.unstable_at}; {reason}"
        return replace(summary, outcome=Outcome.UNSTABLE, reason=reason, unstable_at=said.unstable_at)
    if said.errors:
        return replace(summary, outcome=Outcome.ENGINE_ERROR, reason=f"{said.errors[0]}; {reason}")
    incomplete = problem in (Problem.RUNNING, Problem.NO_SUMMARY) or said.stopped_by_user
    return replace(summary, outcome=Outcome.INCOMPLETE if incomplete else Outcome.ENGINE_ERROR, reason=reason)


def _judge(summary: ResultSummary, problem: Problem | None, said: Messages) -> ResultSummary:
    """The outcome of a file that could be read."""
    name, solution = summary.path.name, summary.solution.lower()
    if problem is Problem.WRONG_PLAN:
        return replace(summary, problem=problem, reason=f"{name} holds the results of another plan")
    if problem is Problem.NO_SUMMARY:
        return _with_problem(summary, problem, f"{name} holds no summary of a computation", said)
    unstable = summary.unstable_at or said.unstable_at
    if unstable or "unstable" in solution:
        reason = f"the simulation went unstable at {unstable}" if unstable else "the simulation went unstable"
        return replace(summary, outcome=Outcome.UNSTABLE, reason=reason, unstable_at=unstable)
    if solution.startswith("running"):
        reason = f"the engine ended half-way ({summary.solution})"
        return _with_problem(summary, Problem.RUNNING, reason, said)
    return _failure(summary, said) or _judge_finished(summary)


def _failure(summary: ResultSummary, said: Messages) -> ResultSummary | None:
    """A failure that the engine or its messages admit; messages count even where the summary says success."""
    solution = summary.solution
    if said.stopped_by_user:
        return replace(summary, outcome=Outcome.INCOMPLETE, reason="the computation was stopped by the user")
    error = said.errors[0] if said.errors else "the computation was terminated" if said.terminated else ""
    if not solution.lower().endswith("finished successfully"):
        reason = f"the engine says {solution or 'nothing of success'}"
        return replace(summary, outcome=Outcome.ENGINE_ERROR, reason=f"{reason}: {error}" if error else reason)
    if error:
        reason = f"{error} (though the results say {solution})"
        return replace(summary, outcome=Outcome.ENGINE_ERROR, reason=reason)
    return None


def _judge_finished(summary: ResultSummary) -> ResultSummary:
    """Finished by its own word: is it all there, and is it good?"""
    if summary.flow_type is FlowType.UNSTEADY and summary.simulation_end is not None:
        end, last = summary.simulation_end, summary.last_output
        if last is None:
            reason = "the results hold no output times, though the engine says it finished"
            return replace(summary, outcome=Outcome.INCOMPLETE, reason=reason)
        if abs(end - last) > _TIME_TOLERANCE:
            reason = f"the last output is of {last}, but the simulation ends at {end}"
            return replace(summary, outcome=Outcome.INCOMPLETE, reason=reason)
    warnings = list(summary.warnings)
    volume = summary.volume_error_percent
    if volume is not None and abs(volume) > VOLUME_ERROR_LIMIT:
        warnings.insert(0, f"the volume error is {volume:.3g} %")
    if not warnings:
        return replace(summary, outcome=Outcome.COMPLETED, reason="")
    more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
    reason = f"{warnings[0]}{more}"
    return replace(summary, outcome=Outcome.COMPLETED_WITH_WARNINGS, reason=reason, warnings=tuple(warnings))


def _read(file: h5py.File, bare: ResultSummary) -> tuple[ResultSummary, Problem | None]:
    """Everything that is judged, and the problem that the file itself shows."""
    flow_type, attributes = _summary_attributes(file)
    information = _attributes(file, _INFORMATION)
    groups = [_attributes(file, group) for group in _PROGRAM_GROUPS]
    program = next((_text(group["Program Name"]) for group in groups if "Program Name" in group), "")
    accounting = next(
        filter(None, (_attributes(file, f"{place}/Volume Accounting") for place in _UNSTEADY_SUMMARIES)), {}
    )
    stamp = _text(attributes.get("Time Stamp Solution Went Unstable"))
    summary = replace(
        bare,
        solution=_text(attributes.get("Solution")),
        flow_type=flow_type,
        program=program,
        file_version=_text(file.attrs.get("File Version")),
        stand_in="Stand-In Engine" in file.attrs or "not HEC-RAS" in program,
        run_time=_run_time(attributes),
        volume_error_percent=_number(accounting.get("Error Percent")),
        max_wsel_error=_number(attributes.get("Maximum WSEL Error")),
        unstable_at=None if stamp.lower() in ("", "not applicable", "n/a") else stamp,
        last_output=_last_output(file),
        simulation_end=_date(_text(information.get("Simulation End Time"))),
        messages=message_text(file),
    )
    if _other_plan(bare.path, _text(information.get("Plan Filename"))):
        return summary, Problem.WRONG_PLAN
    return summary, None if attributes else Problem.NO_SUMMARY


def _summary_attributes(file: h5py.File) -> tuple[FlowType | None, dict[str, object]]:
    """The summary that holds ``Solution``: its place differs between releases."""
    places = [(FlowType.UNSTEADY, place) for place in _UNSTEADY_SUMMARIES] + [(FlowType.STEADY, _STEADY_SUMMARY)]
    for flow_type, place in places:
        attributes = _attributes(file, place)
        if "Solution" in attributes:
            steady = _text(attributes["Solution"]).lower().startswith("steady")
            return FlowType.STEADY if steady else flow_type, attributes
    present = next((kind for kind, place in places if place.rpartition("/")[0] != "Results" and place in file), None)
    return present, {}


def message_text(file: h5py.File) -> str:
    """The compute messages in an open results HDF, with LF line ends; empty if it has none."""
    if _MESSAGES not in file:
        return ""
    value = file[_MESSAGES][()]
    first = value if isinstance(value, (bytes, str)) else next(iter(value.ravel().tolist()), b"")
    return _text(first, strip=False).replace("\r\n", "\n")


def _last_output(file: h5py.File) -> datetime | None:
    if _STAMPS not in file or not len(file[_STAMPS]):
        return None
    return _date(_text(file[_STAMPS][-1]))


def _other_plan(path: Path, written: str) -> bool:
    """True when the HDF says that it is of another plan than its name says."""
    named = re.search(r"\.p(\d\d)\.(?:tmp\.)?hdf$", path.name, re.IGNORECASE)
    inside = re.search(r"\.p(\d\d)$", written, re.IGNORECASE)
    return bool(named and inside and named[1] != inside[1])


def _run_time(attributes: dict[str, object]) -> timedelta | None:
    """``Computation Time Total`` (``[1 days ]01:02:03``), else the length of ``Run Time Window``."""
    match = re.fullmatch(
        r"(?:(\d+)\s*d\w*[ ,]*)?(\d+):(\d+):(\d+(?:\.\d+)?)", _text(attributes.get("Computation Time Total"))
    )
    if match:
        days, hours, minutes = (int(match[n] or 0) for n in (1, 2, 3))
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=float(match[4]))
    start, _, end = _text(attributes.get("Run Time Window")).partition(" to ")
    begun, ended = _date(start), _date(end)
    return ended - begun if begun and ended else None


def _attributes(file: h5py.File, place: str) -> dict[str, object]:
    return dict(file[place].attrs) if place in file else {}


def _text(value: object, *, strip: bool = True) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    return text.strip("\0 \t\r\n") if strip else text.rstrip("\0")


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever the attribute is
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> datetime | None:
    try:
        return parse_date(text)
    except ValueError:
        return None
