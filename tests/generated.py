"""Writes what is made from the code: docs/workers.schema.json and the table in docs/inventory.md.

Run after a change of a worker type's parameters: ``python -m tests.generated``.
"""

from __future__ import annotations

import re
from pathlib import Path

from ras_runner.fleet.workers_file import json_schema, variable_table

DOCS = Path(__file__).resolve().parents[1] / "docs"
TABLE = re.compile(r"(?<=<!-- variables -->\n).*?(?=<!-- end of variables -->)", re.DOTALL)


def generated() -> dict[Path, str]:
    """File -> what it should hold."""
    page = DOCS / "inventory.md"
    table = variable_table()
    return {
        DOCS / "workers.schema.json": json_schema(),
        page: TABLE.sub(lambda _: table, page.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8", newline="\n")
