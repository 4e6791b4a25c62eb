"""Packages of the extras: what says so when one is not installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ras_runner.errors import OperatorError

if TYPE_CHECKING:
    from types import ModuleType


def required(package: str, who: str, extra: str, step: str = "init worker") -> ModuleType:
    """A package that an extra brings.

    Args:
        package: its name.
        who: needs it, for the message: ``SSH workers``.
        extra: that brings it.
        step: what it is needed for just now.

    Raises:
        OperatorError: it is not installed; says the command that installs it.
        ModuleNotFoundError: something that it needs itself is missing.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise OperatorError(
            f"{who} need the package {package}", step=step, action=f"pip install ras-runner[{extra}]"
        ) from None
