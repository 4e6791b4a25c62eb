"""The stand-in engine: NOT HEC-RAS. Runs only where it is asked for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.engines.base import Commands, Stage, System
from ras_runner.engines.common import hdf_solver_steps, read_outcome, staged_files
from ras_runner.errors import InputError
from ras_runner.hecras.inputs import plan_inputs
from ras_runner.hecras.messages import progress_fraction
from ras_runner.hecras.plan import FlowType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ras_runner.engines.base import EngineRun, RunSettings, StagedFile
    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.hecras.results import ResultSummary

LABEL = "STAND-IN ENGINE - NOT HEC-RAS - NOT FOR ENGINEERING USE"
_COMMANDS = {Stage.WHOLE: "compute", Stage.PREPARE: "prepare"}


@dataclass(frozen=True, slots=True)
class StandinEngine:
    """Real hydraulics on one reach, for machines without HEC-RAS.

    Args:
        system: operating system family of the worker.
        command: how the worker starts it.
    """

    system: System
    command: tuple[str, ...] = (sys.executable, "-m", "ras_standin")

    @property
    def name(self) -> str:
        """Name and version; the version is the one installed here."""
        import ras_standin

        return f"stand-in {ras_standin.__version__}"

    def check(self) -> None:
        """It is a part of this installation: nothing can be missing."""

    @property
    def prepares(self) -> str:
        """For itself, of the same version."""
        return self.name

    @property
    def solves(self) -> str:
        """What it has prepared itself; on Windows it computes whole plans."""
        return self.name if self.system is System.POSIX else ""

    def accepts(self, maker: str) -> bool:
        """Only files that it made itself."""
        import ras_standin

        return maker.startswith(f"{ras_standin.ENGINE} {ras_standin.__version__} ")

    def check_plan(self, plan: Plan, stage: Stage = Stage.WHOLE) -> None:
        """Raise InputError for plans it cannot even try."""
        del stage
        if plan.flow_type is FlowType.QUASI_UNSTEADY:
            raise InputError(
                f"plan {plan.number} is quasi-unsteady (sediment), which the stand-in engine does not model",
                step="check plan",
                action="run it with HEC-RAS, or leave it out with --plans",
            )

    def inputs(self, plan: Plan, stage: Stage = Stage.WHOLE) -> PlanInputs:
        """The closure of files that the plan needs."""
        del stage
        return plan_inputs(plan)

    def prepare(self, inputs: PlanInputs, settings: RunSettings, staged_name: str, scratch: Path) -> list[StagedFile]:
        """The files of the workspace."""
        del scratch  # it edits text only
        return staged_files(inputs, settings, staged_name)

    def commands(self, plan: Plan, settings: RunSettings, staged_name: str) -> Commands:
        """One command, as ``Ras.exe -c``; for the second stage those of HEC's Linux archive."""
        steps: tuple[tuple[str, ...], ...]
        if settings.stage is Stage.SOLVE:
            steps = hdf_solver_steps(lambda name: (*self.command, name), plan, staged_name)
        else:
            steps = ((*self.command, _COMMANDS[settings.stage], f"{staged_name}.prj", f"{staged_name}.p{plan.number}"),)
        threads = str(settings.cores)
        # faults and pace are asked for on the controller, wherever the plan runs
        asked = {name: value for name, value in os.environ.items() if name.startswith("RAS_STANDIN_")}
        return Commands(steps, {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, **asked})

    def progress(self, tails: Sequence[str], plan: Plan) -> float | None:
        """Fraction of the simulated time that is done."""
        return latest_progress(tails, plan)

    def solver_started(self, tails: Sequence[str]) -> bool:
        """Never: its command of the first stage ends by itself."""
        del tails
        return False

    def outcome(self, folder: Path, plan: Plan, run: EngineRun) -> ResultSummary:
        """What became of the run."""
        return read_outcome(folder, plan, run)


def latest_progress(tails: Sequence[str], plan: Plan) -> float | None:
    """The largest fraction that any of the progress files tells; None when none tells one."""
    found = [f for tail in tails if (f := progress_fraction(tail, plan.start, plan.end)) is not None]
    return max(found, default=None)
