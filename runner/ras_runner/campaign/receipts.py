"""Receipts: the record of what was run on what, and whether a result is still current."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_runner.hashing import hash_bytes
from ras_runner.hecras.text import read_text

if TYPE_CHECKING:
    from ras_runner.campaign.journal import Journal
    from ras_runner.hashing import FileHasher
    from ras_runner.hecras.inputs import InputFile, PlanInputs
    from ras_runner.hecras.project import Project

#: The .rasmap holds layers and colours that change whenever someone looks at a map; the terrain and land cover that it
#: names are inputs by themselves.
_NOT_HYDRAULIC = ("rasmap",)
_UNITS = re.compile(r"^(SI Units|English Units)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A published result and what it was made from."""

    plan: str
    engine: str
    inputs: str
    result: str
    digest: str
    outcome: str
    warnings: str
    seconds: float
    worker: str


def inputs_digest(inputs: PlanInputs, hasher: FileHasher) -> str:
    """One digest for everything that a plan's result depends on: names and contents of its inputs.

    Of the .prj only the units count: HEC-RAS rewrites it whenever another plan is opened.

    Raises:
        InputError: a file cannot be read.
    """
    parts = [
        f"{item.place or item.path}\0{_content(item, hasher)}"
        for item in inputs.files
        if item.kind not in _NOT_HYDRAULIC
    ]
    return hash_bytes("\n".join(sorted(parts)).encode("utf-8"))


def _content(item: InputFile, hasher: FileHasher) -> str:
    if item.kind == "project":
        return " ".join(_UNITS.findall(read_text(item.path)))
    return hasher.digest(item.path)


def find_receipt(journal: Journal, project: Project, plan: str) -> Receipt | None:
    """The receipt of a plan's published result, if there is one."""
    row = journal.row(
        "SELECT plan, engine, inputs, result, digest, outcome, warnings, seconds, worker FROM receipts "
        "WHERE project = ? AND plan = ?",
        str(project.prj),
        plan,
    )
    return None if row is None else Receipt(*row)


def is_current(receipt: Receipt, project: Project, inputs: str, hasher: FileHasher) -> bool:
    """True when the published result is there, unchanged, and was made from these inputs."""
    result = project.folder / receipt.result
    return receipt.inputs == inputs and result.is_file() and hasher.digest(result) == receipt.digest
