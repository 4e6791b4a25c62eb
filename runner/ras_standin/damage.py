"""Faults that spoil a results file after the run, or swell it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ras_standin.faults import Fault
from ras_standin.hdf_common import open_hdf

#: Under this name a large results file holds its filling.
FILLING = "Filling of the stand-in engine"


def damage(path: Path, fault: Fault) -> None:
    """Do to the results file what a fault (``no-results``, ``truncated``, ``corrupt-bytes``, ``large``) says."""
    if fault.name == "large":
        filling = np.random.default_rng(0).integers(0, 256, int(fault.amount(200.0) * 1e6), dtype=np.uint8)
        with open_hdf(path, "r+") as file:
            file.create_dataset(FILLING, data=filling)
    elif fault.name == "no-results":
        with open_hdf(path, "r+") as file:
            del file["Results"]
    elif fault.name == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif fault.name == "corrupt-bytes":
        with path.open("r+b") as raw:
            raw.write(bytes(64))
