"""Command line of the stand-in engine; it answers to the names of the HEC-RAS programs, too."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ras_standin import LABEL, __version__
from ras_standin.errors import RefusedError, UsageError

# numpy and h5py are imported by the commands that need them: --help and --version answer at once.
if TYPE_CHECKING:
    from ras_standin.run_unsteady import Options

USAGE, REFUSED = 2, 3

_HELP = f"""ras-standin {__version__} - {LABEL}

  ras-standin compute PROJECT.prj PROJECT.p04          the whole chain, like  Ras.exe -c PROJECT.prj PROJECT.p04
  ras-standin prepare PROJECT.prj PROJECT.p04          what Windows leaves for the Linux programs
  ras-standin RasGeomPreprocess PROJECT.p04.tmp.hdf x02
  ras-standin RasUnsteady PROJECT.p04.tmp.hdf x02
  ras-standin RasSteady PROJECT.r04

A copy or link named Ras, RasUnsteady, RasSteady or RasGeomPreprocess acts as that program.

options, at any place:
  --strict               refuse what would be a warning (bridges, lateral structures, 2D areas ...)
  --pace SECONDS         sleep at every output interval (or set RAS_STANDIN_PACE)
  --fault NAME[:ARG]     fail on purpose (or set RAS_STANDIN_FAULT); p03=crash:0.3,p05=hang for single plans
  --version, --help

exit codes: 0 as HEC-RAS (an unstable run, too), 2 bad input, 3 refused, others as the fault says
"""


@dataclass(frozen=True)
class _Command:
    """A parsed command line; ``fault`` and ``pace`` are still text."""

    name: str
    arguments: tuple[str, ...]
    strict: bool
    fault: str
    pace: str

    def argument(self, index: int, what: str) -> str:
        """Return an argument, or complain that ``what`` is missing."""
        if index >= len(self.arguments):
            raise UsageError(f"{self.name}: {what} is missing (see --help)")
        return self.arguments[index]

    def options(self, plan: str) -> Options:
        """Options of the run of ``plan``; a fault that strikes before the start does so here."""
        from ras_standin.faults import select
        from ras_standin.run_unsteady import Options

        try:
            pace = float(self.pace or 0)
        except ValueError:
            pace = -1.0
        if not 0 <= pace < float("inf"):
            raise UsageError(f"--pace {self.pace!r} is not a number of seconds")
        fault = select(self.fault, plan)
        fault.before_start(_say)
        return Options(self.strict, fault, pace)


def main(argv: list[str] | None = None) -> int:
    """Run the stand-in engine.

    Args:
        argv: program name and arguments; those of the process by default.

    Returns:
        Exit code: 0, 2 (bad input) or 3 (refused). Some faults end the process themselves.
    """
    program, *arguments = sys.argv if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if "--help" in arguments or "-h" in arguments:
        _say(_HELP)
        return 0
    if "--version" in arguments:
        _say(f"ras-standin {__version__} - {LABEL}")
        return 0
    try:
        command = _parse(program, arguments)
        return _COMMANDS[command.name](command)
    except RefusedError as error:
        _say(f"ERROR: refused by the stand-in engine: {error}")
        return REFUSED
    except (UsageError, OSError) as error:
        sys.stderr.write(f"ras-standin: ERROR: {' '.join(str(error).split())}\n")
        return USAGE


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parse(program: str, arguments: list[str]) -> _Command:
    rest: list[str] = []
    given = {"--fault": os.environ.get("RAS_STANDIN_FAULT", ""), "--pace": os.environ.get("RAS_STANDIN_PACE", "")}
    strict = chained = False
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option in given:
            given[option] = value if equals else next(words, "")
        elif word == "--strict":
            strict = True
        elif word == "-c":
            chained = True
        elif word.startswith("--"):
            raise UsageError(f"unknown option {word} (see --help)")
        else:
            rest.append(word)
    name = _program_name(program)
    if name == "ras" and chained:
        name = "compute"
    if name not in _COMMANDS:
        name = rest.pop(0).lower() if rest else ""
    if name not in _COMMANDS:
        raise UsageError(f"unknown command {name!r}; one of: {', '.join(_COMMANDS)} (see --help)")
    return _Command(name, tuple(rest), strict, given["--fault"], given["--pace"])


def _program_name(program: str) -> str:
    """Lower-case name of the program without folder and ``.exe``, whichever the system's separator."""
    return re.split(r"[\\/]", program)[-1].lower().removesuffix(".exe")


def _compute(command: _Command) -> int:
    from ras_standin.compute import compute
    from ras_standin.project import load_inputs

    project, plan = _project_and_plan(command)
    options = command.options(_plan_number(plan))
    return compute(load_inputs(project, plan), options)


def _prepare(command: _Command) -> int:
    from ras_standin.prepare import prepare
    from ras_standin.project import load_inputs

    project, plan = _project_and_plan(command)
    command.options(_plan_number(plan))
    inputs = load_inputs(project, plan)
    prepare(inputs, datetime.now())
    _say(str(inputs.temporary_results))
    return 0


def _project_and_plan(command: _Command) -> tuple[Path, str]:
    """The project, and the plan: an argument, or (as HEC-RAS 5 does) ``Current Plan`` of the project."""
    from ras_standin.text import read_text, settings

    project = Path(command.argument(0, "the project file"))
    if len(command.arguments) > 1:
        return project, command.arguments[1]
    current = settings(read_text(project, "project file")).get("Current Plan")
    if not current:
        raise UsageError(f"{command.name}: the plan is missing, and {project} names no 'Current Plan='")
    return project, current


def _plan_number(reference: str) -> str:
    return reference[-3:].lower()


def _geometry_preprocessor(command: _Command) -> int:
    from ras_standin.log import RunLog
    from ras_standin.prepare import geometry_of, load_prepared, require_companion

    inputs = load_prepared(Path(command.argument(0, "the .tmp.hdf file")))
    command.options(inputs.plan.number)
    require_companion(inputs.folder / f"{inputs.name}.{command.argument(1, 'the geometry (x04)')}")
    log = RunLog()
    log.message(f"Geometric Preprocessor\n*** {LABEL} ***")
    count = len(geometry_of(inputs.temporary_results).sections)
    log.message(f"     Number of cross sections:  {count:7d}\n\nFinished Processing Geometry\n")
    return 0


def _unsteady(command: _Command) -> int:
    from ras_standin.damage import damage
    from ras_standin.log import RunLog
    from ras_standin.prepare import load_prepared, require_companion
    from ras_standin.run_unsteady import run_unsteady

    inputs = load_prepared(Path(command.argument(0, "the .tmp.hdf file")))
    options = command.options(inputs.plan.number)
    for extension in (command.argument(1, "the geometry (x04)"), f"b{inputs.plan.number[1:]}"):
        require_companion(inputs.folder / f"{inputs.name}.{extension}")
    run_unsteady(inputs, RunLog(), options)
    damage(inputs.temporary_results, options.fault)
    return 0


def _steady(command: _Command) -> int:
    from ras_standin.damage import damage
    from ras_standin.log import RunLog
    from ras_standin.prepare import load_prepared, prepare, require_companion
    from ras_standin.project import load_inputs
    from ras_standin.run_steady import run_steady
    from ras_standin.text import find

    run_file = Path(command.argument(0, "the run file (PROJECT.r01)"))
    number = re.fullmatch(r"\.r(\d\d)", run_file.suffix.lower())
    if number is None:
        raise UsageError(f"{run_file} is not a steady run file (PROJECT.r01)")
    require_companion(run_file)
    plan = f"p{number[1]}"
    options = command.options(plan)
    prepared = run_file.with_suffix(f".{plan}.tmp.hdf")
    if find(prepared) is None:
        inputs = load_inputs(run_file.with_suffix(".prj"), plan)
        prepare(inputs, datetime.now())
    else:
        inputs = load_prepared(prepared)
    run_steady(inputs, RunLog(), options)
    damage(inputs.temporary_results, options.fault)
    return 0


_COMMANDS: dict[str, Callable[[_Command], int]] = {
    "compute": _compute,
    "prepare": _prepare,
    "rasgeompreprocess": _geometry_preprocessor,
    "rasunsteady": _unsteady,
    "rassteady": _steady,
}

if __name__ == "__main__":
    sys.exit(main())
