"""The SSH worker: plans run on a Linux host, by a native engine or in containers there."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

from pydantic import AfterValidator, Field, model_validator

from ras_runner.engines.base import System
from ras_runner.engines.hecras_linux import HecRasLinuxEngine
from ras_runner.engines.registry import LINUX_FOLDERS
from ras_runner.engines.standin import StandinEngine
from ras_runner.errors import OperatorError
from ras_runner.transports import ssh_programs as programs
from ras_runner.transports.docker_address import DockerAddress, parse_docker_host
from ras_runner.transports.ssh import SshTransport
from ras_runner.transports.ssh_connection import Connection
from ras_runner.transports.ssh_login import Hop, asyncssh_module
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId, WorkerSpec
from ras_runner.workers.linux import LinuxSpec
from ras_runner.workers.ssh_host import HOME_FOLDER, prepared_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.engines.base import Engine
    from ras_runner.transports.ssh_shell import Programs

_STEP = "init worker"


def command_words(command: str) -> list[str]:
    """The words of a command line. Raises ValueError when it has none, or an open quote."""
    words = shlex.split(command)  # raises ValueError, whose text pydantic passes on
    if not words:
        raise ValueError("it is empty")
    return words


class SshSpec(LinuxSpec):
    """Parameters of ``init_ras_worker("ssh", ...)``; see ``LinuxSpec`` and ``DockerPlace`` for the others.

    Attributes:
        os: of the host; ``windows`` has other parameters: see ``SshWindowsSpec``.
        hostname: name or address of the host.
        username: who logs on.
        port: of its SSH server.
        worker_folder: there; absolute, or below the home folder. ``~/.cache/ras-runner/worker`` when left out.
        hecras_folder: folder of the unpacked Linux archive there; looked for when left out.
        standin_command: how the stand-in is started there.
        docker: plans run in containers of the host's Docker daemon, made from ``docker_image``.
        docker_host: ``unix:///path``: the daemon's socket on the host, where it is not the usual one.
    """

    worker_id: WorkerId = "ssh"
    os: Literal["linux", "windows"] = "linux"
    hostname: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:%-]*$")]
    username: Annotated[str, Field(pattern=r"^[^\s@:]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    hecras_folder: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f]*)?$")] = ""
    standin_command: Annotated[str, AfterValidator(lambda text: shlex.join(command_words(text)))] = "ras-standin"
    docker: bool = False

    @classmethod
    def model_for(cls, parameters: Mapping[str, Any]) -> type[WorkerSpec]:
        """Hosts with ``os: windows`` have other parameters."""
        if parameters.get("os") != "windows":
            return cls
        from ras_runner.workers.ssh_windows import SshWindowsSpec

        return SshWindowsSpec

    @model_validator(mode="after")
    def _containers_or_not(self) -> Self:
        if not self.docker:
            self.without(("docker_image", "docker_host", "memory_per_plan"), "without docker=True")
            return self
        self.without(("hecras_folder", "standin_command"), "with docker=True: the image holds the engine")
        if not self.docker_image:
            raise ValueError("docker=True needs docker_image")
        if parse_docker_host(self.docker_host).hop:
            raise ValueError("docker_host is a socket on the host itself, unix:///path (or left out)")
        return self


def init_ssh_worker(parameters: Mapping[str, Any]) -> Worker:
    """An SSH worker: logged on, its folder made, its tools and its engine found.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: the host, its key, ours, its folder, tools or engine cannot be used; says which.
        WorkerError: the host is not to be reached.
    """
    if parameters.get("os") == "windows":
        from ras_runner.workers.ssh_windows import init_ssh_windows_worker

        return init_ssh_windows_worker(parameters)
    spec = validated(SshSpec, parameters, "worker type ssh")
    asyncssh_module()
    hop = Hop(spec.username, spec.hostname, spec.port)
    if spec.docker:
        from ras_runner.transports import docker_api  # noqa: F401  says how to install the SDK
        from ras_runner.workers.containers_ssh import remote_container_worker

        return remote_container_worker("ssh", spec, DockerAddress(parse_docker_host(spec.docker_host).socket, hop))
    connection = Connection(spec.login(hop))
    transport = SshTransport(connection, prepared_folder(connection, spec.worker_folder or HOME_FOLDER))
    return Worker("ssh", spec, native_engine(spec, connection), transport)


class NativeSpec(Protocol):
    """Where an engine is on a host; see ``SshSpec``."""

    @property
    def engine(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def hecras_folder(self) -> str: ...
    @property
    def standin_command(self) -> str: ...


def native_engine(spec: NativeSpec, there: Programs) -> Engine:
    """The engine that the host has installed.

    Raises:
        OperatorError: it is not there; says where it was looked for.
    """
    host = there.host
    if spec.engine == "standin":
        command = tuple(command_words(spec.standin_command))
        done = there.run(programs.command_program(command[0]), step=_STEP)
        if done.code:
            raise OperatorError(
                f"the host has no command {command[0]}, the stand-in engine",
                step="check engine",
                host=host,
                action="install ras-runner there, and give the path of its ras-standin (standin_command)",
            )
        return StandinEngine(System.POSIX, command)
    candidates = [spec.hecras_folder] if spec.hecras_folder else _folders(spec.version)
    found = there.run(programs.find_engine_program(candidates), step=_STEP).output.decode()
    if not found:
        raise OperatorError(
            f"HEC-RAS is not installed: looked for bin/RasUnsteady in {', '.join(candidates)} and $RAS_HECRAS_FOLDER",
            step="check engine",
            host=host,
            action="unpack HEC's Linux archive there and give its folder (hecras_folder / ras_hecras_folder)",
        )
    return HecRasLinuxEngine(PurePosixPath(found), spec.version or _version(found))


def _folders(version: str) -> list[str]:
    return [f"{folder}/{version or '*'}" for folder in LINUX_FOLDERS]


def _version(folder: str) -> str:
    match = re.search(r"\d+(?:\.\d+)+|\d{3}", PurePosixPath(folder).name)
    return match[0] if match else ""
