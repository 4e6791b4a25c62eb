"""A Linux host behind sshd as a worker."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from ras_runner.errors import TransientError
from ras_runner.fleet.checks import common
from ras_runner.fleet.doctor import Check, Finding, Verdict
from ras_runner.transports import ssh_facts
from ras_runner.transports.docker_address import DockerAddress, parse_docker_host
from ras_runner.transports.ssh_login import Hop
from ras_runner.transports.ssh_programs import TOOLS, BadAnswerError
from ras_runner.validation import validated
from ras_runner.workers.containers_ssh import connection_to
from ras_runner.workers.ssh import SshSpec, native_engine
from ras_runner.workers.ssh_host import HOME_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.workers.linux import LinuxSpec
    from ras_runner.workers.slurm import SlurmSpec

_STEP = "doctor"
#: Seconds that a question may take.
_LIMIT = 20.0


def checks(parameters: Mapping[str, Any]) -> list[Check]:
    """What an SSH worker needs.

    Raises:
        InputError: a parameter is wrong.
    """
    spec = validated(SshSpec, parameters, "worker type ssh")
    hop = Hop(spec.username, spec.hostname, spec.port)
    if spec.docker:
        from ras_runner.fleet.checks.docker import remote_checks

        return remote_checks(spec, DockerAddress(parse_docker_host(spec.docker_host).socket, hop))
    host = SshHost(spec, hop)
    return [
        *host.reach(),
        Check("linux-tools", host.tools, ("login",)),
        Check("worker-folder", host.folder, ("login",)),
        Check(
            "engine" if spec.engine == "standin" else "hecras-linux",
            lambda: Finding(Verdict.OK, native_engine(spec, host.connection).name),
            ("login",),
        ),
        *host.room(),
    ]


class SshHost:
    """One host, logged on to once.

    Args:
        spec: how it is reached, and what it should have.
        hop: the host itself.
    """

    def __init__(self, spec: LinuxSpec | SlurmSpec, hop: Hop) -> None:
        self.spec, self.hop = spec, hop
        self.connection = connection_to(spec, hop)
        self._worker_folder = spec.worker_folder or HOME_FOLDER

    def reach(self) -> list[Check]:
        """The way there: of the first server on it only, as nobody else may see the next."""
        first = self.connection.login.hops[0]
        return [
            *common.reach_checks(first.host, first.port, "SSH"),
            Check("login", self.login, ("port-open",)),
        ]

    def room(self) -> list[Check]:
        """Cores, disk and clock."""
        return [
            Check("cores", lambda: common.cores(int(self.facts["cores"]), self.spec.cores_total), ("login",)),
            Check("disk", lambda: common.disk(int(self.facts["free"]), self._worker_folder), ("login",)),
            Check("clock", lambda: common.skew(*self._clock()), ("login",)),
        ]

    @functools.cached_property
    def facts(self) -> Mapping[str, str]:
        """What one program there has found out."""
        done = self.connection.run(ssh_facts.facts_program(self._worker_folder), step=_STEP, limit=_LIMIT)
        try:
            return ssh_facts.read_facts(done.output)
        except BadAnswerError as error:
            raise TransientError(str(error), step=_STEP, host=self.hop.host, action="ask again") from error

    def _clock(self) -> tuple[float, float]:
        """How far the host's clock is ahead of ours, and how long the question took, seconds."""
        asked = time.time()
        told = float(self.connection.run("date +%s\n", step=_STEP, limit=_LIMIT).output)
        return told - asked, time.time() - asked + 1.0

    def login(self) -> Finding:
        """Whether we are let in."""
        self.connection.run(":\n", step=_STEP, limit=_LIMIT)
        return Finding(Verdict.OK, f"{self.hop.user} is let in, and the host key is the known one")

    def tools(self) -> Finding:
        """Whether the host has what run scripts and staging need."""
        missing = self.facts["missing"].split()
        if missing:
            return Finding(Verdict.FAILED, f"the host lacks {', '.join(missing)}")
        return Finding(Verdict.OK, f"{len(TOOLS)} commands found")

    def folder(self) -> Finding:
        """Whether the worker folder can be written to, or be made."""
        there = self.facts["folder"]
        if not self.facts["writable"]:
            return Finding(Verdict.FAILED, f"{there} cannot be written to by {self.hop.user}")
        return Finding(Verdict.OK, f"{self._worker_folder} ({there} can be written to)")
