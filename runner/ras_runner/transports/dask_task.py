"""What a Dask worker runs of an attempt. Sent by name, so that both sides need ras_runner, and not one Python.

A guard, a process of its own, starts the run script and watches it: of a Dask worker that is killed nothing runs on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from ras_runner import oscalls
from ras_runner._version import __version__

#: Files in an attempt's folder: who runs it; that it is to stop; that nothing of it runs any more, and why.
RUN_BY, STOP, OVER = "dask.json", "stop", "over.json"
#: Bounds of the time between two looks of the guard, seconds: short for a run that ends at once.
_LOOK_FIRST, _LOOK_LAST = 0.01, 0.1


def facts(folder: str, probe: str, programs: list[str]) -> dict[str, object]:
    """What a Dask worker is, and what it sees.

    Args:
        folder: the worker folder.
        probe: name of a file that the controller has just put there.
        programs: of the engine.

    Returns:
        ``ras_runner`` (version), ``windows``, ``shared`` (it sees the probe), ``missing`` (programs that it has not).
    """
    import shutil

    missing = [name for name in programs if not (Path(name).exists() or shutil.which(name))]
    shared = (Path(folder) / probe).is_file()
    return {"ras_runner": __version__, "windows": os.name == "nt", "shared": shared, "missing": missing}


def run_attempt(attempt: str, folder: str, script: str, worker: str = "") -> None:
    """Run an attempt to its end. A second run of it (its first worker was lost) finds the claim, and only says so.

    Args:
        attempt: its id.
        folder: its folder, as this machine sees it.
        script: name of the run script in it.
        worker: address of this Dask worker; asked for when left out.

    Raises:
        FileNotFoundError: the folder is not here.
    """
    here = Path(folder)
    if not worker:
        from distributed import get_worker

        worker = get_worker().address
    if (here / "claim").exists():
        if not (here / "exit.json").exists():
            _write(here / OVER, {"reason": f"the Dask worker that ran it has gone ({_run_by(here)})"})
        return
    _write(here / RUN_BY, {"worker": worker})
    argv = [sys.executable, "-m", "ras_runner.transports.dask_task", attempt, folder, script]
    pipe = subprocess.PIPE  # which the guard sees the end of when this process ends, however it ends
    try:
        with (
            (here / "guard.log").open("ab") as log,
            subprocess.Popen(argv, stdin=pipe, stdout=log, stderr=log) as watching,
        ):
            watching.wait()  # in one of the worker's threads: its heartbeat goes on
        problem = f"its guard was lost, with exit code {watching.returncode} (see {here / 'guard.log'})"
    except OSError as error:
        problem = f"its guard could not be started: {error}"
    if not (here / OVER).exists():  # nobody watches it any more: without a last word it would be waited for for ever
        oscalls.stop_attempt(attempt)
        _write(here / OVER, {"reason": problem})


def guard(attempt: str, folder: str, script: str) -> None:
    """Start the run script, and end its whole tree when it is to stop, or when stdin ends: the Dask worker has gone."""
    here = Path(folder)
    orphaned = threading.Event()
    threading.Thread(target=_until_end, args=(orphaned,), daemon=True).start()
    child = oscalls.start_script(attempt, here, script)
    identity = oscalls.native_id(child.pid)
    reason, pause = "", _LOOK_FIRST
    while child.poll() is None or oscalls.attempt_processes(attempt, identity):
        if orphaned.is_set():
            reason = f"the Dask worker that ran it has ended ({_run_by(here)})"
        elif (here / STOP).exists():
            reason = "stopped"
        if reason:
            oscalls.stop_attempt(attempt, identity)
        time.sleep(pause)
        pause = min(1.3 * pause, _LOOK_LAST)
    _write(here / OVER, {"reason": reason})


def _until_end(orphaned: threading.Event) -> None:
    while os.read(0, 1):  # not sys.stdin: Python aborts at its end while a thread reads from that
        continue
    orphaned.set()


def _run_by(folder: Path) -> str:
    try:
        return str(json.loads((folder / RUN_BY).read_bytes())["worker"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"


def _write(path: Path, content: dict[str, str]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    guard(*sys.argv[1:])
