"""The local worker: plans run on the controller's own machine."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ras_runner.engines.registry import default_engine_name, local_engine
from ras_runner.errors import OperatorError
from ras_runner.transports.local import LocalTransport
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId, WorkerSpec, default_worker_folder

if TYPE_CHECKING:
    from collections.abc import Mapping


def _cores() -> int:
    return os.cpu_count() or 1


class LocalSpec(WorkerSpec):
    """Parameters of ``init_ras_worker("local", ...)``.

    Attributes:
        worker_folder: where workspaces and the store of inputs live; ``C:\\RasRemote`` on Windows, the user's cache
            folder elsewhere.
        ras_exe_path: Ras.exe, for the engine ``hecras-windows``.
        hecras_folder: folder of the unpacked Linux archive, for the engine ``hecras-linux``.
        version: HEC-RAS version, ``6.6``, when several are installed.
    """

    worker_id: WorkerId = "local"
    engine: Annotated[str, Field(min_length=1, default_factory=default_engine_name)]
    cores_total: Annotated[int, Field(ge=1, le=4096, default_factory=_cores)]
    worker_folder: Annotated[Path, Field(default_factory=default_worker_folder)]
    ras_exe_path: str = ""
    hecras_folder: str = ""
    version: str = ""


def init_local_worker(parameters: Mapping[str, Any]) -> Worker:
    """A local worker, its engine found and its folder made.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: the engine is not installed, or the folder cannot be made.
    """
    spec = validated(LocalSpec, parameters, "worker type local")
    folder = spec.worker_folder.expanduser().absolute()
    if sys.platform == "win32" and (not str(folder).isascii() or re.search(r'[%"]', str(folder))):
        raise OperatorError(
            f"the worker folder {folder} has characters that cmd.exe cannot be trusted with",
            step="init worker",
            action="give a worker_folder of plain ASCII characters without %",
        )
    engine = local_engine(
        spec.engine, ras_exe_path=spec.ras_exe_path, hecras_folder=spec.hecras_folder, version=spec.version
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"the worker folder {folder} cannot be made: {error.strerror}",
            step="init worker",
            action="give another worker_folder",
        ) from error
    return Worker("local", spec.model_copy(update={"worker_folder": folder}), engine, LocalTransport(folder))
