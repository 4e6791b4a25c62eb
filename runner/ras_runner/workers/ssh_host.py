"""The worker folder on a POSIX host that runs programs for us."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.errors import OperatorError
from ras_runner.transports import ssh_programs as programs

if TYPE_CHECKING:
    from ras_runner.transports.ssh_shell import Programs

#: Where attempts live when nothing is said.
HOME_FOLDER = "~/.cache/ras-runner/worker"
_STEP = "init worker"


def prepared_folder(there: Programs, folder: str) -> PurePosixPath:
    """The absolute path of a worker folder that was made there and can be written; the host has our tools.

    Raises:
        OperatorError: it cannot be made or written, or the host lacks a tool.
    """
    done = there.run(programs.prepare_program(folder), step=_STEP)
    host = there.host
    kind, _, rest = done.output.decode("utf-8", "surrogateescape").rstrip("\0").partition("\0")
    if kind == "missing":
        raise OperatorError(
            f"the host lacks {', '.join(rest.split())}",
            step=_STEP,
            host=host,
            action="it has to be a Linux host with coreutils, util-linux, grep, sed and gzip: install them",
        )
    if kind != "ok" or done.code:
        said = done.errors.splitlines()[-1] if done.errors else f"exit code {done.code}"
        raise OperatorError(
            f"the worker folder {folder} cannot be made or written to: {said}",
            step=_STEP,
            host=host,
            action="give another worker_folder, or the right to write there",
        )
    return PurePosixPath(rest)
