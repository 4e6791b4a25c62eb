"""A Linux host behind sshd as a worker."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from ras_runner.fleet.checks import common
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports import ssh_facts
from ras_runner.transports import ssh_programs as programs
from ras_runner.transports.ssh_connection import Connection
from ras_runner.validation import validated
from ras_runner.workers.ssh import SshSpec, remote_engine, ssh_login

if TYPE_CHECKING:
    from collections.abc import Mapping

_STEP = "doctor"


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What an SSH worker needs.

    Raises:
        InputError: a parameter is wrong.
    """
    spec = validated(SshSpec, parameters, "worker type ssh")
    host = SshHost(spec)
    first = host.connection.login.hops[0]
    return [
        *common.reach_checks(first.host, first.port, "SSH"),
        Check("login", host.login, ("port-open",)),
        Check("tools", host.tools, ("login",)),
        Check("worker-folder", host.folder, ("login",)),
        Check("engine", host.engine, ("login",)),
        Check("cores", lambda: common.cores(int(host.facts["cores"]), spec.cores_total), ("login",)),
        Check("disk", lambda: common.disk(int(host.facts["free"]), spec.worker_folder), ("login",)),
        Check("clock", lambda: common.skew(*host.clock), ("login",)),
    ]


class SshHost:
    """One host, logged on to once.

    Args:
        spec: how it is reached, and what it should have.
    """

    def __init__(self, spec: SshSpec) -> None:
        self.spec = spec
        self.connection = Connection(ssh_login(spec))

    @functools.cached_property
    def facts(self) -> Mapping[str, str]:
        """What one program there has found out."""
        done = self.connection.run(ssh_facts.facts_program(self.spec.worker_folder), step=_STEP, limit=20.0)
        return ssh_facts.read_facts(done.output)

    @functools.cached_property
    def clock(self) -> tuple[float, float]:
        """How far the host's clock is ahead of ours, and how long the question took, seconds."""
        asked = time.time()
        told = float(self.connection.run("date +%s\n", step=_STEP, limit=20.0).output)
        return told - asked, time.time() - asked + 1.0

    def login(self) -> Finding:
        """Whether we are let in."""
        self.connection.run(":\n", step=_STEP, limit=20.0)
        return Finding(Verdict.OK, f"{self.spec.username} is let in, and the host key is the known one")

    def tools(self) -> Finding:
        """Whether the host has what run scripts and staging need."""
        missing = self.facts["missing"].split()
        if missing:
            return Finding(Verdict.FAILED, f"the host lacks {', '.join(missing)}")
        return Finding(Verdict.OK, f"{len(programs.TOOLS)} commands found")

    def folder(self) -> Finding:
        """Whether the worker folder can be written to, or be made."""
        there = self.facts["folder"]
        if not self.facts["writable"]:
            return Finding(Verdict.FAILED, f"{there} cannot be written to by {self.spec.username}")
        return Finding(Verdict.OK, f"{self.spec.worker_folder} ({there} can be written to)")

    def engine(self) -> Finding:
        """Whether the engine is installed."""
        return Finding(Verdict.OK, remote_engine(self.spec, self.connection).name)
