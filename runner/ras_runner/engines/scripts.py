"""Run scripts: what a worker executes for one attempt. Plain sh or cmd, so that a worker needs no Python of ours."""

from __future__ import annotations

import shlex
from functools import cache
from typing import TYPE_CHECKING

from ras_runner.engines.base import System

if TYPE_CHECKING:
    from pathlib import PurePath

    import jinja2

    from ras_runner.engines.base import Commands

#: Seconds between two touches of the heartbeat file (POSIX scripts).
HEARTBEAT_SECONDS = 10
_NICE = {"low": 10, "below normal": 5, "normal": 0}
_WINDOWS_PRIORITY = {"low": "low", "below normal": "belownormal", "normal": "normal"}


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    env = jinja2.Environment(  # noqa: S701  shell scripts are not HTML: every value passes the sh or cmd filter
        loader=jinja2.PackageLoader("ras_runner.engines"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters["sh"] = lambda value: shlex.quote(str(value))
    return env


def script_name(system: System) -> str:
    """File name of the run script on a system."""
    return "run.cmd" if system is System.WINDOWS else "run.sh"


def render_script(
    system: System, commands: Commands, *, attempt_folder: PurePath, folder: PurePath, priority: str
) -> bytes:
    """The run script of one attempt.

    Args:
        system: decides the language.
        commands: what it runs.
        attempt_folder: absolute folder of the attempt on the worker.
        folder: the staged project folder, relative to the attempt folder.
        priority: ``low``, ``below normal`` or ``normal``.

    Returns:
        The bytes to be written on the worker: UTF-8 with LF for sh, ASCII with CRLF for cmd.

    Raises:
        ValueError: a name cannot be said safely in that language.
    """
    if system is System.WINDOWS:
        from ras_runner.engines.cmdline import check_cmd, join_cmd

        text = (
            _templates()
            .get_template("run.cmd.j2")
            .render(
                steps=[join_cmd(step) for step in commands.steps],
                environment={name: check_cmd(value) for name, value in commands.environment.items()},
                folder=check_cmd(str(folder)),
                priority=_WINDOWS_PRIORITY[priority],
            )
        )
        return text.replace("\r\n", "\n").replace("\n", "\r\n").encode("ascii")
    text = (
        _templates()
        .get_template("run.sh.j2")
        .render(
            steps=commands.steps,
            environment=commands.environment,
            attempt_folder=attempt_folder,
            folder=folder,
            nice=_NICE[priority],
            unlimited_stack=commands.unlimited_stack,
            heartbeat=HEARTBEAT_SECONDS,
        )
    )
    return text.encode("utf-8")
