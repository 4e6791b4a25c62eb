"""Computes the plans of a project with one of the two packages, and says what became of them.

Run by ``run.py`` in a process of its own, with the Python that has the package. ras-runner keeps the peer's API, so
one program drives both.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def peak_memory() -> int:
    """Peak resident memory of this process, bytes; 0 where /proc does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def main() -> None:
    """Read the job (JSON) from the first argument, write the answer (JSON) to the file that it names."""
    job = json.loads(sys.argv[1])
    package = importlib.import_module(job["package"])
    project = package.init_ras_project(job["project"], job["ras_exe"])
    worker_type, parameters = job["worker"]
    worker = package.init_ras_worker(worker_type, **parameters)
    results = package.compute_parallel_remote(
        job["plans"],
        [worker],
        ras_object=project,
        num_cores=1,
        autoclean=job["autoclean"],
        **({"state_dir": job["state_dir"]} if job["package"] == "ras_runner" else {}),
    )
    answer = {
        "succeeded": sum(result.success for result in results.values()),
        "errors": [str(result.error_message) for result in results.values() if not result.success],
        "peak_memory": peak_memory(),
    }
    Path(job["answer"]).write_text(json.dumps(answer), encoding="utf-8")


main()
