"""A Windows host behind OpenSSH as a worker."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ras_runner.fleet.checks import common, windows
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports.ssh_windows import SshWindowsShell
from ras_runner.transports.windows_powershell import PowerShell
from ras_runner.validation import validated
from ras_runner.workers.ssh_windows import SshWindowsSpec, ssh_windows_connection

if TYPE_CHECKING:
    from collections.abc import Mapping


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What an SSH worker on a Windows host needs.

    Raises:
        InputError: a parameter is wrong.
        OperatorError: asyncssh is not installed.
    """
    spec, wanted = _spec(parameters)
    connection = ssh_windows_connection(spec)
    first = connection.login.hops[0]

    @functools.cache
    def facts() -> windows.WindowsFacts:
        return windows.ask(PowerShell(SshWindowsShell(connection), spec.worker_folder), wanted)

    def login() -> Finding:
        return Finding(Verdict.OK, f"{facts().user} is let in, and the host key is the known one")

    return [
        *common.reach_checks(first.host, first.port, "SSH", "windows-ssh"),
        Check("login", login, ("windows-ssh",)),
        Check("worker-folder", lambda: windows.folder(facts(), wanted), ("login",)),
        *windows.fact_checks(wanted, facts, ("login",)),
    ]


def host_facts(parameters: Mapping[str, Any]) -> tuple[windows.WindowsFacts, windows.Wanted]:
    """What a host is and has, and what it should have; errors as :func:`checks`, and of the host."""
    spec, wanted = _spec(parameters)
    shell = SshWindowsShell(ssh_windows_connection(spec))
    return windows.ask(PowerShell(shell, spec.worker_folder), wanted), wanted


def _spec(parameters: Mapping[str, Any]) -> tuple[SshWindowsSpec, windows.Wanted]:
    spec = validated(SshWindowsSpec, parameters, "worker type ssh with os windows")
    return spec, windows.desktop_wanted(spec)
