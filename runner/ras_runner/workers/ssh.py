"""The SSH worker: plans run on a Linux host, by a native engine there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ras_runner.engines.base import System
from ras_runner.engines.hecras_linux import HecRasLinuxEngine
from ras_runner.engines.registry import LINUX_FOLDERS
from ras_runner.engines.standin import StandinEngine
from ras_runner.errors import OperatorError
from ras_runner.secret import check_reference
from ras_runner.transports import ssh_programs as programs
from ras_runner.transports.ssh import SshTransport
from ras_runner.transports.ssh_connection import Connection
from ras_runner.transports.ssh_login import Hop, asyncssh_module, login
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId, WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.engines.base import Engine

_STEP = "init worker"


def _words(command: str) -> list[str]:
    words = shlex.split(command)  # raises ValueError, whose text pydantic passes on
    if not words:
        raise ValueError("it is empty")
    return words


class SshSpec(WorkerSpec):
    """Parameters of ``init_ras_worker("ssh", ...)``.

    Attributes:
        os: of the host; ``windows`` has other parameters: see ``SshWindowsSpec``.
        hostname: name or address of the host.
        username: who logs on.
        port: of its SSH server.
        ssh_key_path: private key; the agent and the usual keys in ``~/.ssh`` when left out.
        passphrase: reference to the key's passphrase: ``env:NAME``, ``file:path``, ``keyring:service/user``.
        known_hosts: file of accepted host keys.
        proxy_jump: ``user@host:port`` to go through; several after commas.
        worker_folder: where workspaces and the store live there; absolute, or below the home folder.
        engine: ``hecras-linux`` or ``standin``.
        hecras_folder: folder of the unpacked Linux archive there; looked for when left out.
        version: HEC-RAS version, when several are installed.
        standin_command: how the stand-in is started there.
    """

    worker_id: WorkerId = "ssh"
    os: Literal["linux", "windows"] = "linux"
    engine: Literal["hecras-linux", "standin"] = "hecras-linux"
    hostname: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:%-]*$")]
    username: Annotated[str, Field(pattern=r"^[^\s@:]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    ssh_key_path: Path | None = None
    passphrase: Annotated[str, AfterValidator(lambda text: text and check_reference(text))] = ""
    known_hosts: Path = Path("~/.ssh/known_hosts")
    proxy_jump: str = ""
    worker_folder: Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$")] = "~/.cache/ras-runner/worker"
    hecras_folder: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f]*)?$")] = ""
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]*$")] = ""
    standin_command: Annotated[str, AfterValidator(lambda text: shlex.join(_words(text)))] = "ras-standin"


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
    way = login(
        Hop(spec.username, spec.hostname, spec.port),
        spec.proxy_jump,
        known_hosts=spec.known_hosts.expanduser().absolute(),
        key_path=spec.ssh_key_path.expanduser().absolute() if spec.ssh_key_path else None,
        passphrase=spec.passphrase,
    )
    connection = Connection(way)
    transport = SshTransport(connection, _prepared_folder(connection, spec.worker_folder))
    return Worker("ssh", spec, _engine(spec, transport), transport)


def _prepared_folder(connection: Connection, folder: str) -> PurePosixPath:
    done = connection.run(programs.prepare_program(folder), step=_STEP)
    host = connection.login.host
    kind, _, rest = done.output.decode("utf-8", "surrogateescape").rstrip("\0").partition("\0")
    if kind == "missing":
        raise OperatorError(
            f"the host lacks {', '.join(rest.split())}",
            step=_STEP,
            host=host,
            action="an SSH worker is a Linux host with coreutils, util-linux, grep, sed and gzip: install them",
        )
    if kind != "ok" or done.code:
        said = done.errors.splitlines()[-1] if done.errors else f"exit code {done.code}"
        raise OperatorError(
            f"the worker folder {folder} cannot be made or written to: {said}",
            step=_STEP,
            host=host,
            action="give another worker_folder, or the right to write there",
        )
    return PurePosixPath(rest)


def _engine(spec: SshSpec, transport: SshTransport) -> Engine:
    """The engine, when the host has it."""
    if spec.engine == "standin":
        command = tuple(_words(spec.standin_command))
        done = transport.connection.run(programs.command_program(command[0]), step=_STEP)
        if done.code:
            raise OperatorError(
                f"the host has no command {command[0]}, the stand-in engine",
                step="check engine",
                host=transport.host,
                action="install ras-runner there, and give the path of its ras-standin (standin_command)",
            )
        return StandinEngine(System.POSIX, command)
    candidates = [spec.hecras_folder] if spec.hecras_folder else _folders(spec.version)
    found = transport.connection.run(programs.find_engine_program(candidates), step=_STEP).output.decode()
    if not found:
        raise OperatorError(
            f"HEC-RAS is not installed: looked for bin/RasUnsteady in {', '.join(candidates)} and $RAS_HECRAS_FOLDER",
            step="check engine",
            host=transport.host,
            action="unpack HEC's Linux archive there and give its folder (hecras_folder / ras_hecras_folder)",
        )
    return HecRasLinuxEngine(PurePosixPath(found), spec.version or _version(found))


def _folders(version: str) -> list[str]:
    return [f"{folder}/{version or '*'}" for folder in LINUX_FOLDERS]


def _version(folder: str) -> str:
    match = re.search(r"\d+(?:\.\d+)+|\d{3}", PurePosixPath(folder).name)
    return match[0] if match else ""
