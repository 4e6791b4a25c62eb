"""ras-runner: runs the plans of HEC-RAS projects on every machine you have, and loses nothing on the way.

The public API; names are imported on first use, so that ``import ras_runner`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ras_runner._version import __version__

if TYPE_CHECKING:
    from ras_runner.api import (
        ExecutionResult,
        RasProject,
        compute_parallel_remote,
        get_worker_status,
        init_ras_project,
        init_ras_worker,
    )
    from ras_runner.errors import InputError, OperatorError, RasRunnerError, TransientError, WorkerError
    from ras_runner.fleet.bursts import Burst
    from ras_runner.hecras.compat import HdfResultsPlan
    from ras_runner.outcomes import Outcome

__all__ = [
    "Burst",
    "ExecutionResult",
    "HdfResultsPlan",
    "InputError",
    "OperatorError",
    "Outcome",
    "RasProject",
    "RasRunnerError",
    "TransientError",
    "WorkerError",
    "__version__",
    "compute_parallel_remote",
    "get_worker_status",
    "init_ras_project",
    "init_ras_worker",
]

_HOMES = {
    "ras_runner.api": (
        "ExecutionResult",
        "RasProject",
        "compute_parallel_remote",
        "get_worker_status",
        "init_ras_project",
        "init_ras_worker",
    ),
    "ras_runner.errors": ("InputError", "OperatorError", "RasRunnerError", "TransientError", "WorkerError"),
    "ras_runner.fleet.bursts": ("Burst",),
    "ras_runner.hecras.compat": ("HdfResultsPlan",),
    "ras_runner.outcomes": ("Outcome",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'ras_runner' has no attribute {name!r}")
