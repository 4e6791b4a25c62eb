"""This machine as a worker."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.engines.registry import local_engine
from ras_runner.fleet.checks.common import cores, disk
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.validation import validated
from ras_runner.workers.local import LocalSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


_ENGINES = {"hecras-windows": "windows-hecras", "hecras-linux": "hecras-linux", "standin": "engine"}


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What a local worker needs.

    Raises:
        InputError: a parameter is wrong.
    """
    spec = validated(LocalSpec, parameters, "worker type local")
    folder = spec.worker_folder.expanduser().absolute()

    def engine() -> Finding:
        found = local_engine(
            spec.engine, ras_exe_path=spec.ras_exe_path, hecras_folder=spec.hecras_folder, version=spec.version
        )
        return Finding(Verdict.OK, found.name)

    return [
        Check("worker-folder", lambda: writable(folder)),
        Check(_ENGINES[spec.engine], engine),
        Check("cores", lambda: cores(os.cpu_count() or 1, spec.cores_total)),
        Check("disk", lambda: disk(shutil.disk_usage(existing(folder)).free, folder)),
    ]


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def writable(folder: Path) -> Finding:
    """Whether a folder can be written to, or be made."""
    there = existing(folder)
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return Finding(Verdict.FAILED, f"{there} cannot be written to")
    return Finding(Verdict.OK, str(folder) if there == folder else f"{folder} can be made")
