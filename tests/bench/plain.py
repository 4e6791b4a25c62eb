"""What a user would write without ras-runner, on folders that are prepared: a Slurm array, tasks of Dask.

    plain.py slurm ENGINE FOLDER...          plain.py dask SCHEDULER ENGINE FOLDER...

A folder is ``.../NN/p``: NN is the plan's number.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

_LIMIT = 300.0


def command(engine: str, folder: Path) -> list[str]:
    """The engine's command line in a folder."""
    return [engine, "-c", "Muncie.prj", f"Muncie.p{folder.parent.name}"]


def result(folder: Path) -> Path:
    """What the engine writes there."""
    return folder / f"Muncie.p{folder.parent.name}.hdf"


def run_in(engine: str, folder: str) -> int:
    """A task: the engine, in a folder."""
    return subprocess.run(command(engine, Path(folder)), cwd=folder, check=True).returncode


def by_dask(scheduler: str, engine: str, folders: list[Path]) -> None:
    """``Client.map``."""
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:
        client.gather(client.map(run_in, [engine] * len(folders), list(map(str, folders)), pure=False))


def by_slurm(engine: str, folders: list[Path]) -> None:
    """One ``sbatch --array``; over when all results are there."""
    top = folders[0].parents[1]
    script = top / "array.sh"
    lines = [
        "#!/bin/sh",
        f"n=$(printf %02d $((SLURM_ARRAY_TASK_ID + {int(folders[0].parent.name)})))",
        f'cd "{top}/$n/p" && exec {engine} -c Muncie.prj Muncie.p$n',
    ]
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    array = [f"--array=0-{len(folders) - 1}", "--output=/dev/null"]
    subprocess.run(["sbatch", "--parsable", *array, str(script)], check=True)
    left, end = folders, time.monotonic() + _LIMIT
    while left := [folder for folder in left if not result(folder).exists()]:
        if time.monotonic() > end:
            sys.exit(f"{len(left)} results are not there after {_LIMIT:.0f} s, the first: {result(left[0])}")
        time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1] == "dask":
        by_dask(sys.argv[2], sys.argv[3], list(map(Path, sys.argv[4:])))
    else:
        by_slurm(sys.argv[2], list(map(Path, sys.argv[3:])))
