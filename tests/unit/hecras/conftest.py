"""Real HEC-RAS files, read where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("hecras", derandomize=True, deadline=None, database=None)
settings.load_profile("hecras")

_DATA = Path(__file__).parents[4] / "shared" / "data"


def _real(name: str) -> Path:
    path = _DATA / name
    if not path.exists():
        pytest.skip(f"real HEC-RAS data is not at {path}")
    return path


@pytest.fixture
def muncie() -> Path:
    """The folder of a real 6.1 project with one plan, 1D and 2D."""
    return _real("muncie")


@pytest.fixture
def steady_result() -> Path:
    """A real 6.5 steady result."""
    return _real("results/FLODENCR.p01.hdf")


@pytest.fixture
def result_without_summary() -> Path:
    """A real 2D unsteady result from which the summary was cut."""
    return _real("results/BaldEagleDamBrk.p18.hdf")
