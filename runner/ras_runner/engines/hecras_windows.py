"""Windows HEC-RAS: ``Ras.exe -c``. Command lines and pitfalls of each version are in docs/hecras.md."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING, TypeVar

from ras_runner.engines.base import Commands, Stage, StagedFile, System
from ras_runner.engines.common import hecras_release, read_outcome, staged_files
from ras_runner.engines.standin import latest_progress
from ras_runner.errors import OperatorError
from ras_runner.hecras.inputs import plan_inputs
from ras_runner.hecras.plan import set_current_plan
from ras_runner.hecras.text import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ras_runner.engines.base import EngineRun, RunSettings
    from ras_runner.hecras.inputs import PlanInputs
    from ras_runner.hecras.plan import Plan
    from ras_runner.hecras.results import ResultSummary

#: Where HEC's installer puts it, newest place first.
INSTALL_FOLDERS = (
    PureWindowsPath(r"C:\Program Files (x86)\HEC\HEC-RAS"),
    PureWindowsPath(r"C:\Program Files\HEC\HEC-RAS"),
)
#: In ``.bcoNN``, with ``Write Detailed= 1``.
_SOLVER_STARTED = re.compile(r"Starting Unsteady Flow Computations", re.IGNORECASE)
Exe = TypeVar("Exe", bound=PurePath)
_VERSION = re.compile(r"^(\d+)(?:\.(\d+))?(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class HecRasWindowsEngine:
    """HEC-RAS for Windows.

    Args:
        ras_exe: Ras.exe on the worker.
        version: its version, ``6.6``; taken from the name of its folder when left out.
        system: operating system family of the worker (POSIX where Ras.exe is a native or wine launcher).
    """

    ras_exe: PurePath
    version: str = ""
    system: System = System.WINDOWS

    def __post_init__(self) -> None:
        version = self.version or self.ras_exe.parent.name
        object.__setattr__(self, "version", version)
        major = _major(version)
        if major is not None and major < 5:
            raise OperatorError(
                f"HEC-RAS {version} can be run through its COM interface only, which ras-runner does not do",
                step="check engine",
                action="install HEC-RAS 5.0 or later; projects of older versions open in it",
            )

    @property
    def name(self) -> str:
        """``HEC-RAS 6.6``."""
        return f"HEC-RAS {self.version}"

    def check(self) -> None:
        """Raise OperatorError when Ras.exe is not where it should be on this machine."""
        if not Path(self.ras_exe).is_file():
            raise OperatorError(
                f"HEC-RAS is not installed: looked for {self.ras_exe}",
                step="check engine",
                action="install HEC-RAS there, or give the path of Ras.exe (ras_exe_path), "
                "or ask for the stand-in engine by name (--engine standin: not for engineering use)",
            )

    @property
    def prepares(self) -> str:
        """For the Linux solvers of the same release."""
        return hecras_release(self.version)

    @property
    def solves(self) -> str:
        """Nothing: it computes whole plans."""
        return ""

    def accepts(self, maker: str) -> bool:
        """Never: it makes its files itself."""
        del maker
        return False

    def check_plan(self, plan: Plan, stage: Stage = Stage.WHOLE) -> None:
        """Windows HEC-RAS takes every kind of plan."""

    def inputs(self, plan: Plan, stage: Stage = Stage.WHOLE) -> PlanInputs:
        """The closure of files that the plan needs."""
        del stage
        return plan_inputs(plan)

    def prepare(self, inputs: PlanInputs, settings: RunSettings, staged_name: str, scratch: Path) -> list[StagedFile]:
        """The files of the workspace; for 5.x the staged .prj names the plan as its current one."""
        del scratch  # it edits text only
        files = staged_files(inputs, settings, staged_name)
        if not self._old_command_line:
            return files
        project = inputs.plan.project
        text = set_current_plan(read_text(project.prj), inputs.plan.number).encode("latin-1")
        return [replace(f, source=text) if f.place.name == f"{staged_name}.prj" else f for f in files]

    def commands(self, plan: Plan, settings: RunSettings, staged_name: str) -> Commands:
        """6.x and later: ``Ras.exe -c PRJ PLAN``; 5.x: ``Ras.exe PRJ -c`` with the current plan in the .prj.

        The first stage is the same command: HEC-RAS has none for it alone. It is stopped when the solver has started.
        """
        del settings  # cores are in the staged plan file
        prj, exe = f"{staged_name}.prj", str(self.ras_exe)
        step = (exe, prj, "-c") if self._old_command_line else (exe, "-c", prj, f"{staged_name}.p{plan.number}")
        return Commands((step,), whole_tree=True, shows_windows=True)

    def progress(self, tails: Sequence[str], plan: Plan) -> float | None:
        """Fraction of the simulated time that is done."""
        return latest_progress(tails, plan)

    def solver_started(self, tails: Sequence[str]) -> bool:
        """``.bcoNN`` says that the unsteady solver computes: all that it starts from is written."""
        return any(_SOLVER_STARTED.search(tail) for tail in tails)

    def outcome(self, folder: Path, plan: Plan, run: EngineRun) -> ResultSummary:
        """What became of the run. Ras.exe's exit code is 0 even when it failed: the result decides."""
        return read_outcome(folder, plan, run)

    @property
    def _old_command_line(self) -> bool:
        return _major(self.version) == 5


def _major(version: str) -> int | None:
    match = _VERSION.match(version)
    return int(match.group(1)) if match else None


def find_ras_exe(version: str = "", folders: Sequence[PurePath] = INSTALL_FOLDERS) -> Path:
    """Find Ras.exe on this machine.

    Args:
        version: the version wanted, ``6.6``; the newest installed when left out.
        folders: install folders that hold one folder a version.

    Raises:
        OperatorError: none is installed; says which folders were searched and what they hold.
    """
    installed = [exe for folder in folders for exe in sorted(Path(folder).glob("*/Ras.exe"))]
    return choose_ras_exe(installed, version, folders)


def choose_ras_exe(installed: Iterable[Exe], version: str, folders: Sequence[PurePath], host: str = "") -> Exe:
    """The Ras.exe of a version, or of the newest one.

    Args:
        installed: those that were found, each in the folder of its version.
        version: the version wanted, ``6.6``; the newest when empty.
        folders: where they were looked for, for the message.
        host: the machine they are on, for the message.

    Raises:
        OperatorError: none is installed; says which folders were searched and what they hold.
    """
    found = {exe.parent.name: exe for exe in installed}
    if version:
        if version in found:
            return found[version]
    elif found:
        return found[newest_version(found)]
    looked = ", ".join(str(folder / (version or "<version>") / "Ras.exe") for folder in folders)
    raise OperatorError(
        f"HEC-RAS {version}".rstrip()
        + f" is not installed: looked for {looked}"
        + (f"; found {', '.join(sorted(found, key=_version_key))}" if found else ""),
        step="check engine",
        host=host,
        action="install HEC-RAS, or give the path of Ras.exe, or ask for the stand-in engine by name "
        "(--engine standin: not for engineering use)",
    )


def newest_version(versions: Iterable[str]) -> str:
    """The newest of some versions; empty when there is none."""
    return max(versions, key=_version_key, default="")


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
