"""Machines of a cloud's group as workers: the host key that a machine has told, and the parameters that follow."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from ras_runner.engines.base import System
from ras_runner.engines.hecras_windows import INSTALL_FOLDERS
from ras_runner.engines.standin import StandinEngine
from ras_runner.errors import OperatorError, TransientError
from ras_runner.transports.ssh_login import Hop, asyncssh_module
from ras_runner.workers.docker import DockerSpec
from ras_runner.workers.group import member_name
from ras_runner.workers.windows import RemoteHecRasWindowsEngine
from ras_runner.workers.winrm import WinRmSpec

if TYPE_CHECKING:
    import asyncssh

    from ras_runner.engines.base import Engine
    from ras_runner.workers.base import WorkerSpec
    from ras_runner.workers.linux import SshWay

_STEP = "check host key"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_MACHINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
#: A host key is a line of less than 800 bytes; what is larger is not read.
HOST_KEY_LIMIT = 4096


def docker_member(
    spec: WorkerSpec, way: SshWay, folder: Path, machine: str, user: str, address: str, told: bytes
) -> dict[str, Any]:
    """Parameters of the Docker worker on a Linux machine; its host key is in a ``known_hosts`` file of its own then.

    Args:
        spec: of the group, as it was given; what a Docker worker is told as well goes along.
        way: of the same group: its ``known_hosts`` knows the hosts of ``proxy_jump``.
        folder: where the ``known_hosts`` files of the group's machines are.
        machine: its id, the file's name.
        user: who logs on.
        address: of the machine.
        told: the line of its public host key, by a way that only the machine can write to.

    Raises:
        InputError: ``proxy_jump`` is wrong.
        OperatorError: what it told is no host key, or a file cannot be read or written.
    """
    lines = [f"{address} {_public_key(told, machine)}", *_jump_lines(way, Hop(user, address, 22))]
    known = _kept(folder, machine, "".join(f"{line}\n" for line in lines))
    host = f"[{address}]" if ":" in address else address
    given = _common(spec, DockerSpec) | {"docker_host": f"ssh://{user}@{host}", "known_hosts": str(known)}
    return {"worker_id": member_name(spec.worker_id, machine), **given}


def winrm_member(spec: WorkerSpec, machine: str, address: str, cores: int, told: bytes) -> dict[str, Any]:
    """Parameters of the WinRM worker on a Windows machine, its certificate pinned.

    Args:
        spec, machine, address: as for :func:`docker_member`.
        cores: processors of the machine, where the group does not say.
        told: SHA-256 of its certificate, hexadecimal, by a way that only the machine can write to.

    Raises:
        OperatorError: what it told is no fingerprint.
    """
    fingerprint = told.decode("ascii", "replace").strip().lower()
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise _no_key(machine, "it is not the SHA-256 of a certificate")
    given = {"cores_total": cores, **_common(spec, WinRmSpec), "hostname": address, "fingerprint": fingerprint}
    return {"worker_id": member_name(spec.worker_id, machine), **given}


def linux_engine(engine: str, version: str) -> Engine:
    """What computes plans in the containers of a group's machines; its image says whether it really does."""
    from ras_runner.workers.containers import HECRAS_FOLDER, STANDIN_COMMAND, HecRasImageEngine

    if engine == "standin":
        return StandinEngine(System.POSIX, (STANDIN_COMMAND,))
    return HecRasImageEngine(HECRAS_FOLDER, version)


def windows_engine(engine: str, version: str, ras_exe_path: str, standin_command: tuple[str, ...]) -> Engine:
    """What computes plans on a group's Windows machines; each machine says whether it has it."""
    if engine == "standin":
        return StandinEngine(System.WINDOWS, standin_command)
    exe = PureWindowsPath(ras_exe_path) if ras_exe_path else INSTALL_FOLDERS[0] / version / "Ras.exe"
    return RemoteHecRasWindowsEngine(exe, version)


def not_told(machine: str, where: str) -> TransientError:
    """A machine has not told its host key: it is still at its first boot."""
    return TransientError(
        f"machine {machine} has not told its host key yet",
        step=_STEP,
        host=where,
        action="nothing: it is asked again; a machine that never tells it is replaced after ready_minutes",
    )


def _common(spec: WorkerSpec, model: type[WorkerSpec]) -> dict[str, Any]:
    """What a group was told and its machines are to be told as well; what they have by default is left out."""
    names = (type(spec).model_fields.keys() & model.model_fields.keys()) - {"worker_id", "known_hosts"}
    if "cores_total" not in spec.model_fields_set:
        names -= {"cores_total"}
    told = {name for name in names if getattr(spec, name) != model.model_fields[name].default}
    return spec.model_dump(mode="json", include=told)


def _public_key(told: bytes, machine: str) -> str:
    """Kind and key alone: what a machine adds as a comment has no place in a file of ours."""
    library = asyncssh_module()
    try:
        key = library.import_public_key(told.decode("ascii"))
    except (UnicodeDecodeError, library.KeyImportError) as error:
        raise _no_key(machine, f"it is not a public key: {error}") from None
    return _line(key)


def _line(key: asyncssh.SSHKey) -> str:
    return b" ".join(key.export_public_key("openssh").split()[:2]).decode("ascii")


def _no_key(machine: str, why: str) -> OperatorError:
    return OperatorError(
        f"what machine {machine} told as its host key cannot be used: {why}",
        step=_STEP,
        action="look at the object in the staging bucket; ending the machine brings another one",
    )


def _jump_lines(way: SshWay, host: Hop) -> list[str]:
    """The keys of the hosts on the way, as the user's own ``known_hosts`` has them."""
    jumps, theirs = way.login(host).hops[:-1], way.known_hosts.expanduser()
    if not jumps:
        return []
    try:
        known = asyncssh_module().import_known_hosts(theirs.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"the file of known hosts {theirs} cannot be read: {error}",
            step=_STEP,
            action="check it, or give another with known_hosts: it is to know the hosts of proxy_jump",
        ) from None
    return [f"{hop.known_name} {_line(key)}" for hop in jumps for key in known.match(hop.host, "", hop.port)[0]]


def _kept(folder: Path, machine: str, text: str) -> Path:
    """A file with this text, put there whole: another controller may read it at this moment."""
    if not _MACHINE.fullmatch(machine):
        raise _no_key(machine, "its id cannot be the name of a file")
    path = folder / f"{machine}.known_hosts"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, part = tempfile.mkstemp(dir=folder, prefix=f".{machine}.")
        with os.fdopen(handle, "w", encoding="ascii", newline="\n") as file:
            file.write(text)
        Path(part).replace(path)
    except OSError as error:
        raise OperatorError(
            f"the host key of machine {machine} cannot be kept in {folder}: {error.strerror}",
            step=_STEP,
            action="make room there, or give another keys_folder",
        ) from error
    return path
