"""Publishing: verified results get into the user's project folder whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from ras_runner.errors import OperatorError
from ras_runner.hashing import copy_hashed, hash_file
from ras_runner.retrying import retrying

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Temporary names in the project folder begin with this; a crashed controller's are removed by the next one.
TEMPORARY_PREFIX = ".ras-runner-"


def publish(files: Mapping[Path, str], folder: Path, attempt: str, *, link: bool = True) -> None:
    """Bring files into a folder: first all under temporary names, checked, then each by one rename.

    Args:
        files: source file -> its name in ``folder``, in the order of publishing (the results HDF last).
        folder: the user's project folder.
        attempt: makes the temporary names ours.
        link: where possible by a hard link, which moves no bytes; not when the source stays and may be written to.

    Raises:
        OperatorError: disk full, read-only folder, or a file that another program holds open; nothing is half written.
    """
    waiting = {folder / f"{TEMPORARY_PREFIX}{attempt}-{n}.part": name for n, name in enumerate(files.values())}
    at = ""
    try:
        for source, temporary in zip(files, waiting, strict=True):
            at = files[source]
            _bring(source, temporary, link=link)
        for temporary, name in waiting.items():
            at = name
            _replace(temporary, folder / name)
            temporary.unlink(missing_ok=True)  # renaming a file over its own hard link does nothing
    except OSError as error:
        remove_leftovers(folder, [attempt])
        raise _explained(folder, at, error) from error


def remove_leftovers(folder: Path, attempts: Iterable[str]) -> None:
    """Remove the temporary files that these attempts' publishing may have left behind."""
    for attempt in attempts:
        for temporary in folder.glob(f"{TEMPORARY_PREFIX}{attempt}-*.part"):
            with contextlib.suppress(OSError):
                temporary.unlink()


def check_writable(folder: Path) -> None:
    """Raise OperatorError when results could not be published into ``folder``."""
    probe = folder / f"{TEMPORARY_PREFIX}probe-{uuid.uuid4().hex}"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OperatorError(
            f"the project folder {folder} cannot be written: {error.strerror}",
            step="check project",
            action="make it writable, or copy the project to a folder that is",
        ) from error


def _bring(source: Path, temporary: Path, *, link: bool) -> None:
    temporary.unlink(missing_ok=True)
    if link and _linked(source, temporary):
        return
    if copy_hashed(source, temporary) != hash_file(temporary):
        raise OSError(errno.EIO, "the copy differs from the original")


def _linked(source: Path, temporary: Path) -> bool:
    """Give the file its second name; False where the file system cannot."""
    try:
        os.link(source, temporary)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        return False
    return True


def _replace(temporary: Path, target: Path) -> None:
    if sys.platform == "win32":  # refused while a reader (HEC-RAS, an antivirus) has the old file open
        retrying(lambda: temporary.replace(target), PermissionError, attempts=8, first=0.1, longest=3.0)
    else:
        temporary.replace(target)


def _explained(folder: Path, name: str, error: OSError) -> OperatorError:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        cause, action = f"the disk of the project folder {folder} is full", "free space there"
    elif isinstance(error, PermissionError):
        cause, action = (
            f"{folder / name} cannot be replaced: {error.strerror}",
            "close the program that holds it open (HEC-RAS, RAS Mapper)",
        )
    else:
        cause, action = (
            f"{folder / name} cannot be written: {error.strerror or error}",
            "check the disk and the folder's rights",
        )
    return OperatorError(
        cause,
        step="publish",
        action=f"{action}, then: ras-runner resume (the result is kept; nothing is computed again)",
    )
