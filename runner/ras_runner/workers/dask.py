"""The Dask worker: plans run as tasks of a Dask cluster. Files go through a folder that its workers share with this
machine, or through object storage."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ras_runner._version import __version__
from ras_runner.engines.base import System
from ras_runner.engines.hecras_linux import HecRasLinuxEngine
from ras_runner.engines.standin import StandinEngine
from ras_runner.errors import OperatorError
from ras_runner.transports.dask import DaskTransport
from ras_runner.transports.dask_cluster import Cluster, Tls, distributed_module
from ras_runner.transports.dask_objects import DaskObjects
from ras_runner.transports.dask_storage import Storage
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId, WorkerSpec
from ras_runner.workers.windows import RemoteHecRasWindowsEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.engines.base import Engine

_STEP = "init worker"
_TLS = ("tls_ca_file", "tls_cert", "tls_key")


def _program(text: str) -> str:
    if not shlex.split(text):  # raises ValueError, whose text pydantic passes on
        raise ValueError("it is empty")
    return text


def _given(path: Any) -> Any:
    if path == "":  # which would be the current folder
        raise ValueError("it is empty")
    return path


#: A path on this machine: the same one for a ``resume`` in another folder.
_Here = Annotated[Path, BeforeValidator(_given), AfterValidator(lambda path: path.expanduser().absolute())]


def _url(text: str) -> str:
    if text and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s\x00-\x1f?*#\[\]]+", text):
        raise ValueError("it is to be protocol://place, without blanks, ?, *, # and brackets")
    if "::" in text or re.search(r"://.*:.*@", text):
        raise ValueError(
            "it is to be one plain URL without a password: credentials come from where the cloud's programs find them"
        )
    return text


class DaskSpec(WorkerSpec):
    """Parameters of ``init_ras_worker("dask", ...)``.

    Attributes:
        scheduler_address: ``tcp://host:8786`` or ``tls://host:8786``.
        shared_folder: a folder that this machine and all the Dask workers share, as this machine sees it; workspaces
            and the store of inputs live there. Either this or ``storage_url``.
        storage_url: object storage that this machine and all the Dask workers reach (``s3://bucket/prefix``, ``gs://``,
            ``az://`` or another URL of fsspec), for clusters that share no folder. It holds no secret: credentials come
            from where the cloud's own programs find them.
        worker_folder: with ``shared_folder``, the same folder as the Dask workers see it, where that differs; with
            ``storage_url``, a folder of each Dask worker's own, where workspaces and its store of inputs live.
        os: of the Dask workers that are meant; a cluster of both kinds is two workers that differ in ``resources``.
        resources: what a plan takes of a Dask worker (``dask worker --resources "ras=2"``); only workers that have them
            are used. One thread when left out.
        priority: of our tasks; Dask takes higher ones first.
        tls_ca_file: certificate of the authority, for ``tls://``.
        tls_cert: our certificate.
        tls_key: its key.
        engine: ``hecras-windows``, ``hecras-linux`` or ``standin``.
        version: HEC-RAS version; that of the folder's name when left out.
        ras_exe_path: Ras.exe on the Dask workers, for ``hecras-windows``.
        hecras_folder: folder of the unpacked Linux archive there, for ``hecras-linux``.
        standin_command: how the stand-in is started there.
        cores_total: of the whole cluster; what its threads or ``resources`` allow when left out.
    """

    #: The cluster's scheduler and the folder's server are shared by all plans anyway.
    launches_at_once: ClassVar[int] = 8

    worker_id: WorkerId = "dask"
    scheduler_address: Annotated[str, Field(pattern=r"^(tcp|tls)://[A-Za-z0-9_.:%\[\]-]+:\d+$")]
    shared_folder: _Here | None = None
    storage_url: Annotated[str, AfterValidator(_url)] = ""
    worker_folder: Annotated[str, Field(pattern=r"^[^\x00-\x1f]*$")] = ""
    os: Literal["linux", "windows"] = "linux"
    resources: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")], Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict
    )
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    tls_ca_file: _Here | None = None
    tls_cert: _Here | None = None
    tls_key: _Here | None = None
    engine: Literal["hecras-windows", "hecras-linux", "standin"] = "hecras-linux"
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]*$")] = ""
    ras_exe_path: str = ""
    hecras_folder: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f]*)?$")] = ""
    standin_command: Annotated[str, AfterValidator(_program)] = "ras-standin"
    cores_total: Annotated[int, Field(ge=0, le=100_000)] = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.engine == "hecras-windows" and not (self.os == "windows" and self.ras_exe_path):
            raise ValueError("hecras-windows needs os=windows, and ras_exe_path: Ras.exe on the Dask workers")
        if self.engine == "hecras-linux" and not (self.os == "linux" and self.hecras_folder):
            raise ValueError("hecras-linux needs os=linux, and hecras_folder: HEC's archive on the Dask workers")
        given = [name for name in _TLS if getattr(self, name) is not None]
        if self.scheduler_address.startswith("tls:") != (len(given) == len(_TLS)) or len(given) not in (0, len(_TLS)):
            raise ValueError(f"tls:// needs {', '.join(_TLS)}; tcp:// takes none of them")
        if (self.shared_folder is None) == (not self.storage_url):
            raise ValueError("give either shared_folder, or storage_url for a cluster that shares no folder")
        if self.storage_url and not self.worker_folder:
            raise ValueError("storage_url needs worker_folder: a folder of each Dask worker's own")
        folder = self.root
        if not folder.is_absolute() or (self.os == "windows" and not re.fullmatch(r"[A-Za-z]:", folder.drive)):
            raise ValueError(
                r"worker_folder is to be absolute, on Windows with a drive (cmd.exe takes no \\server\share)"
            )
        return self

    @property
    def root(self) -> PurePath:
        """The worker folder as the Dask workers see it."""
        text = self.worker_folder or str(self.shared_folder)
        return PureWindowsPath(text) if self.os == "windows" else PurePosixPath(text)


def init_dask_worker(parameters: Mapping[str, Any]) -> Worker:
    """A Dask worker: its scheduler answers, its workers see our files, and have ras-runner and the engine.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: distributed is missing or of another release there, no worker fits, files do not get there, or
            the engine is missing; says where.
        TransientError: the scheduler does not answer.
    """
    spec = validated(DaskSpec, parameters, "worker type dask")
    cluster = cluster_of(spec)
    if spec.shared_folder:
        try:
            spec.shared_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            said = f"the shared folder {spec.shared_folder} cannot be made: {error.strerror}"
            raise OperatorError(said, step=_STEP, action="give another one") from error
    transport = transport_of(spec, cluster)
    check_versions(cluster)
    workers = workers_of(spec, cluster)
    for worker, (cause, action) in problems(spec, transport, list(workers)).items():
        raise OperatorError(cause, step=_STEP, host=f"Dask worker {worker}", action=action)
    if not spec.cores_total:
        spec = spec.model_copy(update={"cores_total": cluster.slots(workers) * spec.cores_per_plan})
    return Worker("dask", spec, _engine(spec)[0], transport)


def cluster_of(spec: DaskSpec) -> Cluster:
    """The way to its scheduler; nothing is reached.

    Raises:
        OperatorError: distributed is not installed, or a file for TLS cannot be read.
    """
    distributed_module()
    return Cluster(spec.scheduler_address, _tls(spec), dict(spec.resources), spec.priority)


def transport_of(spec: DaskSpec, cluster: Cluster) -> DaskTransport | DaskObjects:
    """How its files and plans travel; nothing is reached."""
    if spec.shared_folder:
        return DaskTransport(cluster, spec.root, spec.shared_folder)
    return DaskObjects(cluster, spec.root, Storage(spec.storage_url), spec.store_limit)


def check_versions(cluster: Cluster) -> str:
    """Dask promises nothing between releases: they are to be of one month.

    Returns:
        Ours.

    Raises:
        OperatorError: those of the scheduler or of a worker differ; says which.
    """
    versions = cluster.versions()
    ours = versions["this machine"]
    others = {who: version for who, version in versions.items() if version.split(".")[:2] != ours.split(".")[:2]}
    if others:
        said = ", ".join(f"{who} has {version}" for who, version in others.items())
        raise OperatorError(
            f"releases of Dask's distributed differ: this machine has {ours}, {said}",
            step=_STEP,
            host=cluster.address,
            action=f"install one release everywhere: pip install distributed=={ours}",
        )
    return ours


def workers_of(spec: DaskSpec, cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The Dask workers that plans can go to, by address.

    Raises:
        OperatorError: there are none, and ``cores_total`` does not say that they come later.
    """
    workers = cluster.workers()
    if workers or spec.cores_total:
        return workers
    asked = f" with resources {dict(spec.resources)}" if spec.resources else ""
    raise OperatorError(
        f"the Dask scheduler has no worker{asked}",
        step=_STEP,
        host=spec.scheduler_address,
        action="start some (dask worker --no-nanny --memory-limit 0 --nthreads SLOTS), or give cores_total when "
        "they come later",
    )


def problems(spec: DaskSpec, transport: DaskTransport | DaskObjects, workers: list[str]) -> dict[str, tuple[str, str]]:
    """What keeps Dask workers from running plans, and what to do, by their addresses; plans could go to each."""
    found = transport.ask(workers, _engine(spec)[1]) if workers else {}
    return {worker: problem for worker, said in found.items() if (problem := _problem(spec, said))}


def _tls(spec: DaskSpec) -> Tls | None:
    paths = [path for name in _TLS if (path := getattr(spec, name)) is not None]
    for path in paths:
        if not os.access(path, os.R_OK):
            raise OperatorError(f"{path} cannot be read", step=_STEP, action="check tls_ca_file, tls_cert and tls_key")
    return Tls(*paths) if paths else None


def _engine(spec: DaskSpec) -> tuple[Engine, list[str]]:
    """The engine, and the programs that each Dask worker has to have for it."""
    system = System.WINDOWS if spec.os == "windows" else System.POSIX
    if spec.engine == "standin":
        command = tuple(shlex.split(spec.standin_command, posix=spec.os != "windows"))
        return StandinEngine(system, command), [command[0]]
    if spec.engine == "hecras-windows":
        return RemoteHecRasWindowsEngine(PureWindowsPath(spec.ras_exe_path), spec.version), [spec.ras_exe_path]
    folder = PurePosixPath(spec.hecras_folder)
    return HecRasLinuxEngine(folder, spec.version or folder.name), [spec.hecras_folder]


def _problem(spec: DaskSpec, said: Any) -> tuple[str, str] | None:
    """What keeps a Dask worker from running plans, and what to do; None when nothing does."""
    if not isinstance(said, dict):
        return (
            f"it cannot be asked: {type(said).__name__}: {said}",
            f"install ras-runner there, in the Python that runs dask: pip install ras-runner[dask]=={__version__}",
        )
    if said["ras_runner"] != __version__:
        return f"it has ras-runner {said['ras_runner']}, this machine {__version__}", "install one version everywhere"
    if said["windows"] != (spec.os == "windows"):
        return (
            f"it runs on {'Windows' if said['windows'] else 'Linux'}, and os is {spec.os}",
            "tell them apart: dask worker --resources, and resources of this worker",
        )
    if said["problem"]:
        shared = "give a folder that both share (worker_folder is its name there)"
        return said["problem"], shared if spec.shared_folder else "see that it reaches the same storage as this machine"
    if said["missing"]:
        return f"it has no {', '.join(said['missing'])}", "install the engine there, or give its path"
    return None
