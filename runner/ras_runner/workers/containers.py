"""Workers whose plans run in containers, on this machine or on an SSH host: what does not depend on the way there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ras_runner.engines.base import System
from ras_runner.engines.hecras_linux import HecRasLinuxEngine
from ras_runner.errors import InputError, OperatorError
from ras_runner.transports.docker import ContainerSettings, DockerTransport, missing_image
from ras_runner.transports.docker_api import DockerDaemon, ImageNotFound
from ras_runner.workers.base import Worker, this_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import PurePath

    from ras_runner.engines.base import Engine
    from ras_runner.transports.base import Transport
    from ras_runner.transports.docker_address import DockerAddress
    from ras_runner.workers.linux import LinuxSpec

#: Labels of images that ``ras-runner image build`` makes.
ENGINE_LABEL, VERSION_LABEL, DIGEST_LABEL = "ras-runner.engine", "ras-runner.engine-version", "ras-runner.engine-sha256"
#: Where the engines are in such images.
HECRAS_FOLDER, STANDIN_COMMAND = PurePosixPath("/opt/hecras"), "/usr/local/bin/ras-standin"
#: Where attempts live for root when nothing is said: its home is closed to those whom containers run as.
ROOT_FOLDER = "/var/lib/ras-runner/worker"
_STEP = "init worker"


@dataclass(frozen=True, slots=True)
class HecRasImageEngine(HecRasLinuxEngine):
    """Linux HEC-RAS in an image."""

    def check(self) -> None:
        """The image was looked at when the worker was made; this machine needs no engine."""


@dataclass(frozen=True, slots=True)
class User:
    """Who containers run as: never root.

    Attributes:
        uid, gid: numbers on the daemon's machine.
        give: gives an attempt's folder to them (True) or back (False); None when they are who ras-runner is there.
    """

    uid: int
    gid: int
    give: Callable[[PurePath, bool], None] | None = None


#: User and group of containers when ras-runner is root there and so is the worker folder's owner.
PLAIN_USER = 1000


def container_worker(
    kind: str, spec: LinuxSpec, files: Transport, daemon: DockerDaemon, address: DockerAddress, user: User
) -> Worker:
    """A worker whose plans run in containers, its image looked at.

    Args:
        kind: its type.
        spec: its parameters; ``cores_total`` becomes that of the daemon's machine when it was not given.
        files: how files get to the daemon's machine.
        daemon, address: runs the containers, and where it is.
        user: who they run as.

    Raises:
        InputError: the image holds another version, or does not say which.
        OperatorError: there is no such image, or it holds another engine.
    """
    how_to_build = _how_to_build(spec, address)
    engine = image_engine(spec, daemon, address)
    with daemon.errors(_STEP):
        info = daemon.client.info()
    if "cores_total" not in spec.model_fields_set:
        spec = spec.model_copy(update={"cores_total": int(info["NCPU"])})
    settings = ContainerSettings(
        image=spec.docker_image,
        user=f"{user.uid}:{user.gid}",
        owner=this_owner(),
        cpus=int(info["NCPU"]),
        memory=int(info["MemTotal"]),
        cores_total=spec.cores_total,
        memory_per_plan=_bytes(spec.memory_per_plan),
        how_to_build=how_to_build,
    )
    return Worker(kind, spec, engine, DockerTransport(files, daemon, settings, user.give))


def image_engine(spec: LinuxSpec, daemon: DockerDaemon, address: DockerAddress) -> Engine:
    """The engine that a worker's image holds; arguments and errors as for :func:`container_worker`."""
    how_to_build = _how_to_build(spec, address)
    return _engine(spec, _image_labels(daemon, spec.docker_image, how_to_build), daemon.host, how_to_build)


def _bytes(text: str) -> int:
    from docker.utils import parse_bytes

    return int(parse_bytes(text)) if text else 0


def check_folder(folder: PurePath, host: str) -> None:
    """Raise OperatorError for a worker folder that containers could not reach."""
    if folder.is_relative_to("/root"):
        raise OperatorError(
            f"the worker folder {folder} is below /root, which images close to the user that containers run as",
            step=_STEP,
            host=host,
            action=f"give another worker_folder, such as {ROOT_FOLDER}",
        )


def _how_to_build(spec: LinuxSpec, address: DockerAddress) -> str:
    """The command that makes a worker's image where its daemon is."""
    what = "--standin" if spec.engine == "standin" else "--hecras-archive HEC-RAS_660_Linux.zip --version 6.6"
    return f"ras-runner image build {what} -t {spec.docker_image}{spec.options(address)}"


def _image_labels(daemon: DockerDaemon, image: str, how_to_build: str) -> dict[str, str]:
    with daemon.errors(_STEP):
        try:
            found = daemon.client.inspect_image(image)  # type: ignore[no-untyped-call]
        except ImageNotFound as error:
            raise missing_image(image, daemon.host, _STEP, how_to_build) from error
    return found["Config"]["Labels"] or {}


def _engine(spec: LinuxSpec, labels: Mapping[str, str], host: str, how_to_build: str) -> Engine:
    """The engine that the image holds, checked against what was asked for."""
    holds, version = labels.get(ENGINE_LABEL, ""), labels.get(VERSION_LABEL, "")
    if holds and holds != spec.engine:
        raise OperatorError(
            f"the Docker image {spec.docker_image} holds the engine {holds}, not {spec.engine}",
            step=_STEP,
            host=host,
            action=f"name another image, or build it with: {how_to_build}",
        )
    if spec.engine == "standin":
        return _standin(spec, version, host, how_to_build)
    if spec.version and version and spec.version != version:
        raise InputError(
            f"the Docker image {spec.docker_image} holds HEC-RAS {version}, not {spec.version}",
            step=_STEP,
            host=host,
            action="leave version out, or name another image",
        )
    if not (spec.version or version):
        raise InputError(
            f"the Docker image {spec.docker_image} has no label {VERSION_LABEL} that says which HEC-RAS it holds",
            step=_STEP,
            host=host,
            action=f"give version, or build the image with: {how_to_build}",
        )
    return engine_inside(spec.engine, version or spec.version)


def engine_inside(name: str, version: str = "") -> Engine:
    """The engine of an image that ``ras-runner image build`` has made.

    Args:
        name: ``hecras-linux`` or ``standin``.
        version: of HEC-RAS.
    """
    if name == "hecras-linux":
        return HecRasImageEngine(HECRAS_FOLDER, version)
    from ras_runner.engines.standin import StandinEngine

    return StandinEngine(System.POSIX, (STANDIN_COMMAND,))


def _standin(spec: LinuxSpec, version: str, host: str, how_to_build: str) -> Engine:
    import ras_standin

    if version != ras_standin.__version__:  # receipts name the version that is installed here
        raise OperatorError(
            f"the Docker image {spec.docker_image} holds the stand-in engine {version or 'of an unknown version'}, "
            f"and {ras_standin.__version__} is installed here",
            step=_STEP,
            host=host,
            action=f"build it with: {how_to_build}",
        )
    return engine_inside(spec.engine)
