"""Prints what goes into the Windows Python of the tests, one requirement a line: read from pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
#: Test requirements that the Windows tests do without (rashdf brings GDAL's relatives).
LEFT_OUT = ("rashdf",)
#: numpy after 2.1 calls a C function that wine 10 lacks. colorama: click and pytest want it on Windows only, and pip
#: judges such markers by the machine it runs on.
ADDED = ("numpy==2.1.3", "colorama")


def requirements() -> list[str]:
    """The project's dependencies, those of its tests and of Dask workers, with the pins that wine needs."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["test"], *extras["dask"]]
    return sorted({*(item for item in named if not item.startswith(LEFT_OUT)), *ADDED})


if __name__ == "__main__":
    print("\n".join(requirements()))
