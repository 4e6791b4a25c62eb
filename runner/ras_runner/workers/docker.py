"""The Docker worker: plans run in containers of a Docker daemon on this machine."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ras_runner.engines.base import System
from ras_runner.engines.hecras_linux import HecRasLinuxEngine
from ras_runner.errors import InputError, OperatorError
from ras_runner.transports.local import LocalTransport
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId, WorkerSpec, default_worker_folder, this_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker.api import APIClient

    from ras_runner.engines.base import Engine
    from ras_runner.transports.docker import ContainerSettings

#: Labels of images that ``ras-runner image build`` makes.
ENGINE_LABEL, VERSION_LABEL, DIGEST_LABEL = "ras-runner.engine", "ras-runner.engine-version", "ras-runner.engine-sha256"
#: Where the engines are in such images.
HECRAS_FOLDER, STANDIN_COMMAND = PurePosixPath("/opt/hecras"), "/usr/local/bin/ras-standin"
#: User and group that containers run as when the controller is root.
_PLAIN_USER = 1000
_STEP = "init worker"
_HOST = "this machine"


def _cores() -> int:
    return os.cpu_count() or 1


def _folder() -> Path:
    """Where attempts live when nothing is said; root's home is no place for them, see :func:`_make_folder`."""
    if sys.platform != "win32" and os.getuid() == 0:
        return Path("/var/lib/ras-runner/worker")
    return default_worker_folder()


class DockerSpec(WorkerSpec):
    """Parameters of ``init_ras_worker("docker", ...)``.

    Attributes:
        docker_image: image that holds the engine, made by ``ras-runner image build``.
        docker_host: ``unix:///path/of/docker.sock``; Docker's usual socket when left out.
        memory_per_plan: limit of a plan, ``4g`` or ``800m``; as large a part of the machine's memory as the plan's
            part of ``cores_total`` when left out.
        worker_folder: where workspaces and the store of inputs live; the user's cache folder when left out,
            ``/var/lib/ras-runner/worker`` for root.
        version: HEC-RAS version, for an image without the label that says it.
    """

    worker_id: WorkerId = "docker"
    engine: Literal["hecras-linux", "standin"] = "hecras-linux"
    cores_total: Annotated[int, Field(ge=1, le=4096, default_factory=_cores)]
    docker_image: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}$")]
    docker_host: str = ""
    memory_per_plan: Annotated[str, Field(pattern=r"^([1-9]\d{0,14}[bkmgBKMG]?)?$")] = ""
    worker_folder: Annotated[Path, Field(default_factory=_folder)]
    version: Annotated[str, Field(pattern=r"^(\d+(\.\d+)*)?$")] = ""


@dataclass(frozen=True, slots=True)
class HecRasImageEngine(HecRasLinuxEngine):
    """Linux HEC-RAS in an image."""

    def check(self) -> None:
        """The image was looked at when the worker was made; this machine needs no engine."""


def init_docker_worker(parameters: Mapping[str, Any]) -> Worker:
    """A worker whose plans run in containers, its daemon and image found and its folder made.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: the SDK or the image is missing, the image holds another engine, or the socket is closed to us.
        WorkerError: the daemon does not answer.
    """
    spec = validated(DockerSpec, parameters, "worker type docker")
    if sys.platform == "win32":
        raise OperatorError(
            "Docker workers need a daemon that sees the worker folder at the same path: not so on Windows",
            step=_STEP,
            action="run ras-runner on the Linux machine (or in WSL), or use worker type local",
        )
    from ras_runner.transports.docker import DockerTransport
    from ras_runner.transports.docker_api import connect

    folder = spec.worker_folder.expanduser().absolute()
    client = connect(spec.docker_host)
    engine = _engine(spec, _image_labels(client, spec))
    _make_folder(folder)
    uid, gid = container_user(folder)
    transport = DockerTransport(
        LocalTransport(folder),
        client,
        _settings(client, spec, f"{uid}:{gid}"),
        _giver(uid, gid) if os.getuid() == 0 else None,
    )
    return Worker("docker", spec.model_copy(update={"worker_folder": folder}), engine, transport)


def _make_folder(folder: Path) -> None:
    if folder.is_relative_to("/root"):
        raise OperatorError(
            f"the worker folder {folder} is below /root, which images close to the user that containers run as",
            step=_STEP,
            action="give another worker_folder, such as /var/lib/ras-runner/worker",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"the worker folder {folder} cannot be made: {error.strerror}",
            step=_STEP,
            action="give another worker_folder",
        ) from error


def _image_labels(client: APIClient, spec: DockerSpec) -> dict[str, str]:
    from ras_runner.transports.docker import missing_image
    from ras_runner.transports.docker_api import ImageNotFound, docker_errors

    with docker_errors(_STEP, _HOST, spec.docker_host):
        try:
            found = client.inspect_image(spec.docker_image)  # type: ignore[no-untyped-call]
            return found["Config"]["Labels"] or {}
        except ImageNotFound as error:
            raise missing_image(spec.docker_image, _HOST, _STEP, how_to_build(spec)) from error


def how_to_build(spec: DockerSpec) -> str:
    """The command that makes a worker's image."""
    where = f" --docker-host {spec.docker_host}" if spec.docker_host else ""
    what = "--standin" if spec.engine == "standin" else "--hecras-archive HEC-RAS_660_Linux.zip --version 6.6"
    return f"ras-runner image build {what} -t {spec.docker_image}{where}"


def _engine(spec: DockerSpec, labels: Mapping[str, str]) -> Engine:
    """The engine that the image holds, checked against what was asked for."""
    holds, version = labels.get(ENGINE_LABEL, ""), labels.get(VERSION_LABEL, "")
    if holds and holds != spec.engine:
        raise OperatorError(
            f"the Docker image {spec.docker_image} holds the engine {holds}, not {spec.engine}",
            step=_STEP,
            action=f"name another image, or build it with: {how_to_build(spec)}",
        )
    if spec.engine == "standin":
        return _standin(spec, version)
    if spec.version and version and spec.version != version:
        raise InputError(
            f"the Docker image {spec.docker_image} holds HEC-RAS {version}, not {spec.version}",
            step=_STEP,
            action="leave version out, or name another image",
        )
    if not (spec.version or version):
        raise InputError(
            f"the Docker image {spec.docker_image} has no label {VERSION_LABEL} that says which HEC-RAS it holds",
            step=_STEP,
            action=f"give version, or build the image with: {how_to_build(spec)}",
        )
    return HecRasImageEngine(HECRAS_FOLDER, version or spec.version)


def _standin(spec: DockerSpec, version: str) -> Engine:
    import ras_standin
    from ras_runner.engines.standin import StandinEngine

    if version != ras_standin.__version__:  # receipts name the version that is installed here
        raise OperatorError(
            f"the Docker image {spec.docker_image} holds the stand-in engine {version or 'of an unknown version'}, "
            f"and {ras_standin.__version__} is installed here",
            step=_STEP,
            action=f"build it with: {how_to_build(spec)}",
        )
    return StandinEngine(System.POSIX, (STANDIN_COMMAND,))


def _settings(client: APIClient, spec: DockerSpec, user: str) -> ContainerSettings:
    from docker.utils import parse_bytes

    from ras_runner.transports.docker import ContainerSettings
    from ras_runner.transports.docker_api import docker_errors

    with docker_errors(_STEP, _HOST, spec.docker_host):
        info = client.info()
    return ContainerSettings(
        image=spec.docker_image,
        user=user,
        owner=this_owner(),
        cpus=int(info["NCPU"]),
        memory=int(info["MemTotal"]),
        cores_total=spec.cores_total,
        memory_per_plan=int(parse_bytes(spec.memory_per_plan)) if spec.memory_per_plan else 0,
        how_to_build=how_to_build(spec),
    )


def container_user(folder: Path) -> tuple[int, int]:
    """User and group id that containers run as, never root: ours, else the folder's owner, else 1000."""
    if sys.platform == "win32":
        raise AssertionError("there are no Docker workers on Windows")
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    owner = folder.stat()
    return (owner.st_uid, owner.st_gid) if owner.st_uid else (_PLAIN_USER, _PLAIN_USER)


def _giver(uid: int, gid: int) -> Callable[[PurePath, bool], None]:
    """For a controller that is root: give an attempt's tree to the containers' user, and take it back."""

    def give(folder: PurePath, to_container: bool) -> None:
        if sys.platform == "win32":
            raise AssertionError("there are no Docker workers on Windows")
        new = (uid, gid) if to_container else (os.getuid(), os.getgid())
        top = Path(folder)
        for path in (top, *top.rglob("*")):
            status = path.lstat()
            # what is linked into the store stays root's, and is readable by all
            if stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
                os.chown(path, *new, follow_symlinks=False)

    return give
