"""The whole chain of ``Ras.exe -c``: prepare, solve, messages, rename."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import closing
from datetime import datetime

from ras_standin import LABEL
from ras_standin.damage import damage
from ras_standin.errors import RefusedError, UsageError
from ras_standin.hdf_common import Process, open_hdf, write_messages
from ras_standin.log import RunLog
from ras_standin.prepare import prepare
from ras_standin.project import RunInputs
from ras_standin.run_steady import run_steady
from ras_standin.run_unsteady import Options, Outcome, run_unsteady

REFUSED = 3


def compute(inputs: RunInputs, options: Options) -> int:
    """Compute one plan from its text files to ``.pNN.hdf``.

    Returns:
        Exit code: 0 (as HEC-RAS, also for an unstable or failed run), 3 for a refused model.

    Raises:
        UsageError: an input file is missing or broken.
    """
    with closing(RunLog(inputs.file(f"{inputs.plan.number}.computeMsgs.txt"))) as log:
        try:
            code, processes = _solve(inputs, options, log)
        except UsageError as error:
            log.message(f"ERROR: {error}")
            raise
        with open_hdf(inputs.temporary_results, "r+") as file:
            write_messages(file, log.text(), processes)
    damage(inputs.temporary_results, options.fault)
    _publish(inputs, options.fault.name)
    return code


def _solve(inputs: RunInputs, options: Options, log: RunLog) -> tuple[int, list[Process]]:
    """Prepare and run the solver; returns the exit code and what ran."""
    begun, clock = datetime.now(), time.perf_counter()
    log.message(f"Plan: '{inputs.plan.title}' ({inputs.name}.{inputs.plan.number})")
    log.message(f"Simulation started at: {begun.strftime('%d%b%Y %I:%M:%S %p')}\n*** {LABEL} ***\n")
    log.message("Writing Geometry...")
    prepare(inputs, begun)
    log.message("Completed Writing Geometry\nWriting Event Conditions ...\nCompleted Writing Event Condition Data\n")
    prepared, code, outcome = time.perf_counter() - clock, 0, Outcome(0.0)
    try:
        outcome = (run_steady if inputs.plan.steady else run_unsteady)(inputs, log, options)
        if options.fault.name != "failed-to-run":
            log.message(_task_table(inputs, prepared, outcome, time.perf_counter() - clock))
    except RefusedError as error:
        log.message(f"ERROR: refused by the stand-in engine: {error}")
        code = REFUSED
    program = sys.argv[0]
    return code, [
        Process("stand-in engine", program),
        Process("Completing Geometry, Flow and Plan", program, "prepare", prepared),
        Process(_solver(inputs), program, inputs.temporary_results.name, outcome.duration),
    ]


def _solver(inputs: RunInputs) -> str:
    return "Steady Flow Computations" if inputs.plan.steady else "Unsteady Flow Computations"


def _task_table(inputs: RunInputs, prepared: float, outcome: Outcome, total: float) -> str:
    """The table ``Computations Summary`` that ends the compute messages."""
    rows = {
        "Computation Task": "Time(hh:mm:ss)",
        "Completing Geometry, Flow and Plan": _whole_seconds(prepared),
        _solver(inputs): _whole_seconds(outcome.duration),
        "Complete Process": _whole_seconds(total),
    }
    table = "\n".join(f"{task}\t{duration}" for task, duration in rows.items())
    text = f"Computations Summary\n\n{table}\n"
    if outcome.simulated:
        speeds = {_solver(inputs): max(outcome.duration, 1e-3), "Complete Process": total}
        text += "\nComputation Speed\tSimulation/Runtime\n"
        text += "".join(f"{task}\t{outcome.simulated / duration:.0f}x\n" for task, duration in speeds.items())
    return text


def _whole_seconds(duration: float) -> str:
    return "<1" if duration < 1 else f"{round(duration):8d}"


def _publish(inputs: RunInputs, fault: str) -> None:
    """Rename the temporary file to the results file."""
    temporary, final = inputs.temporary_results, inputs.results
    if fault == "rename-fails":
        errors = inputs.file(f"{inputs.plan.number}.data_errors.txt")
        text = f"Unable to delete temporary results file: {temporary}\r\nFile not found\r\n"
        errors.write_text(text, encoding="latin-1", errors="replace", newline="")
    elif fault == "tmp-left":
        shutil.copyfile(temporary, final)
    else:
        temporary.replace(final)
