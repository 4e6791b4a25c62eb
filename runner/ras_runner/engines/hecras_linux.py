"""Linux HEC-RAS: the solver programs of HEC's Linux archive (5.0.7 to 7.x). They need what Windows prepared."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.engines.base import Commands, Stage, StagedFile, System
from ras_runner.engines.common import (
    hdf_solver_steps,
    hecras_release,
    read_outcome,
    release,
    staged_files,
    staged_place,
)
from ras_runner.engines.standin import latest_progress
from ras_runner.errors import InputError, OperatorError
from ras_runner.hecras.inputs import Access, plan_inputs
from ras_runner.hecras.plan import FlowType
from ras_runner.hecras.prepared import prepared_extensions
from ras_runner.hecras.text import read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ras_runner.engines.base import EngineRun, RunSettings
    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.hecras.results import ResultSummary

#: First version whose solvers read the .tmp.hdf; older ones read the .cNN and .bNN text files.
_HDF_COMMAND_LINE = (6, 3, 1)
#: Root attribute ``File Version``: ``HEC-RAS 6.5 February 2024``.
_MAKER = re.compile(r"HEC-RAS\s+(\d+(?:\.\d+)*)", re.IGNORECASE)
#: Text inputs that the Linux solvers want with LF line ends.
_LF_KINDS = re.compile(r"\.[bgxr]\d\d$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HecRasLinuxEngine:
    """HEC-RAS's solver programs on Linux.

    Args:
        folder: where the archive was unpacked: holds ``bin`` (or the programs themselves) and ``libs``.
        version: ``6.6``; taken from the folder's name when left out.
    """

    folder: PurePosixPath
    version: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", self.version or self.folder.name)

    @property
    def system(self) -> System:
        """Linux only."""
        return System.POSIX

    @property
    def name(self) -> str:
        """``HEC-RAS 6.6 Linux``."""
        return f"HEC-RAS {self.version} Linux"

    def check(self) -> None:
        """Raise OperatorError when the solver programs are not in the folder on this machine."""
        wanted = [self._program(p) for p in ("RasUnsteady", "RasGeomPreprocess", "RasSteady")]
        missing = [str(p) for p in wanted[:2] if not Path(p).is_file()]
        if missing:
            raise OperatorError(
                f"the HEC-RAS Linux engine is not installed: looked for {', '.join(missing)}",
                step="check engine",
                action="unpack HEC's Linux archive and give its folder (hecras_folder / ras_hecras_folder), "
                "or ask for the stand-in engine by name (--engine standin: not for engineering use)",
            )

    @property
    def prepares(self) -> str:
        """Nothing: only Windows can."""
        return ""

    @property
    def solves(self) -> str:
        """What HEC-RAS for Windows of the same release has prepared."""
        return hecras_release(self.version)

    def accepts(self, maker: str) -> bool:
        """Only files of HEC-RAS, and of the same release."""
        match = _MAKER.match(maker)
        return match is not None and release(match[1]) == release(self.version)

    def check_plan(self, plan: Plan, stage: Stage = Stage.WHOLE) -> None:
        """Raise InputError when Windows has not prepared what the Linux solvers need, and nobody else is to do so."""
        if stage is Stage.SOLVE:
            return
        missing = [name for name in prepared_extensions(plan) if plan.project.file(name) is None]
        if missing:
            names = ", ".join(f"{plan.project.name}.{m}" for m in missing)
            raise InputError(
                f"plan {plan.number} lacks {names}, which the Linux solvers cannot make from text files",
                step="check plan",
                action="prepare the plan on Windows (start it in HEC-RAS until the solver runs), or "
                "set preprocess_on_host for this worker and add a Windows worker of the same release",
            )

    def inputs(self, plan: Plan, stage: Stage = Stage.WHOLE) -> PlanInputs:
        """The closure of files that the plan needs, and the prepared files of the project."""
        inputs = plan_inputs(plan)
        if stage is Stage.SOLVE:
            return inputs
        known = {item.path for item in inputs.files}
        extra = [
            replace(
                inputs.files[0],
                path=path,
                place=PurePosixPath(path.name),
                access=Access.PRIVATE,
                kind="prepared",
                referred_by=plan.path.name,
            )
            for name in prepared_extensions(plan)
            if (path := plan.project.file(name)) is not None and path not in known
        ]
        return replace(inputs, files=(*inputs.files, *extra))

    def prepare(self, inputs: PlanInputs, settings: RunSettings, staged_name: str, scratch: Path) -> list[StagedFile]:
        """The files of the workspace: LF line ends in the solvers' text files, cores in the .tmp.hdf."""
        plan = inputs.plan
        files = []
        for item in staged_files(inputs, settings, staged_name):
            name = item.place.name
            if isinstance(item.source, Path) and _LF_KINDS.search(name):
                text = read_text(item.source).replace("\r\n", "\n")
                files.append(replace(item, source=text.encode("latin-1")))
            elif item.place == staged_place(
                PurePosixPath(f"{plan.project.name}.p{plan.number}.tmp.hdf"), plan.project.name, staged_name
            ) and isinstance(item.source, Path):
                files.append(replace(item, source=_with_cores(item.source, settings.cores, scratch)))
            else:
                files.append(item)
        return files

    def commands(self, plan: Plan, settings: RunSettings, staged_name: str) -> Commands:
        """The solver programs in order, and the rename of the finished .tmp.hdf."""
        steps = hdf_solver_steps(lambda name: (self._program(name),), plan, staged_name)
        if plan.flow_type is not FlowType.STEADY and release(self.version) < _HDF_COMMAND_LINE:
            cards = f"{staged_name}.c{plan.geometry[1:]}"
            steps = (
                (self._program("RasGeomPreprocess"), f"{staged_name}.x{plan.geometry[1:]}"),
                ("cp", f"{cards}.tmp", cards),
                (self._program("RasUnsteady"), cards, f"b{plan.number}"),
                steps[-1],
            )
        return Commands(steps, self._environment(settings.cores), unlimited_stack=True)

    def progress(self, tails: Sequence[str], plan: Plan) -> float | None:
        """Fraction of the simulated time that is done."""
        return latest_progress(tails, plan)

    def solver_started(self, tails: Sequence[str]) -> bool:
        """Never: it does no first stage."""
        del tails
        return False

    def outcome(self, folder: Path, plan: Plan, run: EngineRun) -> ResultSummary:
        """What became of the run. The Linux solvers write their messages to stdout, not into the HDF."""
        return read_outcome(folder, plan, run)

    def _program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def _environment(self, cores: int) -> dict[str, str]:
        libs = self.folder / "libs"
        return {
            "LD_LIBRARY_PATH": ":".join(str(p) for p in (libs, libs / "mkl", libs / "rhel_8")),
            "OMP_NUM_THREADS": str(cores),
            "MKL_NUM_THREADS": str(cores),
            # a private stack of this size a thread, or large 2D models end in a segmentation fault
            "OMP_STACKSIZE": "2G",
            "KMP_STACKSIZE": "2G",
        }


def _with_cores(tmp_hdf: Path, cores: int, scratch: Path) -> Path:
    """A copy of a .tmp.hdf whose plan parameters ask for ``cores`` solver threads (attributes of Plan Parameters)."""
    import shutil

    import h5py
    import numpy as np

    copy = scratch / tmp_hdf.name
    try:
        shutil.copyfile(tmp_hdf, copy)
        with h5py.File(copy, "r+") as hdf:
            parameters = hdf["Plan Data/Plan Parameters"].attrs
            for name in ("1D Cores", "2D Cores (per mesh)"):
                if name in parameters:
                    parameters[name] = np.full_like(parameters[name], cores)
    except (OSError, KeyError) as error:
        raise InputError(
            f"{tmp_hdf.name} cannot be read as a prepared plan ({error})",
            step="prepare",
            action="prepare the plan on Windows again",
        ) from error
    return copy
