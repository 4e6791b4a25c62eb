"""Names that Windows cannot have, and paths that HEC-RAS cannot: found before anything travels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ras_runner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePath

#: A path with its end mark fits in 260 characters; longer ones stop HEC-RAS with a message box.
MAX_PATH = 259
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f/\\]')


def name_problem(name: str) -> str:
    """Why Windows cannot have a file or folder of this name; empty when it can.

    Rules: https://learn.microsoft.com/windows/win32/fileio/naming-a-file

    >>> name_problem("aux.p01")
    'AUX is the name of a device'
    """
    if match := _DEVICES.fullmatch(name):
        return f"{match[1].upper()} is the name of a device"
    if found := _FORBIDDEN.search(name):
        return f"it has the character {found[0]!r}"
    if name.endswith((".", " ")):
        return "it ends in a dot or a space"
    return ""


def check_windows_paths(paths: Iterable[PurePath], root: PurePath, host: str = "") -> None:
    """Refuse paths that a Windows host or HEC-RAS on it cannot have.

    Args:
        paths: on the host, below ``root``.
        root: the worker folder there.
        host: its name, for the message.

    Raises:
        InputError: names the first such file and the reason.
    """
    for path in paths:
        # "a:b" is taken for a drive, and the path then leaves the worker folder
        for part in path.parts[len(root.parts) :] if path.is_relative_to(root) else (str(path),):
            if problem := name_problem(part):
                raise InputError(
                    f"Windows cannot have a file or folder called {part!r}: {problem}",
                    step="stage",
                    host=host,
                    action="rename it in the project, or run the plan on a Linux worker",
                )
        if len(str(path)) > MAX_PATH:
            raise InputError(
                f"{path} has {len(str(path))} characters; HEC-RAS on Windows takes {MAX_PATH}",
                step="stage",
                host=host,
                action="shorten the project's file names and folders, or give a shorter worker_folder",
            )
