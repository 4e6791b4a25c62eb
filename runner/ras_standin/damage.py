"""Faults that spoil a results file after the run."""

from __future__ import annotations

import os
from pathlib import Path

from ras_standin.hdf_common import open_hdf


def damage(path: Path, fault: str) -> None:
    """Do to the results file what ``fault`` (``no-results``, ``truncated``, ``corrupt-bytes``) says; else nothing."""
    if fault == "no-results":
        with open_hdf(path, "r+") as file:
            del file["Results"]
    elif fault == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif fault == "corrupt-bytes":
        with path.open("r+b") as raw:
            raw.write(bytes(64))
