"""What all engines share: which staged copies are edited, and how a run that left no result is explained."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.engines.base import StagedFile, System, result_name
from ras_runner.hecras.plan import FlowType, edited_plan
from ras_runner.hecras.results import Problem, read_result
from ras_runner.hecras.text import read_text
from ras_runner.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ras_runner.engines.base import EngineRun, RunSettings
    from ras_runner.hecras.inputs import InputFile, PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.hecras.results import ResultSummary

_LAST_LINES = 12


_GEOMETRY_PREPROCESSOR = re.compile(r"\.c\d\d$", re.IGNORECASE)
_CMD_SAFE = re.compile(r"[A-Za-z0-9 _.()-]{1,64}")


def staged_name(project_name: str, system: System) -> str:
    """The name a project is staged under: its own, or ``ras`` where cmd.exe cannot be trusted with it."""
    if system is System.WINDOWS and not _CMD_SAFE.fullmatch(project_name):
        return "ras"
    return project_name


def staged_place(place: PurePosixPath, project_name: str, staged_name: str) -> PurePosixPath:
    """Where a file lies when the project is staged under another name: ``Río.p01`` becomes ``ras.p01``."""
    stem, dot, rest = place.name.partition(project_name)
    if staged_name != project_name and not stem and dot and rest.startswith("."):
        return place.with_name(staged_name + rest)
    return place


def staged_files(inputs: PlanInputs, settings: RunSettings, staged_name: str) -> list[StagedFile]:
    """The workspace of a plan: every input, the plan file with its cores and ``Write Detailed`` set.

    With ``settings.clear_geompre`` the geometry preprocessor's output is left out and asked for anew.
    """
    plan = inputs.plan
    files = []
    for item in inputs.files:
        if item.place is None or (settings.clear_geompre and _GEOMETRY_PREPROCESSOR.search(item.place.name)):
            continue
        source: Path | bytes = item.path
        if item.kind == "plan":
            text = edited_plan(
                read_text(item.path),
                cores=settings.cores,
                write_detailed=True,
                run_htab=True if settings.clear_geompre else None,
            )
            source = text.encode("latin-1")
        files.append(StagedFile(staged_place(item.place, plan.project.name, staged_name), source, item.access))
    return files


def release(version: str) -> tuple[int, ...]:
    """``6.6``, ``6.3.1``, ``6.6.0`` and ``660`` (the archive's spelling) as numbers that compare; (6, 6) for 6.6.0."""
    numbers = list(version) if re.fullmatch(r"\d{3}", version) else re.findall(r"\d+", version)
    while numbers and not int(numbers[-1]):
        numbers.pop()
    return tuple(map(int, numbers))


def hecras_release(version: str) -> str:
    """``HEC-RAS 6.6``, however the version is spelled; empty when it says no number."""
    return f"HEC-RAS {'.'.join(map(str, release(version)))}" if release(version) else ""


def hdf_solver_steps(
    program: Callable[[str], tuple[str, ...]], plan: Plan, staged_name: str
) -> tuple[tuple[str, ...], ...]:
    """The solver programs on a prepared ``.tmp.hdf`` in order, and its rename to the result.

    Args:
        program: the words that start ``RasUnsteady`` and its like.
        plan: the plan.
        staged_name: name it is staged under.
    """
    tmp, final = f"{staged_name}.p{plan.number}.tmp.hdf", result_name(plan, staged_name)
    if plan.flow_type is FlowType.STEADY:
        steps = [(*program("RasSteady"), f"{staged_name}.r{plan.number}")]
    else:
        steps = [(*program(name), tmp, f"x{plan.geometry[1:]}") for name in ("RasGeomPreprocess", "RasUnsteady")]
    return (*steps, ("mv", tmp, final))


def outside_files(inputs: PlanInputs) -> list[InputFile]:
    """Inputs that are named by an absolute path and so are read where they lie."""
    return [item for item in inputs.files if item.place is None]


def read_outcome(folder: Path, plan: Plan, run: EngineRun) -> ResultSummary:
    """The result of a run, and where there is none, the reason that its exit code and streams give."""
    summary = read_result(
        folder / result_name(plan, run.staged_name), not_before=run.not_before, extra_messages=run.stdout
    )
    temporary = folder / f"{run.staged_name}.p{plan.number}.tmp.hdf"
    if summary.outcome.success and temporary.exists():
        return replace(
            summary,
            outcome=Outcome.INCOMPLETE,
            reason=f"the engine left its temporary results {temporary.name}: it ended before it was done",
        )
    if run.exit_code in (0, None) and summary.problem is None:
        return summary
    if run.exit_code not in (0, None) and summary.outcome.success:
        return replace(
            summary,
            outcome=Outcome.ENGINE_ERROR,
            reason=f"the engine ended with exit code {run.exit_code} although it left a complete result",
        )
    detail = exit_reason(run)
    if summary.problem is Problem.MISSING or run.exit_code:
        outcome = Outcome.ENGINE_ERROR if run.exit_code or summary.problem is Problem.MISSING else summary.outcome
        reason = f"{detail}; {summary.reason}" if detail and detail not in summary.reason else summary.reason
        return replace(
            summary, outcome=outcome if summary.outcome is not Outcome.UNSTABLE else summary.outcome, reason=reason
        )
    return summary


def exit_reason(run: EngineRun) -> str:
    """One sentence on how the engine ended, from its exit code and the last telling line of its streams."""
    said = telling_line(run.stderr) or telling_line(run.stdout)
    ended = "" if not run.exit_code else f"the engine ended with {exit_code_text(run.exit_code)}"
    return ": ".join(part for part in (ended, said) if part)


def exit_code_text(code: int) -> str:
    """An exit code in words: 139 is a segmentation fault on POSIX, 3221225477 an access violation on Windows."""
    known = {
        134: "abort",
        137: "SIGKILL: killed, perhaps out of memory",
        139: "SIGSEGV: segmentation fault",
        143: "SIGTERM: stopped",
        126: "not executable",
        127: "command not found",
        157: "forrtl: access violation",
        3221225477: "access violation",
        -1073741819: "access violation",
    }
    return f"exit code {code} ({known[code]})" if code in known else f"exit code {code}"


_TELLING = re.compile(r"error|severe|refused|killed|abort|exception|cannot|not found|unstable", re.IGNORECASE)


def telling_line(text: str) -> str:
    """The last line of a stream that says what went wrong; empty when none does."""
    lines = [line.strip() for line in text.splitlines()[-_LAST_LINES * 5 :] if line.strip()]
    return next((line for line in reversed(lines) if _TELLING.search(line)), "")
