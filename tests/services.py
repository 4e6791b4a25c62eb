"""What the folders of tests that need a service share: whether it may be missing, and the folder's marker."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def not_here(reason: object) -> NoReturn:
    """A service is missing: a failure in CI, elsewhere a skip with its reason."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(reason))
    pytest.skip(str(reason))


def needs_mounts() -> None:
    """The test mounts a small file system."""
    if sys.platform != "linux" or os.geteuid() != 0:
        not_here("mounting a small file system needs root on Linux")


def mark_folder(items: list[pytest.Item], folder: Path, marker: pytest.MarkDecorator) -> None:
    """Mark the tests of a folder."""
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(marker)
