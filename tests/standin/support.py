"""Helpers of the stand-in engine's tests: edit a project, run the engine as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """Exit code and streams of one run."""

    code: int
    out: str
    err: str


Engine = Callable[..., Run]


def edit(path: Path, old: str, new: str) -> None:
    """Replace ``old``, which has to be there, in a text file of the project."""
    text = path.read_bytes().decode("latin-1")
    assert old in text
    path.write_bytes(text.replace(old, new).encode("latin-1"))


def shorten(folder: Path) -> None:
    """Make every unsteady plan four hours long, at five minutes a step: 48 steps, 24 outputs."""
    for plan in folder.glob("*.p[0-9][0-9]"):
        edit(plan, "02JAN2026,0000", "01JAN2026,0400")
        edit(plan, "Computation Interval=1MIN", "Computation Interval=5MIN")


def command(*arguments: str | Path) -> list[str]:
    """Command line that runs ``ras-standin`` as a process of its own."""
    return [sys.executable, "-m", "ras_standin", *map(str, arguments)]


def process(*arguments: str | Path, **environment: str) -> Run:
    """Run ``ras-standin`` as a process of its own to its end."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)
