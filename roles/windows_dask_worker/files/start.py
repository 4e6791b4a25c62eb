"""Starts ``dask worker`` as worker.json beside this file says, on the desktop that it is itself started on.

Put here by the role windows_dask_worker, and started by its task. What is said goes to work/worker.log.
"""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).absolute().parent
LOG = HERE / "work" / "worker.log"
#: Bytes of the log beyond which the next start begins a new one.
LONGEST_LOG = 5_000_000


def main() -> None:
    """Connect the drives, and become the Dask worker."""
    settings = json.loads((HERE / "worker.json").read_text(encoding="utf-8"))
    for drive, share in settings["drives"].items():
        connect(drive, share)
    cores = settings["cores"] or os.cpu_count() or 1
    os.environ["DASK_CONFIG"] = str(HERE / "config")
    sys.argv = ["dask worker", *settings["arguments"], "--nthreads", str(cores), "--resources", f"ras={cores}"]
    runpy.run_module("distributed.cli.dask_worker", run_name="__main__")


def connect(drive: str, share: str) -> None:
    """Connect a drive for this session, unless something is there; SystemExit when that cannot be done."""
    if Path(f"{drive}:\\").exists():
        return
    done = subprocess.run(
        ["net", "use", f"{drive}:", share, "/persistent:no"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).split())
        raise SystemExit(f"drive {drive}: cannot be connected to {share}: {said}")


def open_log() -> None:
    """pythonw.exe has no console: all that is written goes to the log."""
    if LOG.exists() and LOG.stat().st_size > LONGEST_LOG:
        LOG.replace(LOG.with_suffix(".old"))
    sys.stdout = sys.stderr = LOG.open("a", encoding="utf-8", buffering=1)


if __name__ == "__main__":
    open_log()
    main()
