"""Options and exit codes that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: 0 all completed, 1 a plan failed, 2 wrong input or a person must act, 3 no usable worker, 130 interrupted.
EXIT_OK, EXIT_PLAN_FAILED, EXIT_INPUT, EXIT_NO_WORKER, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

ProjectArgument = Annotated[Path, typer.Argument(help="Project folder or .prj file.", show_default=False)]
ProjectsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Project folders or .prj files; a folder without a project stands for all below it.", show_default=False
    ),
]
CampaignArgument = Annotated[
    str | None, typer.Argument(help="Campaign id; the latest if left out.", show_default=False)
]
CampaignToChange = Annotated[str, typer.Argument(help="Campaign id.", show_default=False)]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="RAS_RUNNER_STATE_DIR",
        help="Folder of the journal [default: the user's state folder].",
        show_default=False,
    ),
]
InventoryOption = Annotated[
    Path | None,
    typer.Option(
        "-i",
        "--inventory",
        help="Inventory of workers [default: inventory/workers.json, inventory/local.yml, else this machine].",
        show_default=False,
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Engine on all workers: hecras-windows, hecras-linux or standin (NOT HEC-RAS).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def leave(code: int) -> None:
    """End the command with an exit code."""
    if code:
        raise typer.Exit(code)
