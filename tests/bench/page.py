"""docs/benchmarks.md: parts between marks. One that is measured anew replaces itself, the others stay as they are."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path

HEAD = """# Benchmarks

What the runner costs, beside others in the same run. Made by `make bench` (`tests/bench/run.py`); `--only NAME,NAME`
measures some parts anew and leaves the others. Compare CPU seconds and bytes; wall time depends on what else the
machine does, and is given as a ratio where it can be. Each part says when it was measured, and on what.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def targets(judged: Sequence[tuple[str, str, bool]]) -> str:
    """A table of targets: what was aimed at, what was found, whether that meets it."""
    return table(
        ("target", "found", ""), [(name, found, "met" if met else "**MISSED**") for name, found, met in judged]
    )


def with_part(page: str, order: Sequence[str], name: str, text: str) -> str:
    """The page with one part replaced, or added at its place in the order; parts that the order lacks are dropped."""
    parts = {found["name"]: found["text"] for found in _PART.finditer(page)}
    parts[name] = text.strip()
    return HEAD + "".join(f"\n<!-- part {one} -->\n\n{parts[one].strip()}\n" for one in order if one in parts)


_PART = re.compile(r"<!-- part (?P<name>\w+) -->\n(?P<text>.*?)(?=<!-- part |\Z)", re.DOTALL)


def machine(load: float) -> str:
    """When and on what a part was measured.

    Args:
        load: of the last minute when it began.
    """
    version = importlib.metadata.version
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Measured {time.strftime('%Y-%m-%d %H:%M')}: {_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{platform.system()} {platform.release()};\nload of the last minute {load:.1f} before, "
        f"{os.getloadavg()[0]:.1f} at the end. Python {platform.python_version()}, "
        f"ras-runner {version('ras-runner')}, h5py {version('h5py')}, numpy {version('numpy')}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
