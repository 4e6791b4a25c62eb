"""References as HEC-RAS writes them (Windows paths, any case) found on this machine's file system."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePosixPath

from ras_runner.errors import InputError
from ras_runner.hecras.text import BLANKS, as_written

_DRIVE = re.compile(r"[A-Za-z]:")
#: Elsewhere a file is found in any spelling, and its own has to be read from its folder: Linux workers need it.
_CASE_COUNTS = sys.platform.startswith("linux")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_reference(reference: str, referred_by: str) -> None:
    """Refuse a reference that no file system should see.

    Raises:
        InputError: the reference holds NUL or other control characters.
    """
    if _CONTROL.search(reference):
        raise InputError(
            f"{referred_by} names a file with control characters: {reference!r}",
            step="read project",
            action="choose the file again in HEC-RAS and save",
        )


def is_absolute(reference: str) -> bool:
    """True for ``C:\\...``, ``\\\\server\\share\\...`` and ``/...``."""
    return bool(_DRIVE.match(reference)) or reference.startswith(("\\", "/"))


def find(folder: Path, name: str) -> Path | None:
    """The entry of a folder by name, in any case; the exact spelling wins, then the first in order. None if absent."""
    exact, wanted = folder / name, name.casefold()
    try:
        if _CASE_COUNTS and exact.exists():
            return exact
        same = [entry for entry in os.listdir(folder) if entry.casefold() == wanted]  # noqa: PTH208  half the time
    except (OSError, ValueError):  # no such folder, not a folder, not allowed; an impossible name
        return None
    return folder / (name if name in same else min(same)) if same else None


def resolve(folder: Path, reference: str) -> Path | None:
    """The existing file or folder that a reference in a project of ``folder`` means, or None.

    Backslashes separate, case does not count, ``..`` leaves a folder as it is written (symbolic links are not followed
    to find the parent). A reference with a drive letter or a share exists on Windows only.
    """
    reference = reference.strip(BLANKS)
    if not reference or _CONTROL.search(reference):
        return None
    for spelling in dict.fromkeys((reference, as_written(reference))):
        found = _walk(folder.absolute(), spelling)
        if found is not None:
            return found
    return None


def _walk(folder: Path, reference: str) -> Path | None:
    if is_absolute(reference):
        if os.name == "nt":
            path = Path(reference)
            return path if path.exists() else None
        if _DRIVE.match(reference) or reference.startswith(("\\", "//")):
            return None
        folder = Path("/")
    for part in PurePosixPath(reference.replace("\\", "/").lstrip("/")).parts:
        entry = folder.parent if part == ".." else find(folder, part)
        if entry is None:
            return None
        folder = entry
    return folder


def relative_place(path: Path, folder: Path) -> PurePosixPath | None:
    """Where a file lies seen from a folder (``Terrain/T.hdf``, ``../shared/x.dss``); None on another drive."""
    try:
        return PurePosixPath(Path(os.path.relpath(path, folder.absolute())).as_posix())
    except ValueError:
        return None
