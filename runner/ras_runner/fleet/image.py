"""Docker images that hold an engine: HEC-RAS from HEC's Linux archive, or the stand-in engine."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, OperatorError
from ras_runner.transports.docker_address import parse_docker_host
from ras_runner.workers.containers import DIGEST_LABEL, ENGINE_LABEL, HECRAS_FOLDER, STANDIN_COMMAND, VERSION_LABEL
from ras_runner.workers.containers_ssh import connect_to
from ras_runner.workers.linux import DockerPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_STEP = "build image"
#: Solver programs; the folder of the archive that holds the first is its ``bin``.
_SOLVER, _LIBRARIES = "RasUnsteady", "libs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]{0,254}")
_VERSION = re.compile(r"\d+(\.\d+)*")
#: Seconds that one step of a build may take without saying a word (pip, copying a large archive).
_TIMEOUT = 1800
_LAST_LINES = 12
_HERE = DockerPlace()


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image.

    Attributes:
        tag: its name.
        id: its id.
        labels: which engine of which version it holds, and the checksum of what it was made from.
    """

    tag: str
    id: str
    labels: dict[str, str]


def build_hecras_image(
    archive: Path,
    *,
    version: str,
    tag: str,
    sha256: str = "",
    base: str = "debian:12-slim",
    where: DockerPlace = _HERE,
    say: Callable[[str], None] = lambda line: None,
) -> BuiltImage:
    """Build an image that holds Linux HEC-RAS.

    Args:
        archive: HEC's zip archive for Linux, with the solver programs and ``libs``.
        version: HEC-RAS version, ``6.6``.
        tag: name of the image.
        sha256: what the archive's checksum has to be; not compared when empty.
        base: image to build on: glibc and a POSIX shell.
        where: the daemon that builds; what the image is made of travels there.
        say: takes the lines that the build says.

    Raises:
        InputError: a wrong name, checksum, or an archive without the programs.
        OperatorError: the build failed.
        WorkerError: the daemon does not answer.
    """
    _check_names(tag=tag, base=base)
    if not _VERSION.fullmatch(version):
        raise InputError(f"version {version!r} is not a HEC-RAS version", step=_STEP, action="give one such as 6.6")
    found = _checksum(archive)
    if sha256 and found != sha256.strip().lower():
        raise InputError(
            f"{archive} has the SHA-256 checksum {found}, not {sha256}",
            step=_STEP,
            action="download it again, or correct --sha256",
        )
    labels = {ENGINE_LABEL: "hecras-linux", VERSION_LABEL: version, DIGEST_LABEL: found}
    with tempfile.TemporaryDirectory(prefix="ras-runner-image-") as made:
        context = Path(made)
        unpack_hecras(archive, context / "hecras")
        dockerfile = render_dockerfile(
            "hecras", base=base, title="HEC-RAS for Linux", version=version, labels=labels, folder=HECRAS_FOLDER
        )
        return _build(context, dockerfile, tag, labels, where, say)


def build_standin_image(
    *,
    tag: str,
    base: str = "python:3.12-slim",
    where: DockerPlace = _HERE,
    say: Callable[[str], None] = lambda line: None,
) -> BuiltImage:
    """Build an image that holds the stand-in engine (NOT HEC-RAS) of this installation.

    Args:
        tag: name of the image.
        base: image with Python 3.11 or later; numpy and h5py are installed with its pip where they are missing.
        where: the daemon that builds; what the image is made of travels there.
        say: takes the lines that the build says.

    Raises:
        InputError: a wrong name.
        OperatorError: the build failed.
        WorkerError: the daemon does not answer.
    """
    import ras_standin

    _check_names(tag=tag, base=base)
    package = Path(ras_standin.__file__).parent
    version = ras_standin.__version__
    sources = sorted(package.rglob("*.py"))
    labels = {ENGINE_LABEL: "standin", VERSION_LABEL: version, DIGEST_LABEL: _digest(sources)}
    with tempfile.TemporaryDirectory(prefix="ras-runner-image-") as made:
        context = Path(made)
        for source in sources:
            target = context / "ras_standin" / source.relative_to(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        (context / STANDIN_COMMAND.rpartition("/")[2]).write_bytes(
            b'#!/bin/sh\nPYTHONPATH=/opt/ras-standin exec python3 -m ras_standin "$@"\n'
        )
        dockerfile = render_dockerfile(
            "standin", base=base, title=ras_standin.LABEL, version=version, labels=labels, command=STANDIN_COMMAND
        )
        return _build(context, dockerfile, tag, labels, where, say)


def render_dockerfile(kind: str, **values: object) -> str:
    """A Dockerfile.

    Args:
        kind: ``hecras`` or ``standin``.
        values: of its template, checked by the caller: they are written as they are.
    """
    import jinja2

    templates = jinja2.Environment(  # noqa: S701  not HTML
        loader=jinja2.PackageLoader("ras_runner.fleet"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template(f"Dockerfile.{kind}.j2").render(**values)


def unpack_hecras(archive: Path, target: Path) -> None:
    """Unpack the solver programs into ``target/bin`` and their libraries into ``target/libs``; nothing else.

    Raises:
        InputError: not a zip archive, or not one with the Linux solvers.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            places = hecras_members(opened.namelist())
            for name, place in places.items():
                (target / place).parent.mkdir(parents=True, exist_ok=True)
                with opened.open(name) as source, (target / place).open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{archive} cannot be read as a zip archive: {error}",
            step=_STEP,
            action="give the path of HEC's archive for Linux",
        ) from error
    (target / _LIBRARIES).mkdir(exist_ok=True)


def hecras_members(names: Iterable[str]) -> dict[str, PurePosixPath]:
    """Which members of HEC's archive are wanted, and where they go: ``bin`` and ``libs`` may lie in a folder.

    Raises:
        InputError: the Linux solvers are not among them.

    >>> {name: str(place) for name, place in hecras_members(["v66/bin/RasUnsteady", "v66/libs/mkl/a.so"]).items()}
    {'v66/bin/RasUnsteady': 'bin/RasUnsteady', 'v66/libs/mkl/a.so': 'libs/mkl/a.so'}
    """
    files = {name: PurePosixPath(name) for name in names if not name.endswith("/")}
    solvers = sorted((path for path in files.values() if path.name == _SOLVER), key=lambda path: len(path.parts))
    if not solvers:
        raise InputError(
            f"the archive has no program {_SOLVER}: it is not HEC's archive for Linux",
            step=_STEP,
            action="give the archive with bin/ and libs/, for example HEC-RAS_660_Linux.zip",
        )
    programs = solvers[0].parent
    wanted: dict[str, PurePosixPath] = {}
    for name, path in files.items():
        if ".." in path.parts or path.is_absolute():
            continue
        if _LIBRARIES in path.parts[:-1]:
            wanted[name] = PurePosixPath(*path.parts[path.parts.index(_LIBRARIES) :])
        elif path.parent == programs:
            wanted[name] = PurePosixPath("bin") / path.name
    return wanted


def _build(
    context: Path,
    dockerfile: str,
    tag: str,
    labels: Mapping[str, str],
    where: DockerPlace,
    say: Callable[[str], None],
) -> BuiltImage:
    (context / "Dockerfile").write_text(dockerfile, encoding="utf-8", newline="\n")
    daemon = connect_to(where, parse_docker_host(where.docker_host), timeout=_TIMEOUT)
    said: list[str] = []
    with daemon.errors(_STEP):
        for item in daemon.client.build(path=str(context), tag=tag, rm=True, forcerm=True, decode=True):
            _hear(item, said, say)
        built = str(daemon.client.inspect_image(tag)["Id"])  # type: ignore[no-untyped-call]
    return BuiltImage(tag, built, dict(labels))


def _hear(item: Mapping[str, Any], said: list[str], say: Callable[[str], None]) -> None:
    """One message of the daemon: passed on, or the end of the build."""
    for line in str(item.get("stream", "")).splitlines():
        if line.strip():
            said.append(line)
            say(line)
    if "error" in item:
        last = "".join(f"\n    {line}" for line in said[-_LAST_LINES:])
        raise OperatorError(
            f"the build failed: {str(item['error']).strip()}{last}",
            step=_STEP,
            action="correct what it says; give a base image that this machine has or can pull with --base",
        )


def _check_names(**names: str) -> None:
    for what, name in names.items():
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{what} {name!r} is not the name of an image",
                step=_STEP,
                action="use letters, digits and _ . / : @ -, beginning with a letter or digit",
            )


def _checksum(archive: Path) -> str:
    try:
        with archive.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{archive} cannot be read: {error.strerror}",
            step=_STEP,
            action="give the path of HEC's archive for Linux with --hecras-archive",
        ) from error


def _digest(sources: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()
