"""A Windows host that is reached over SMB alone as a worker.

To ask the host anything, a program has to be started there, as for each plan: its service is there for an instant.
"""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING, Any

from ras_runner.fleet.checks import common, windows
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports.base import Upload
from ras_runner.transports.windows_powershell import PowerShell
from ras_runner.validation import validated
from ras_runner.workers.psexec import PsExecSpec, psexec_transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.transports.psexec import PsExecTransport


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What a PsExec worker needs.

    Raises:
        InputError: a parameter is wrong.
        OperatorError: the libraries are not installed, or the password cannot be had.
    """
    spec = validated(PsExecSpec, parameters, "worker type psexec")
    host = _Host(spec, psexec_transport(spec))
    return [
        *common.reach_checks(spec.hostname, spec.port, "SMB", "windows-firewall"),
        Check("login", host.login, ("windows-firewall",)),
        Check("windows-share", host.share, ("login",)),
        Check("windows-remote-uac", host.admin_share, ("login",)),
        Check("share-is-folder", host.one_place, ("windows-share", "windows-remote-uac")),
        Check("windows-account", lambda: windows.administrator(host.facts), ("share-is-folder",)),
        Check("windows-remote-registry", lambda: windows.remote_registry(host.facts), ("share-is-folder",)),
        *windows.fact_checks(host.wanted, lambda: host.facts, ("share-is-folder",)),
        Check("leftovers", host.leftovers, ("windows-remote-uac",)),
    ]


def host_facts(parameters: Mapping[str, Any]) -> tuple[windows.WindowsFacts, windows.Wanted]:
    """What a host is and has, and what it should have; errors as :func:`checks`, and of the host."""
    spec = validated(PsExecSpec, parameters, "worker type psexec")
    host = _Host(spec, psexec_transport(spec))
    return host.facts, host.wanted


class _Host:
    """One host, asked once."""

    def __init__(self, spec: PsExecSpec, transport: PsExecTransport) -> None:
        self.spec, self.transport = spec, transport
        self.wanted = windows.Wanted(
            spec.hostname,
            spec.worker_folder,
            spec.engine,
            spec.ras_exe_path,
            spec.version,
            spec.cores_total,
            spec.session_id,
            spec.username,
        )

    @functools.cached_property
    def facts(self) -> windows.WindowsFacts:
        """What a program there has found out."""
        return windows.ask(PowerShell(self.transport, self.spec.worker_folder), self.wanted)

    def login(self) -> Finding:
        """Whether we are let in; asked once, as wrong passwords lock accounts."""
        self.transport.links.call("doctor", lambda link: None)
        return Finding(Verdict.OK, f"{self.spec.account or 'this machine'} is let in")

    def share(self) -> Finding:
        """Whether the share is there and a file can be written and removed."""
        probe = self.transport.root / f"{uuid.uuid4().hex[:12]}.part"
        self.transport.put([Upload(b"ras-runner", probe)])
        self.transport.remove(probe)
        return Finding(Verdict.OK, f"{self.spec.share_path} can be written to")

    def admin_share(self) -> Finding:
        """Whether ADMIN$ and the service manager let us in."""
        self.transport.services.leftovers()
        return Finding(Verdict.OK, "ADMIN$ and the service manager let us in")

    def one_place(self) -> Finding:
        """Whether a program started in the worker folder finds what was written through the share."""
        facts = self.facts
        return Finding(Verdict.OK, f"a program started in {self.spec.worker_folder} on {facts.computer} saw our file")

    def leftovers(self) -> Finding:
        """Services of ours that earlier starts have left."""
        left = self.transport.services.leftovers()
        if left:
            return Finding(Verdict.WARNING, f"services: {', '.join(left)}", "ras-runner doctor --reap")
        return Finding(Verdict.OK, "no service of ours is there")
