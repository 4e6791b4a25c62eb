"""A Windows host that is reached by WinRM as a worker."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ras_runner.fleet.checks import common, windows
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports.winrm_login import require_winrm
from ras_runner.validation import validated
from ras_runner.workers.winrm import WinRmSpec, winrm_powershell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.transports.windows_powershell import PowerShell


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What a WinRM worker needs.

    Raises:
        InputError: a parameter is wrong.
        OperatorError: the libraries are not installed.
    """
    spec, wanted = _spec(parameters)

    @functools.cache
    def powershell() -> PowerShell:
        return winrm_powershell(spec)

    @functools.cache
    def facts() -> windows.WindowsFacts:
        return windows.ask(powershell(), wanted)

    def login() -> Finding:
        return Finding(Verdict.OK, f"{facts().user} is let in at {facts().computer}, Windows build {facts().build}")

    return [
        *common.reach_checks(spec.hostname, spec.port, "WinRM over HTTPS", "windows-winrm"),
        Check("login", login, ("windows-winrm",)),
        Check("worker-folder", lambda: windows.folder(facts(), wanted), ("login",)),
        *windows.fact_checks(wanted, facts, ("login",)),
    ]


def host_facts(parameters: Mapping[str, Any]) -> tuple[windows.WindowsFacts, windows.Wanted]:
    """What a host is and has, and what it should have; errors as :func:`checks`, and of the host."""
    spec, wanted = _spec(parameters)
    return windows.ask(winrm_powershell(spec), wanted), wanted


def _spec(parameters: Mapping[str, Any]) -> tuple[WinRmSpec, windows.Wanted]:
    spec = validated(WinRmSpec, parameters, "worker type winrm")
    require_winrm(spec.auth)
    return spec, windows.desktop_wanted(spec)
