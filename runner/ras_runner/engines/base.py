"""What an engine is: the program that computes a plan in a folder.

Engines are pure: they say which files are needed, edit the staged copies, give the command lines and read what the
program left behind. They start nothing and know no machine; transports do that.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from ras_runner.hecras.inputs import Access

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.hecras.results import ResultSummary


class System(StrEnum):
    """The operating system family of a worker: decides the script's language and the remote paths."""

    POSIX = "posix"
    WINDOWS = "windows"


class Stage(StrEnum):
    """What an attempt does of a plan. Solvers on Linux need files that only Windows can prepare."""

    #: All of it: from the project's files to the result.
    WHOLE = "whole"
    #: The first stage: from the project's files to those that a solver starts from.
    PREPARE = "prepare"
    #: The second stage: from the prepared files to the result.
    SOLVE = "solve"


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file of a workspace.

    Attributes:
        place: where it lies, relative to the staged project folder; may begin with ``..``.
        source: the user's file, or the content that the engine made of it.
        access: whether the engine may write to it (a private copy) or not (a link into the worker's store).
    """

    place: PurePosixPath
    source: Path | bytes
    access: Access = Access.PRIVATE


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a plan is to be run.

    Attributes:
        cores: solver threads for this plan.
        clear_geompre: leave the geometry preprocessor's files out, so that the engine makes them anew.
        priority: process priority, ``low``, ``below normal`` or ``normal``.
        stage: what is done of the plan.
    """

    cores: int = 1
    clear_geompre: bool = False
    priority: str = "low"
    stage: Stage = Stage.WHOLE


@dataclass(frozen=True, slots=True)
class Commands:
    """Command lines that compute a plan, run one after the other in the staged project folder.

    Attributes:
        steps: argument lists; the first that exits non-zero ends the run.
        environment: variables set for all steps.
        whole_tree: the run goes on until every process it started has ended, not only the last step
            (Ras.exe may end before its solver).
        unlimited_stack: raise the stack limit (the Linux solvers need it for large 2D models).
        shows_windows: it may wait in a window for a person who is not there (a modal dialog).
    """

    steps: tuple[tuple[str, ...], ...]
    environment: dict[str, str] = field(default_factory=dict)
    unlimited_stack: bool = False
    whole_tree: bool = False
    shows_windows: bool = False


class Engine(Protocol):
    """The contract of an engine. Implementations: ``hecras-windows``, ``hecras-linux``, ``standin``."""

    @property
    def name(self) -> str:
        """Name in receipts and reports, with its version: ``HEC-RAS 6.6`` or ``stand-in 0.1.0``."""

    @property
    def system(self) -> System:
        """Operating system family that it runs on."""

    def check(self) -> None:
        """Raise OperatorError, saying what was looked for and where, when it is not installed on this machine."""

    @property
    def prepares(self) -> str:
        """What it can do the first stage for, ``HEC-RAS 6.6``: for engines whose ``solves`` says the same; or empty."""

    @property
    def solves(self) -> str:
        """Whose prepared files it can start from, ``HEC-RAS 6.6``; empty when it only computes whole plans."""

    def accepts(self, maker: str) -> bool:
        """Whether it can start from files that a program made, by their root attribute ``File Version``."""

    def check_plan(self, plan: Plan, stage: Stage = Stage.WHOLE) -> None:
        """Raise InputError when this engine cannot do this of this plan at all."""

    def inputs(self, plan: Plan, stage: Stage = Stage.WHOLE) -> PlanInputs:
        """The closure of files that the plan needs on this engine; for ``SOLVE`` without what the first stage makes."""

    def prepare(self, inputs: PlanInputs, settings: RunSettings, staged_name: str, scratch: Path) -> list[StagedFile]:
        """The files of the workspace, with the edits (cores, Write Detailed) made to the staged copies only."""

    def commands(self, plan: Plan, settings: RunSettings, staged_name: str) -> Commands:
        """The command lines, for a project staged under ``staged_name``."""

    def progress(self, tails: Sequence[str], plan: Plan) -> float | None:
        """Fraction of the simulated time that is done, 0 to 1, from the ends of the progress files."""

    def solver_started(self, tails: Sequence[str]) -> bool:
        """Whether, by the ends of the progress files, a first stage that does not end by itself has gone over into
        the second: once the prepared files have content, it can be stopped."""

    def outcome(self, folder: Path, plan: Plan, run: EngineRun) -> ResultSummary:
        """What became of the run, from the files it left in ``folder`` (the staged project folder)."""


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What is known of a run that has ended, besides its files.

    Attributes:
        staged_name: name the project was staged under.
        exit_code: of the first step that failed, else 0; None when the script never wrote it.
        not_before: unix time of the launch; an older result is not this run's.
        stdout, stderr: the ends of the streams.
    """

    staged_name: str
    exit_code: int | None
    not_before: float
    stdout: str = ""
    stderr: str = ""


def progress_files(plan: Plan, staged_name: str) -> tuple[str, ...]:
    """Names, in the staged project folder, of the files that tell how far a run is."""
    return (f"{staged_name}.p{plan.number}.computeMsgs.txt", f"{staged_name}.bco{plan.number}")


def result_name(plan: Plan, staged_name: str) -> str:
    """Name of the results HDF of a plan."""
    return f"{staged_name}.p{plan.number}.hdf"


def side_results(plan: Plan, staged_name: str) -> tuple[str, ...]:
    """Glob patterns of the other files a run leaves for the user: messages, logs, steady output, restart files."""
    name = glob.escape(staged_name)
    base = f"{name}.p{plan.number}"
    return (
        f"{base}.computeMsgs.txt",
        f"{base}.comp_msgs.txt",
        f"{name}.bco{plan.number}",
        f"{name}.[oO]{plan.number}",
        f"{base}.*.rst",
    )
